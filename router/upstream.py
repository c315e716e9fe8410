"""Speaks to the services' replicas: sends a request to one, tries another where nothing was done,
and hands out what comes back. The one place of the router that opens connections for requests.

It retries only before the first byte, and only what no replica took up: no connection, one that
broke before an answer began (reading a page twice harms nobody), 502, 503, 429. Leaving a block
closes the connection to the replica at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self

import aiohttp
import msgspec
import structlog
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from router.connections import make_connector
from router.fleet import Service
from router.pool import Pool, Seat
from router.replica import Failure
from shared.errors import Busy, EngineFailed, OcrError, TimedOut
from shared.http import Reply
from shared.splice import Piece, join, parts_of, size_of
from shared.wire.kinds import read_kind, read_retry_after

log = structlog.get_logger("ocr_fleet.router")

HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""RFC 9110, 7.6.1: of one connection, not of the message."""

BUSY: Final = frozenset({429, 503})
BAD_GATEWAY: Final = 502

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of a whole answer that has to be translated; passed through, an answer has no bound."""


FINISH_S_MAX: Final = 0.05
"""For the end of a body whose last line has come: it is mostly in the same packet. A new connection
costs less than that."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it goes to whichever replica takes it."""

    service: Service
    method: str = "POST"
    path: str
    """With its query, as it stands on the wire."""
    headers: Mapping[str, str]
    body: Sequence[Piece] = ()
    client: str
    """Who asks, for fairness."""
    patience_s: float
    share: float | None = None
    """The part of all slots that this client may hold."""


class Answer:
    """A replica's answer: its head now, its body as it comes."""

    def __init__(self, response: aiohttp.ClientResponse, service: Service, seat: Seat) -> None:
        self._response = response
        self._service = service
        self._seat = seat
        self.headers = {
            name.lower(): value
            for name, value in response.headers.items()
            if name.lower() not in HOP_BY_HOP
        }
        """Names in lower case, hop-by-hop ones left out."""

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def is_json(self) -> bool:
        return self._response.content_type == "application/json"

    @property
    def replica(self) -> str:
        return self._seat.url

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes.

        Raises:
            EngineFailed: it was cut short.
            TimedOut: the replica fell silent.
        """
        silence_s = self._service.silence_s
        try:
            while True:
                async with asyncio.timeout(silence_s):
                    chunk = await self._response.content.readany()
                if not chunk:
                    return
                yield chunk
        except TimeoutError as error:
            self._seat.failed(Failure.TIMEOUT, "silent inside an answer")
            raise TimedOut(f"The model server was silent for {silence_s:g} seconds") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            self._seat.failed(Failure.CUT, repr(error))
            raise EngineFailed(
                "The model server's answer ended early", detail=repr(error)
            ) from error

    async def whole(self, *, bytes_max: int = ANSWER_BYTES_MAX) -> Reply:
        """The whole answer.

        Raises:
            EngineFailed: it was cut short, or is larger than `bytes_max`.
        """
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > bytes_max:
                raise EngineFailed(
                    "The model server's answer is too large", detail=f"over {bytes_max} bytes"
                )
        headers = self.headers
        return Reply(
            status=self.status,
            media_type=headers.get("content-type", ""),
            headers=headers,
            body=bytes(body),
        )

    def garbled(self, why: str) -> None:
        """The answer is not of its format: that speaks against the replica."""
        self._seat.failed(Failure.GARBAGE, why)

    async def finish(self, *, read_on: bool) -> None:
        """All that matters has been read: with `read_on` wait a moment for the body's end, so that
        the connection can serve again."""
        if read_on:
            with contextlib.suppress(TimeoutError, OcrError, aiohttp.ClientError, ConnectionError):
                async with asyncio.timeout(FINISH_S_MAX):
                    while await self._response.content.readany():
                        pass
        self.close()

    def close(self) -> None:
        """Keep the connection for the next request, or, where the answer is not read to its end,
        break it: that is how the replica learns that nobody listens."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


class _Refused(OcrError):
    """A replica did not take the request up; another, or later the same, may."""

    def __init__(self, error: OcrError, kind: Failure | None, retry_after_s: float | None) -> None:
        super().__init__(str(error), detail=error.detail)
        self.error = error
        self.kind = kind
        """What it says about the replica; `None` for one that is merely busy."""
        self.retry_after_s = retry_after_s


