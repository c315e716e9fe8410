"""Wires the LightOnOCR service: its routes, its bounds, its OpenAPI document."""

from __future__ import annotations

import time

from services.lighton.api import DOCUMENT
from services.lighton.model import CHECKPOINT, RECIPE, family_for
from shared.engine.family import Weights
from shared.errors import ModelNotLoaded
from shared.exchange import Answer, Exchange
from shared.frame import Route, ServiceApp
from shared.limits import MIB, Limits
from shared.one_model import OneModel
from shared.settings import Settings
from shared.streams import new_stamp
from shared.wire import lighton

LIMITS = Limits(
    image_bytes_max=10 * MIB,
    slots=10,
    timeout_s=120.0,
    temperature=0.1,
    temperature_max=2.0,
    max_tokens=4096,
)
"""The document's own: 10 MB, 10 connections, 120 seconds, 0.1, 4096."""


WEIGHTS = Weights(checkpoint=CHECKPOINT, family_for=family_for)


def build(settings: Settings) -> ServiceApp:
    """The service as an ASGI application."""
    model = OneModel(settings, RECIPE, WEIGHTS)
    started = int(time.time())

    async def health(_: Exchange) -> Answer:
        if not model.state.ready:
            raise ModelNotLoaded("Loading model")
        return lighton.write_health()

    async def models(_: Exchange) -> Answer:
        return lighton.write_models(created=started)

    async def chat(exchange: Exchange) -> Answer:
        call = lighton.read_chat(exchange.incoming, settings.limits)
        stamp = new_stamp()
        return await model.answer(
            exchange,
            call.request,
            whole=lambda result: lighton.write_result(call, result, stamp),
            writer=lighton.DeltaWriter(call, stamp) if call.request.stream else None,
        )

    body_max = settings.limits.body_bytes_max
    routes = [
        Route("GET", "/health", health),
        Route("GET", "/v1/models", models),
        Route("POST", "/v1/chat/completions", chat, body_max),
    ]
    return model.app(routes, write_error=lighton.write_error, document=DOCUMENT)
