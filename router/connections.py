"""Connections to replicas, more careful than aiohttp's own about servers that break the protocol.

Who reads a body hears at once that its bytes make no sense any more, and a connection on which
bytes came that nobody had asked for is never used again: the next request would take them for its
answer. It relies on two attributes of aiohttp's that are not documented; tests hold them to that.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

KEEP_ALIVE_S: Final = 15.0
"""Idle connections to replicas; shorter than the services keep theirs, so that a request is seldom
written into a connection that the other side is closing."""

FINAL: Final = 200
"""Answers below are interim: another one follows."""


def make_connector() -> aiohttp.TCPConnector:
    """To be called on the loop that it will work on."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S, ttl_dns_cache=10)
    made = partial(_Connection, loop=asyncio.get_running_loop())
    connector._factory = made  # type: ignore[assignment]  # noqa: SLF001 - see above
    return connector


class _Connection(ResponseHandler):
    """See the module."""

    _waits = False
    """For the head of an answer."""

    def set_response_params(self, **params: Any) -> None:
        self._waits = True
        super().set_response_params(**params)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take the head of an answer; `data` is that and its body."""
        self._waits = self._waits and data[0].code < FINAL
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        payload = self._payload
        if data and payload is not None and payload.is_eof() and not self._waits:
            if self.transport is not None:
                self.transport.close()
            return
        super().data_received(data)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        super().set_exception(exc, *cause)
        payload = self._payload
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(aiohttp.ClientPayloadError(f"The body is broken: {exc!r}"))
