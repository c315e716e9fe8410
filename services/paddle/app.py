"""Wires the PaddleOCR-VL service: its routes, its bounds, its OpenAPI document."""

from __future__ import annotations

from services.paddle.api import DOCUMENT
from services.paddle.model import CHECKPOINT, RECIPE, family_for
from shared.engine.family import Weights
from shared.exchange import Answer, Exchange
from shared.frame import Route, ServiceApp
from shared.limits import Limits
from shared.one_model import OneModel
from shared.settings import Settings
from shared.streams import new_stamp
from shared.wire import paddle

LIMITS = Limits(slots=1, timeout_s=300.0, temperature=0.7, max_tokens=1024, max_tokens_max=4096)

WEIGHTS = Weights(checkpoint=CHECKPOINT, family_for=family_for, at_once=16)
"""A page has some twenty elements; they share a batch."""


def build(settings: Settings) -> ServiceApp:
    """The service as an ASGI application."""
    model = OneModel(settings, RECIPE, WEIGHTS)

    async def health(_: Exchange) -> Answer:
        state = model.state
        return paddle.write_health(
            model_loaded=state.ready, device=state.device, memory_used_mb=state.memory_used_mb
        )

    async def models(_: Exchange) -> Answer:
        return paddle.write_models()

    async def chat(exchange: Exchange) -> Answer:
        call = paddle.read_chat(exchange.incoming, settings.limits)
        stamp = new_stamp()
        return await model.answer(
            exchange,
            call.request,
            whole=lambda result: paddle.write_result(call, result, stamp),
        )

    routes = [
        Route("GET", "/health", health),
        Route("GET", "/v1/models", models),
        Route("POST", "/v1/chat/completions", chat, settings.limits.body_bytes_max),
    ]
    return model.app(routes, write_error=paddle.write_error, document=DOCUMENT)
