"""What all five services do alike: wait for a slot, let the engine read under a deadline, answer
whole or streamed, and count what happened. Dialects and engines are handed in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from shared.admission import Admission
from shared.engine.protocol import Engine
from shared.errors import EngineFailed, ModelNotLoaded, TimedOut
from shared.exchange import Answer, Exchange
from shared.http import Reply
from shared.limits import Limits
from shared.ocr import Delta, Done, Request, Result, fold
from shared.pages import PageSource
from shared.streams import DeltaWriter, stream_deltas
from shared.wire import fleet


class Lane:
    """An engine with its own slots and queue: one model, one device."""

    def __init__(self, engine: Engine, admission: Admission) -> None:
        self.engine = engine
        self.admission = admission

    def check_loaded(self) -> None:
        """Raises `ModelNotLoaded` until the engine is ready."""
        if not self.engine.state().ready:
            raise ModelNotLoaded("Model not loaded", detail=self.engine.state().why)


class Reader:
    """Reads requests on lanes. One per process; holds no state of a request."""

    def __init__(self, limits: Limits, pages: PageSource) -> None:
        self.limits = limits
        self.pages = pages

    async def deltas(
        self, exchange: Exchange, request: Request, lane: Lane
    ) -> AsyncGenerator[Delta, None]:
        """The engine's deltas for the request: pages fetched first, then a slot, then the work.

        The slot is free again before `Done` is handed out, so a client that asks again the moment
        its answer ends does not meet itself.

        Raises:
            OcrError: of any kind; `TimedOut` when the engine is too slow.
        """
        exchange.caller.check_model(request.model)
        pages, exchange.sizes = await self.pages.gather(request.pages)
        exchange.pages += len(pages)
        exchange.model, exchange.task = request.model, request.task
        exchange.facts["x-ocr-engine"] = lane.engine.name  # models of one service may differ in it
        ready = msgspec.structs.replace(request, pages=pages)
        done: Done | None = None
        entered = 0.0
        async with (
            lane.admission.slot(),
            aclosing(lane.engine.read(ready)) as stream,
            aclosing(self._timed(stream, streaming=request.stream)) as timed,
        ):
            entered = time.perf_counter()
            async for delta in timed:
                exchange.saw(delta)
                if isinstance(delta, Done):
                    done = delta
                    break
                yield delta
        if done is None:
            raise EngineFailed("The answer ended early", detail="no Done from the engine")
        exchange.work_s = time.perf_counter() - entered
        yield done

    async def _timed(
        self, stream: AsyncGenerator[Delta, None], *, streaming: bool
    ) -> AsyncGenerator[Delta, None]:
        """One deadline for a whole answer; for a stream until its first delta, then a silence."""
        loop = asyncio.get_running_loop()
        deadline, bound_s = loop.time() + self.limits.timeout_s, self.limits.timeout_s
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    delta = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise TimedOut(f"The request took longer than {bound_s:g} seconds") from error
            yield delta
            if streaming:
                bound_s = self.limits.silence_s
                deadline = loop.time() + bound_s

    async def whole(self, exchange: Exchange, request: Request, lane: Lane) -> Result:
        """The whole answer, given up when the client hangs up."""
        return await exchange.until_hangup(self.folded(exchange, request, lane))

    async def folded(self, exchange: Exchange, request: Request, lane: Lane) -> Result:
        """The whole answer, for callers that watch the client themselves (batches)."""
        async with aclosing(self.deltas(exchange, request, lane)) as stream:
            return await fold(stream)

    async def answer(
        self,
        exchange: Exchange,
        request: Request,
        lane: Lane,
        *,
        whole: Callable[[Result], Reply],
        writer: DeltaWriter | None = None,
    ) -> Answer:
        """Answer as the request asks: the fleet's own way, streamed, or whole.

        `whole` writes the whole answer, `writer` a streamed one where the client asked for it.
        """
        lane.check_loaded()
        asked_by_fleet = fleet.is_asked(exchange.incoming)
        if asked_by_fleet:
            writer = fleet.DeltaWriter()
        if writer is None:
            request = msgspec.structs.replace(request, stream=False)
            return whole(await self.whole(exchange, request, lane))
        request = msgspec.structs.replace(request, stream=True)
        answer = await stream_deltas(exchange, self.deltas(exchange, request, lane), writer)
        if asked_by_fleet:
            answer.headers = {**answer.headers, fleet.HEADER: fleet.VALUE}
        return answer
