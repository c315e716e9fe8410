"""The order in which a page's lines are read: the plans' own, a few steps ahead of the block that
is due. Steps are handed to the crew here; what a line says is the reader's business."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Final

import msgspec

from shared.engine.embedded.blocks import is_told, telling
from shared.engine.embedded.crew import Crew
from shared.engine.embedded.lines import Line, Plan, Span
from shared.engine.embedded.models import recogniser_width
from shared.engine.embedded.reader import PageReader
from shared.engine.embedded.sheet import sides

CHUNK_PX: Final = 640
"""Lines of this width together make one step of recognition: some 20 ms of a core."""

AHEAD: Final = 2
"""Steps of recognition per thread that one page may have queued."""


async def read_lines(
    crew: Crew, plans: Sequence[Plan], reader: PageReader, early: dict[Span, Line]
) -> AsyncGenerator[tuple[Plan, list[Line]], None]:
    """Read the plans' spans in order, a few steps ahead of the block that is due.

    What was read `early` is not read again.
    """
    spans_by_plan = [reader.joined(plan.category, plan.spans) for plan in plans]
    chunks = _chunks([span for spans in spans_by_plan for span in spans if span not in early])
    ahead: deque[asyncio.Future[list[Line]]] = deque()
    read = dict(early)
    try:
        for plan, spans in zip(plans, spans_by_plan, strict=True):
            while any(span not in read for span in spans):
                while len(ahead) < AHEAD * crew.threads and (chunk := next(chunks, None)):
                    ahead.append(crew.submit(reader.read, chunk))
                lines = await ahead.popleft()
                read.update((line.span, line) for line in lines)
            yield plan, [read.pop(span) for span in spans]
    finally:
        for future in ahead:
            future.cancel()


async def read_early(
    crew: Crew, reader: PageReader, spans: Sequence[Span], until: asyncio.Future[Any]
) -> dict[Span, Line]:
    """Lines read while something else is at work, in the detector's order."""
    early: dict[Span, Line] = {}
    for chunk in _chunks(spans):
        if until.done() or crew.threads < 2:
            break
        early.update((line.span, line) for line in await crew.do(reader.read, chunk))
    return early


async def read_outline(
    crew: Crew, plans: Sequence[Plan], reader: PageReader
) -> AsyncGenerator[tuple[Plan, list[Line]], None]:
    """Of each plan only what decides its category is read."""
    bare = [msgspec.structs.replace(plan, spans=telling(plan)) for plan in plans]
    at = 0
    async with aclosing(read_lines(crew, bare, reader, {})) as read:
        async for _, lines in read:
            plan, at = plans[at], at + 1
            if not is_told(plan, lines):
                lines += await crew.do(reader.read, plan.spans[1:])  # noqa: PLW2901
            yield plan, lines


def _chunks(spans: Sequence[Span]) -> Iterator[list[Span]]:
    chunk: list[Span] = []
    width = 0
    for span in spans:
        short, long = sorted(sides(span.quad))
        width += recogniser_width(long, short)
        chunk.append(span)
        if width >= CHUNK_PX:
            yield chunk
            chunk, width = [], 0
    if chunk:
        yield chunk
