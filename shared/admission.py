"""Who may work now: a fixed number of slots, a bounded queue in front of them, and the door itself.

Decides only; what runs inside a slot is its caller's business. One `Admission` belongs to one event
loop and is not thread-safe.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
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
        self.in_flight = 0
        self.closed = False
        self._busy_message = busy_message
        self._queue: deque[asyncio.Future[None]] = deque()
        self._mean_s = FIRST_GUESS_S

    def __repr__(self) -> str:
        return f"<Admission {self.in_flight}/{self.slots} at work, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot for the time of the block.

        Raises:
            Busy: all slots are taken and the queue is full, or the door is closed.
        """
        await self._enter()
        started = time.monotonic()
        try:
            yield
        finally:
            self._mean_s += SMOOTHING * (time.monotonic() - started - self._mean_s)
            self._leave()

    async def _enter(self) -> None:
        if self.closed:
            raise self._shutting_down()
        if self.in_flight < self.slots:
            self.in_flight += 1
            return
        if self.waiting >= self.queue_max:
            raise Busy(self._busy_message, retry_after_s=self.retry_after_s())
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._leave()  # cancelled in the very moment the slot was handed over
            elif turn in self._queue:
                self._queue.remove(turn)
            raise

    def _leave(self) -> None:
        """Hand the slot to whoever waits longest, or free it."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.in_flight -= 1

    def close(self) -> None:
        """Refuse all new work and all that waits; what runs may finish."""
        self.closed = True
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_exception(self._shutting_down())

    def _shutting_down(self) -> Busy:
        return Busy("The server is shutting down", retry_after_s=self.retry_after_s())

    def retry_after_s(self) -> int:
        """Whole seconds until a request that comes now would probably find a slot; at least 1."""
        ahead = self.in_flight + self.waiting
        return max(1, math.ceil(self._mean_s * ahead / self.slots))
