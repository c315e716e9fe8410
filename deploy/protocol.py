"""uvicorn's HTTP protocol with a bound on a request's head, and the application's own words for
what is no HTTP: the parser itself would gather headers for as long as a client sends them, and
uvicorn answers in plain text. It looks at no header."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.http import Reply

HEAD_BYTES_MAX: Final = 256 * 1024
"""Request line and headers together; nginx takes 32 KiB, Node 16 KiB. Prompts may stand in the
address here, and what comes in one piece with a body's first bytes is counted before it is told."""


class BoundedHttp(HttpToolsProtocol):
    """Refuses a head that is too long with 400 and closes the connection."""

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
