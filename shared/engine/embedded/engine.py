"""The engine for machines without a GPU: RapidOCR's models, Tesseract and geometry, on the CPU.

A page is decoded, turned upright, its lines found, planned into blocks, and read and sent on block
by block. All of that is done in the crew's threads in short steps, so pages advance side by side
and a page whose client has left takes no further step. Nothing is ever downloaded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, nullcontext
from functools import partial
from typing import Final

import cv2
import msgspec

from shared.engine.embedded import answer as answers
from shared.engine.embedded.ahead import read_early, read_lines, read_outline
from shared.engine.embedded.blocks import make_block
from shared.engine.embedded.bullets import with_bullets
from shared.engine.embedded.crew import CLOSED, Crew, core_count, give_back_memory
from shared.engine.embedded.lines import Line, Plan, Region, Rulings, Span
from shared.engine.embedded.models import Models
from shared.engine.embedded.plan import plan_page
from shared.engine.embedded.reader import PageReader, foreign_confidence
from shared.engine.embedded.rulings import find_rulings
from shared.engine.embedded.sheet import (
    Sheet,
    open_sheet,
    place,
    place_line,
    regions_of,
    spans_of,
    turned,
)
from shared.engine.embedded.tesseract import Tesseract
from shared.engine.embedded.upright import Probe, first_guess, sample, second_guess
from shared.engine.protocol import EngineState, Recipe
from shared.errors import EngineFailed, OcrError
from shared.image import inspect_page
from shared.limits import PIXELS_MAX
from shared.ocr import (
    Block,
    BytesPage,
    Category,
    Delta,
    Done,
    Page,
    Request,
    Size,
    Stop,
    Task,
    Text,
    Usage,
)
from shared.tokens import StopFilter, TokenCutter, count_tokens

log = logging.getLogger("ocr_fleet.engine")

NO_IMAGE: Final = "No image was sent, so there is nothing to read."

PAGES_PER_THREAD: Final = 2
"""Pages at work at once for each thread; further ones wait their turn. It bounds the memory, and
more at once would only make all of them late."""

LARGE_PIXELS: Final = 25_000_000
"""Larger pages are decoded one at a time, at up to 300 MB each; then they are reduced."""


PARTLY_READ: Final = frozenset({Task.TABLE, Task.LAYOUT_ONLY})
"""Tasks that need the text of some regions only."""


class EmbeddedEngine:
    """See the module.

    Args:
        recipe: the model that the engine stands in for.
        threads: how many threads work; `None` is one for each core.
        tessdata: Tesseract's language data; `None` looks at the usual places.
    """

    def __init__(
        self, recipe: Recipe, *, threads: int | None = None, tessdata: str | None = None
    ) -> None:
        self.name = "embedded/pp-ocrv6"
        self.at_work = 0
        """Requests being read."""
        self._recipe = recipe
        self._threads = threads or core_count()
        self._tessdata = tessdata
        self._tools: _Tools | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        async with self._opening:
            if self._tools is None:
                self._tools = await self._load()

    async def _load(self) -> _Tools:
        crew = Crew(self._threads)
        try:
            models = await crew.do(Models, self._threads)
            tesseract = await crew.do(Tesseract, self._tessdata)
        except Exception as error:
            await crew.close()
            reason = "the embedded engine's models cannot be loaded"
            raise EngineFailed(reason, detail=repr(error)) from error
        log.info("embedded engine ready: %d threads", self._threads)
        return _Tools(crew, models, tesseract)

    async def read(self, request: Request) -> AsyncGenerator[Delta, None]:
        tools = self._tools
        if tools is None:
            raise EngineFailed("the engine is not open")
        self.at_work += 1
        try:
            async with aclosing(_answer(tools, self._recipe, request)) as deltas:
                async for delta in deltas:
                    yield delta
        except OcrError:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if tools.closed and task is not None and not task.cancelling():
                raise EngineFailed(CLOSED) from None
            raise
        except Exception as error:
            log.exception("reading a page failed")
            raise EngineFailed("the page could not be read", detail=repr(error)) from error
        finally:
            self.at_work -= 1

    def state(self) -> EngineState:
        ready = self._tools is not None
        return EngineState(ready=ready, why="" if ready else "the models are not loaded")

    async def close(self) -> None:
        tools, self._tools = self._tools, None
        if tools is not None:
            await tools.close()


class _Tools:
    """What an open engine works with."""

    def __init__(self, crew: Crew, models: Models, tesseract: Tesseract) -> None:
        self.crew = crew
        self.models = models
        self.tesseract = tesseract
        self.slots = asyncio.Semaphore(max(4, PAGES_PER_THREAD * crew.threads))
        self.large = asyncio.Lock()
        """Held while a large page is decoded."""
        self.pages = 0
        """Pages at work."""
        self.closed = False

    async def close(self) -> None:
        self.closed = True
        await self.crew.close()
        self.tesseract.close()


class _Piece(msgspec.Struct, frozen=True):
    """A page's next piece of text, with what it comes from."""

    text: str = ""
    block: Block | None = None
    note: str | None = None


