"""The headers of both sides: what of a client's goes on to a service, and what of a service's comes
back; and what the router says of its own doing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

from router.fleet import Service
from router.translate import Turn
from router.upstream import HOP_BY_HOP
from shared.exchange import Exchange
from shared.wire import fleet as fleet_wire

NOT_FORWARDED: Final = HOP_BY_HOP | {"host", "content-length", "content-encoding", "expect"}
"""Headers that are of the client's connection, or of the body as it came before it was unpacked."""

CLAMPED_HEADER: Final = "x-ocr-clamped"
LOSS_HEADER: Final = "x-ocr-loss"
USAGE_HEADER: Final = "x-ocr-usage"
ESTIMATED: Final = "estimated"
ENGINE_HEADER: Final = "x-ocr-engine"


def forwarded_headers(exchange: Exchange) -> dict[str, str]:
    """The client's headers as they go on to a service."""
    kept = {
        name: value
        for name, value in exchange.incoming.headers.items()
        if name not in NOT_FORWARDED
    }
    return {**kept, "x-request-id": exchange.request_id}


def write_query(query: Mapping[str, str]) -> str:
    return "?" + urlencode(query, quote_via=quote) if query else ""


def traced(exchange: Exchange) -> dict[str, str]:
    """What ties the service's log and trace to the client's request (W3C trace context)."""
    names = ("traceparent", "tracestate")
    kept = {
        name: exchange.incoming.headers[name] for name in names if name in exchange.incoming.headers
    }
    return {**kept, "x-request-id": exchange.request_id}


def shown_key(exchange: Exchange, service: Service) -> dict[str, str]:
    """What a service that asks for a key is shown: the fleet file's, else the client's own."""
    if key := service.key.reveal():
        return {"authorization": f"Bearer {key}"}
    names = ("authorization", "x-api-key")
    return {
        name: exchange.incoming.headers[name] for name in names if name in exchange.incoming.headers
    }


def tell_losses(exchange: Exchange, turn: Turn) -> None:
    if turn.clamped:
        exchange.facts[CLAMPED_HEADER] = ", ".join(turn.clamped)
    if turn.loss:
        exchange.facts[LOSS_HEADER] = turn.loss


def keep_facts(exchange: Exchange, headers: Mapping[str, str]) -> None:
    if engine := headers.get(ENGINE_HEADER):
        exchange.facts[ENGINE_HEADER] = engine


def own_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """A service's headers on an answer of the router's own length and date."""
    dropped = {
        "content-length",
        "content-type",
        "date",
        "server",
        "x-request-id",
        fleet_wire.HEADER,
        # send_stream says these of every stream; twice would be one too many.
        "cache-control",
        "x-accel-buffering",
    }
    return {
        name: value
        for name, value in headers.items()
        if name not in dropped and not name.startswith("access-control-")
    }