class Upstream:
    """Open it once per process (`async with`); it holds the connections to all replicas."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=make_connector(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            read_bufsize=256 * 1024,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def ask(self, ask: Ask) -> AsyncIterator[Answer]:
        """The answer of the first replica that takes the request up, whatever its status.

        Raises:
            Busy: no replica had room in time.
            EngineFailed: none could be reached.
            TimedOut: the replica did not answer in time.
        """
        pool = self.pools[ask.service.name]
        ends = time.monotonic() + ask.patience_s
        tried: frozenset[str] = frozenset()
        again = False
        while True:
            async with pool.seat(
                client=ask.client,
                size_bytes=size_of(ask.body),
                patience_s=ends - time.monotonic(),
                tried=tried,
                share=ask.share,
                again=again,
            ) as seat:
                try:
                    answer = await self._send(ask, seat)
                except _Refused as refused:
                    # A replica that is merely busy is paused, which bounds how often it is asked;
                    # only asking others in place of a broken one costs of the budget.
                    again = True
                    if refused.kind is None:
                        seat.busy(refused.retry_after_s)
                        may_retry = True
                    else:
                        seat.failed(refused.kind, refused.detail)
                        tried |= {seat.url}
                        may_retry = pool.may_retry()
                    if ask.method == "DELETE" or time.monotonic() >= ends or not may_retry:
                        raise refused.error from refused
                    log.info("retry", service=ask.service.name, replica=seat.url, why=str(refused))
                    continue
                try:
                    yield answer
                    return
                finally:
                    answer.close()

    async def _send(self, ask: Ask, seat: Seat) -> Answer:
        """To the first byte of the answer.

        Raises:
            _Refused: nothing was done.
            TimedOut: who knows what was done.
        """
        started = time.monotonic()
        try:
            async with asyncio.timeout(ask.service.timeout_s):
                response = await self._request(ask, seat.url)
        except aiohttp.ConnectionTimeoutError as error:
            raise _unreachable(error, Failure.CONNECT) from error
        except TimeoutError as error:
            seat.failed(Failure.TIMEOUT, "no answer")
            raise TimedOut(
                f"The model server did not answer within {ask.service.timeout_s:g} seconds"
            ) from error
        except aiohttp.ClientConnectorError as error:
            raise _unreachable(error, Failure.CONNECT) from error
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, ConnectionError) as error:
            raise _unreachable(error, Failure.CUT) from error
        except (aiohttp.ClientError, ValueError) as error:
            seat.failed(Failure.GARBAGE, repr(error))
            raise EngineFailed(
                "The model server's answer was not understood", detail=repr(error)
            ) from error
        answer = Answer(response, ask.service, seat)
        if _took_nothing_up(answer):
            try:
                raise await _refusal(answer)
            finally:
                answer.close()
        seat.succeeded(time.monotonic() - started)
        return answer

    async def _request(self, ask: Ask, url: str) -> aiohttp.ClientResponse:
        if self._session is None:
            raise AssertionError("Upstream is not open")
        return await self._session.request(
            ask.method,
            URL(url.rstrip("/") + ask.path, encoded=True),
            data=_Body(ask.body) if any(ask.body) else None,
            headers=ask.headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=ask.service.connect_s),
        )


class _Body(aiohttp.payload.Payload):
    """A request's body in pieces, written one after the other and never joined."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        super().__init__(pieces)
        self._size = size_of(pieces)

    async def write(self, writer: AbstractStreamWriter) -> None:
        for piece in self._value:
            for part in parts_of(piece):
                await writer.write(part)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        del content_length
        await self.write(writer)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return join(self._value).decode(encoding, errors)


def _took_nothing_up(answer: Answer) -> bool:
    """Whether the status says that the work was not begun. Some services answer 503 to what took
    them too long, and say so in a header of ours."""
    if answer.status == BAD_GATEWAY:
        return True
    return answer.status in BUSY and read_kind(answer.headers) is not TimedOut


def _unreachable(error: Exception, kind: Failure) -> _Refused:
    failed = EngineFailed("The model server cannot be reached", detail=repr(error))
    return _Refused(failed, kind, None)


async def _refusal(answer: Answer) -> _Refused:
    """A 429, 502 or 503 as the replica gave it, in case nobody else takes the request."""
    reply = await answer.whole(bytes_max=1024 * 1024)
    retry_after_s = read_retry_after(reply.headers)
    error: OcrError
    if reply.status == BAD_GATEWAY:
        error = EngineFailed("The model server cannot be reached", detail=repr(reply.body[:200]))
        return _Refused(error, Failure.CONNECT, None)
    error = Busy("The model server is busy", retry_after_s=retry_after_s or 1)
    return _Refused(error, None, retry_after_s)
