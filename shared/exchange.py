"""One request on its way through a service: what came, what is being answered, what became of it.

Sends replies and streams, and notices the client hanging up; knows no wire format and no engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Coroutine,
    Mapping,
    MutableMapping,
)
from contextlib import AsyncExitStack
from typing import Any, Final, TypeVar

import msgspec

from shared.access import NOBODY, Caller
from shared.body import Receive
from shared.errors import Cancelled
from shared.http import Incoming, Reply
from shared.ocr import Delta, Done, Size
from shared.splice import Splice

T = TypeVar("T")
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

SEND_S_MAX: Final = 60.0
"""A client that takes no bytes for that long is taken for gone, so that it cannot hold a slot."""

LOOK_AFTER_S: Final = 0.01
"""How long work goes on before anybody looks whether its client is still there."""


class Streaming(msgspec.Struct, kw_only=True):
    """A streamed answer. `chunks` and their `source` are closed when the stream ends, however it
    ends: closing a generator that never started would not close what it was made from."""

    media_type: str
    chunks: AsyncGenerator[bytes, None]
    source: AsyncGenerator[Any, None]
    headers: Mapping[str, str] = {}
    status: int = 200
    closed: Callable[[], None] = lambda: None
    """Called once the stream has ended and its generators are closed."""


Answer = Reply | Streaming

NOTE_HEADER: Final = "x-ocr-note"
"""What the operator should know about how the page was read."""

SIZE_HEADER: Final = "x-ocr-size"
"""Width and height of each page read, after its EXIF turn: `1654x2339, 800x600`."""


class Exchange(msgspec.Struct, kw_only=True):
    """The facts of one request, gathered as it goes; the canonical log line is made of them."""

    request_id: str
    receive: Receive
    incoming: Incoming = Incoming()
    peer: str = ""
    """The address that the connection comes from."""
    caller: Caller = NOBODY
    started: float = msgspec.field(default_factory=time.perf_counter)
    model: str = ""
    task: str = ""
    pages: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    stop: str = ""
    first_delta_s: float | None = None
    work_s: float = 0.0
    """How long the engine worked, without loading and waiting."""
    notes: list[str] = []
    sizes: tuple[Size, ...] = ()
    facts: dict[str, str] = {}
    """Further headers of the answer."""
    route: dict[str, str] = {}
    """Further fields of the log line: which way the request went."""
    splice: Splice = msgspec.field(default_factory=Splice)
    """Pages that were taken out of the body, and go into another as they are."""
    stack: AsyncExitStack = msgspec.field(default_factory=AsyncExitStack)
    """What is held until the answer has been sent, or given up."""
    outcome: str = "ok"
    """`ok`, or the kind of error, also of one inside a stream whose status was 200."""
    detail: str = ""

    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def saw(self, delta: Delta) -> None:
        """Keep what a delta tells about the request."""
        if self.first_delta_s is None:
            self.first_delta_s = self.seconds()
        self.notes.extend(note for note in delta.notes if note not in self.notes)
        if isinstance(delta, Done):
            self.stop = delta.stop
            self.prompt_tokens += delta.usage.prompt_tokens
            self.completion_tokens += delta.usage.completion_tokens

    def headers(self) -> dict[str, str]:
        """What the answer says of its own making, as far as it is known by now."""
        made = dict(self.facts)
        if self.notes:
            made[NOTE_HEADER] = "; ".join(self.notes)
        if self.sizes:
            made[SIZE_HEADER] = ", ".join(f"{width}x{height}" for width, height in self.sizes)
        return made

    def part(self) -> Exchange:
        """An exchange for one item of a batch, to be given back to `add`."""
        return Exchange(
            request_id=self.request_id,
            receive=self.receive,
            incoming=self.incoming,
            caller=self.caller,
            splice=self.splice,
        )

    def add(self, part: Exchange) -> None:
        """Count an item's pages and tokens as this request's."""
        self.model, self.task = part.model or self.model, part.task or self.task
        self.pages += part.pages
        self.prompt_tokens += part.prompt_tokens
        self.completion_tokens += part.completion_tokens
        self.work_s += part.work_s
        self.sizes += part.sizes
        self.facts |= part.facts
        self.route |= part.route
        self.stop, self.detail = part.stop or self.stop, part.detail or self.detail
        self.notes.extend(note for note in part.notes if note not in self.notes)
        if self.first_delta_s is None:
            self.first_delta_s = part.first_delta_s

    def failed(self, error: Exception, detail: str = "") -> None:
        self.outcome = type(error).__name__
        self.detail = detail or str(error)

    async def until_hangup(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work; when the client hangs up first, cancel it and wait until it has stopped.

        The body must have been read before: what `receive` tells then is the hang-up alone.

        Raises:
            Cancelled: the client is gone.
        """
        watch = _Watch(self.receive)
        try:
            try:
                return await work
            finally:
                await watch.close()
        except asyncio.CancelledError:
            if watch.is_its_own():
                raise Cancelled("the client went away") from None
            raise


class _Watch:
    """Cancels the task that made it when its client hangs up. It begins to look a moment later:
    most short work has ended by then, and a task and its wake-ups cost more than such work."""

    def __init__(self, receive: Receive) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("only a task can be cancelled")
        self._task = task
        self._receive = receive
        self._has_cancelled = False
        self._looking: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(LOOK_AFTER_S, self._begin)

    def is_its_own(self) -> bool:
        """Whether a cancellation is this one's doing, and nobody else's as well."""
        return self._has_cancelled and self._task.uncancel() == 0

    async def close(self) -> None:
        self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def _begin(self) -> None:
        self._looking = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        await _hangup(self._receive)
        self._has_cancelled = True
        self._task.cancel()


async def send_reply(reply: Reply, send: Send, headers: Mapping[str, str]) -> None:
    fields = {
        "content-type": reply.media_type,
        "content-length": str(len(reply.body)),
        **reply.headers,
        **headers,
    }
    await _start(send, reply.status, fields)
    await send({"type": "http.response.body", "body": reply.body})


async def send_stream(answer: Streaming, send: Send, headers: Mapping[str, str]) -> None:
    """Send each chunk as it comes. The last one is sent as such only when the stream was whole.

    Raises:
        Cancelled: the client takes no more bytes.
    """
    try:
        async with contextlib.aclosing(answer.source), contextlib.aclosing(answer.chunks) as chunks:
            fields = {
                "content-type": answer.media_type,
                "cache-control": "no-cache",
                "x-accel-buffering": "no",  # nginx and its relatives would hold the pieces back
                **headers,
                **answer.headers,
            }
            await _start(send, answer.status, fields)
            async for chunk in chunks:
                try:
                    async with asyncio.timeout(SEND_S_MAX):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                except TimeoutError as error:
                    raise Cancelled("the client takes no more bytes") from error
    finally:
        answer.closed()
    await send({"type": "http.response.body", "body": b""})


async def _start(send: Send, status: int, fields: Mapping[str, str]) -> None:
    encoded = [
        (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in fields.items()
    ]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def _hangup(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
