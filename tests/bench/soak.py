"""Thirty-two clients on each of the five services at once, for a minute: is every answer either
right or a documented refusal, does memory stay flat, do `/health` and `/livez` go on answering?

The exit status is 1 when a promise of correctness is broken: a wrong or failed answer, a probe that
is not answered, a slot that is not freed when its client hangs up, memory that grows. How long
probes take is printed; it fails only beyond a bound that no healthy machine comes near.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import aiohttp
import msgspec
from rich.console import Console
from rich.table import Table

from tests.bench.asking import BUSY, Ask, ask
from tests.bench.processes import memory
from tests.pages import FontMissing, Page, page
from tests.reading.measure import flat
from tests.running import ROOT, SERVICES, Service, environment, fleet

CLIENTS = 32
"""On each service."""
SECONDS = 60.0

WARM_UP = 0.3
"""After this share of the time every code path and every size of buffer has been used once."""
REST_S = 5.0
"""Between the last client and the last look at memory."""

GROWTH_MIB_MAX = 96.0
"""How much more a service may hold after the rest than after its warm-up: allocators keep what the
busiest moment needed, and that moment may come late."""
PROBE_AIM_MS = 50.0
"""The project's aim for `/health` and `/livez`; reported, not enforced: the load generator and five
engines share the machine's cores with what is measured."""
PROBE_BOUND_MS = 3000.0
"""A probe this slow at the 99th percentile would be taken for a dead service anywhere."""
AFTER_S_MAX = 30.0
"""By when a service must have read a page after all clients have hung up."""
BUSY_PAUSE_S = 0.5
"""What a client waits after a refusal: dots refuses all but one."""

STREAMING = frozenset({"lighton", "dots", "deepseek"})


class Tally:
    """What happened to one service's clients."""

    def __init__(self) -> None:
        self.right = 0
        self.busy = 0
        self.hung_up = 0
        self.wrong: Counter[str] = Counter()


class Load:
    """The clients of one service."""

    def __init__(self, service: Service, pages: Sequence[Page]) -> None:
        self.service = service
        self.tally = Tally()
        ways = (False, True) if service.name in STREAMING else (False,)
        self._asks = [
            (ask(service.name, drawn.png, stream=stream), drawn)
            for drawn, stream in itertools.product(pages, ways)
        ]

    async def client(self, number: int, session: aiohttp.ClientSession) -> None:
        """Ask until cancelled; a hang-up in the middle of a request counts as one."""
        for turn in itertools.count(number):
            one, drawn = self._asks[turn % len(self._asks)]
            try:
                await self.once(one, drawn, session)
            except asyncio.CancelledError:
                self.tally.hung_up += 1
                raise

    async def once(self, one: Ask, drawn: Page, session: aiohttp.ClientSession) -> bool:
        """One request; true when it was read rightly."""
        try:
            async with session.post(
                self.service.url + one.path, data=one.body, headers=one.headers
            ) as answer:
                raw = await answer.read()
                status, again = answer.status, answer.headers.get("retry-after", "")
        except (aiohttp.ClientError, TimeoutError) as error:
            self.tally.wrong[repr(error)[:160]] += 1
            await asyncio.sleep(BUSY_PAUSE_S)
            return False
        if status == BUSY[self.service.name] and documented_busy(self.service.name, raw, again):
            self.tally.busy += 1
            await asyncio.sleep(BUSY_PAUSE_S)
            return False
        why = wrong(one, drawn, status, raw)
        if why:
            self.tally.wrong[why] += 1
            await asyncio.sleep(BUSY_PAUSE_S)
            return False
        self.tally.right += 1
        return True


def documented_busy(service: str, raw: bytes, again: str) -> bool:
    """dots has its own words; the others say when to come back."""
    if service == "dots":
        return bool(json.loads(raw) == {"error": "Server is busy processing another request"})
    return again.isdigit()


def wrong(one: Ask, drawn: Page, status: int, raw: bytes) -> str:
    """Empty when the answer says what is on the page."""
    if status != 200:
        return f"{status} {raw[:160]!r}"
    try:
        text = flat(one.text(raw))
    except (ValueError, KeyError) as error:
        return f"{error!r} in {raw[:160]!r}"
    lost = [line.text for line in drawn.lines if flat(line.text) not in text]
    return f"{lost[0]!r} not in {text[:160]!r}" if lost else ""


# ---- the probes


class Probed(msgspec.Struct, frozen=True):
    """How one URL answered."""

    ms: list[float]
    failures: list[str]

    def share(self, percent: int) -> float:
        return (
            statistics.quantiles(self.ms, n=100, method="inclusive")[percent - 1]
            if len(self.ms) > 1
            else 0.0
        )


@contextmanager
def probing(services: Mapping[str, Service]) -> Iterator[dict[str, Probed]]:
    """Probes run during the block; the dict is filled when it ends, by URL."""
    urls = [one.url + path for one in services.values() for path in ("/health", "/livez")]
    found: dict[str, Probed] = {}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.probe", *urls],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment("fake", {}),
    ) as process:
        try:
            yield found
        finally:
            out, _ = process.communicate()
            found.update(msgspec.json.decode(out, type=dict[str, Probed]))


# ---- the minute


