"""How many bytes of bodies the router holds at once, over all requests; past that, uploads wait.

No two uploads can wait for each other for ever: a body whose length is known is reserved before its
first byte, and of those that grow in steps one at a time, the fullest, may overdraw the budget, so
that one always comes to its end. At any moment the bytes held are at most the budget and one body.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from shared.errors import Busy

STEP_BYTES: Final = 256 * 1024
"""Bodies of unknown length grow in such steps: four questions for each megabyte."""

WAITING_MAX: Final = 4096
"""Uploads that may wait; each costs a connection and a kernel buffer, none of our memory."""

FIRST_GUESS_S: Final = 1.0
"""How long a body is taken to be held before one has been measured."""

SMOOTHING: Final = 0.2
"""Weight of the newest duration in the running mean that `Retry-After` is computed from."""

RETRY_AFTER_S_MAX: Final = 600
"""The most patient client known waits this long."""


class Budget:
    """`async with budget.hold(content_length) as hold:` around a body's whole life."""

    def __init__(
        self,
        bytes_max: int,
        wait_s: float,
        *,
        waiting_max: int = WAITING_MAX,
        step_bytes: int = STEP_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wait_s = wait_s
        self._ledger = Ledger(bytes_max)
        self._waiting_max = waiting_max
        self._step_bytes = step_bytes
        self._clock = clock
        self._mean_s = FIRST_GUESS_S

    def __repr__(self) -> str:
        return f"<Budget {self.held_bytes}/{self._ledger.bytes_max} bytes, {self.waiting} waiting>"

    @property
    def held_bytes(self) -> int:
        return self._ledger.held_bytes

    @property
    def waiting(self) -> int:
        return self._ledger.waiting

    @asynccontextmanager
    async def hold(self, expected_bytes: int = 0) -> AsyncIterator[Hold]:
        """Room for a body: all of it now, where its length is known.

        Raises:
            Busy: there was no room in time.
        """
        hold = Hold(self)
        try:
            if expected_bytes:
                await self.reserve(hold, expected_bytes)
            since_s = self._clock()
            yield hold
            self._mean_s += SMOOTHING * (self._clock() - since_s - self._mean_s)
        finally:
            self.release(hold, hold.reserved_bytes)

    async def grow(self, hold: Hold, missing_bytes: int) -> None:
        """Reserve what is missing, in whole steps."""
        steps = math.ceil(missing_bytes / self._step_bytes)
        await self.reserve(hold, steps * self._step_bytes)

    async def reserve(self, hold: Hold, count: int) -> None:
        wish = self._ledger.ask(hold, count)
        if wish is None:
            return
        try:
            if self._ledger.waiting > self._waiting_max:
                raise self._busy("Too many uploads are waiting for room")
            wish.granted = asyncio.get_running_loop().create_future()
            async with asyncio.timeout(self.wait_s):
                await wish.granted
        except TimeoutError as error:
            raise self._busy("The server holds as many uploads as it can") from error
        finally:
            self._ledger.withdraw(wish)

    def release(self, hold: Hold, count: int) -> None:
        self._ledger.release(hold, count)

    def _busy(self, message: str) -> Busy:
        """All that is held has gone after about one mean duration, and as much again has come."""
        rounds = max(1.0, self._ledger.wished_bytes / self._ledger.bytes_max)
        retry_after_s = min(max(1, math.ceil(self._mean_s * rounds)), RETRY_AFTER_S_MAX)
        return Busy(message, retry_after_s=retry_after_s, detail=repr(self))


class Hold:
    """The bytes of one request: what is reserved for it, and what of that has come."""

    def __init__(self, budget: Budget) -> None:
        self.reserved_bytes = 0
        self.used_bytes = 0
        self._budget = budget

    async def add(self, count: int) -> None:
        """Account for so many further bytes; wait until there is room for them.

        Raises:
            Busy: there was none in time; they are not accounted for.
        """
        missing_bytes = self.used_bytes + count - self.reserved_bytes
        if missing_bytes > 0:
            await self._budget.grow(self, missing_bytes)
        self.used_bytes += count

    def drop(self, count: int) -> None:
        """So many bytes are held no longer: passed on, or thrown away."""
        if count > self.used_bytes:
            raise AssertionError(f"{count} of {self.used_bytes} bytes cannot be dropped")
        self.used_bytes -= count
        self._budget.release(self, count)

    def complete(self) -> None:
        """The body has ended: what was reserved beyond it is free for others."""
        self._budget.release(self, self.reserved_bytes - self.used_bytes)


class Wish:
    """Bytes that a hold waits for."""

    def __init__(self, hold: Hold, count: int) -> None:
        self.hold = hold
        self.count = count
        self.granted: asyncio.Future[None] | None = None


class Ledger:
    """Who holds how much and who waits for more. Decides, and never waits itself."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.held_bytes = 0
        self._growing: list[Wish] = []
        """Of those that hold bytes already."""
        self._coming: deque[Wish] = deque()
        """Of those that hold none, in the order they came."""
        self._overdrawn: Hold | None = None
        """Who was granted more than there was; it gets all it asks, until the bound holds again."""

    @property
    def waiting(self) -> int:
        return len(self._growing) + len(self._coming)

    @property
    def wished_bytes(self) -> int:
        return sum(wish.count for wish in (*self._growing, *self._coming))

    def ask(self, hold: Hold, count: int) -> Wish | None:
        """None: the bytes are reserved. Otherwise the wish that waits for them."""
        wish = Wish(hold, count)
        (self._growing if hold.reserved_bytes else self._coming).append(wish)
        return None if wish in self._serve() else wish

    def withdraw(self, wish: Wish) -> None:
        """Nobody waits for it any longer; right for one that was granted, too."""
        for wishes in (self._growing, self._coming):
            if wish in wishes:
                wishes.remove(wish)
                self._serve()  # whoever stood behind it may fit

    def release(self, hold: Hold, count: int) -> None:
        hold.reserved_bytes -= count
        self.held_bytes -= count
        if self.held_bytes <= self.bytes_max:
            self._overdrawn = None
        self._serve()

    def _serve(self) -> list[Wish]:
        """Grant what fits and wake who waited for it.

        Those that hold bytes come first: whom others wait for must come to an end. Of them whoever
        overdraws, then the fullest, as it ends soonest. Then the newcomers, in their order; a large
        one is not overtaken by small ones for ever.
        """
        served: list[Wish] = []
        while self._growing:
            fullest = max(
                self._growing,
                key=lambda wish: (wish.hold is self._overdrawn, wish.hold.reserved_bytes),
            )
            if not self._grant(fullest):
                break
            self._growing.remove(fullest)
            served.append(fullest)
        while not self._growing and self._coming and self._grant(self._coming[0]):
            served.append(self._coming.popleft())
        for wish in served:
            if wish.granted is not None and not wish.granted.done():
                wish.granted.set_result(None)
        return served

    def _grant(self, wish: Wish) -> bool:
        if self.held_bytes + wish.count > self.bytes_max:
            if self._overdrawn is not None and self._overdrawn is not wish.hold:
                return False
            if not wish.hold.reserved_bytes and wish.count <= self.bytes_max:
                return False  # it holds nothing that anybody waits for, and will fit in time
            self._overdrawn = wish.hold
        wish.hold.reserved_bytes += wish.count
        self.held_bytes += wish.count
        return True
