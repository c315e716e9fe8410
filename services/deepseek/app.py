"""Wires the DeepSeek-OCR service: its routes, its bounds, its OpenAPI document."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import msgspec

from services.deepseek.api import DOCUMENT
from services.deepseek.model import CHECKPOINT, PROMPT, RECIPE, family_for
from shared.engine.family import Weights
from shared.errors import OcrError, UnsupportedImage
from shared.exchange import Answer, Exchange
from shared.frame import BATCH_BYTES_MAX, Route, ServiceApp
from shared.limits import Limits
from shared.ocr import Request, Result
from shared.one_model import OneModel
from shared.settings import Settings
from shared.streams import DeltaWriter, new_stamp
from shared.wire import deepseek, deepseek_batch, deepseek_stream
from shared.wire.answers import Outcome

LIMITS = Limits(slots=100, timeout_s=300.0, temperature=0.0, max_tokens=8192, max_tokens_max=8192)

WEIGHTS = Weights(checkpoint=CHECKPOINT, family_for=family_for)


class Service:
    """The routes' handlers, around the one model."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.limits = settings.limits
        self.prompt = settings.prompt or PROMPT
        self.model = OneModel(settings, RECIPE, WEIGHTS)

    def _ask(self, request: Request) -> Request:
        """The request with what the document lets settings say, where the client said nothing."""
        sampling, settings = request.sampling, self.settings
        filled = msgspec.structs.replace(
            sampling,
            crop_mode=settings.crop_mode if sampling.crop_mode is None else sampling.crop_mode,
            base_size=settings.base_size if sampling.base_size is None else sampling.base_size,
            image_size=settings.image_size if sampling.image_size is None else sampling.image_size,
        )
        return msgspec.structs.replace(request, sampling=filled)

    async def health(self, _: Exchange) -> Answer:
        state = self.model.state
        return deepseek.write_health(
            model_loaded=state.ready, gpu_available=state.device == "cuda", timestamp=time.time()
        )

    async def ocr(self, exchange: Exchange) -> Answer:
        call = deepseek.read_ocr(exchange.incoming, self.limits, prompt=self.prompt)
        return await self._one(exchange, call)

    async def file(self, exchange: Exchange) -> Answer:
        call = deepseek.read_file(exchange.incoming, self.limits, prompt=self.prompt)
        return await self._one(exchange, call)

    async def stream(self, exchange: Exchange) -> Answer:
        call = deepseek.read_stream(exchange.incoming, self.limits, prompt=self.prompt)
        return await self._one(exchange, call, deepseek_stream.DeltaWriter(call, new_stamp()))

    async def batch(self, exchange: Exchange) -> Answer:
        calls = deepseek_batch.read_batch(exchange.incoming, self.limits, prompt=self.prompt)
        self.model.lane.check_loaded()
        outcomes = await exchange.until_hangup(self._all(exchange, calls))
        return deepseek_batch.write_batch(outcomes, exchange.seconds())

    async def _one(
        self, exchange: Exchange, call: deepseek.Call, writer: DeltaWriter | None = None
    ) -> Answer:
        try:
            return await self.model.answer(
                exchange,
                self._ask(call.request),
                whole=lambda result: deepseek.write_result(
                    call, result, new_stamp(exchange.seconds())
                ),
                writer=writer,
            )
        except UnsupportedImage as error:  # worded after the way the image came
            exchange.failed(error, error.detail)
            return deepseek.write_error(error, call)

    async def _all(
        self, exchange: Exchange, calls: Sequence[deepseek.Call | OcrError]
    ) -> list[Outcome]:
        """All items side by side, as far as there are slots; each has its own fate."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._item(exchange, call)) for call in calls]
        return [task.result() for task in tasks]

    async def _item(self, exchange: Exchange, call: deepseek.Call | OcrError) -> Outcome:
        part = exchange.part()
        answer: Result | OcrError
        if isinstance(call, OcrError):
            answer = call
        else:
            try:
                request = self._ask(call.request)
                answer = await self.model.reader.folded(part, request, self.model.lane)
            except OcrError as error:
                answer = error
        exchange.add(part)
        return Outcome(answer=answer, stamp=new_stamp(part.seconds()))


def build(settings: Settings) -> ServiceApp:
    """The service as an ASGI application."""
    service = Service(settings)
    one = settings.limits.body_bytes_max
    routes = [
        Route("GET", "/health", service.health),
        Route("POST", "/ocr", service.ocr, one),
        Route("POST", "/ocr/file", service.file, one),
        Route("POST", "/ocr/stream", service.stream, one),
        Route("POST", "/ocr/batch", service.batch, BATCH_BYTES_MAX),
    ]
    return service.model.app(routes, write_error=deepseek.write_error, document=DOCUMENT)
