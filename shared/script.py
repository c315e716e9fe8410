"""What the fake engine is told to do. Apart from the engine, so that settings know no engine."""

from __future__ import annotations

import msgspec

from shared.ocr import Block, Size


class FakeScript(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the fake engine does with every request."""

    text: str | None = None
    """The answer; `None` says which task and pages came in."""
    tell: bool = False
    """Answer with the whole request as JSON, each page as its length."""
    pieces: int = 4
    """In how many deltas the answer comes."""
    first_delay_s: float = 0.0
    delay_s: float = 0.0
    """Before the first delta, and before each further one."""
    load_s: float = 0.0
    fail_load: str = ""
    """A reason makes loading fail with it."""
    fail_after: int | None = None
    """Fail after that many deltas."""
    hang_after: int | None = None
    """Say nothing more after that many deltas."""
    blocks: tuple[Block, ...] = ()
    notes: tuple[str, ...] = ()
    size: Size = (200, 100)
