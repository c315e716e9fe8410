"""One replica of a service as the router knows it: its slots, its breaker, what it last said.

State and rules only: the clock comes in with every call, and nothing here waits or does I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

JITTER: Final = 0.25
"""Back-off is lengthened by up to this part, so that replicas that fell together are not all tried
again in the same instant."""

SMOOTHING: Final = 0.2
"""Weight of the newest value in a running mean."""


class Failure(StrEnum):
    """What speaks against the replica, and not against the request."""

    CONNECT = "connect"
    GARBAGE = "garbage"
    TIMEOUT = "timeout"
    CUT = "cut"


class Health(StrEnum):
    """What an active probe found."""

    READY = "ready"
    NOT_READY = "not_ready"
    """It answers, and says that it cannot serve: a model that is loading."""
    SILENT = "silent"
    """No answer in time. A serial server at work is silent too."""
    DEAD = "dead"
    """Refused, or an answer that is no HTTP."""


class BreakerState(StrEnum):
    """Whether requests pass; see `Breaker`."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a replica is left alone, and for how long."""

    failures_max: Annotated[
        int, Meta(ge=1, description="failures in a row after which a replica is left alone")
    ] = 3
    """One lost connection is chance, three in a row are a dead process."""
    backoff_s: Annotated[float, Meta(gt=0, description="first pause before a trial request")] = 1.0
    backoff_s_max: Annotated[float, Meta(gt=0, description="longest pause before a trial")] = 30.0
    """Doubling from one second; a model needs half a minute to load."""


class ReplicaState(msgspec.Struct, frozen=True, kw_only=True):
    """A replica for `/health` and `/metrics`."""

    url: str
    slots: int
    outstanding: int
    breaker: BreakerState
    usable: bool
    """A request could be sent to it, if not this very moment."""
    ready: bool
    """What it says of itself; a probe finds out."""
    draining: bool
    paused_s: float
    """For how long it asked to be left alone (429, 503)."""
    failures: int
    latency_s: float | None
    """Running mean of the time to the first delta."""
    why: str
    """The last failure; empty when there is none since the last success."""


class Breaker:
    """Closed: requests pass. Open: none do. Half open: one may try, and its fate decides.

    Failed probes are counted apart from failed requests: a health page may well answer in front of
    an engine that does not, and must not make the failures of requests forgotten.
    """

    def __init__(self, settings: BreakerSettings, random: Callable[[], float]) -> None:
        self.failures = 0
        self.misses = 0
        self.until_s: float | None = None
        """Open before this moment, half open after it; none is closed."""
        self.trial: object | None = None
        """Who tries."""
        self._settings = settings
        self._random = random
        self._times_opened = 0

    def state(self, now_s: float) -> BreakerState:
        if self.until_s is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now_s < self.until_s else BreakerState.HALF_OPEN

    def allows(self, now_s: float) -> bool:
        match self.state(now_s):
            case BreakerState.CLOSED:
                return True
            case BreakerState.HALF_OPEN:
                return self.trial is None
            case BreakerState.OPEN:
                return False

    def failed(self, now_s: float) -> None:
        self.failures += 1
        self._weigh(self.failures, now_s)

    def missed(self, now_s: float) -> None:
        """A probe failed."""
        self.misses += 1
        self._weigh(self.misses, now_s)

    def _weigh(self, count: int, now_s: float) -> None:
        match self.state(now_s):
            case BreakerState.CLOSED:
                if count >= self._settings.failures_max:
                    self._open(now_s)
            case BreakerState.HALF_OPEN:
                self._open(now_s)
            case BreakerState.OPEN:
                pass  # the late end of a request from before; it says nothing new

    def _open(self, now_s: float) -> None:
        backoff_s = min(
            self._settings.backoff_s * 2**self._times_opened, self._settings.backoff_s_max
        )
        # The exponent stops where the back-off does, or it would overflow after a week.
        self._times_opened += backoff_s < self._settings.backoff_s_max
        self.until_s = now_s + backoff_s * (1 + JITTER * self._random())
        self.trial = None

    def found_ready(self, now_s: float) -> None:
        """A probe was answered: reason enough for a trial now, not for full trust."""
        self.misses = 0
        if self.until_s is not None:
            self.until_s = min(self.until_s, now_s)

    def succeeded(self) -> None:
        self.failures = self.misses = self._times_opened = 0
        self.until_s = self.trial = None


class Replica:
    """One server behind a URL, and what the router knows about it."""

    def __init__(
        self, url: str, slots: int, settings: BreakerSettings, random: Callable[[], float]
    ) -> None:
        self.url = url
        self.slots = slots
        self.outstanding = 0
        self.picked = 0
        """When it was chosen last, counted in choices."""
        self.draining = False
        self.ready = True
        self.breaker = Breaker(settings, random)
        self.paused_until_s = 0.0
        self.latency_s: float | None = None
        self.why = ""

    def __repr__(self) -> str:
        marks = ", draining" if self.draining else ""
        return f"<Replica {self.url} {self.outstanding}/{self.slots}{marks}>"

    def usable(self, now_s: float) -> bool:
        """Whether a request could be sent here now or as soon as a slot is free."""
        if not self.ready or self.draining:
            return False
        return self.breaker.state(now_s) is not BreakerState.OPEN

    def free(self, now_s: float) -> bool:
        """Whether a request can be sent here this moment."""
        return (
            self.outstanding < self.slots
            and now_s >= self.paused_until_s
            and self.usable(now_s)
            and self.breaker.allows(now_s)
        )

    def failed(self, kind: Failure, why: str, now_s: float) -> None:
        self.why = f"{kind}: {why}" if why else str(kind)
        self.breaker.failed(now_s)

    def busy(self, until_s: float) -> None:
        """It answered 429 or 503: alive, and to be left alone for a while.

        A trial that ends so has shown life. A mere count of failures stays: a proxy in front of
        a dead server answers 503 too.
        """
        self.paused_until_s = max(self.paused_until_s, until_s)
        if self.breaker.until_s is not None:
            self.breaker.succeeded()

    def succeeded(self, latency_s: float) -> None:
        self.why = ""
        self.ready = True
        self.breaker.succeeded()
        if self.latency_s is None:
            self.latency_s = latency_s
        else:
            self.latency_s += SMOOTHING * (latency_s - self.latency_s)

    def probed(self, health: Health, now_s: float) -> None:
        match health:
            case Health.READY:
                self.ready = True
                self.breaker.found_ready(now_s)
            case Health.NOT_READY:
                self.ready = False
                self.breaker.found_ready(now_s)
            case Health.SILENT if self.outstanding or self.breaker.until_s is not None:
                pass  # it may do one thing at a time, ours or another's; a trial finds out
            case Health.SILENT | Health.DEAD:
                self.why = f"probe: {health}"
                self.breaker.missed(now_s)

    def snapshot(self, now_s: float) -> ReplicaState:
        return ReplicaState(
            url=self.url,
            slots=self.slots,
            outstanding=self.outstanding,
            breaker=self.breaker.state(now_s),
            usable=self.usable(now_s),
            ready=self.ready,
            draining=self.draining,
            paused_s=max(0.0, self.paused_until_s - now_s),
            failures=max(self.breaker.failures, self.breaker.misses),
            latency_s=self.latency_s,
            why=self.why,
        )
