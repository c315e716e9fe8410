"""Keeps the fleet's processes running on one machine: starts them, passes on their logs, starts a
dead one again, stops all. It serves no request and loads no service's code.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

import deploy
from deploy.ports import check_port, reachable
from deploy.probe import Readiness, ask_ready
from deploy.screen import Screen
from shared.settings import ROUTER, Fleet

BACKOFF_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before a dead service is started again; the last one repeats."""

HEALTHY_S: Final = 60.0
"""A service that was ready for that long begins again with the shortest pause."""

START_TRIES: Final = 3
"""A service that dies that often without ever having been ready is given up."""

POLL_S: Final = 0.1
ANNOUNCE_S_MAX: Final = 300.0
"""The table is printed then at the latest: large weights may take longer than one wants to wait."""

STOP_SLACK_S: Final = 5.0
"""Beyond a service's own `drain_s`, before it is killed."""

LAST_WORDS_S_MAX: Final = 1.0
"""For the rest of a dead process's output; a grandchild may hold the pipe open."""

LINE_BYTES_MAX: Final = 256 * 1024
"""Longest log line; a longer one is passed on in pieces."""

EXIT_WRONG_SETTING: Final = 2
"""What `ocr-fleet serve` ends with; see deploy/serve.py, whose imports are too heavy to share."""


class State(StrEnum):
    """Of one service, as its row in the table says it."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPED = "stopped"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a process listens, and how long it may take to end."""

    host: str = "127.0.0.1"
    port: int = 0
    legacy_port: int = 0
    """The router's second one; 0: there is none."""
    drain_s: float = 0.0

    @property
    def ports(self) -> tuple[int, ...]:
        return (self.port, self.legacy_port) if self.legacy_port else (self.port,)


