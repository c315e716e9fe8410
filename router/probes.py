"""Active health probes: every replica is asked how it is, at a jittered pace, sooner while it is
down. Only asks and reports; what follows from an answer is decided by the replica's breaker.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from router.replica import Health
from router.rounds import Pace, Rounds, keep

PROBE_PACE: Final = Pace(up_s=5.0, down_s=1.0, timeout_s=2.0, at_once_max=32)
"""A dead replica is found out in three probes without costing a request, a living one found again
within about a second. A health page that takes two seconds says nothing useful any more."""

Probe = Callable[[str], Awaitable[Health]]
"""Asks the replica at a URL. It may raise `OSError` (that is dead) or take too long (silent)."""

Report = Callable[[str, Health, float], None]
"""URL, what was found, and how long the answer took."""


class Prober:
    """`set_targets` what to probe, and keep `run` running."""

    def __init__(
        self,
        probe: Probe,
        report: Report,
        pace: Pace = PROBE_PACE,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._probe = probe
        self._report = report
        self._clock = clock
        self._rounds = Rounds(pace, chance)
        self._targets: frozenset[str] = frozenset()
        self._stirred = asyncio.Event()

    def set_targets(self, urls: Iterable[str]) -> None:
        """Probe these and no others; new ones at once."""
        self._targets = frozenset(urls)
        self._rounds.set_keys(sorted(self._targets), self._clock())
        self._stirred.set()

    async def run(self) -> None:
        """Probe until cancelled."""
        await keep(self._rounds, self._look, self._stirred, self._clock)

    async def _look(self, url: str) -> bool:
        began_s = self._clock()
        try:
            async with asyncio.timeout(self._rounds.pace.timeout_s):
                health = await self._probe(url)
        except TimeoutError:
            health = Health.SILENT
        except OSError:
            health = Health.DEAD
        if url in self._targets:
            self._report(url, health, self._clock() - began_s)
        return health is Health.READY
