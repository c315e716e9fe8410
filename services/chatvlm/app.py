"""Wires the ChatVLMLLM service: its routes, its bounds, its models, its OpenAPI document."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from services.chatvlm.api import DOCUMENT
from services.chatvlm.model import CHECKPOINTS, DEFAULT, RECIPES, family_for, task_for
from services.chatvlm.models import Models
from shared.engine.choose import choose
from shared.engine.family import Weights
from shared.engine.protocol import Engine
from shared.errors import OcrError
from shared.exchange import Answer, Exchange, Streaming
from shared.frame import BATCH_BYTES_MAX, Frame, Route, ServiceApp
from shared.limits import Limits
from shared.ocr import Result
from shared.one_model import key_door, page_source
from shared.service import Reader
from shared.settings import Settings
from shared.streams import new_stamp
from shared.telemetry import Metrics
from shared.wire import chatvlm, chatvlm_batch
from shared.wire.answers import Outcome

LIMITS = Limits(slots=1, timeout_s=300.0, temperature=0.7, temperature_max=1.0, max_tokens=512)
"""`slots` are each model's own."""


class Service:
    """The routes' handlers, around the models in memory."""

    def __init__(self, settings: Settings) -> None:
        limits = settings.limits
        self.limits = limits
        self.reader = Reader(limits, page_source(settings))
        self.models = Models(
            lambda name: open_model(settings, name),
            slots=limits.slots,
            queue_max=limits.queue_max,
        )

    async def root(self, _: Exchange) -> Answer:
        return chatvlm.write_root()

    async def health(self, _: Exchange) -> Answer:
        states = [lane.engine.state() for lane in self.models.lanes]
        names = [state.device_name for state in states if state.device == "cuda"]
        return chatvlm.write_health(
            gpu_available=bool(names),
            gpu_name=names[0] if names else None,
            loaded=self.models.loaded,
        )

    async def list_models(self, _: Exchange) -> Answer:
        return chatvlm.write_models(loaded=self.models.loaded)

    async def unload(self, exchange: Exchange) -> Answer:
        name = exchange.incoming.path.removeprefix("/models/")
        exchange.caller.check_model(name)
        await exchange.until_hangup(self.models.unload(name))
        return chatvlm.write_unloaded(name)

    async def ocr(self, exchange: Exchange) -> Answer:
        return await self._one(exchange, chatvlm.read_ocr(exchange.incoming, self.limits))

    async def chat(self, exchange: Exchange) -> Answer:
        return await self._one(exchange, chatvlm.read_chat(exchange.incoming, self.limits))

    async def batch(self, exchange: Exchange) -> Answer:
        calls = chatvlm_batch.read_batch(exchange.incoming, self.limits)
        return chatvlm_batch.write_batch(await exchange.until_hangup(self._all(exchange, calls)))

    async def _one(self, exchange: Exchange, call: chatvlm.Call) -> Answer:
        hold = await self.models.hold(call.model)
        try:
            answer = await self.reader.answer(
                exchange,
                task_for(call.request),
                hold.lane,
                whole=lambda result: chatvlm.write_result(call, result, new_stamp(exchange.work_s)),
            )
        except BaseException:
            hold.release()
            raise
        if isinstance(answer, Streaming):
            answer.closed = hold.release
        else:
            hold.release()
        return answer

    async def _all(self, exchange: Exchange, calls: Sequence[chatvlm.Call]) -> list[Outcome]:
        """The files one after another; a bad one does not stop the others."""
        outcomes: list[Outcome] = []
        with await self.models.hold(calls[0].model) as lane:
            for call in calls:
                part = exchange.part()
                answer: Result | OcrError
                try:
                    answer = await self.reader.folded(part, task_for(call.request), lane)
                except OcrError as error:
                    answer = error
                exchange.add(part)
                stamp = new_stamp(part.work_s)
                outcomes.append(Outcome(answer=answer, stamp=stamp, filename=call.filename))
        return outcomes


def open_model(settings: Settings, name: str) -> Engine:
    """The engine of one model, not opened yet. `model_path` is a folder of folders here, each
    with the weights of the model it is named after."""
    folder = settings.model_path
    weights = Weights(
        checkpoint=CHECKPOINTS[name] if folder is None else str(Path(folder) / name),
        family_for=partial(family_for, name),
        engine="transformers" if name == "got_ocr" else "vllm",
    )
    return choose(msgspec.structs.replace(settings, model_path=None), RECIPES[name], weights)


def build(settings: Settings) -> ServiceApp:
    """The service as an ASGI application. It is ready at once: models load on first use."""
    service = Service(settings)
    one, many = settings.limits.body_bytes_max, BATCH_BYTES_MAX
    routes = [
        Route("GET", "/", service.root),
        Route("GET", "/health", service.health),
        Route("GET", "/models", service.list_models),
        Route("DELETE", "/models/{name:str}", service.unload),
        Route("POST", "/ocr", service.ocr, one),
        Route("POST", "/chat", service.chat, one),
        Route("POST", "/batch/ocr", service.batch, many),
    ]
    access, watchers = key_door(settings)
    probe = open_model(settings, DEFAULT)  # fails now if no engine can run here

    async def nothing_to_open() -> None:
        """Models are opened by the requests that name them."""

    return ServiceApp(
        Frame(
            routes=routes,
            shut=service.models.shut,
            load=service.models.load,
            cors_origins=settings.cors_origins,
            access=access,
            open=nothing_to_open,
            close=service.models.close,
            ready=lambda: "",
            headers=lambda: {"x-ocr-engine": probe.name},
            write_error=chatvlm.write_error,
            document=DOCUMENT,
            metrics=Metrics(settings.service),
            resources=(service.reader.pages, *watchers),
        )
    )
