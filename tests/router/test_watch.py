"""Files that change under a running process: what is taken over, what is refused, and when."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from router.fleet import Fleet
from router.settings import RouterSettings
from router.watch import make_router_door, watch_fleet
from shared.errors import NotAllowed
from shared.keys import make_key
from shared.sources import SettingError
from shared.watch import Watcher
from tests.deploy.processes import ROOT, Command, is_open, unused_port, wait_until

ONE = "[services.dots]\nport = 5000\n"
TWO = f"{ONE}[services.paddle]\nport = 8001\n"


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(ONE)
    return path


def names(fleets: list[Fleet]) -> list[list[str]]:
    return [[service.name for service in fleet.services] for fleet in fleets]


@pytest.fixture
def seen(path):
    fleets: list[Fleet] = []
    return fleets, watch_fleet(path, RouterSettings(), fleets.append)


async def test_a_change_is_read_once_it_keeps_still(path, seen) -> None:
    fleets, watch = seen
    await watch.look()
    assert not fleets
    path.write_text(TWO[:-5])
    await watch.look()
    path.write_text(TWO)
    await watch.look()
    assert not fleets, "it has just been written"
    await watch.look()
    await watch.look()
    assert names(fleets) == [["dots", "paddle"]]


async def test_a_file_that_is_replaced_or_lies_behind_a_link_is_seen_to_change(tmp_path) -> None:
    """As Kubernetes changes its ConfigMaps: a link to a folder is turned to another."""
    for name, text in (("old", ONE), ("new", TWO)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "fleet.toml").write_text(text)
    (tmp_path / "data").symlink_to("old")
    fleets: list[Fleet] = []
    watch = watch_fleet(tmp_path / "data" / "fleet.toml", RouterSettings(), fleets.append)
    (tmp_path / "turned").symlink_to("new")
    (tmp_path / "turned").replace(tmp_path / "data")
    await watch.look()
    await watch.look()
    assert names(fleets) == [["dots", "paddle"]]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[services.dots", "is not TOML"),
        ("", "names no service"),
        ("[services.dots]\nport = 5000\nwirre = 'x'", "did you mean wire?"),
        ("[services.dots]\nport = 5000\nslots = 'many'", "expected a whole number from 1"),
        (None, "cannot read the fleet file"),
    ],
)
async def test_a_bad_file_changes_nothing_and_says_why_once(path, seen, text, why) -> None:
    fleets, watch = seen
    with capture_logs() as logs:
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
        for _ in range(4):
            await watch.look()
    assert not fleets
    (refused,) = (line for line in logs if line["event"] == "file_refused")
    assert why in refused["reason"]
    path.write_text(TWO)
    for _ in range(3):
        await watch.look()
    assert names(fleets) == [["dots", "paddle"]]


async def test_what_cannot_be_taken_over_is_refused_in_the_same_way(path) -> None:
    def refuse(_: Fleet) -> None:
        raise SettingError("the last replica cannot go")

    watch = watch_fleet(path, RouterSettings(), refuse)
    with capture_logs() as logs:
        await watch.look(now=True)
    assert [line["reason"] for line in logs] == ["the last replica cannot go"]


async def test_the_environment_still_has_its_word(path) -> None:
    fleets: list[Fleet] = []
    settings = RouterSettings(environ={"OCR_FLEET_DOTS_PORT": "5001"})
    await watch_fleet(path, settings, fleets.append).look(now=True)
    assert fleets[0].services[0].replicas == ("http://127.0.0.1:5001",)


async def test_a_change_is_seen_by_itself(path) -> None:
    arrived = asyncio.Event()
    watch = watch_fleet(path, RouterSettings(), lambda _: arrived.set())
    async with Watcher([watch], look_s=0.01):
        path.write_text(TWO)
        await asyncio.wait_for(arrived.wait(), 5)


async def test_sighup_reads_at_once_and_is_given_back_at_the_end(path) -> None:
    arrived = asyncio.Event()
    before = signal.getsignal(signal.SIGHUP)
    watch = watch_fleet(path, RouterSettings(), lambda _: arrived.set())
    async with Watcher([watch], look_s=60):
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(arrived.wait(), 5)
    assert signal.getsignal(signal.SIGHUP) == before


async def test_one_file_that_breaks_the_reader_does_not_end_the_watch(path) -> None:
    arrived = asyncio.Event()

    def stumble(_: Fleet) -> None:
        raise RuntimeError("a bug")

    bad = watch_fleet(path, RouterSettings(), stumble)
    good = watch_fleet(path, RouterSettings(), lambda _: arrived.set())
    async with Watcher([bad, good], look_s=60) as watcher:
        for _ in range(2):
            arrived.clear()
            watcher.ask()
            await asyncio.wait_for(arrived.wait(), 5)


# ---- keys


async def test_keys_are_read_again_and_a_bad_file_leaves_the_old_ones(tmp_path) -> None:
    old, old_lines = make_key("old")
    new, new_lines = make_key("new")
    file = tmp_path / "keys.toml"
    file.write_text(old_lines)
    access, (watch,) = make_router_door(RouterSettings(keys_file=file))

    def knows(key: str) -> bool:
        try:
            access.admit([(b"x-api-key", key.encode())], "", 0.0)
        except NotAllowed:
            return False
        return True

    assert (knows(old), knows(new)) == (True, False)
    file.write_text("[keys.new]\nsha256 = ''")
    await watch.look(now=True)
    assert (knows(old), knows(new)) == (True, False)
    file.write_text(new_lines)
    await watch.look(now=True)
    assert (knows(old), knows(new)) == (False, True)


def test_a_door_without_keys_needs_no_watch_and_a_wrong_file_is_refused(tmp_path) -> None:
    access, watches = make_router_door(RouterSettings(trusted_proxies=("10.0.0.0/8",)))
    assert not watches
    assert access.admit([(b"x-forwarded-for", b"192.0.2.1")], "10.0.0.1", 0.0).name == "192.0.2.1"
    with pytest.raises(SettingError, match="cannot read the key file"):
        make_router_door(RouterSettings(keys_file=tmp_path / "nowhere"))


def test_a_service_reads_its_keys_again_on_sighup(tmp_path) -> None:
    """In a process of its own, as it is run: signals reach the main thread alone."""
    old, old_lines = make_key("old")
    new, new_lines = make_key("new")
    file = tmp_path / "keys.toml"
    file.write_text(old_lines)
    with Command(
        *("serve", "dots", "--port", "0"),
        OCR_FLEET_KEYS_FILE=str(file),
        OCR_FLEET_ENGINE="fake",
    ) as command:
        line = command.wait_for('"listening"')
        base = line.partition('"url": "')[2].partition('"')[0]
        wait_until(lambda: httpx.get(f"{base}/readyz").status_code == 200)

        def status(key: str) -> int:
            return httpx.post(f"{base}/ocr", headers={"x-api-key": key}).status_code

        assert (status(old), status(new)) == (400, 401)
        file.write_text(new_lines)
        command.process.send_signal(signal.SIGHUP)
        command.wait_for('"file_read"')
        assert (status(old), status(new)) == (401, 400)
        command.process.terminate()
        assert command.end() == 0


IN_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def read_until(terminal: int, words: bytes, within_s: float = 15.0) -> None:
    text, ends = b"", time.monotonic() + within_s
    while words not in text:
        ready, _, _ = select.select([terminal], [], [], max(0.0, ends - time.monotonic()))
        assert ready, text
        text += os.read(terminal, 65536)


def test_a_router_ends_when_the_terminal_it_was_started_in_is_closed(path) -> None:
    """SIGHUP asks it to read its files again, unless it says that nobody is there any more."""
    mine, its = pty.openpty()
    port = str(unused_port())
    arguments = ["-m", "deploy.cli", "--fleet", str(path), "serve", "router", "--port", port]
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *arguments, "--legacy-port", "0"],
        cwd=ROOT,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    try:
        wait_until(lambda: is_open(int(port)))
        assert httpx.get(f"http://127.0.0.1:{port}/livez").status_code == 200
        process.send_signal(signal.SIGHUP)
        read_until(mine, b"file_read")
        assert process.poll() is None, "the terminal is still there"
        os.close(mine)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
