"""What an engine is, in the words of the hub. Imports no engine and no model library.

An engine always streams. `read` is an async generator of hub deltas: any number of `Text`, then
exactly one `Done`, last. Closing the generator (or cancelling the task that iterates it) stops the
work, down to the last thread or GPU step, within one step of it. Engines raise `OcrError` kinds and
nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Literal, Protocol

import msgspec

from shared.ocr import Delta, Request


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine must know of the model family it serves or stands in for.

    The families' own knowledge (prompts, sizes, sampling) lives in `services/*/model.py`; this is
    the part that changes the shape of an answer.
    """

    model: str
    """The documented model id."""
    tables: Literal["markdown", "html"] = "markdown"
    """How the model writes tables in Markdown answers (layout JSON always has HTML)."""
    layout: Literal["dots", "grounding"] = "dots"
    """How the model writes `Task.LAYOUT`: dots' JSON array, or deepseek's ref/det tags."""


class EngineState(msgspec.Struct, frozen=True, kw_only=True):
    """What `/health` and `/readyz` tell of an engine."""

    ready: bool
    device: str = "cpu"
    """`cpu` or `cuda`."""
    device_name: str | None = None
    memory_used_mb: float | None = None
    """Device memory in MiB; `None` on a CPU."""
    why: str = ""
    """Why it is not ready, for the log and `/readyz`."""


class Engine(Protocol):
    """Five members; see the module's docstring for what `read` promises."""

    name: str
    """For example `embedded/pp-ocrv6`; every answer carries it as `x-ocr-engine`."""

    async def open(self) -> None:
        """Load what is needed. Raises `EngineFailed` with a public reason when that cannot be."""

    def read(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Read the request's pages, `BytesPage`s by now: fetched and checked, not decoded."""

    def state(self) -> EngineState:
        """The engine's state now; never blocks."""

    async def close(self) -> None:
        """Stop all work and free all memory. Calling it twice is harmless."""