async def _answer(tools: _Tools, recipe: Recipe, request: Request) -> AsyncGenerator[Delta, None]:
    """The whole request: its pages' pieces through the stop strings and the token limit."""
    stop, cutter = StopFilter(request.sampling.stop), TokenCutter(request.sampling.max_tokens)
    blocks: list[Block] = []
    sizes: list[Size] = []
    notes: list[str] = []
    pending: tuple[str, ...] = ()
    async with aclosing(_pieces(tools, recipe, request, sizes)) as pieces:
        async for piece in pieces:
            if piece.block is not None:
                blocks.append(piece.block)
            if piece.note is not None and piece.note not in notes:
                notes.append(piece.note)
                pending += (piece.note,)
            text = cutter.feed(stop.feed(piece.text))
            if text:
                yield Text(text, pending)
                pending = ()
            if stop.stopped or cutter.cut:
                break
    rest = cutter.feed(stop.close()) + cutter.close()
    if rest:
        yield Text(rest, pending)
    yield Done(
        stop=Stop.LENGTH if cutter.cut else Stop.STOP,
        usage=Usage(count_tokens(request.prompt), cutter.count),
        blocks=tuple(blocks),
        sizes=tuple(sizes),
        notes=tuple(notes),
    )


async def _pieces(
    tools: _Tools, recipe: Recipe, request: Request, sizes: list[Size]
) -> AsyncGenerator[_Piece, None]:
    """All pages' pieces, a blank line between two pages that both say something."""
    if not request.pages:
        yield _Piece(NO_IMAGE)
    spoken = False
    for number, page in enumerate(request.pages):
        data = _bytes_of(page)
        facts = await tools.crew.do(inspect_page, data, bytes_max=len(data), pixels_max=PIXELS_MAX)
        sizes.append(facts.size)
        between = "\n\n" if spoken else ""
        async with tools.slots, aclosing(_page(tools, recipe, request, data, facts.size)) as pieces:
            async for piece in pieces:
                text = between + piece.text if piece.text else ""
                between, spoken = ("", True) if text else (between, spoken)
                block = piece.block and msgspec.structs.replace(piece.block, page=number)
                yield _Piece(text, block, piece.note)


def _bytes_of(page: Page) -> bytes:
    if not isinstance(page, BytesPage):
        raise EngineFailed("the page was not fetched", detail=type(page).__name__)
    return page.data


async def _page(
    tools: _Tools, recipe: Recipe, request: Request, data: bytes, size: Size
) -> AsyncGenerator[_Piece, None]:
    """One page, from its bytes to its last word."""
    crew, task = tools.crew, request.task
    tools.pages += 1
    try:
        box = request.box if task is Task.REGION else None
        async with tools.large if size[0] * size[1] > LARGE_PIXELS else nullcontext():
            sheet = await crew.do(open_sheet, data, size, box, PIXELS_MAX)
        async with aclosing(_read_sheet(tools, recipe, request, sheet)) as pieces:
            async for piece in pieces:
                yield piece
    finally:
        tools.pages -= 1
        crew.later(give_back_memory)


class _Layout(msgspec.Struct, frozen=True):
    """What is on an upright page besides its lines."""

    regions: tuple[Region, ...] = ()
    rulings: Rulings = Rulings()


class _Found(msgspec.Struct, frozen=True):
    """An upright page and the lines on it, before anything but the probe is read."""

    sheet: Sheet
    spans: tuple[Span, ...]
    probe: Probe
    layout: asyncio.Future[_Layout] | None
    """At work already."""


