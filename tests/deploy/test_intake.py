"""Large bodies that come past the parser: whatever way they are sent, and what comes after them."""

from __future__ import annotations

import gzip
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from deploy.protocol import BoundedHttp
from shared.body import WHOLE_BYTES_MIN, read_chunks, read_head, read_whole
from shared.errors import Cancelled

BODY = bytes(range(256)) * (3 * WHOLE_BYTES_MIN // 256)
BYTES_MAX = 64 * 1024 * 1024
WAIT_S = 5.0

Seen = list[tuple[str, bytes]]


@pytest.fixture(scope="module")
def seen() -> Seen:
    """What became of each request."""
    return []


@pytest.fixture(scope="module")
def port(seen: Seen) -> Iterator[int]:
    """An application that takes bodies whole where it can, and says how it got them."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        incoming = read_head(scope)
        try:
            body = await read_whole(incoming, scope, bytes_max=BYTES_MAX)
            how = "whole"
            if body is None:
                chunks = read_chunks(incoming, receive, bytes_max=BYTES_MAX)
                body, how = b"".join([chunk async for chunk in chunks]), "chunks"
        except Cancelled:
            seen.append(("gone", b""))
            return
        seen.append((how, bytes(body)))
        start = {"status": 200, "headers": [(b"content-length", b"2")]}
        await send({"type": "http.response.start", **start})
        await send({"type": "http.response.body", "body": b"ok"})

    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app, interface="asgi3", loop="uvloop", http=BoundedHttp, lifespan="off", log_config=None
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(WAIT_S)


def head(length: int, *lines: str) -> bytes:
    return "\r\n".join(
        ["POST / HTTP/1.1", "host: here", f"content-length: {length}", *lines, "", ""]
    ).encode()


def answer(client: socket.socket, count: int = 1) -> bytes:
    got = b""
    while got.count(b"\r\n\r\nok") < count:
        piece = client.recv(65536)
        assert piece, got
        got += piece
    return got


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)


@pytest.mark.parametrize("size", [1, 1000, 65536, 100_000, len(BODY)])
def test_a_body_in_pieces_is_whole_and_the_connection_goes_on(
    port: int, seen: Seen, size: int
) -> None:
    seen.clear()
    with connect(port) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sent = head(len(BODY)) + BODY
        client.sendall(sent[:200])
        cut = 200 + 20 * size
        for at in range(200, min(cut, len(sent)), size):
            client.sendall(sent[at : at + size])
        client.sendall(sent[cut:])
        answer(client)
        client.sendall(head(3) + b"abc")
        answer(client)
        client.sendall(sent)
        answer(client)
    assert seen == [("whole", BODY), ("chunks", b"abc"), ("whole", BODY)]


def test_requests_sent_without_waiting_are_answered_in_turn(port: int, seen: Seen) -> None:
    seen.clear()
    with connect(port) as client:
        threading.Thread(
            target=client.sendall, args=(head(len(BODY)) + BODY + head(3) + b"abc",), daemon=True
        ).start()
        answer(client, 2)
    assert seen == [("whole", BODY), ("chunks", b"abc")]


def test_a_client_may_wait_to_be_told_to_go_on(port: int, seen: Seen) -> None:
    seen.clear()
    with connect(port) as client:
        client.sendall(head(len(BODY), "expect: 100-continue"))
        assert client.recv(65536).startswith(b"HTTP/1.1 100 ")
        client.sendall(BODY)
        answer(client)
    assert seen == [("whole", BODY)]


@pytest.mark.parametrize("count", [0, 1, 70_000, len(BODY) - 1])
def test_a_client_that_leaves_is_noticed(port: int, seen: Seen, count: int) -> None:
    seen.clear()
    with connect(port) as client:
        client.sendall(head(len(BODY)) + BODY[:count])
        time.sleep(0.05)  # or the head would not be read before the connection's end
    ends = time.monotonic() + WAIT_S
    while not seen and time.monotonic() < ends:
        time.sleep(0.005)
    assert seen == [("gone", b"")]


def test_a_packed_body_goes_through_its_unpacker(port: int, seen: Seen) -> None:

    plain = os.urandom(2 * WHOLE_BYTES_MIN)
    packed = gzip.compress(plain)
    seen.clear()
    with connect(port) as client:
        client.sendall(head(len(packed), "content-encoding: gzip") + packed)
        answer(client)
    assert seen == [("chunks", plain)]


def test_many_at_once_come_out_right(port: int, seen: Seen) -> None:
    seen.clear()

    def send() -> None:
        with connect(port) as client:
            for _ in range(3):
                client.sendall(head(len(BODY) * 4) + BODY * 4)
                answer(client)

    threads = [threading.Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S * 4)
    assert seen == [("whole", BODY * 4)] * 36
