"""Starts services as the processes they are in the field, on free ports of the loopback, and stops
them by their own process id. It tests nothing itself and never touches a process it did not start.

    with running("dots") as base: ...                    # the fake engine
    with running("dots", engine="embedded") as base: ... # the real one
    with running("paddle", OCR_FLEET_FAKE='{"text": "hello"}') as base: ...
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("lighton", "paddle", "dots", "deepseek", "chatvlm")

READY_S_MAX = 60.0
"""Longest wait for `/readyz`: the embedded engine loads in a few seconds, five at once in more."""
STOP_S_MAX = 15.0
"""Longest wait for a process to end by itself after SIGTERM."""
LOG_LINES = 60
"""How much of a service's log a failure shows."""

COMMAND = (sys.executable, "-c", "import sys; from deploy.cli import main; sys.exit(main())")
"""`ocr-fleet`, also where the project is not installed."""


class NotServing(Exception):
    """A service did not come up; the message ends with its log."""


class Service:
    """One running service: where it answers, its process, its log."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.port = port
        self.process = process
        self.log_path = log

    def __repr__(self) -> str:
        return f"<Service {self.name} at {self.url}, pid {self.pid}>"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        """The end of what it wrote."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-LOG_LINES:])

    def answers(self, path: str = "/readyz") -> bool:
        """True when the path answers 200 within a second."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=1) as answer:  # noqa: S310  # our own loopback address
                return bool(answer.status == 200)
        except OSError:
            return False

    def wait_ready(self, timeout_s: float = READY_S_MAX) -> None:
        """Returns once `/readyz` answers 200.

        Raises:
            NotServing: the process ended or the time is over.
        """
        ends = time.monotonic() + timeout_s
        while not self.answers():
            if self.process.poll() is not None:
                raise NotServing(f"{self.name} ended with {self.process.returncode}\n{self.log()}")
            if time.monotonic() > ends:
                raise NotServing(f"{self.name} was not ready in {timeout_s:g} s\n{self.log()}")
            time.sleep(0.05)

    def stop(self) -> int:
        """SIGTERM, and SIGKILL when that does not end it in time; answers the exit status."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextmanager
def started(
    name: str, *, engine: str = "fake", folder: Path | None = None, **settings: str
) -> Iterator[Service]:
    """A service's process, perhaps not ready yet. `settings` are environment variables, `folder` is
    where it is started. When the block fails, the service's log goes to stderr."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix=f"ocr-fleet-{name}-") as scratch:
        log = Path(scratch) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*COMMAND, "serve", name, "--host", "127.0.0.1", "--port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=folder or scratch,
                env=environment(engine, settings),
            )
        service = Service(name, port, process, log)
        try:
            yield service
        except BaseException:
            print(f"---- log of {name}\n{service.log()}", file=sys.stderr)
            raise
        finally:
            service.stop()


@contextmanager
def running(
    service: str, engine: str = "fake", *, folder: Path | None = None, **settings: str
) -> Iterator[str]:
    """The base URL of a service that is ready."""
    with started(service, engine=engine, folder=folder, **settings) as one:
        one.wait_ready()
        yield one.url


@contextmanager
def fleet(
    names: Sequence[str] = SERVICES,
    *,
    engine: str = "fake",
    folder: Path | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[dict[str, Service]]:
    """Several services, started side by side, all ready."""
    given: dict[str, Any] = dict(settings or {})
    with ExitStack() as stack:
        services = {
            name: stack.enter_context(started(name, engine=engine, folder=folder, **given))
            for name in names
        }
        for service in services.values():
            service.wait_ready()
        yield services


def environment(engine: str, settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without its own fleet settings or proxies, then what is asked."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OCR_FLEET_") and not name.lower().endswith("_proxy")
    }
    path = os.pathsep.join(part for part in (str(ROOT), kept.get("PYTHONPATH")) if part)
    return kept | {"PYTHONPATH": path, "OCR_FLEET_ENGINE": engine} | dict(settings)


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
