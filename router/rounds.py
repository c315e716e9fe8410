"""When each of several things is looked at next: jittered, bounded in number, sooner for those that
are down; and the loop that looks.

`Rounds` decides on a clock that is passed in; `keep` alone waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

JITTER: Final = 0.2
"""Each pause is up to this part longer or shorter, so that looks spread out by themselves."""

WAIT_S_MAX: Final = 60.0
"""The loop looks at its clock at least this often; wall time and a machine's sleep may differ."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How often one looks."""

    up_s: Annotated[float, Meta(gt=0, description="pause between looks at what is well")]
    down_s: Annotated[float, Meta(gt=0, description="pause between looks at what is not")]
    timeout_s: Annotated[float, Meta(gt=0, description="a look that takes longer has failed")]
    at_once_max: Annotated[int, Meta(ge=1, description="looks under way at once")]


class Rounds:
    """What is due, what is under way, and when to ask again."""

    def __init__(self, pace: Pace, chance: Callable[[], float]) -> None:
        self.pace = pace
        self._chance = chance
        self._due_s: dict[str, float] = {}
        self._under_way: set[str] = set()

    def __repr__(self) -> str:
        return f"<Rounds {len(self._due_s)} kept, {len(self._under_way)} under way>"

    def set_keys(self, keys: Iterable[str], now_s: float) -> None:
        """Look at these from now on; new ones at once."""
        self._due_s = {key: self._due_s.get(key, now_s) for key in keys}

    def take(self, now_s: float) -> list[str]:
        """Those to be looked at now, longest due first; they are under way until `done`."""
        due = [
            key
            for key, due_s in self._due_s.items()
            if due_s <= now_s and key not in self._under_way
        ]
        due.sort(key=self._due_s.__getitem__)
        taken = due[: max(0, self.pace.at_once_max - len(self._under_way))]
        self._under_way.update(taken)
        return taken

    def done(self, key: str, now_s: float, *, up: bool) -> None:
        self._under_way.discard(key)
        if key in self._due_s:  # it may have been given up meanwhile
            pause_s = self.pace.up_s if up else self.pace.down_s
            self._due_s[key] = now_s + pause_s * (1 + JITTER * (2 * self._chance() - 1))

    def wake_s(self) -> float | None:
        """When the next one is due; none while nothing is, or no more may be under way."""
        if len(self._under_way) >= self.pace.at_once_max:
            return None
        waiting = (due_s for key, due_s in self._due_s.items() if key not in self._under_way)
        return min(waiting, default=None)


async def keep(
    rounds: Rounds,
    look: Callable[[str], Awaitable[bool]],
    stirred: asyncio.Event,
    clock: Callable[[], float],
) -> None:
    """Look at everything in its turn until cancelled; `look` says whether all is well there.

    Set `stirred` after a change of the keys, or the loop sleeps on.
    """

    async def one(key: str) -> None:
        up = False
        try:
            up = await look(key)
        finally:
            rounds.done(key, clock(), up=up)
            stirred.set()

    async with asyncio.TaskGroup() as group:
        while True:
            stirred.clear()
            for key in rounds.take(clock()):
                group.create_task(one(key))
            wake_s = rounds.wake_s()
            wait_s = WAIT_S_MAX if wake_s is None else wake_s - clock()
            try:
                async with asyncio.timeout(min(max(0.0, wait_s), WAIT_S_MAX)):
                    await stirred.wait()
            except TimeoutError:
                pass  # something is due
