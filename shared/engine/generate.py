"""The engine for models that write: a page becomes a family's questions, a backend's words become
the family's answer. Knows neither a model nor what runs it.

Every page is decoded and cut to questions in the engine's own threads. Questions are told in order;
where the backend batches, several run at once, the first of them told as it comes.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from io import BytesIO
from typing import Final, Protocol

import msgspec
from PIL import Image

from shared.engine.family import Family, PageWork, Question
from shared.engine.protocol import EngineState, Recipe
from shared.errors import EngineFailed, OcrError
from shared.image import decode_page
from shared.limits import PIXELS_MAX
from shared.ocr import (
    Block,
    BytesPage,
    Delta,
    Done,
    Page,
    Request,
    Sampling,
    Size,
    Stop,
    Task,
    Text,
    Usage,
)
from shared.tokens import NO_LIMIT, StopFilter

log = logging.getLogger("ocr_fleet.engine")

THREADS_MAX: Final = 4
"""Pages decoded and resized at once: more would only wait for the model, at up to 300 MB each."""

WARM_SIZE: Final[Size] = (448, 320)
"""A page small enough to be read at once and large enough for every family's smallest size."""

WARM_TOKENS: Final = 4
"""The first tokens are what is slow the first time."""

CLOSED: Final = "the engine was closed"


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend adds to the answer to one question."""

    text: str = ""
    tokens: int = 0
    """New tokens in it; a last piece may be below 0, to put right what was only guessed."""
    prompt_tokens: int = 0
    """The question's, told once."""
    stop: Stop | None = None
    """Why the answer ended; stands in the last piece, and only there."""


class Backend(Protocol):
    """What runs a model. Raises `OcrError` kinds where it knows what went wrong."""

    name: str
    """For example `vllm/0.32`."""
    at_once: int
    """Questions of one page that may run at the same time."""
    warms_up: bool
    """A first page is read before it counts as ready."""

    async def open(self) -> None:
        """Load the model. Raises `EngineFailed` with a public reason when that cannot be."""

    def generate(self, question: Question) -> AsyncGenerator[Piece, None]:
        """The answer, piece by piece; closing the generator stops the work within one step."""

    def state(self) -> EngineState:
        """The state now; never blocks."""

    async def close(self) -> None:
        """Stop all work and free all memory. Calling it twice is harmless."""


class GeneratingEngine:
    """See the module.

    Args:
        backend: what runs the model.
        recipe: the model served.
        family: how the model wants its pages, and what its words mean.
    """

    def __init__(self, backend: Backend, recipe: Recipe, family: Family) -> None:
        self.name = backend.name
        self.at_work = 0
        """Requests being read."""
        self.backend = backend
        self._recipe = recipe
        self._family = family
        self._threads: ThreadPoolExecutor | None = None
        self._warm = False
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        async with self._opening:
            if self._threads is not None:
                return
            count = min(THREADS_MAX, len(os.sched_getaffinity(0)))
            self._threads = ThreadPoolExecutor(count, thread_name_prefix="pages")
            try:
                await self.backend.open()
                if self.backend.warms_up:
                    await self._warm_up()
            except BaseException:
                await self.close()
                raise
            self._warm = True

    async def _warm_up(self) -> None:
        """Read a small white page: what breaks or is slow the first time does so before anyone
        waits for it."""
        file = BytesIO()
        Image.new("RGB", WARM_SIZE, "white").save(file, "PNG")
        request = Request(
            model=self._recipe.model,
            task=Task.TEXT,
            pages=(BytesPage(file.getvalue()),),
            sampling=Sampling(temperature=0.0, max_tokens=WARM_TOKENS),
        )
        async with aclosing(self.read(request)) as deltas:
            async for _ in deltas:
                pass

    async def read(self, request: Request) -> AsyncGenerator[Delta, None]:
        threads = self._threads
        if threads is None:
            raise EngineFailed("the engine is not open")
        self.at_work += 1
        try:
            async with aclosing(self._answer(request, threads)) as deltas:
                async for delta in deltas:
                    yield delta
        except OcrError:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._threads is None and task is not None and not task.cancelling():
                raise EngineFailed(CLOSED) from None
            raise
        except Exception as error:
            log.exception("reading a page failed")
            raise EngineFailed("the page could not be read", detail=repr(error)) from error
        finally:
            self.at_work -= 1

    def state(self) -> EngineState:
        state = self.backend.state()
        if state.ready and not self._warm:
            return msgspec.structs.replace(state, ready=False, why="reading a first page")
        return state

    async def close(self) -> None:
        threads, self._threads = self._threads, None
        self._warm = False
        await self.backend.close()
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(
        self, request: Request, threads: ThreadPoolExecutor
    ) -> AsyncGenerator[Delta, None]:
        """The whole request: its pages one after another, through the stop strings and the bound
        on tokens."""
        answer = _Answer(request)
        loop = asyncio.get_running_loop()
        for number, page in enumerate(request.pages or (None,)):
            if number and answer.spent():
                break
            work, size = await loop.run_in_executor(threads, self._open_page, request, page)
            answer.turn(number, size)
            async with aclosing(_pieces(self.backend, work, answer)) as pieces:
                async for text in pieces:
                    if text:
                        yield Text(text)
            answer.blocks += [
                msgspec.structs.replace(block, page=number) for block in work.blocks()
            ]
        if rest := answer.close():
            yield Text(rest)
        yield answer.done()

    def _open_page(self, request: Request, page: Page | None) -> tuple[PageWork, Size | None]:
        if page is None:
            return self._family.open_page(request, None), None
        if not isinstance(page, BytesPage):
            raise EngineFailed("the page was not fetched", detail=type(page).__name__)
        image = decode_page(page.data, pixels_max=PIXELS_MAX)
        return self._family.open_page(request, image), image.size


