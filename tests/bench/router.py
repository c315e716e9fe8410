"""The router against others that could stand in its place: requests a second, latency, CPU, memory
and stalls for bodies of 1 kB, 1 MB and 10 MB, before an nginx that answers at once.

All contestants are measured in turn, round after round, so that what else the machine does falls on
all of them; what is shown are medians.
"""

# ruff: noqa: S310 - every URL here is one of our own on the loopback

from __future__ import annotations

import argparse
import base64
import os
import random
import re
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from shared.http import JSON
from tests.bench import servers
from tests.bench.load import Load, NoGenerator, find_generator, put_load
from tests.bench.processes import cpu_s, forget_peak, memory
from tests.bench.servers import NotThere, Server

MB = 1_000_000
SIZES: Mapping[str, int] = {"1k": 1_000, "1m": MB, "10m": 10 * MB}
CLIENTS = (1, 32, 64)
REST_S = 0.5
"""Between two runs, for connections to be closed and gauges to be set."""

CHAT, DOTS = "chat", "dots"
"""The two requests that are sent."""

OPENAI_PATH = "/v1/chat/completions"
LAG = re.compile(r"^ocr_fleet_\w*loop_lag_seconds(?:\{[^}]*\})? (\S+)$", re.MULTILINE)

AIMS = (
    "Aims: at 1 MB ahead of sglang-router and 0.9 of nginx; at 1 kB 0.5 of nginx; 0.7 ms added at"
    " one client; at 64 x 10 MB no stall over 25 ms and 1.3 times the bodies in memory."
)


class Contestant(msgspec.Struct, frozen=True, kw_only=True):
    """One way from the client to the model."""

    name: str
    url: str
    pid: int
    """Whose CPU and memory it costs; 0: nobody's."""
    body: str = CHAT
    headers: Mapping[str, str] = {}
    metrics: str = ""
    """Where it tells how long its loop stood still."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What one contestant did in one round."""

    load: Load
    cpu_ms: float
    """Of each request."""
    memory_mb: float
    """Of each request in flight, at the worst moment."""
    stall_ms: float | None


# ---- who takes part


@contextmanager
def contestants(
    folder: Path, names: frozenset[str]
) -> Iterator[tuple[list[Contestant], list[str]]]:
    """All that can be had, and why the others cannot."""
    missing: list[str] = []
    with ExitStack() as stack:

        def start(name: str, server: AbstractContextManager[Server]) -> Server | None:
            try:
                return stack.enter_context(server)
            except NotThere as error:
                missing.append(f"{name}: {error}")
                return None

        upstream = stack.enter_context(servers.models(_folder(folder, "models")))
        found = [Contestant(name="no proxy", url=upstream["lighton"] + OPENAI_PATH, pid=0)]
        for name, server in (
            ("nginx", servers.nginx_proxy),
            ("sglang-router", servers.sglang_router),
            ("litellm", servers.litellm),
        ):
            if (
                name in names
                and (one := start(name, server(_folder(folder, name), upstream))) is not None
            ):
                found.append(Contestant(name=name, url=one.url + OPENAI_PATH, pid=one.pid))
        ours = start("router", servers.router(_folder(folder, "router"), upstream))
        if ours is not None:
            found += _routes(ours)
        yield found, missing


def _routes(ours: Server) -> list[Contestant]:
    """The router passing through and translating."""

    def route(name: str, path: str, body: str, model: str) -> Contestant:
        return Contestant(
            name=f"router, {name}",
            url=ours.url + path,
            pid=ours.pid,
            body=body,
            headers={"X-OCR-Model": model} if model else {},
            metrics=ours.url + "/metrics",
        )

    return [
        route("passing", OPENAI_PATH, CHAT, ""),
        route("OpenAI to deepseek", OPENAI_PATH, CHAT, "deepseek-ocr"),
        route("OpenAI to chatvlm", OPENAI_PATH, CHAT, "qwen3_vl_2b"),
        route("dots to OpenAI", "/ocr", DOTS, "LightOnOCR-1B-1025"),
    ]


