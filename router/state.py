"""The router's view of its fleet, kept up to date in the background: pools and their replicas, what
each replica last said of itself, and how late the event loop is.

Requests read it and never wait for it.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final, Self

import aiohttp
import msgspec
import structlog

from router.addresses import Resolver
from router.fleet import Fleet, Service
from router.pool import Pool
from router.probes import Prober
from router.replica import Health
from router.settings import RouterSettings
from router.upstream import Upstream

log = structlog.get_logger("ocr_fleet.router")

HEALTH_BYTES_MAX: Final = 64 * 1024

LAG_EVERY_S: Final = 0.1
"""How often the loop's lateness is measured."""


class Told(msgspec.Struct, frozen=True):
    """What a replica said of itself at its last probe."""

    engine: str = ""
    health: Mapping[str, Any] = {}
    latency_s: float = 0.0


class State:
    """Open it once per process (`async with`)."""

    def __init__(self, settings: RouterSettings, fleet: Fleet, upstream: Upstream) -> None:
        self.fleet = fleet
        self.upstream = upstream
        self.told: dict[str, Told] = {}
        """By replica."""
        self.lag_s = 0.0
        """How late the loop was at worst since this was last read."""
        self._settings = settings
        self._prober = Prober(self._probe, self._report, settings.probe)
        self._resolver = Resolver(_resolve, self._found, settings.resolve)
        self._session: aiohttp.ClientSession | None = None
        self._owners: dict[str, tuple[str, ...]] = {}
        """Services by replica: one server may have the models of several."""
        self._stack = AsyncExitStack()

    @property
    def pools(self) -> Mapping[str, Pool]:
        return self.upstream.pools

    def alive(self, service: Service) -> bool:
        """Whether a replica that has answered a probe could take a request."""
        replicas = self.pools[service.name].snapshot().replicas
        return any(replica.usable and replica.url in self.told for replica in replicas)

    async def __aenter__(self) -> Self:
        self._session = await self._stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=self._settings.probe.timeout_s),
            )
        )
        self.apply(self.fleet)
        tasks = [
            asyncio.create_task(work)
            for work in (self._prober.run(), self._resolver.run(), self._watch_lag())
        ]
        self._stack.push_async_callback(_end, tasks)
        return self

    async def __aexit__(self, *_: object) -> None:
        for pool in self.pools.values():
            pool.close()
        await self._stack.aclose()

    def apply(self, fleet: Fleet) -> None:
        """Take on a fleet; requests at work or waiting stay with the pools they are in."""
        self.fleet = fleet
        pools = self.upstream.pools
        for service in fleet.services:
            pools.setdefault(service.name, Pool(service.name, self._settings.pool))
        for name in set(pools) - {service.name for service in fleet.services}:
            pools.pop(name).close()
        self._resolver.set_entries({service.name: service.replicas for service in fleet.services})

    def _found(self, name: str, urls: Iterable[str]) -> None:
        """The replicas of a service are these from now on."""
        service = self.fleet.service(name)
        if service is None:
            return
        self.pools[name].set_replicas({url.rstrip("/"): service.slots for url in urls})
        owners: dict[str, tuple[str, ...]] = {}
        for owner, pool in self.pools.items():
            for replica in pool.snapshot().replicas:
                if not replica.draining:
                    owners[replica.url] = (*owners.get(replica.url, ()), owner)
        self._owners = owners
        self.told = {url: told for url, told in self.told.items() if url in owners}
        self._prober.set_targets(owners)

    # ---- probing

    async def _probe(self, url: str) -> Health:
        """`/readyz`, and what `/health` says; a server that has no `/readyz` is ready when its
        health is well."""
        if self._session is None:
            raise AssertionError("State is not open")
        began_s = time.monotonic()
        try:
            async with self._session.get(f"{url}/readyz") as ready:
                status, engine = ready.status, ready.headers.get("x-ocr-engine", "")
            async with self._session.get(f"{url}/health") as answer:
                healthy = answer.status == 200
                body = await answer.content.read(HEALTH_BYTES_MAX)
        except aiohttp.ClientError as error:
            raise OSError(str(error)) from error
        self.told[url] = Told(engine, _json(body), time.monotonic() - began_s)
        well = healthy if status in {404, 405} else status == 200
        return Health.READY if well else Health.NOT_READY

    def _report(self, url: str, health: Health, _: float) -> None:
        for owner in self._owners.get(url, ()):
            if owner in self.pools:
                self.pools[owner].probed(url, health)

    async def _watch_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self.lag_s = max(self.lag_s, loop.time() - due)

    def take_lag_s(self) -> float:
        """The worst since the last time somebody asked."""
        lag_s, self.lag_s = self.lag_s, 0.0
        return lag_s


async def _resolve(name: str) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
