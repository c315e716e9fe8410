"""Wires the dots.ocr service: its routes, its bounds, its OpenAPI document."""

from __future__ import annotations

from services.dots.api import DOCUMENT
from services.dots.model import CHECKPOINT, RECIPE, family_for
from shared.engine.family import Weights
from shared.exchange import Answer, Exchange
from shared.frame import Route, ServiceApp
from shared.limits import Limits
from shared.one_model import OneModel
from shared.settings import Settings
from shared.streams import new_stamp
from shared.wire import dots

LIMITS = Limits(slots=1, queue_max=0, timeout_s=300.0, temperature=0.1, max_tokens=12000)
"""One request at a time, and nobody waits: the document answers 429."""

WEIGHTS = Weights(checkpoint=CHECKPOINT, family_for=family_for)


def build(settings: Settings) -> ServiceApp:
    """The service as an ASGI application."""
    model = OneModel(settings, RECIPE, WEIGHTS, busy_message=dots.BUSY)

    async def health(_: Exchange) -> Answer:
        return dots.write_health(model_loaded=model.state.ready)

    async def ocr(exchange: Exchange) -> Answer:
        model.lane.check_loaded()  # the original looks for its model before it looks at the body
        call = dots.read_ocr(exchange.incoming, settings.limits)
        stamp = new_stamp()
        return await model.answer(
            exchange,
            call.request,
            whole=lambda result: dots.write_result(call, result, stamp),
            writer=dots.DeltaWriter(call, stamp) if call.request.stream else None,
        )

    routes = [
        Route("GET", "/health", health),
        Route("POST", "/ocr", ocr, settings.limits.body_bytes_max),
    ]
    return model.app(routes, write_error=dots.write_error, document=DOCUMENT)
