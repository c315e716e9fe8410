"""One service's replicas and its queue, to be awaited: a seat is a slot on a replica for a while.

`schedule.py` decides; this module only waits, wakes, and keeps the clock.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Self

import structlog

from router.lines import Ticket
from router.replica import BreakerState, Failure, Health, Replica
from router.retries import RetryBudget
from router.schedule import PoolSettings, PoolState, Schedule

TICK_S_MIN: Final = 0.001
"""No timer is shorter: a clock that stands still must not become a busy loop."""

TICK_S_MAX: Final = 60.0
"""Nor longer: nobody's patience then has to be a number that the loop's timers can hold."""

DEFAULTS: Final = PoolSettings()

log = structlog.get_logger("ocr_fleet.router")


class Seat:
    """A slot on a replica, held until the block ends. Say how it went, or it tells nothing.

    `succeeded` may be said at the first delta already, and `failed` after it, when the rest is cut.
    """

    __slots__ = ("_pool", "_ticket")

    def __init__(self, pool: Pool, ticket: Ticket) -> None:
        self._pool = pool
        self._ticket = ticket

    async def __aenter__(self) -> Self:
        try:
            await self._pool.enter(self._ticket)
        except BaseException:  # cancelled, too: the place goes to the next at once
            self._pool.leave(self._ticket)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.leave(self._ticket)

    @property
    def replica(self) -> Replica:
        assert self._ticket.replica is not None, "a seat has a replica inside its block only"
        return self._ticket.replica

    @property
    def url(self) -> str:
        return self.replica.url

    @property
    def waited_s(self) -> float:
        return self._ticket.seated_s - self._ticket.since_s

    def succeeded(self, latency_s: float) -> None:
        """The replica answers; `latency_s` is the time to the first delta."""
        self._pool.succeeded(self._ticket, latency_s)

    def failed(self, kind: Failure, why: str = "") -> None:
        """The replica is to blame. What the request did wrong itself is no failure."""
        self._pool.failed(self._ticket, kind, why)

    def busy(self, retry_after_s: float | None = None) -> None:
        """The replica answered 429 or 503; it is left alone for as long as it asked."""
        self._pool.busy(self._ticket, retry_after_s)


class Pool:
    """`async with pool.seat(client="...", patience_s=60) as seat:` and ask `seat.url`."""

    def __init__(
        self,
        name: str,
        settings: PoolSettings = DEFAULTS,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._settings = settings
        self._clock = clock
        self._schedule = Schedule(name, settings, chance)
        self._retries = RetryBudget(settings.retries, clock())
        self._turns: dict[Ticket, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = 0.0

    def __repr__(self) -> str:
        return repr(self._schedule).replace("<Schedule", "<Pool")

    def seat(
        self,
        *,
        client: str,
        size_bytes: int = 0,
        patience_s: float,
        tried: frozenset[str] = frozenset(),
        share: float | None = None,
        again: bool = False,
    ) -> Seat:
        """Wait for a slot and hold it for the time of an `async with` block, entered once.

        `tried` are URLs that failed this request already: they are taken only if no other lives.
        `share` is the part of all slots this client may hold, where its key has one of its own.
        `again` is a second try: it counts for no new request and stands first in its client's line.

        Raises:
            Busy: no replica lives, the queue is full or too slow for that patience.
        """
        now_s = self._clock()
        ticket = Ticket(
            client=client,
            size_bytes=size_bytes,
            since_s=now_s,
            deadline_s=now_s + patience_s,
            tried=tried,
            share=self._settings.client_share if share is None else share,
            again=again,
        )
        if not again:
            self._retries.request(now_s)
        return Seat(self, ticket)

    def may_retry(self) -> bool:
        """Take one retry from the service's budget, if it has one left.

        For failures. A busy answer needs none: the pause it brings bounds how often one is asked.
        """
        return self._retries.retry(self._clock())

    def set_replicas(self, slots_by_url: Mapping[str, int]) -> None:
        """Take on these replicas and let all others finish; nobody who waits or works is lost."""
        self._settle(self._schedule.set_replicas(slots_by_url, self._clock()))

    def probed(self, url: str, health: Health) -> None:
        """An active probe has found this."""
        replica = self._schedule.replicas.get(url)
        before = self._breaker_of(replica)
        self._settle(self._schedule.probed(url, health, self._clock()))
        self._tell(replica, before)

    def snapshot(self) -> PoolState:
        return self._schedule.snapshot(self._clock())

    def close(self) -> None:
        """Refuse who waits and who comes; who has a seat may finish."""
        self._settle(self._schedule.close(self._clock()))

    # ---- what seats say

    async def enter(self, ticket: Ticket) -> None:
        self._settle(self._schedule.ask(ticket, self._clock()))
        if ticket.waits:
            turn = asyncio.get_running_loop().create_future()
            self._turns[ticket] = turn
            try:
                await turn
            finally:
                del self._turns[ticket]
        if ticket.refusal is not None:
            raise ticket.refusal

    def leave(self, ticket: Ticket) -> None:
        self._settle(self._schedule.leave(ticket, self._clock()))

    def succeeded(self, ticket: Ticket, latency_s: float) -> None:
        before = self._breaker_of(ticket.replica)
        self._settle(self._schedule.succeeded(ticket, latency_s, self._clock()))
        self._tell(ticket.replica, before)

    def failed(self, ticket: Ticket, kind: Failure, why: str) -> None:
        before = self._breaker_of(ticket.replica)
        self._settle(self._schedule.failed(ticket, kind, why, self._clock()))
        self._tell(ticket.replica, before)

    def busy(self, ticket: Ticket, retry_after_s: float | None) -> None:
        self._settle(self._schedule.busy(ticket, retry_after_s, self._clock()))

    # ---- waiting and waking

    def _settle(self, settled: Iterable[Ticket]) -> None:
        for ticket in settled:
            turn = self._turns.get(ticket)
            if turn is not None and not turn.done():
                turn.set_result(None)
        if self._timer is not None or self._schedule.waiting:
            self._set_timer()

    def tick(self) -> None:
        """Time has passed. The pool's own timer calls this; tests that own the clock do too."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._settle(self._schedule.advance(self._clock()))

    def _set_timer(self) -> None:
        """One timer, which may come too early but never too late."""
        now_s = self._clock()
        wake_s = self._schedule.wake_s(now_s)
        if self._timer is not None and (wake_s is None or wake_s < self._timer_s):
            self._timer.cancel()
            self._timer = None
        if wake_s is not None and self._timer is None:
            self._timer_s = wake_s
            delay_s = min(max(TICK_S_MIN, wake_s - now_s), TICK_S_MAX)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self.tick)

    # ---- the log

    def _breaker_of(self, replica: Replica | None) -> BreakerState:
        return BreakerState.CLOSED if replica is None else replica.breaker.state(self._clock())

    def _tell(self, replica: Replica | None, before: BreakerState) -> None:
        """Log that a replica's breaker has opened or closed."""
        after = self._breaker_of(replica)
        if replica is None or after is before:
            return
        said = {"service": self.name, "replica": replica.url, "breaker": str(after)}
        if after is BreakerState.OPEN:
            log.warning("replica_left_alone", why=replica.why, **said)
        else:
            log.info("replica_back", **said)
