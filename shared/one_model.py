"""The usual service: one model, one engine, one lane. Four of the five are made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shared.access import Access
from shared.admission import Admission
from shared.door import make_door
from shared.engine.choose import choose
from shared.engine.family import Weights
from shared.engine.protocol import EngineState, Recipe
from shared.errors import OcrError
from shared.exchange import Answer, Exchange
from shared.frame import Frame, Route, ServiceApp
from shared.http import Reply
from shared.ocr import Request, Result
from shared.pages import PageSource
from shared.service import Lane, Reader
from shared.settings import Settings
from shared.streams import DeltaWriter
from shared.telemetry import Metrics
from shared.watch import Watcher


class OneModel:
    """Made once per process from its settings; `app` turns it into the ASGI application.

    Raises:
        EngineFailed: the engine that the settings ask for cannot run here.
    """

    def __init__(
        self,
        settings: Settings,
        recipe: Recipe,
        weights: Weights | None = None,
        *,
        busy_message: str = "The server is busy",
    ) -> None:
        limits = settings.limits
        self.settings = settings
        admission = Admission(limits.slots, limits.queue_max, busy_message=busy_message)
        self.lane = Lane(choose(settings, recipe, weights), admission)
        self.reader = Reader(limits, page_source(settings))
        self.access, self.watchers = key_door(settings)

    @property
    def state(self) -> EngineState:
        return self.lane.engine.state()

    async def answer(
        self,
        exchange: Exchange,
        request: Request,
        *,
        whole: Callable[[Result], Reply],
        writer: DeltaWriter | None = None,
    ) -> Answer:
        """As `Reader.answer`, on the one lane."""
        return await self.reader.answer(exchange, request, self.lane, whole=whole, writer=writer)

    def app(
        self,
        routes: Sequence[Route],
        *,
        write_error: Callable[[OcrError], Reply],
        document: dict[str, Any],
    ) -> ServiceApp:
        engine, admission = self.lane.engine, self.lane.admission
        return ServiceApp(
            Frame(
                routes=routes,
                shut=admission.close,
                load=lambda: (admission.waiting, admission.in_flight),
                cors_origins=self.settings.cors_origins,
                access=self.access,
                open=engine.open,
                close=engine.close,
                ready=lambda: "" if self.state.ready else self.state.why or "loading",
                headers=lambda: {"x-ocr-engine": engine.name},
                write_error=write_error,
                document=document,
                metrics=Metrics(self.settings.service),
                resources=(self.reader.pages, *self.watchers),
            )
        )


def key_door(settings: Settings) -> tuple[Access | None, list[Watcher]]:
    """Who may ask the service, and the watch over its file of keys. How often each may ask is
    counted by the router alone: one request of a client can be many here.

    Raises:
        SettingError: the file is wrong.
    """
    if settings.keys_file is None:
        return None, []
    access, watches = make_door(settings.keys_file, counts=False)
    return access, [Watcher(watches)]


def page_source(settings: Settings) -> PageSource:
    return PageSource(
        settings.limits,
        folders=settings.image_folders,
        allow_private_urls=settings.allow_private_urls,
    )