class Member:
    """One process of the fleet, a service or the router: what was asked for, and how it is."""

    def __init__(
        self,
        name: str,
        place: Place,
        *,
        model: str = "",
        example: str = "",
        environ: Mapping[str, str] = {},
    ) -> None:
        self.name = name
        self.place = place
        self.model = model
        self.example = example.strip()
        self.environ = environ
        """What is added to its environment."""
        self.state = State.STARTING
        self.reason = ""
        self.engine = ""
        self.was_ready = False
        self.process: asyncio.subprocess.Process | None = None
        self.last_words = ""

    def __repr__(self) -> str:
        pid = self.process.pid if self.process else None
        return f"<Member {self.name} {self.state} pid={pid}>"

    @property
    def url(self) -> str:
        return f"http://{reachable(self.place.host)}:{self.place.port}"

    def taken(self) -> str:
        """Why it cannot listen; empty when it can."""
        why = (check_port(self.place.host, port) for port in self.place.ports)
        return next(filter(None, why), "")

    def fail(self, reason: str) -> None:
        self.state, self.reason = State.FAILED, reason

    def send(self, number: signal.Signals) -> None:
        """Signal the process; SIGKILL goes to all that it started as well."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self.process.pid, number)
            elif self.process.returncode is None:
                self.process.send_signal(number)


class Supervisor:
    """Runs the members until it is told to stop."""

    def __init__(
        self,
        members: Sequence[Member],
        fleet: Fleet,
        screen: Screen,
        environ: Mapping[str, str],
        failed: Sequence[Member] = (),
    ) -> None:
        self.members = members
        self.failed = failed
        """Members that cannot be started at all; they stand in the table."""
        self._fleet = fleet
        self._screen = screen
        screen.gone = self._stop
        self._environ = environ
        self._stopping = asyncio.Event()
        self._settled = asyncio.Event()
        self._started = time.monotonic()

    async def run(self) -> int:
        """The exit status: 0 when it was told to stop, 1 when no service could be kept running."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop)
        self._screen.say(f"starting {', '.join(one.name for one in self.members)}")
        async with asyncio.TaskGroup() as tasks:
            announcing = tasks.create_task(self._announce())
            keeping = [tasks.create_task(self._keep(one)) for one in self.members]
            await asyncio.wait(keeping)
            if self._stopping.is_set():
                announcing.cancel()
        if self._stopping.is_set():
            self._screen.say("all stopped")
            return 0
        self._screen.say("no service could be started")
        return 1

    # ---- stopping

    def _stop(self) -> None:
        """Once: ask every process to finish. Again: kill them."""
        if self._stopping.is_set():
            self._screen.say("killing what still runs")
            self._send(signal.SIGKILL)
            return
        self._screen.say("stopping; once more kills at once")
        self._stopping.set()
        self._send(signal.SIGTERM)
        longest_s = max((one.place.drain_s for one in self.members), default=0.0)
        loop = asyncio.get_running_loop()
        loop.call_later(longest_s + STOP_SLACK_S, self._send, signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for one in self.members:
            one.send(number)

    # ---- one service

    async def _keep(self, one: Member) -> None:
        """Start the service, and again whenever it dies, until that is pointless or not wanted."""
        tries = pauses = 0
        while not self._stopping.is_set():
            tries += 1
            taken = one.taken()
            if taken and not one.was_ready:
                self._give_up(one, taken)
                return
            began = time.monotonic()
            one.last_words = ""
            status = await self._live(one) if not taken else None
            if self._stopping.is_set():
                break
            why = taken or _cause(status, one.last_words)
            if status == EXIT_WRONG_SETTING or (tries >= START_TRIES and not one.was_ready):
                self._give_up(one, one.last_words or why)
                return
            pauses = 0 if time.monotonic() - began > HEALTHY_S else pauses
            pause_s = BACKOFF_S[min(pauses, len(BACKOFF_S) - 1)]
            pauses += 1
            one.state, one.reason = State.RESTARTING, why
            self._screen.say(f"{one.name} {why}; starting it again in {pause_s:g} s", bad=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
        one.state = State.STOPPED

    async def _live(self, one: Member) -> int:
        """One life of the process: its exit status."""
        process = one.process = await self._spawn(one)
        assert process.stdout is not None, "the pipe was asked for"
        watch = asyncio.ensure_future(self._watch(one))
        pump = asyncio.ensure_future(self._pump(one, process.stdout))
        try:
            if self._stopping.is_set():  # it came while the process was being made
                one.send(signal.SIGTERM)
            return await process.wait()
        finally:
            watch.cancel()
            await asyncio.wait([pump], timeout=LAST_WORDS_S_MAX)
            pump.cancel()
            await asyncio.gather(watch, pump, return_exceptions=True)
            one.send(signal.SIGKILL)  # whatever it started and left behind

    async def _spawn(self, one: Member) -> asyncio.subprocess.Process:
        command = [sys.executable, "-P", "-m", "deploy.cli", "--fleet", str(self._fleet.path)]
        command += ["serve", one.name, "--parent-pid", str(os.getpid())]
        command += ["--port", str(one.place.port)]
        if one.place.legacy_port:
            command += ["--legacy-port", str(one.place.legacy_port)]
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._child_environ(one),
            limit=LINE_BYTES_MAX,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which then asks politely
        )

    def _child_environ(self, one: Member) -> dict[str, str]:
        root = str(Path(deploy.__file__).parent.parent)
        paths = [root, *filter(None, [self._environ.get("PYTHONPATH", "")])]
        chosen = {
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONUNBUFFERED": "1",
        }
        return {**self._environ, **chosen, **one.environ}

    async def _watch(self, one: Member) -> None:
        """Poll until the service is ready, and say so."""
        while True:
            answer = await ask_ready(reachable(one.place.host), one.place.port)
            if answer.ready:
                break
            one.reason = answer.reason
            await asyncio.sleep(POLL_S)
        again = one.was_ready or self._settled.is_set()
        self._mark_ready(one, answer)
        if again:
            self._screen.say(f"{one.name} is ready at {one.url}")

    def _mark_ready(self, one: Member, answer: Readiness) -> None:
        one.state, one.reason, one.engine = State.READY, "", answer.engine
        one.was_ready = True

    async def _pump(self, one: Member, output: asyncio.StreamReader) -> None:
        """Pass the process's output on, line by line."""
        while True:
            try:
                line = await output.readuntil(b"\n")
            except asyncio.IncompleteReadError as error:
                line = error.partial
            except asyncio.LimitOverrunError as error:
                line = await output.readexactly(error.consumed)
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip("\r\n").removeprefix(f"{one.name}: ")
            one.last_words = complaint(text) or one.last_words
            self._screen.pass_on(one.name, text)

    def _give_up(self, one: Member, reason: str) -> None:
        one.fail(reason)
        self._screen.say(f"{one.name} cannot be started: {reason}", bad=True)

    # ---- the table

    async def _announce(self) -> None:
        """Print the table when every service is ready or given up, or it has taken too long."""
        while time.monotonic() - self._started < ANNOUNCE_S_MAX:
            if all(one.state in {State.READY, State.FAILED} for one in self.members):
                break
            await asyncio.sleep(POLL_S)
        self._settled.set()
        rows = [_row(one) for one in (*self.members, *self.failed)]
        ready = [one for one in self.members if one.state is State.READY]
        seconds = time.monotonic() - self._started
        summary = f"{len(ready)} of {len(rows)} ready in {seconds:.1f} s"
        if any(one.state is not State.FAILED for one in self.members):
            summary += "; Ctrl-C stops all"
        self._screen.show(rows, best_example(ready), summary)


def best_example(members: Sequence[Member]) -> str:
    """The command to paste, as it works in this folder: the router's, else the shortest."""
    sample = Path(deploy.__file__).with_name("sample.png")
    here = Path.cwd()
    shown = sample.relative_to(here) if sample.is_relative_to(here) else sample
    commands = {
        one.name: one.example.replace("{url}", one.url).replace("{sample}", shlex.quote(str(shown)))
        for one in members
        if one.example
    }
    return commands.get(ROUTER) or min(commands.values(), key=len, default="")


class Row(msgspec.Struct, frozen=True):
    """A line of the table."""

    service: str
    url: str
    model: str
    engine: str
    state: str


def _row(one: Member) -> Row:
    state = f"{one.state}: {one.reason}" if one.reason else str(one.state)
    also = f" and :{one.place.legacy_port}" if one.place.legacy_port else ""
    return Row(one.name, one.url + also, one.model or "-", one.engine or "-", state)


class _Line(msgspec.Struct):
    """What is read of a line of JSON log."""

    level: str = ""
    message: str = ""
    reason: str = ""


def complaint(line: str) -> str:
    """What an output line says is wrong, as far as it says that: the last one explains an end."""
    if not line.startswith("{"):
        return "" if "[info" in line or "[debug" in line else line.strip()
    try:
        said = msgspec.json.decode(line, type=_Line)
    except msgspec.DecodeError:
        return line
    return (said.reason or said.message) if said.level in {"error", "critical"} else ""


def _cause(status: int | None, last_words: str) -> str:
    """How a process ended, in words."""
    if status is None or status == 0:
        return "ended by itself"
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}" + (f" ({last_words})" if last_words else "")
