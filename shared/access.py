"""Who may ask, for what, and how often. Decides from a request's head and the clock it is given;
reads no body, no file and no clock of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from shared.errors import NotAllowed, RateLimited, UnknownModel
from shared.forwarding import Headers, Network, find_client
from shared.keys import Key, KeyRing

NO_KEY: Final = "An API key is needed: send Authorization: Bearer KEY or X-API-Key: KEY"
UNKNOWN_KEY: Final = "This API key is not known here"

SCHEMES: Final = frozenset({"bearer", "token"})
"""Of `Authorization`; clients of PaddleX's API say `token`."""

OPEN_PATHS: Final = frozenset({"/health", "/livez", "/readyz", "/metrics"})
"""What probes and monitoring ask, which hold no key."""

MINUTE_S: Final = 60.0

BUCKETS_MAX: Final = 16_384
"""Callers remembered for their rate; a full bucket is as good as none, so idle ones go first."""


class Caller(msgspec.Struct, frozen=True):
    """Who asks: the name of its key, or its address where no keys are asked for."""

    name: str
    key: Key | None = None

    @property
    def share(self) -> float | None:
        """The part of all slots it may hold; none: as any other."""
        return None if self.key is None else self.key.share

    def may_use(self, model: str) -> bool:
        return self.key is None or not self.key.models or model in self.key.models

    def check_model(self, model: str) -> None:
        """Raises `UnknownModel` for a model that is not for this caller, as if there were none."""
        if self.key is not None and not self.may_use(model):
            raise UnknownModel(
                f"Model '{model}' not found. Available: {', '.join(self.key.models)}",
                detail=f"the key {self.key.name} may not use it",
            )


NOBODY: Final = Caller("")
"""Before it is known who asks; may do everything."""


class Access:
    """The door. `keys` none: everybody may come in; `requests_per_minute` none: as often as they
    like, but for keys that say otherwise."""

    def __init__(
        self,
        keys: KeyRing | None = None,
        *,
        requests_per_minute: int | None = None,
        trusted: Sequence[Network] = (),
        counts: bool = True,
    ) -> None:
        self.keys = keys
        """May be set anew at any time."""
        self._rate = requests_per_minute
        self._trusted = trusted
        self._buckets = Buckets() if counts else None

    def admit(self, headers: Headers, peer: str, now_s: float) -> Caller:
        """Who asks.

        Raises:
            NotAllowed: it shows no key, or an unknown one.
            RateLimited: it asks too often.
        """
        key = self._key(headers)
        name = find_client(peer, headers, self._trusted) if key is None else key.name
        rate = self._rate if key is None else key.requests_per_minute or self._rate
        if rate is not None and self._buckets is not None:
            wait_s = self._buckets.take(name, rate, now_s)
            if wait_s > 0:
                raise RateLimited(
                    f"More than {rate} requests a minute", retry_after_s=math.ceil(wait_s)
                )
        return Caller(name, key)

    def _key(self, headers: Headers) -> Key | None:
        if self.keys is None:
            return None
        shown = shown_keys(headers)
        if not shown:
            raise NotAllowed(NO_KEY)
        found = [key for key in map(self.keys.find, shown) if key is not None]
        if not found:
            raise NotAllowed(UNKNOWN_KEY)
        return found[0]


def shown_keys(headers: Headers) -> list[str]:
    """The keys a request shows. Two are possible: SDKs insist on sending one of their own."""
    shown = []
    for name, value in headers:
        text = value.decode("latin-1").strip()
        if name == b"x-api-key":
            shown.append(text)
        elif name == b"authorization":
            scheme, _, rest = text.partition(" ")
            if scheme.lower() in SCHEMES:
                shown.append(rest.strip())
    return [one for one in shown if one]


class Buckets:
    """A token bucket for each name: a minute's requests may come at once, then they come back one
    by one."""

    def __init__(self, buckets_max: int = BUCKETS_MAX) -> None:
        self._most = buckets_max
        self._left: dict[str, tuple[float, float]] = {}
        """Requests left and when that was; who asked last stands last."""

    def __len__(self) -> int:
        return len(self._left)

    def take(self, name: str, per_minute: int, now_s: float) -> float:
        """Take one request; the seconds until there is one when there is none, else 0."""
        left, then_s = self._left.pop(name, (float(per_minute), now_s))
        per_s = per_minute / MINUTE_S
        left = min(float(per_minute), left + max(0.0, now_s - then_s) * per_s)
        wait_s = 0.0 if left >= 1 else (1 - left) / per_s
        self._left[name] = (left if wait_s else left - 1, now_s)
        while len(self._left) > self._most or self._is_idle(now_s):
            del self._left[next(iter(self._left))]
        return wait_s

    def _is_idle(self, now_s: float) -> bool:
        """Whether the one that has not asked for longest has its whole minute again."""
        _, then_s = next(iter(self._left.values()))
        return now_s - then_s >= MINUTE_S
