"""Upstreams that do exactly what a test says, byte for byte, on a real socket in a thread of their
own; and a client that can stop anywhere. They know no wire format.

    async def answer(call):
        await call.send(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\n")
        await call.until_hangup()

    with stub(answer) as upstream: ...
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

START_S_MAX = 5.0
PROBES = ("/readyz", "/health")


@dataclass
class Call:
    """One request to a stub."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int = 0
    arrived_s: float = field(default_factory=time.monotonic)
    closed: threading.Event = field(default_factory=threading.Event)
    closed_s: float = 0.0
    """When the other side closed the connection, on `time.monotonic`'s clock."""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until_hangup(self) -> None:
        """Until the other side closes the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        self.closed_s = time.monotonic()
        self.closed.set()

    async def reply(
        self,
        status: int = 200,
        body: bytes = b"{}",
        media_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        await self.send(head(status, media_type, {**(headers or {}), **_length(body)}) + body)


Behaviour = Callable[[Call], Awaitable[None]]


class Stub:
    """A server that behaves; `behaviour` may be changed between requests."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.calls: list[Call] = []
        self.probe: Behaviour = _well
        """How `/readyz` and `/health` are answered."""
        self.keeps_bodies = True
        """Else they are read and thrown away."""
        self.url = ""
        self._arrived = threading.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (call := await _read(reader, writer, keeps_body=self.keeps_bodies)) is not None:
                if call.path in PROBES:
                    await self.probe(call)
                else:
                    with self._arrived:
                        call.number = len(self.calls)
                        self.calls.append(call)
                        self._arrived.notify_all()
                    await self.behaviour(call)
                if call.headers.get("connection") == "close" or writer.is_closing():
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def wait_call(self, count: int = 1, timeout_s: float = 5.0) -> Call:
        """The last of so many calls, once it has come."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.calls) >= count, timeout_s), self.calls
            return self.calls[count - 1]

    def forget(self) -> None:
        self.calls.clear()


@contextmanager
def stub(behaviour: Behaviour, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[Stub]:
    """A stub that listens."""
    made = Stub(behaviour)
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def run() -> None:
        server = await asyncio.start_server(made.serve, host, port, limit=1 << 20)
        made.url = f"http://{host}:{server.sockets[0].getsockname()[1]}"
        started.set()
        async with server:
            await ended.wait()

    ended = asyncio.Event()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(run())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert started.wait(START_S_MAX)
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(START_S_MAX)


def head(status: int, media_type: str, headers: Mapping[str, str] | None = None) -> bytes:
    """The head of an answer."""
    lines = [f"HTTP/1.1 {status} X", f"content-type: {media_type}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body; the empty one ends it."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


CHUNKED = {"transfer-encoding": "chunked"}


def _length(body: bytes) -> dict[str, str]:
    return {"content-length": str(len(body))}


async def _well(call: Call) -> None:
    await call.reply(body=json.dumps({"status": "ok"}).encode())


async def _read(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keeps_body: bool
) -> Call | None:
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = raw.decode("latin-1").strip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    length = int(headers.get("content-length", "0"))
    if keeps_body:
        body = await reader.readexactly(length)
        return Call(method, path, headers, body, reader, writer)
    while length > 0 and (piece := await reader.read(min(length, 1 << 20))):
        length -= len(piece)
    return Call(method, path, headers, b"", reader, writer)


# ---- the client


class Caller:
    """A client on a plain socket: it sends what it is told, and hangs up when it is told."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=5)
        self.got = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_until(self, mark: bytes) -> bytes:
        """All that has come by the time the mark has."""
        while mark not in self.got:
            more = self.socket.recv(65536)
            assert more, f"closed before {mark!r}: {self.got!r}"
            self.got += more
        return self.got

    def read_all(self) -> bytes:
        """Until the connection is closed."""
        while more := self.socket.recv(65536):
            self.got += more
        return self.got

    def hang_up(self) -> float:
        """The moment it did."""
        moment_s = time.monotonic()
        self.socket.close()
        return moment_s


@contextmanager
def calling(url: str) -> Iterator[Caller]:
    caller = Caller(url)
    try:
        yield caller
    finally:
        caller.socket.close()


def wait_until(true: Callable[[], bool], timeout_s: float = 5.0) -> float:
    """The moment at which it was first seen to be true."""
    ends = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < ends, "it did not become true in time"
        time.sleep(0.001)
    return time.monotonic()
