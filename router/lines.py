"""The lines of waiting requests in front of one service: one per client, served in turn.

Order and sums only; who is served or sent away is decided in `schedule.py`.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from router.replica import Replica
from shared.errors import Busy

DEADLINES_SLACK: Final = 64
"""Deadlines of tickets that wait no longer are swept once they are the half, and this many."""


class Ticket:
    """One request's wish for a slot: it waits, has a replica or a refusal, and is left once."""

    __slots__ = (
        "again",
        "client",
        "deadline_s",
        "is_left",
        "proven",
        "refusal",
        "replica",
        "seated_s",
        "share",
        "since_s",
        "size_bytes",
        "tried",
    )

    def __init__(
        self,
        *,
        client: str,
        size_bytes: int,
        since_s: float,
        deadline_s: float,
        tried: frozenset[str] = frozenset(),
        share: float = 1.0,
        again: bool = False,
    ) -> None:
        self.client = client
        self.size_bytes = size_bytes
        self.since_s = since_s
        self.deadline_s = deadline_s
        self.tried = tried
        """URLs to avoid as long as another replica lives."""
        self.share = share
        self.again = again
        """It had its turn and lost it through no fault of its own: it stands first in its line."""
        self.replica: Replica | None = None
        self.refusal: Busy | None = None
        self.seated_s = 0.0
        self.proven = False
        """Whether its time in the slot tells how long a request lasts."""
        self.is_left = False

    @property
    def waits(self) -> bool:
        return self.replica is None and self.refusal is None and not self.is_left


Line = OrderedDict[Ticket, None]


class Lines:
    """First come, first served within a client, but for second tries; the clients take turns."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._by_client: OrderedDict[str, Line] = OrderedDict()
        """Whose turn is next stands first."""
        self._count = 0
        self._deadlines: list[tuple[float, int, Ticket]] = []
        self._numbers = 0

    def __len__(self) -> int:
        return self._count

    def append(self, ticket: Ticket) -> None:
        line = self._by_client.setdefault(ticket.client, OrderedDict())
        line[ticket] = None
        if ticket.again:
            line.move_to_end(ticket, last=False)
        self._count += 1
        self.size_bytes += ticket.size_bytes
        self._numbers += 1
        heapq.heappush(self._deadlines, (ticket.deadline_s, self._numbers, ticket))
        if len(self._deadlines) > 2 * self._count + DEADLINES_SLACK:
            self._deadlines = [entry for entry in self._deadlines if entry[2].waits]
            heapq.heapify(self._deadlines)

    def remove(self, ticket: Ticket) -> None:
        line = self._by_client[ticket.client]
        del line[ticket]
        if not line:
            del self._by_client[ticket.client]
        self._count -= 1
        self.size_bytes -= ticket.size_bytes
        if not self._count:
            self._deadlines.clear()

    def turn_over(self, client: str) -> None:
        """The client has had its turn."""
        if client in self._by_client:
            self._by_client.move_to_end(client)

    def in_turn(self) -> Iterator[Line]:
        return iter(self._by_client.values())

    def tickets(self) -> list[Ticket]:
        return [ticket for line in self._by_client.values() for ticket in line]

    # ---- time

    @property
    def deadline_s(self) -> float:
        """No ticket's patience ends earlier; ask only while somebody waits."""
        return self._deadlines[0][0]

    def expired(self, now_s: float) -> list[Ticket]:
        """Those whose patience has ended; each is told once and must be removed."""
        found = []
        while self._deadlines and (
            self._deadlines[0][0] <= now_s or not self._deadlines[0][2].waits
        ):
            ticket = heapq.heappop(self._deadlines)[2]
            if ticket.waits:
                found.append(ticket)
        return found

    def firsts_s(self) -> list[float]:
        """Since when the first of each line has waited."""
        return [next(iter(line)).since_s for line in self._by_client.values()]

    # ---- places

    def before_last_of(self, client: str) -> int:
        """Tickets served until the last of a client's line is, itself included."""
        own = len(self._by_client.get(client, ())) or 1
        others = (len(line) for name, line in self._by_client.items() if name != client)
        return own + sum(min(length, own) for length in others)

    def last_of_longest(self, client: str, *, by_bytes: bool) -> Ticket:
        """Who gives way in a full queue: the last of the client that fills it most; in doubt, of
        `client`. Otherwise whoever sends most would shut all others out."""

        def length(name: str) -> tuple[int, bool]:
            line = self._by_client[name]
            amount = sum(ticket.size_bytes for ticket in line) if by_bytes else len(line)
            return amount, name == client

        return next(reversed(self._by_client[max(self._by_client, key=length)]))
