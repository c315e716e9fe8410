"""Who may work now: a fixed number of slots, a bounded queue in front of them, and the door itself.

Decides only; what runs inside a slot is its caller's business. One `Admission` belongs to one event
loop and is not thread-safe.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.errors import Busy

FIRST_GUESS_S = 1.0
"""How long a request is taken to last before one has been measured."""

SMOOTHING = 0.2
"""Weight of the newest duration in the running mean that `Retry-After` is computed from."""


class Admission:
    """`slots` requests at work, `queue_max` more waiting in the order they came."""

    def __init__(
        self, slots: int, queue_max: int, *, busy_message: str = "The server is busy"
    ) -> None:
        self.slots = slots
        self.queue_max = queue_max
        self.waiting = 0
        self.in_flight = 0
        self.closed = False
        self._busy_message = busy_message
        self._free = asyncio.Semaphore(slots)
        self._mean_s = FIRST_GUESS_S

    def __repr__(self) -> str:
        return f"<Admission {self.in_flight}/{self.slots} at work, {self.waiting} waiting>"

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot for the time of the block.

        Raises:
            Busy: all slots are taken and the queue is full, or the door is closed.
        """
        await self._enter()
        self.in_flight += 1
        started = time.monotonic()
        try:
            yield
        finally:
            self.in_flight -= 1
            self._mean_s += SMOOTHING * (time.monotonic() - started - self._mean_s)
            self._free.release()

    async def _enter(self) -> None:
        if self.closed:
            raise Busy("The server is shutting down", retry_after_s=self.retry_after_s())
        if self._free.locked() and self.waiting >= self.queue_max:
            raise Busy(self._busy_message, retry_after_s=self.retry_after_s())
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        if self.closed:
            self._free.release()
            raise Busy("The server is shutting down", retry_after_s=self.retry_after_s())

    def close(self) -> None:
        """Refuse all new work; what waits is refused when its turn comes, what runs may finish."""
        self.closed = True

    def retry_after_s(self) -> int:
        """Whole seconds until a request that comes now would probably find a slot; at least 1."""
        ahead = self.in_flight + self.waiting
        return max(1, math.ceil(self._mean_s * ahead / self.slots))
