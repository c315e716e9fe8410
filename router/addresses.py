"""Replicas behind one name: every address of a host name is a replica, and the name is resolved
again and again, for addresses come and go.

A name that cannot be resolved any more keeps the addresses it had: a name server that is down must
not take a fleet down that is up.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

import structlog

from router.rounds import Pace, Rounds, keep

RESOLVE_PACE: Final = Pace(up_s=10.0, down_s=2.0, timeout_s=5.0, at_once_max=8)
"""Kubernetes gives its records 30 s or less, Docker none; a lookup costs a packet."""

ADDRESSES_MAX: Final = 256
"""More are not replicas of an OCR service but a mistake; each would be probed every few seconds."""

Resolve = Callable[[str], Awaitable[Iterable[str]]]
"""The addresses of a host name; it may raise `OSError` or take too long."""

log = structlog.get_logger("ocr_fleet.router")


def name_in(url: str) -> str | None:
    """The host name to resolve; none where the URL stands for itself.

    That is an address already; or this machine, which is one however many addresses it has; or
    https, where the certificate names the host and not its addresses.
    """
    parts = urlsplit(url)
    host = parts.hostname
    if parts.scheme != "http" or not host or host == "localhost":
        return None
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host
    return None


def replicas_at(url: str, addresses: Iterable[str]) -> tuple[str, ...]:
    """One URL for each address, in a fixed order.

    Of one family only, IPv4 where there is one: a machine with both would count twice, and get
    twice the requests that it has slots for.
    """
    found = {ipaddress.ip_address(address.partition("%")[0]) for address in addresses}
    version = min((address.version for address in found), default=4)
    chosen = sorted(address for address in found if address.version == version)[:ADDRESSES_MAX]
    parts = urlsplit(url)
    hosts = (f"[{address}]" if version == 6 else str(address) for address in chosen)
    return tuple(
        parts._replace(netloc=host if parts.port is None else f"{host}:{parts.port}").geturl()
        for host in hosts
    )


class Addresses:
    """The entries of each service and what their names were last found to stand for."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[str, ...]] = {}
        self._found: dict[str, tuple[str, ...]] = {}

    def set_entries(self, entries: Mapping[str, Iterable[str]]) -> None:
        self._entries = {service: tuple(urls) for service, urls in entries.items()}
        names = self.names()
        self._found = {name: found for name, found in self._found.items() if name in names}

    def names(self) -> set[str]:
        every = (name_in(url) for urls in self._entries.values() for url in urls)
        return {name for name in every if name is not None}

    def urls(self, service: str) -> tuple[str, ...]:
        """The replicas of a service. A name nobody has resolved yet stands for itself."""
        every: dict[str, None] = {}
        for url in self._entries.get(service, ()):
            found = self._found.get(name_in(url) or "")
            every |= dict.fromkeys(replicas_at(url, found) if found else (url,))
        return tuple(every)

    def resolved(self, name: str, addresses: Iterable[str]) -> list[str]:
        """The services whose replicas are others now. No address at all changes nothing."""
        found = tuple(addresses)
        if not found or name not in self.names():
            return []
        before = {service: self.urls(service) for service in self._entries}
        self._found[name] = found
        return [service for service, urls in before.items() if urls != self.urls(service)]


class Resolver:
    """`set_entries` what to resolve, and keep `run` running."""

    def __init__(
        self,
        resolve: Resolve,
        changed: Callable[[str, tuple[str, ...]], None],
        pace: Pace = RESOLVE_PACE,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._resolve = resolve
        self._changed = changed
        self._clock = clock
        self._addresses = Addresses()
        self._failing: set[str] = set()
        self._rounds = Rounds(pace, chance)
        self._stirred = asyncio.Event()

    def set_entries(self, entries: Mapping[str, Iterable[str]]) -> None:
        """The URLs of each service; says at once what is known of their replicas."""
        self._addresses.set_entries(entries)
        self._rounds.set_keys(sorted(self._addresses.names()), self._clock())
        self._stirred.set()
        for service in entries:
            self._changed(service, self._addresses.urls(service))

    async def run(self) -> None:
        """Resolve until cancelled."""
        await keep(self._rounds, self._look, self._stirred, self._clock)

    async def _look(self, name: str) -> bool:
        why = ""
        addresses: tuple[str, ...] = ()
        try:
            async with asyncio.timeout(self._rounds.pace.timeout_s):
                addresses = tuple(await self._resolve(name))
        except TimeoutError:
            why = "no answer in time"
        except OSError as error:
            why = str(error)
        self._tell(name, why or ("" if addresses else "no addresses"))
        for service in self._addresses.resolved(name, addresses):
            urls = self._addresses.urls(service)
            log.info("replicas_found", service=service, name=name, replicas=list(urls))
            self._changed(service, urls)
        return bool(addresses)

    def _tell(self, name: str, why: str) -> None:
        """Once when a name cannot be resolved, and once when it can again."""
        if why and name not in self._failing:
            log.warning("name_not_resolved", name=name, why=why)
            self._failing.add(name)
        elif not why and name in self._failing:
            log.info("name_resolved_again", name=name)
            self._failing.remove(name)