async def _read_sheet(
    tools: _Tools, recipe: Recipe, request: Request, sheet: Sheet
) -> AsyncGenerator[_Piece, None]:
    """One decoded page. While one thread looks for its regions, the others read its lines."""
    crew, task = tools.crew, request.task
    found = await _look(tools, sheet, request.language, layout=answers.needs_layout(task))
    try:
        reader = await crew.do(
            PageReader,
            tools.models,
            tools.tesseract,
            found.sheet,
            hint=request.language,
            probe=found.probe,
        )
        early: dict[Span, Line] = {}
        layout = _Layout()
        if found.layout is not None:
            if task not in PARTLY_READ and not reader.foreign:
                early = await read_early(crew, reader, found.spans, found.layout)
            layout = await found.layout
        size = found.sheet.size
        plans = await crew.do(plan_page, found.spans, layout.regions, layout.rulings, size)
        if task is Task.LAYOUT_ONLY:
            read = read_outline(crew, plans, reader)
        else:
            read = read_lines(crew, _wanted(task, plans), reader, early)
        async with aclosing(
            _blocks(tools, recipe, request, found.sheet, layout.rulings, read, reader)
        ) as pieces:
            async for piece in pieces:
                yield piece
    finally:
        if found.layout is not None:
            found.layout.cancel()


async def _look(tools: _Tools, sheet: Sheet, hint: str | None, *, layout: bool) -> _Found:
    """Turn the page upright and find its lines, and with `layout` begin to look for its regions."""
    crew, models = tools.crew, tools.models
    sheet = await crew.do(turned, sheet, await crew.do(first_guess, models, sheet))
    found = await _detect(tools, sheet, layout=layout)
    foreign = partial(foreign_confidence, tools.tesseract, hint=hint)
    try:
        more = await crew.do(second_guess, models, sheet, found.probe, foreign)
    except BaseException:
        _drop(found.layout)
        raise
    if not more:
        return found
    _drop(found.layout)
    return await _detect(tools, await crew.do(turned, sheet, more), layout=layout)


async def _detect(tools: _Tools, sheet: Sheet, *, layout: bool) -> _Found:
    """Find the lines, then read the longest of them while the regions are looked for."""
    crew, models = tools.crew, tools.models
    quads = await crew.do(models.detect, sheet.pixels, alone=tools.pages == 1)
    regions = crew.submit(_layout, models, sheet) if layout else None
    try:
        spans = await crew.do(with_bullets, sheet, await crew.do(spans_of, sheet, quads))
        chosen = await crew.do(sample, sheet, spans)
        steps = [crew.do(models.recognise, pixels) for pixels in chosen.crops]
        return _Found(sheet, spans, chosen.read(await asyncio.gather(*steps)), regions)
    except BaseException:
        _drop(regions)
        raise


def _drop(layout: asyncio.Future[_Layout] | None) -> None:
    if layout is not None:
        layout.cancel()


def _layout(models: Models, sheet: Sheet) -> _Layout:
    return _Layout(regions_of(sheet, models.regions(sheet.pixels)), _rulings(sheet))


def _rulings(sheet: Sheet) -> Rulings:
    found = find_rulings(cv2.cvtColor(sheet.pixels, cv2.COLOR_BGR2GRAY))
    across, down = sheet.scale
    return Rulings(
        horizontal=tuple((x1 * across, y * down, x2 * across) for x1, y, x2 in found.horizontal),
        vertical=tuple((x * across, y1 * down, y2 * down) for x, y1, y2 in found.vertical),
    )


async def _blocks(
    tools: _Tools,
    recipe: Recipe,
    request: Request,
    sheet: Sheet,
    rulings: Rulings,
    read_plans: AsyncGenerator[tuple[Plan, list[Line]], None],
    reader: PageReader,
) -> AsyncGenerator[_Piece, None]:
    """Compose the answer from the planned blocks as they are read."""
    crew = tools.crew
    answer = answers.open_answer(request, recipe, sheet.page)
    blocks: list[Block] = []
    lines: list[Line] = []
    async with aclosing(read_plans) as read:
        async for plan, of_block in read:
            made = await crew.do(
                make_block,
                plan,
                of_block,
                rulings,
                tables=answer.tables,
                plain=answer.plain,
            )
            block = msgspec.structs.replace(made, box=place(sheet, made.box))
            blocks.append(block)
            lines.extend(of_block)
            yield _Piece(await crew.do(answer.feed, block), block, reader.note())
    # Fields are told apart by where they stand on the upright page, phrases are shown where they
    # stand on the page as sent.
    if request.task is Task.LOCATE:
        lines = await crew.do(_placed, sheet, lines)
    note = reader.note()
    if note is not None:
        log.warning("%s", note)
    yield _Piece(await crew.do(answer.finish, blocks, lines), None, note)


def _placed(sheet: Sheet, lines: Sequence[Line]) -> list[Line]:
    return [place_line(sheet, line) for line in lines]


def _wanted(task: Task, plans: Sequence[Plan]) -> Sequence[Plan]:
    """The plans worth reading: for tables only those, if the page has any."""
    tables = [plan for plan in plans if plan.category is Category.TABLE]
    return tables if task is Task.TABLE and tables else plans
