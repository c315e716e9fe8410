"""The models in memory: loaded on first use, once, and let go when asked, never under a page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from shared.admission import Admission
from shared.engine.protocol import Engine
from shared.errors import ModelNotLoaded
from shared.service import Lane

log = structlog.get_logger("ocr_fleet.service")


class Models:
    """Each model is a lane of its own: one engine, its slots and its queue.

    Args:
        make: an engine for a model's id, not opened yet.
        slots, queue_max: for each model.
    """

    def __init__(self, make: Callable[[str], Engine], *, slots: int, queue_max: int) -> None:
        self._make = make
        self._slots = slots
        self._queue_max = queue_max
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._loaded: dict[str, _Loaded] = {}
        self._shut = False
        self._closing: dict[asyncio.Task[None], _Loaded] = {}
        """Models out of use that still have a page to finish."""

    @property
    def loaded(self) -> list[str]:
        """Ids in the order they were loaded."""
        return list(self._loaded)

    @property
    def lanes(self) -> list[Lane]:
        return [one.lane for one in self._loaded.values()]

    def load(self) -> tuple[int, int]:
        """Requests waiting and at work, of all models."""
        doors = self._doors()
        return sum(door.waiting for door in doors), sum(door.in_flight for door in doors)

    def shut(self) -> None:
        """Refuse new and waiting work, on models loaded later too."""
        self._shut = True
        for door in self._doors():
            door.close()

    def _doors(self) -> list[Admission]:
        """Of the models in use, and of those that finish their last pages."""
        return [one.lane.admission for one in (*self._loaded.values(), *self._closing.values())]

    async def hold(self, name: str) -> Hold:
        """The model's lane, loaded if need be, and kept in memory until the hold is released.

        Raises:
            EngineFailed: the model cannot be loaded.
        """
        # Between a load and here the model may have been unloaded again: then it is loaded anew.
        while (one := self._loaded.get(name)) is None:
            await self._load(name)
        one.users += 1
        return Hold(one)

    async def _load(self, name: str) -> None:
        """Concurrent first requests wait for the same load; one that leaves does not stop it."""
        task = self._loading.get(name)
        if task is None:
            task = asyncio.create_task(self._open(name))
            self._loading[name] = task
            task.add_done_callback(lambda _: self._loading.pop(name, None))
        await asyncio.shield(task)

    async def _open(self, name: str) -> None:
        engine = self._make(name)
        try:
            await engine.open()
        except BaseException:
            await engine.close()
            raise
        admission = Admission(self._slots, self._queue_max)
        if self._shut:
            admission.close()
        self._loaded[name] = _Loaded(Lane(engine, admission))
        log.info("model_loaded", model=name)

    async def unload(self, name: str) -> None:
        """Take the model out of use at once, and free its memory when its last page is done.

        Raises:
            ModelNotLoaded: it is not in memory.
        """
        one = self._loaded.pop(name, None)
        if one is None:
            raise ModelNotLoaded(f"Model {name} not loaded")
        task = asyncio.create_task(self._close(name, one))
        self._closing[task] = one
        task.add_done_callback(lambda done: self._closing.pop(done, None))
        await asyncio.shield(task)

    async def _close(self, name: str, one: _Loaded) -> None:
        while one.users:
            one.idle.clear()
            await one.idle.wait()
        await one.lane.engine.close()
        log.info("model_unloaded", model=name)

    async def close(self) -> None:
        """Free everything; work still running is cut off."""
        loads = list(self._loading.values())
        for task in loads:
            task.cancel()
        await asyncio.gather(*loads, return_exceptions=True)
        for one in self._loaded.values():
            await one.lane.engine.close()
        self._loaded.clear()
        closing = list(self._closing)
        for task in closing:
            task.cancel()
        await asyncio.gather(*closing, return_exceptions=True)


class Hold:
    """A lane that stays in memory until it is released; also a context manager."""

    def __init__(self, one: _Loaded) -> None:
        self.lane = one.lane
        self._one: _Loaded | None = one

    def release(self) -> None:
        """Releasing twice is harmless."""
        one, self._one = self._one, None
        if one is not None:
            one.users -= 1
            if not one.users:
                one.idle.set()

    def __enter__(self) -> Lane:
        return self.lane

    def __exit__(self, *_: object) -> None:
        self.release()


class _Loaded:
    """A model in memory and how many requests use it."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.users = 0
        self.idle = asyncio.Event()
