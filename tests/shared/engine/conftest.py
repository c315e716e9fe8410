"""One embedded engine for all tests that only read with it: opening one takes a second."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from shared.engine.protocol import Recipe

if TYPE_CHECKING:
    from shared.engine.embedded import EmbeddedEngine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Its tests share its loop."""
    for item in items:
        if pytest_asyncio.is_async_test(item) and "engine" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine() -> AsyncIterator[EmbeddedEngine]:
    from shared.engine.embedded import EmbeddedEngine

    opened = EmbeddedEngine(Recipe(model="test"), threads=2)
    await opened.open()
    yield opened
    await opened.close()
