"""Seconds from `ocr-fleet up` to all services healthy, and the memory of each: idle, at most, and
after reading. It starts the real command on free ports and stops it again."""

# ruff: noqa: S310 - every URL here is one of our own on the loopback

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from tests.bench.asking import BUSY, ask
from tests.bench.processes import Memory, descendants, memory
from tests.pages import FontMissing, page
from tests.running import COMMAND, SERVICES, environment, free_port

AIM_S = 8.0
"""The project's aim on two cores with everything installed."""
UP_S_MAX = 120.0
"""When to give up waiting."""
REST_S = 3.0
"""How long to let a service rest before its memory is read."""
STOP_S_MAX = 40.0
"""Longer than services may take to finish what they are doing."""
READ_S_MAX = 300
ONE_AT_A_TIME = "dots"
"""It refuses a second client while it works for the first."""


class NotUp(Exception):
    """The services did not all come up; the message ends with the log."""


class Up(msgspec.Struct, frozen=True, kw_only=True):
    """A running `ocr-fleet up`."""

    process: subprocess.Popen[bytes]
    ports: dict[str, int]
    seconds: dict[str, float]
    """From the command to the first healthy answer, by service."""

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}"

    def pid(self, service: str) -> int:
        """The process below `up` that serves it."""
        for pid in descendants(self.process.pid):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"serve" in words and service.encode() in words:
                return pid
        raise NotUp(f"no process of {self.process.pid} serves {service}")


@contextmanager
def up(engine: str) -> Iterator[Up]:
    """All five, healthy; stopped as Ctrl-C would."""
    ports = {name: free_port() for name in SERVICES}
    settings = {f"OCR_FLEET_{name.upper()}_PORT": str(port) for name, port in ports.items()}
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        process = subprocess.Popen(
            [*COMMAND, "up"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment(engine, settings),
        )

        def check() -> None:
            if process.poll() is not None or time.monotonic() - started > UP_S_MAX:
                log.seek(0)
                raise NotUp(log.read().decode(errors="replace")[-5000:])

        try:
            seconds = wait(ports, started, check)
            yield Up(process=process, ports=ports, seconds=seconds)
        finally:
            stop(process)


def wait(ports: dict[str, int], started: float, check: Callable[[], None]) -> dict[str, float]:
    """The seconds after which each service first answered `/readyz` with 200."""
    seconds: dict[str, float] = {}
    while len(seconds) < len(ports):
        for name, port in ports.items():
            if name not in seconds and healthy(port):
                seconds[name] = time.monotonic() - started
        check()
        time.sleep(0.02)
    return seconds


def healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def read_pages(url: str, service: str, png: bytes, reads: int, clients: int) -> int:
    """The page read `reads` times by `clients` at once; how many were read."""
    one = ask(service, png)

    def send(_: int) -> bool:
        request = urllib.request.Request(url + one.path, data=one.body, headers=one.headers)
        try:
            with urllib.request.urlopen(request, timeout=READ_S_MAX) as answer:
                return bool(one.text(answer.read()).strip())
        except urllib.error.HTTPError as error:
            with error:
                if error.code != BUSY[service]:
                    raise
            return False

    with ThreadPoolExecutor(clients) as pool:
        return sum(pool.map(send, range(reads)))


def measured(options: argparse.Namespace) -> tuple[Up, dict[str, tuple[Memory, Memory, int]]]:
    """Start-up, and for each service its memory idle and after reading, with the pages read."""
    png = page("letter").png
    with up(options.engine) as fleet:
        time.sleep(REST_S)
        idle = {name: memory(fleet.pid(name)) for name in SERVICES}
        found: dict[str, tuple[Memory, Memory, int]] = {}
        for name in SERVICES:
            clients = 1 if name == ONE_AT_A_TIME else options.clients
            count = read_pages(fleet.url(name), name, png, options.reads, clients)
            time.sleep(REST_S)
            found[name] = idle[name], memory(fleet.pid(name)), count
        return fleet, found


def report(fleet: Up, found: dict[str, tuple[Memory, Memory, int]]) -> Table:
    table = Table(title="Start-up and memory, MiB resident", title_justify="left")
    table.add_column("service")
    for head in ("healthy after, s", "idle", "peak", "after", "pages read"):
        table.add_column(head, justify="right")
    for name, (idle, after, count) in found.items():
        table.add_row(
            name,
            f"{fleet.seconds[name]:.1f}",
            *(f"{mib:.0f}" for mib in (idle.now_mib, after.peak_mib, after.now_mib)),
            str(count),
        )
    table.add_section()
    sums = (
        sum(idle.now_mib for idle, _, _ in found.values()),
        sum(after.peak_mib for _, after, _ in found.values()),
        sum(after.now_mib for _, after, _ in found.values()),
    )
    table.add_row("all", f"{max(fleet.seconds.values()):.1f}", *(f"{mib:.0f}" for mib in sums), "")
    table.caption = (
        f"aim: all healthy under {AIM_S:g} s on two cores; this machine: {os.cpu_count()}"
    )
    return table


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("tests.bench startup", description=__doc__)
    parser.add_argument("--engine", default="embedded")
    parser.add_argument("--reads", type=int, default=4, help="pages each service reads")
    parser.add_argument("--clients", type=int, default=4, help="how many at once")
    try:
        Console(width=None if sys.stdout.isatty() else 110).print(
            report(*measured(parser.parse_args(arguments)))
        )
    except (NotUp, FontMissing) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
