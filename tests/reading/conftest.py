"""One embedded engine for all reading tests, and a memory of what it has read already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from shared.engine.protocol import Engine, Recipe
from shared.ocr import BytesPage, Request, Result, Task, fold
from tests.pages import FontMissing, Page, page

Read = Callable[..., Awaitable[Result]]

READ_S_MAX = 60
"""Longest a page may take on a machine that is busy with other things."""

RECIPE = Recipe(model="test", tables="markdown", layout="dots")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine() -> AsyncIterator[Engine]:
    """Markdown tables, and dots' layout JSON, which has HTML tables whatever the recipe says."""
    pytest.importorskip("rapidocr", reason="needs the extra `embedded`")
    from shared.engine.embedded import EmbeddedEngine

    opened = EmbeddedEngine(RECIPE)
    await opened.open()
    yield opened
    await opened.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def read(engine: Engine) -> Read:
    """Reads a page for a task; the same page and task are read once."""
    known: dict[tuple[str, Task], Result] = {}

    async def once(what: Page, task: Task) -> Result:
        if (what.name, task) not in known:
            request = Request(model="test", task=task, pages=(BytesPage(what.png),))
            async with asyncio.timeout(READ_S_MAX):
                known[what.name, task] = await fold(engine.read(request))
        return known[what.name, task]

    return once


def drawn(name: str) -> Page:
    """The page of that name, or a skip that names the missing package."""
    try:
        return page(name)
    except FontMissing as missing:
        pytest.skip(str(missing))
