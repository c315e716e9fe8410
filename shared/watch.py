"""Sees that a file has changed, or that SIGHUP asks to look, and hands on what it says then.

A file that is wrong changes nothing: what was read before stays, and the reason is logged, once for
each change. Looks are made in a thread, and at what the path leads to, so that a file that is
replaced or lies behind a link is seen to change as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeVar

import structlog

from shared.sources import SettingError

T = TypeVar("T")

LOOK_S: Final = 1.0
"""Between two looks. A change is read when it has kept still from one to the next: editors write
in several steps, and half a file may well be valid."""

Signature = tuple[int, int, int, int] | None
"""Device, inode, size and time of change; none: no such file."""

log = structlog.get_logger("ocr_fleet.watch")


class FileWatch(Generic[T]):
    """One file: `read` says what is in it, `apply` takes that over, on the event loop.

    It starts from the file as it is when this object is made, so make it before the first reading.
    """

    def __init__(
        self, path: Path, read: Callable[[Path], T], apply: Callable[[T], None], *, name: str
    ) -> None:
        self.path = path
        self.name = name
        self._read = read
        self._apply = apply
        self._known = _sign(path)
        self._seen = self._known

    async def look(self, *, now: bool = False) -> None:
        """Read the file if it has changed and kept still since the last look; `now`: in any case.

        What `apply` refuses with `SettingError` counts as wrong too.
        """
        signature = await asyncio.to_thread(_sign, self.path)
        still = signature == self._seen
        self._seen = signature
        if not now and (signature == self._known or not still):
            return
        self._known = signature
        try:
            self._apply(await asyncio.to_thread(self._read, self.path))
        except SettingError as error:
            log.error("file_refused", file=self.name, reason=str(error))  # noqa: TRY400
        else:
            log.info("file_read", file=self.name, path=str(self.path))


class Watcher:
    """Looks at all its files while it is open: `async with Watcher([...]):`."""

    def __init__(self, watches: Sequence[FileWatch[Any]], *, look_s: float = LOOK_S) -> None:
        self._watches = watches
        self._look_s = look_s
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._has_signal = False
        self._had_terminal = False

    async def __aenter__(self) -> Self:
        self._had_terminal = has_terminal()
        # Signals belong to the main thread's loop; elsewhere the files' own changes must do.
        with contextlib.suppress(ValueError, RuntimeError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hung_up)
            self._has_signal = True
        self._task = asyncio.ensure_future(self._keep_looking())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._has_signal:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def ask(self) -> None:
        """Look at once, whether anything has changed or not."""
        self._asked.set()

    def _hung_up(self) -> None:
        """SIGHUP has two meanings: look at your files, and your terminal is gone."""
        if self._had_terminal and not has_terminal():
            signal.raise_signal(signal.SIGTERM)
        else:
            self.ask()

    async def _keep_looking(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_s):
                    await self._asked.wait()
            now = self._asked.is_set()
            self._asked.clear()
            for one in self._watches:
                try:
                    await one.look(now=now)
                except Exception:  # the task's outermost edge: whatever it was, go on looking
                    log.exception("watch_failed", file=one.name)


def has_terminal() -> bool:
    """Whether this process belongs to a terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _sign(path: Path) -> Signature:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
