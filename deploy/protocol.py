"""uvicorn's HTTP protocol with a bound on a request's head, and the application's own words for
what is no HTTP: the parser itself would gather headers for as long as a client sends them, and
uvicorn answers in plain text. It looks at no header."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from deploy.intake import Intake, Turns
from shared.body import WHOLE_BODY
from shared.errors import Cancelled
from shared.http import Reply

HEAD_BYTES_MAX: Final = 256 * 1024
"""Request line and headers together; nginx takes 32 KiB, Node 16 KiB. Prompts may stand in the
address here, and what comes in one piece with a body's first bytes is counted before it is told."""


TURNS: Final = Turns()
"""Of the process's one loop."""


class BoundedHttp(HttpToolsProtocol):
    """Refuses a head that is too long with 400 and closes the connection. To an application that
    asks for it, it gives a body whole, past the parser (`deploy.intake`)."""

    _head_bytes = 0
    _in_head = True

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            self.send_400_response("The request's head is too long.")

    def send_400_response(self, msg: str) -> None:
        """As the application words an invalid request; there is no request that it could see."""
        say = getattr(self.config.app, "refuse_malformed", None)
        if say is None:
            super().send_400_response(msg)
            return
        reply: Reply = say(msg)
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {reply.media_type}\r\n"
        size = f"content-length: {len(reply.body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode() + size.encode() + reply.body)
        self.transport.close()

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
        self.cycle.transport = cast("asyncio.Transport", _Joining(self.transport))
        self.scope["extensions"] = {WHOLE_BODY: partial(self._receive_whole, self.cycle)}  # type: ignore[dict-item]

    async def _receive_whole(self, cycle: RequestResponseCycle, total_bytes: int) -> bytearray:
        """The body, which has so many bytes by its head, and of which nothing was received yet.

        Raises:
            Cancelled: the client went away.
        """
        if cycle.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False
        if cycle.more_body:
            self.flow.pause_reading()
            await TURNS.wait(total_bytes)
        first, cycle.body = cycle.body, bytearray()
        if cycle.more_body:
            if cycle.disconnected:
                raise Cancelled("the client went away while sending")
            intake = Intake(self.transport, self, first, total_bytes, TURNS)
            first = await intake.receive()
            self.parser = httptools.HttpRequestParser(self)  # the old one waits for the body
            cycle.more_body = False
            self.flow.resume_reading()
        cycle.message_event.clear()
        return first


class _Joining:
    """What one answer is written to: its head goes out together with the first of its body, where
    that is there already, and costs no packet of its own."""

    __slots__ = ("_held", "_is_begun", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.is_closing = transport.is_closing
        self._transport = transport
        self._held = b""
        self._is_begun = False

    def write(self, data: bytes) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines((held, data))
        elif self._is_begun:
            self._transport.write(data)
        else:
            self._is_begun, self._held = True, data
            asyncio.get_running_loop().call_soon(self._flush)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)
