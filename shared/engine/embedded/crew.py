"""The threads that do the embedded engine's work, and how its coroutines hand them steps.

A step is one short call of a model. Threads work through the steps of all pages in the order they
were handed in; nothing here knows what a page is.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from shared.errors import EngineFailed

P = ParamSpec("P")
T = TypeVar("T")

THREADS_MAX: Final = 16
"""Beyond this the steps wait for the interpreter's lock more than for a core."""

NICENESS: Final = 5
"""How far the threads step back for the event loop, so that `/health` answers under full load."""

CLOSED: Final = "the engine was closed while it was reading"

_CGROUP_CPU: Final = Path("/sys/fs/cgroup/cpu.max")


class Crew:
    """A fixed number of threads, a little less urgent than the event loop's."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, "ocr-page", initializer=_step_back)

    def submit(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Queue a step. Cancelling the future takes it out of the queue, unless it runs already.

        Raises:
            EngineFailed: the crew was closed.
        """
        try:
            work: Future[T] = self._pool.submit(step, *args, **kwargs)
        except RuntimeError as error:
            raise EngineFailed(CLOSED) from error
        return asyncio.wrap_future(work)

    async def do(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Queue a step and wait for it."""
        return await self.submit(step, *args, **kwargs)

    def later(self, step: Callable[[], object]) -> None:
        """Queue a step that nobody waits for; a closed crew leaves it undone."""
        with suppress(RuntimeError):
            self._pool.submit(step)

    async def close(self) -> None:
        """Drop the steps that wait, and end the threads once their running steps are done."""
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)


def core_count() -> int:
    """Cores that this process may use: its affinity, and its container's share of time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with suppress(OSError, ValueError):
        quota, period = _CGROUP_CPU.read_text().split()
        cores = min(cores or 1, max(1, round(int(quota) / int(period))))
    return max(1, min(cores or 1, THREADS_MAX))


def give_back_memory() -> None:
    """Let the C library return free memory to the system; pages differ in size by far."""
    if _TRIM is not None:
        _TRIM(0)


def _step_back() -> None:
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _find_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None  # not glibc


_TRIM: Final = _find_trim()