def _folder(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made


def write_bodies(folder: Path, size: int) -> dict[str, Path]:
    """Both requests with an image of noise, so many bytes in all."""
    noise = b"\x89PNG\r\n\x1a\n" + random.Random(size).randbytes(size)
    page = base64.b64encode(noise).decode()

    def chat(page: str) -> object:
        link = {"url": "data:image/png;base64," + page}
        words = {"type": "text", "text": "Extract text as markdown"}
        content = [words, {"type": "image_url", "image_url": link}]
        return {"model": "LightOnOCR-1B-1025", "messages": [{"role": "user", "content": content}]}

    def dots(page: str) -> object:
        return {"prompt_type": "prompt_ocr", "image_format": "base64", "image": page}

    files: dict[str, Path] = {}
    for name, write in ((CHAT, chat), (DOTS, dots)):
        room = (size - len(msgspec.json.encode(write("")))) // 4 * 4
        files[name] = folder / f"{name}.{size}"
        files[name].write_bytes(msgspec.json.encode(write(page[:room])))
    return files


# ---- measuring


def measure(one: Contestant, body: Path, clients: int, seconds: int, idle_mib: float) -> Run:
    headers = {"Content-Type": JSON, **one.headers}
    if one.pid:
        forget_peak(one.pid)
    _stall_ms(one)
    before_s = cpu_s(one.pid) if one.pid else 0.0
    load = put_load(one.url, body, headers, clients=clients, seconds=seconds)
    spent_s = cpu_s(one.pid) - before_s if one.pid else 0.0
    peak_mib = memory(one.pid).peak_mib - idle_mib if one.pid else 0.0
    run = Run(
        load=load,
        cpu_ms=spent_s * 1000 / max(1, load.requests),
        memory_mb=peak_mib * 1.048576 / clients,
        stall_ms=_stall_ms(one),
    )
    time.sleep(REST_S)
    return run


def _stall_ms(one: Contestant) -> float | None:
    """The longest since the last time it was asked."""
    if not one.metrics:
        return None
    with urllib.request.urlopen(one.metrics) as answer:
        found = LAG.search(answer.read().decode())
    return None if found is None else float(found[1]) * 1000


def measure_all(
    found: list[Contestant], bodies: dict[str, Path], clients: int, options: argparse.Namespace
) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {one.name: [] for one in found}
    for _ in range(options.rounds):
        for one in found:
            idle_mib = options.idle.get(one.pid, 0.0)
            runs[one.name].append(
                measure(one, bodies[one.body], clients, options.seconds, idle_mib)
            )
    return runs


# ---- telling


def report(size: int, clients: int, runs: Mapping[str, list[Run]]) -> Table:
    table = Table(title=f"{_size(size)}, {clients} at once", title_justify="left")
    table.add_column("", no_wrap=True)
    heads = ("req/s", "of nginx", "p50 ms", "added", "p99 ms", "CPU ms", "ms/MB")
    for head in (*heads, "MB each", "x body", "stall ms", "failed"):
        table.add_column(head, justify="right")
    nginx, plain = _rate(runs.get("nginx", [])), _median(runs["no proxy"], "p50_ms")
    for name, each in runs.items():
        cpu_ms = statistics.median(run.cpu_ms for run in each)
        memory_mb = max(run.memory_mb for run in each)
        stalls = [run.stall_ms for run in each if run.stall_ms is not None]
        proxy, p50_ms = name != "no proxy", _median(each, "p50_ms")
        table.add_row(
            name,
            f"{_rate(each):,.0f}",
            f"{_rate(each) / nginx:.2f}" if nginx else "",
            f"{p50_ms:.2f}",
            f"{p50_ms - plain:.2f}" if proxy else "",
            f"{_median(each, 'p99_ms'):.2f}",
            f"{cpu_ms:.3f}" if proxy else "",
            f"{cpu_ms * MB / size:.2f}" if proxy and size >= MB else "",
            f"{memory_mb:.2f}" if proxy else "",
            f"{memory_mb * MB / size:.2f}" if proxy and size >= MB else "",
            f"{max(stalls):.1f}" if stalls else "",
            str(sum(run.load.failed + run.load.broken for run in each)),
        )
    return table


def _median(runs: list[Run], name: str) -> float:
    return statistics.median(getattr(run.load, name) for run in runs)


def _rate(runs: list[Run]) -> float:
    return statistics.median(run.load.rate for run in runs) if runs else 0.0


def _size(size: int) -> str:
    return f"{size // MB} MB" if size >= MB else f"{size // 1000} kB"


# ---- the command


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    console = Console(width=None if sys.stdout.isatty() else 132)
    try:
        find_generator()
        for name in servers.PACKAGES if options.install else ():
            servers.install(name)
        with tempfile.TemporaryDirectory(prefix="ocr-fleet-bench-") as scratch:
            _run(Path(scratch), options, console)
    except (NoGenerator, NotThere) as error:
        print(f"router: {error}", file=sys.stderr)
        return 0 if options.optional else 1
    return 0


def _run(folder: Path, options: argparse.Namespace, console: Console) -> None:
    names = frozenset({"nginx", "sglang-router", "litellm"} - set(options.without))
    with contestants(folder, names) as (found, missing):
        for why in missing:
            console.print(f"left out - {why}", markup=False)
        options.idle = _warmed(folder, found)
        for size in (SIZES[name] for name in options.sizes):
            bodies = write_bodies(folder, size)
            for clients in options.clients:
                console.print(report(size, clients, measure_all(found, bodies, clients, options)))
    console.print(f"{AIMS} This machine: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}.")


def _warmed(folder: Path, found: list[Contestant]) -> dict[int, float]:
    """Resident MiB of each process when it has answered a few requests and holds none."""
    bodies = write_bodies(folder, SIZES["1k"])
    for one in found:
        headers = {"Content-Type": JSON, **one.headers}
        put_load(one.url, bodies[one.body], headers, clients=8, seconds=1)
    return {one.pid: memory(one.pid).now_mib for one in found if one.pid}


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("tests.bench router", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, without litellm")
    parser.add_argument("--install", action="store_true", help="install the others first (PyPI)")
    parser.add_argument(
        "--optional", action="store_true", help="be content where a tool is missing"
    )
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--clients", nargs="+", type=int, default=list(CLIENTS))
    parser.add_argument("--without", nargs="*", default=[], help="contestants to leave out")
    parser.add_argument("--rounds", type=int, help="turns of each contestant")
    parser.add_argument("--seconds", type=int, help="of each turn")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (1 if options.quick else 3)
    if options.quick:
        options.without = [*options.without, "litellm"]
    return options


if __name__ == "__main__":
    sys.exit(main())
