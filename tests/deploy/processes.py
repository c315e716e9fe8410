"""Runs `ocr-fleet` as a real process and reads what it writes as it writes it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Self

import psutil

ROOT = Path(__file__).parents[2]

WAIT_S_MAX = 12.0
"""For one expected line: a slow machine starts five interpreters in a few seconds."""


class Command:
    """`ocr-fleet ARGUMENTS`, in a session of its own, so that a signal to its group is Ctrl-C."""

    def __init__(self, *arguments: str, cwd: Path = ROOT, **environ: str) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("OCR_FLEET_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", *arguments],
            cwd=cwd,
            env={**inherited, "PYTHONPATH": str(ROOT), **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.seen: list[str] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                child.kill()
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def stop_reading(self) -> None:
        """As `| head` does: the next line it writes finds nobody."""
        assert self.process.stdout is not None
        descriptor = os.open(os.devnull, os.O_RDONLY)
        os.dup2(descriptor, self.process.stdout.fileno())
        os.close(descriptor)

    @property
    def text(self) -> str:
        return "".join(self.seen)

    def wait_for(self, words: str, within_s: float = WAIT_S_MAX) -> str:
        """The first line from now on that has these words."""
        deadline = time.monotonic() + within_s
        while (left_s := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                line = self._lines.get(timeout=left_s)
                if line is None:
                    break
                self.seen.append(line)
                if words in line:
                    return line
        raise AssertionError(f"no {words!r} in:\n{self.text}")

    def end(self, within_s: float = WAIT_S_MAX) -> int:
        """The exit status; what it wrote until then is in `text`."""
        status = self.process.wait(within_s)
        self._reader.join(within_s)
        while not self._lines.empty():
            self.seen.append(self._lines.get() or "")
        return status

    def press_ctrl_c(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)


def write_fleet(
    path: Path, router: dict[str, object] | None = None, **services: dict[str, object]
) -> Path:
    """A fleet file of stand-ins on free ports; each keyword is a service with its settings."""
    tables = {
        f"services.{name}": {
            "app": "tests.deploy.standin:build",
            "wire": "dots",
            "models": [f"model-{name}"],
            "port": unused_port(),
            **settings,
        }
        for name, settings in services.items()
    }
    if router is not None:
        ports = {"port": unused_port(), "legacy_port": unused_port()}
        tables["router"] = {"app": "tests.deploy.standin:build_router", **ports, **router}
    lines: list[str] = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {_toml(one)}" for key, one in table.items())]
    path.write_text("\n".join(lines))
    return path


def _toml(value: object) -> str:
    """Numbers and strings are written as in JSON; a table stands in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


def unused_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def get(port: int, path: str, timeout_s: float = 5.0) -> dict[str, object]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout_s) as answer:
        return dict(json.loads(answer.read()))


def is_open(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def wait_until(true, within_s: float = WAIT_S_MAX) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
