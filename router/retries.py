"""How many requests may be tried a second time: a part of the recent ones and a small floor, so
that retries never multiply the load on a fleet that is already failing.

Counts only. Whether a request is safe to repeat is its caller's to know: before the first byte, and
where nothing was done.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class RetrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """How large the budget is."""

    share: Annotated[
        float, Meta(ge=0, le=1, description="retries for each request, in the long run")
    ] = 0.2
    """The usual figure of service meshes: a dead replica of five is made up for, an outage adds a
    fifth of the load at most."""
    floor_per_s: Annotated[
        float, Meta(ge=0, description="retries a second that are allowed however few requests come")
    ] = 2.0
    """A single client against a replica that has just died must get its page."""
    saved_max: Annotated[int, Meta(ge=1, description="unused retries kept for a burst")] = 64
    """200 parallel requests on three replicas, one of which dies, lose 67 at once."""


class RetryBudget:
    """A bucket of retries: filled by requests and by time, emptied by retries."""

    def __init__(self, settings: RetrySettings, now_s: float) -> None:
        self._settings = settings
        self._saved = float(settings.saved_max)
        self._filled_s = now_s

    def __repr__(self) -> str:
        return f"<RetryBudget {self._saved:.1f}/{self._settings.saved_max}>"

    def request(self, now_s: float) -> None:
        """A request came in (its retries are none)."""
        self._fill(self._settings.share, now_s)

    def retry(self, now_s: float) -> bool:
        """Take one retry, if there is one."""
        self._fill(0.0, now_s)
        if self._saved < 1:
            return False
        self._saved -= 1
        return True

    def _fill(self, more: float, now_s: float) -> None:
        passed_s = max(0.0, now_s - self._filled_s)
        self._filled_s = max(now_s, self._filled_s)
        saved = self._saved + more + passed_s * self._settings.floor_per_s
        self._saved = min(saved, float(self._settings.saved_max))
