"""Which request goes to which replica of one service, and when: slots, queue, refusals.

A step is synchronous and does no I/O: it changes the state and returns the tickets whose waiting is
over, each with a replica or a refusal. Waiting and waking is `pool.py`'s business. The state is the
replicas, the lines of waiting tickets (one per client), and the tickets that hold a slot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from router.lines import Lines, Ticket
from router.replica import SMOOTHING, BreakerSettings, Failure, Health, Replica, ReplicaState
from router.retries import RetrySettings
from shared.errors import Busy

MIB: Final = 1024 * 1024

FIRST_GUESS_S: Final = 1.0
"""How long a request is taken to last before one has been measured."""

MEASURED_MIN: Final = 8
"""Durations measured before a prediction may refuse anybody."""

PREDICTION_MARGIN: Final = 2.0
"""A wait must be predicted this many times longer than the client's patience to refuse it at once:
a wrong refusal loses a page, a wrong admission only somebody's patience."""

RETRY_AFTER_S_MAX: Final = 600
"""PaddleX waits this long, the longest of the known clients; more would be read as `never`."""


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of one service's queue."""

    queue_max: Annotated[int, Meta(ge=0, description="requests that may wait for a slot")] = 2048
    """olmOCR sends up to 1,600 at once, PaddleX 200."""
    queue_bytes_max: Annotated[
        int, Meta(ge=0, description="bodies of all waiting requests, in bytes")
    ] = 1024 * MIB
    """A hundred of the largest bodies, or two thousand ordinary pages."""
    client_share: Annotated[
        float, Meta(gt=0, le=1, description="part of all slots that one client may hold at once")
    ] = 1.0
    grace_s: Annotated[
        float, Meta(ge=0, description="how long requests wait while no replica is alive")
    ] = 3.0
    """A process restarts in less, and the first trial of a replica comes after one second."""
    pause_s: Annotated[
        float, Meta(gt=0, description="pause after a 429 or 503 without Retry-After")
    ] = 0.5
    pause_s_max: Annotated[
        float, Meta(gt=0, description="longest Retry-After that is believed")
    ] = 30.0
    breaker: BreakerSettings = BreakerSettings()
    retries: RetrySettings = RetrySettings()


class PoolState(msgspec.Struct, frozen=True, kw_only=True):
    """A service's replicas and queue for `/health`, `/readyz` and `/metrics`."""

    name: str
    alive: bool
    """At least one replica could take a request, if not this moment."""
    slots: int
    outstanding: int
    waiting: int
    waiting_bytes: int
    oldest_s: float
    """For how long the first in the queue has been waiting."""
    mean_s: float
    """Running mean of how long a request holds its slot."""
    replicas: tuple[ReplicaState, ...]


Settled = list[Ticket]
"""Tickets whose waiting is over; whoever waits for them must be woken."""