class Soaked(msgspec.Struct, frozen=True, kw_only=True):
    """All that was seen of one service."""

    tally: Tally
    warm_mib: float
    after_mib: float
    peak_mib: float
    free_after_s: float | None
    """When a page was read again after all had hung up; `None` when that took too long."""


async def soak(loads: Sequence[Load], seconds: float, clients: int) -> dict[str, Soaked]:
    """Every client at once; at the end all hang up, wherever they are."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(load.client(number, session))
                for load in loads
                for number in range(clients)
            ]
            await asyncio.sleep(seconds * WARM_UP)
            warm = {load.service.name: memory(load.service.pid) for load in loads}
            await asyncio.sleep(seconds * (1 - WARM_UP))
            for task in tasks:
                task.cancel()
        freed = {load.service.name: await free_again(load, session) for load in loads}
    await asyncio.sleep(REST_S)
    after = {load.service.name: memory(load.service.pid) for load in loads}
    return {
        load.service.name: Soaked(
            tally=load.tally,
            warm_mib=warm[load.service.name].now_mib,
            after_mib=after[load.service.name].now_mib,
            peak_mib=after[load.service.name].peak_mib,
            free_after_s=freed[load.service.name],
        )
        for load in loads
    }


async def free_again(load: Load, session: aiohttp.ClientSession) -> float | None:
    """Seconds until a page is read again: work for clients that left must have stopped."""
    one, drawn = load._asks[0]  # its own module
    started = time.monotonic()
    while time.monotonic() - started < AFTER_S_MAX:
        if await load.once(one, drawn, session):
            return time.monotonic() - started
    return None


def broken(name: str, seen: Soaked, probes: Sequence[Probed]) -> Iterator[str]:
    """Every promise of correctness that was not kept."""
    for why, count in seen.tally.wrong.most_common(5):
        yield f"{name}: {count} times {why}"
    if not seen.tally.right:
        yield f"{name}: not one page was read"
    if seen.free_after_s is None:
        yield f"{name}: no page was read within {AFTER_S_MAX:g} s of the last hang-up"
    if seen.after_mib - seen.warm_mib > GROWTH_MIB_MAX:
        yield f"{name}: memory grew from {seen.warm_mib:.0f} to {seen.after_mib:.0f} MiB"
    for probe in probes:
        if probe.failures:
            yield f"{name}: {len(probe.failures)} probes failed, first {probe.failures[0]}"
        if not probe.ms or probe.share(99) > PROBE_BOUND_MS:
            yield f"{name}: a probe's 99th percentile is over {PROBE_BOUND_MS:g} ms"


def report(found: Mapping[str, Soaked], probes: Mapping[str, Sequence[Probed]]) -> Table:
    table = Table(title="Soak", title_justify="left")
    table.add_column("service")
    for head in (
        "read",
        "busy",
        "hung up",
        "wrong",
        "MiB warm",
        "peak",
        "after",
        "free after, s",
        "/health ms\np50 p99 max",
        "/livez ms\np50 p99 max",
    ):
        table.add_column(head, justify="right")
    for name, seen in found.items():
        tally = seen.tally
        table.add_row(
            name,
            *map(str, (tally.right, tally.busy, tally.hung_up, tally.wrong.total())),
            *(f"{mib:.0f}" for mib in (seen.warm_mib, seen.peak_mib, seen.after_mib)),
            "never" if seen.free_after_s is None else f"{seen.free_after_s:.1f}",
            *(
                f"{p.share(50):.0f} {p.share(99):.0f} {max(p.ms, default=0):.0f}"
                for p in probes[name]
            ),
        )
    table.caption = (
        f"aim for probes: under {PROBE_AIM_MS:g} ms; memory may grow by {GROWTH_MIB_MAX:g} MiB"
    )
    return table


def run(seconds: float, clients: int, engine: str, names: Sequence[str] = SERVICES) -> list[str]:
    """Soak, print, and say what was broken."""
    pages = [page("slip"), page("receipt")]
    with fleet(names, engine=engine, settings=script(engine, pages)) as services:
        loads = [Load(service, pages) for service in services.values()]
        with probing(services) as by_url:
            found = asyncio.run(soak(loads, seconds, clients))
        probes = {
            name: [by_url[one.url + path] for path in ("/health", "/livez")]
            for name, one in services.items()
        }
    Console(width=None if sys.stdout.isatty() else 150).print(report(found, probes))
    return [why for name, seen in found.items() for why in broken(name, seen, probes[name])]


def script(engine: str, pages: Sequence[Page]) -> dict[str, str]:
    """The fake engine says what is on every page, so that services can be tried without reading."""
    if engine != "fake":
        return {}
    said = {"text": "\n".join(drawn.text for drawn in pages), "first_delay_s": 0.05}
    return {"OCR_FLEET_FAKE": json.dumps(said)}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("tests.bench soak", description=__doc__)
    parser.add_argument("services", nargs="*", default=SERVICES, help="which; all when none")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--clients", type=int, default=CLIENTS, help="on each service")
    parser.add_argument("--engine", choices=("embedded", "fake"), default="embedded")
    options = parser.parse_args(arguments)
    try:
        failures = run(options.seconds, options.clients, options.engine, options.services)
    except FontMissing as missing:
        print(missing, file=sys.stderr)
        return 1
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