class _Answer:
    """What the whole answer comes to: its text's bounds, its counts."""

    def __init__(self, request: Request) -> None:
        most = request.sampling.max_tokens
        self._most = None if most is None or most == NO_LIMIT else most
        self.stop = Stop.STOP
        self.usage = Usage()
        self.blocks: list[Block] = []
        self.sizes: list[Size] = []
        self.ended = False
        self._filter = StopFilter(request.sampling.stop)
        self._between = ""
        self._spoken = False

    def turn(self, number: int, size: Size | None) -> None:
        """To the next page; a blank line stands between two that both say something."""
        if size is not None:
            self.sizes.append(size)
        self._between = "\n\n" if number and self._spoken else ""

    def tell(self, text: str) -> str:
        """What of the text can be told now."""
        if not text or self.ended:
            return ""
        text, self._between, self._spoken = self._between + text, "", True
        told = self._filter.feed(text)
        self.ended = self._filter.stopped
        return told

    def tell_last(self, text: str) -> str:
        """What closes an answer that ran out of tokens."""
        self.ended = False
        told = self.tell(text)
        self.ended = True
        return told

    def count(self, piece: Piece) -> None:
        """Take a piece into account; the one that is too much ends the answer and is not told."""
        if piece.tokens > 0 and self._left() < piece.tokens:
            self.ended, self.stop = True, Stop.LENGTH
            return
        self.usage = Usage(
            self.usage.prompt_tokens + piece.prompt_tokens,
            self.usage.completion_tokens + piece.tokens,
        )
        if piece.stop is not None and piece.stop is not Stop.STOP:
            self.stop = piece.stop

    def spent(self) -> bool:
        """Whether no further page is to be read."""
        if self._left() <= 0:
            self.ended, self.stop = True, Stop.LENGTH
        return self.ended

    def _left(self) -> float:
        return math.inf if self._most is None else self._most - self.usage.completion_tokens

    def close(self) -> str:
        return self._filter.close()

    def done(self) -> Done:
        return Done(
            stop=Stop.STOP if self._filter.stopped else self.stop,
            usage=self.usage,
            blocks=tuple(self.blocks),
            sizes=tuple(self.sizes),
        )


async def _pieces(backend: Backend, work: PageWork, answer: _Answer) -> AsyncGenerator[str, None]:
    """The page's text, question by question."""
    async with aclosing(_ask_all(backend, work.questions)) as answers:
        async for number, piece in answers:
            answer.count(piece)
            if answer.ended:
                break
            text = work.feed(number, piece.text) if piece.text else ""
            if piece.stop is not None:
                text += work.end(number)
            yield answer.tell(text)
            if answer.ended:
                return
    if answer.ended:
        yield answer.tell_last(work.cut())


async def _ask_all(
    backend: Backend, questions: Sequence[Question]
) -> AsyncGenerator[tuple[int, Piece], None]:
    """The pieces of all answers in the questions' order, a few questions asked ahead."""
    if len(questions) == 1 or backend.at_once == 1:
        for number, question in enumerate(questions):
            async with aclosing(backend.generate(question)) as pieces:
                async for piece in _to_its_end(pieces):
                    yield number, piece
        return
    asked = [_Ahead(backend, question) for question in questions]
    try:
        for number, one in enumerate(asked):
            for other in asked[number : number + backend.at_once]:
                other.start()
            async for piece in one.pieces():
                yield number, piece
    finally:
        await asyncio.gather(*(one.close() for one in asked))


async def _to_its_end(pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[Piece, None]:
    """The pieces of one answer; one without its end is a failure, never a short answer."""
    async for piece in pieces:
        yield piece
        if piece.stop is not None:
            return
    raise EngineFailed("the answer ended early", detail="no stop reason from the backend")


class _Ahead:
    """One question asked before its turn. What it answers waits here, bounded by its tokens."""

    def __init__(self, backend: Backend, question: Question) -> None:
        self._backend = backend
        self._question = question
        self._got: asyncio.Queue[Piece | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async with aclosing(self._backend.generate(self._question)) as pieces:
                async for piece in _to_its_end(pieces):
                    self._got.put_nowait(piece)
        finally:
            self._got.put_nowait(None)

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        if self._task is None:
            raise AssertionError("asked before it was started")
        while (piece := await self._got.get()) is not None:
            yield piece
        await self._task

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