class Schedule:
    """One service: `replicas` at work, and the clients' lines in front of them."""

    def __init__(self, name: str, settings: PoolSettings, random: Callable[[], float]) -> None:
        self.replicas: dict[str, Replica] = {}
        self._name = name
        self._settings = settings
        self._random = random
        self._draining: list[Replica] = []
        self._lines = Lines()
        self._at_work: dict[str, int] = {}
        self._choices = 0
        self._mean_s = FIRST_GUESS_S
        self._measured = 0
        self._dead_since_s: float | None = None
        """Since when no replica is known to be alive; a trial on its way does not end it."""
        self._closed = False

    def __repr__(self) -> str:
        every = [*self.replicas.values(), *self._draining]
        slots = sum(replica.slots for replica in self.replicas.values())
        at_work = sum(replica.outstanding for replica in every)
        return (
            f"<Schedule {self._name} [Requests: {at_work} at work, {len(self._lines)} waiting |"
            f" Replicas: {len(self.replicas)}, {len(self._draining)} draining | Slots: {slots}]>"
        )

    @property
    def waiting(self) -> int:
        return len(self._lines)

    # ---- what happens to requests

    def ask(self, ticket: Ticket, now_s: float) -> Settled:
        """Somebody wants a slot: it has one, waits in line, or is refused."""
        if self._closed:
            return [self._refuse(ticket, "the router is shutting down", now_s)]
        if not self._lines and (replica := self._find(ticket, now_s)) is not None:
            return [self._seat(ticket, replica, now_s)]
        self._lines.append(ticket)
        settled = self._step(now_s)
        if ticket.waits and self._outlasts_patience(ticket):
            patience_s = ticket.deadline_s - now_s
            settled.append(self._expel(ticket, f"{self._name}: {_too_long(patience_s)}", now_s))
        while (victim := self._give_way(ticket)) is not None:
            settled.append(self._expel(victim, f"{self._name}: the queue is full", now_s))
        return settled

    def leave(self, ticket: Ticket, now_s: float) -> Settled:
        """It is done with its slot, or waits no longer; also right when neither was ever true."""
        if ticket.is_left:
            return []
        if ticket.waits:
            self._lines.remove(ticket)
        ticket.is_left = True
        if ticket.replica is not None:
            self._free(ticket, ticket.replica, now_s)
        return self._step(now_s)

    def failed(self, ticket: Ticket, kind: Failure, why: str, now_s: float) -> Settled:
        assert ticket.replica is not None
        ticket.proven = False
        ticket.replica.failed(kind, why, now_s)
        return self._step(now_s)

    def busy(self, ticket: Ticket, retry_after_s: float | None, now_s: float) -> Settled:
        assert ticket.replica is not None
        pause_s = self._settings.pause_s if retry_after_s is None else max(0.0, retry_after_s)
        ticket.replica.busy(now_s + min(pause_s, self._settings.pause_s_max))
        return self._step(now_s)

    def succeeded(self, ticket: Ticket, latency_s: float, now_s: float) -> Settled:
        assert ticket.replica is not None
        ticket.proven = True
        ticket.replica.succeeded(latency_s)
        return self._step(now_s)

    # ---- what happens to replicas

    def set_replicas(self, slots_by_url: Mapping[str, int], now_s: float) -> Settled:
        """The fleet has changed. Removed replicas finish what they have; new ones start at once.

        One that comes back while it drains keeps its requests and what is known about it.
        """
        for url in [url for url in self.replicas if url not in slots_by_url]:
            gone = self.replicas.pop(url)
            gone.draining = True
            self._draining.append(gone)
        for url, slots in slots_by_url.items():
            back = next((one for one in self._draining if one.url == url), None)
            if back is not None:
                self._draining.remove(back)
                back.draining = False
                self.replicas[url] = back
            elif url not in self.replicas:
                self.replicas[url] = Replica(url, slots, self._settings.breaker, self._random)
            self.replicas[url].slots = slots
        self._draining = [replica for replica in self._draining if replica.outstanding]
        return self._step(now_s)

    def probed(self, url: str, health: Health, now_s: float) -> Settled:
        replica = self.replicas.get(url)
        if replica is None:  # removed while the probe was on its way
            return []
        replica.probed(health, now_s)
        return self._step(now_s)

    def close(self, now_s: float) -> Settled:
        """Refuse all who wait and all who come; who has a slot may finish."""
        self._closed = True
        return self._expel_all("the router is shutting down", now_s)

    # ---- what happens by itself

    def advance(self, now_s: float) -> Settled:
        """Time has passed: patience ends, pauses end, trials come due."""
        settled: Settled = []
        for ticket in self._lines.expired(now_s):
            waited_s = now_s - ticket.since_s
            message = f"{self._name}: no slot became free within {waited_s:.0f} s"
            settled.append(self._expel(ticket, message, now_s))
        return settled + self._step(now_s)

    def wake_s(self, now_s: float) -> float | None:
        """When `advance` has something to do next; none while nobody waits."""
        if not self._lines:
            return None
        moments = [self._lines.deadline_s]
        for replica in self.replicas.values():
            moments += [replica.paused_until_s, replica.breaker.until_s or 0.0]
        if self._dead_since_s is not None:
            moments.append(self._dead_since_s + self._settings.grace_s)
        return min((moment for moment in moments if moment > now_s), default=now_s)

    def snapshot(self, now_s: float) -> PoolState:
        every = [*self.replicas.values(), *self._draining]
        return PoolState(
            name=self._name,
            alive=self._is_alive(now_s),
            slots=sum(replica.slots for replica in self.replicas.values()),
            outstanding=sum(replica.outstanding for replica in every),
            waiting=len(self._lines),
            waiting_bytes=self._lines.size_bytes,
            oldest_s=max(0.0, now_s - min(self._lines.firsts_s(), default=now_s)),
            mean_s=self._mean_s,
            replicas=tuple(replica.snapshot(now_s) for replica in every),
        )

    # ---- the step

    def _step(self, now_s: float) -> Settled:
        """Seat whom there is a slot for, client after client; refuse all once nothing is alive."""
        settled: Settled = []
        while self._lines:
            free = [replica for replica in self.replicas.values() if replica.free(now_s)]
            match = self._next(free, now_s) if free else None
            if match is None:
                break
            self._lines.remove(match[0])
            self._lines.turn_over(match[0].client)
            settled.append(self._seat(*match, now_s))
        self._note_death(now_s)
        if self._lines and self._is_given_up(now_s):
            answers = any(not replica.ready for replica in self.replicas.values())
            verb = "is ready" if answers else "answers"
            settled += self._expel_all(f"{self._name}: no replica {verb}", now_s)
        return settled

    def _next(self, free: list[Replica], now_s: float) -> tuple[Ticket, Replica] | None:
        """The first client's first ticket that one of the free replicas may take."""
        for line in self._lines.in_turn():
            if self._has_its_share(next(iter(line))):
                continue
            for ticket in line:
                replica = self._choose(free, ticket.tried, now_s)
                if replica is not None:
                    return ticket, replica
        return None

    def _find(self, ticket: Ticket, now_s: float) -> Replica | None:
        """A replica for somebody who comes while nobody waits."""
        free = [replica for replica in self.replicas.values() if replica.free(now_s)]
        if not free or self._has_its_share(ticket):
            return None
        return self._choose(free, ticket.tried, now_s)

    def _has_its_share(self, ticket: Ticket) -> bool:
        if ticket.share >= 1:
            return False
        slots = sum(replica.slots for replica in self.replicas.values())
        return self._at_work.get(ticket.client, 0) >= max(1, math.floor(ticket.share * slots))

    def _choose(self, free: list[Replica], tried: frozenset[str], now_s: float) -> Replica | None:
        """Least outstanding over slots, then least recently chosen; what was tried comes last.

        There are three cases:
        1. A free replica has not been tried: the best of those.
        2. None has, but one that is at work could still take it: wait for that one.
        3. All that live have been tried: the best of all, for there is no other.
        """
        fresh = [replica for replica in free if replica.url not in tried]
        if not fresh and any(
            replica.url not in tried and replica.usable(now_s) for replica in self.replicas.values()
        ):
            return None
        return min(fresh or free, key=_load)

    def _seat(self, ticket: Ticket, replica: Replica, now_s: float) -> Ticket:
        self._choices += 1
        replica.picked = self._choices
        replica.outstanding += 1
        if replica.breaker.until_s is not None:
            replica.breaker.trial = ticket
        ticket.replica = replica
        ticket.seated_s = now_s
        self._at_work[ticket.client] = self._at_work.get(ticket.client, 0) + 1
        return ticket

    def _free(self, ticket: Ticket, replica: Replica, now_s: float) -> None:
        replica.outstanding -= 1
        if replica.breaker.trial is ticket:
            replica.breaker.trial = None
        if replica.draining and not replica.outstanding:
            self._draining.remove(replica)
        self._at_work[ticket.client] -= 1
        if not self._at_work[ticket.client]:
            del self._at_work[ticket.client]
        if ticket.proven:
            lasted_s = now_s - ticket.seated_s
            weight = SMOOTHING if self._measured else 1.0
            self._mean_s += weight * (lasted_s - self._mean_s)
            self._measured += 1

    # ---- life and death

    def _is_alive(self, now_s: float) -> bool:
        return any(replica.usable(now_s) for replica in self.replicas.values())

    def _note_death(self, now_s: float) -> None:
        proven = any(
            replica.breaker.until_s is None and replica.ready for replica in self.replicas.values()
        )
        if proven:
            self._dead_since_s = None
        elif self._dead_since_s is None:
            self._dead_since_s = now_s

    def _is_given_up(self, now_s: float) -> bool:
        """Nothing lives, and has not for a while. During a trial, those who wait go on waiting."""
        since_s = self._dead_since_s
        if since_s is None or now_s < since_s + self._settings.grace_s:
            return False
        return not self._is_alive(now_s)

    # ---- refusals

    def _expel(self, ticket: Ticket, message: str, now_s: float) -> Ticket:
        self._lines.remove(ticket)
        return self._refuse(ticket, message, now_s)

    def _expel_all(self, message: str, now_s: float) -> Settled:
        return [self._expel(ticket, message, now_s) for ticket in self._lines.tickets()]

    def _refuse(self, ticket: Ticket, message: str, now_s: float) -> Ticket:
        retry_after_s = self._retry_after_s(ticket.client, now_s)
        ticket.refusal = Busy(message, retry_after_s=retry_after_s, detail=repr(self))
        return ticket

    def _give_way(self, newcomer: Ticket) -> Ticket | None:
        """Who must go because the queue is too full; a body above all its bytes may wait alone."""
        if len(self._lines) > self._settings.queue_max:
            return self._lines.last_of_longest(newcomer.client, by_bytes=False)
        if self._lines.size_bytes > self._settings.queue_bytes_max and len(self._lines) > 1:
            return self._lines.last_of_longest(newcomer.client, by_bytes=True)
        return None

    # ---- how long it will take

    def _outlasts_patience(self, ticket: Ticket) -> bool:
        if self._measured < MEASURED_MIN:
            return False
        bearable_s = PREDICTION_MARGIN * (ticket.deadline_s - ticket.since_s)
        if self._wait_s(len(self._lines)) <= bearable_s:  # the cheap upper bound
            return False
        return self._wait_s(self._lines.before_last_of(ticket.client)) > bearable_s

    def _wait_s(self, ahead: int) -> float:
        slots = sum(one.slots for one in self.replicas.values() if one.ready)
        return self._mean_s * ahead / max(1, slots)

    def _retry_after_s(self, client: str, now_s: float) -> int:
        """Whole seconds until a request of that client would probably find a slot; at least 1."""
        wait_s = self._wait_s(self._lines.before_last_of(client))
        living = [one for one in self.replicas.values() if one.usable(now_s)]
        moments = [one.paused_until_s for one in living] or [
            one.breaker.until_s or 0.0 for one in self.replicas.values() if one.ready
        ]
        if moments:
            wait_s = max(wait_s, min(moments) - now_s)
        else:  # a model that is loading says not for how long
            wait_s = max(wait_s, self._settings.breaker.backoff_s_max)
        return min(max(1, math.ceil(wait_s)), RETRY_AFTER_S_MAX)


def _load(replica: Replica) -> tuple[float, int]:
    return replica.outstanding / replica.slots, replica.picked


def _too_long(patience_s: float) -> str:
    return f"the queue is longer than {patience_s:.0f} s"
