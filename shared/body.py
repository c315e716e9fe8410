"""Reads a request's body into an `Incoming`, within a bound: raw bytes, or a parsed multipart form.

The one place that touches the ASGI `receive`. It keeps at most `bytes_max` of a body; what a client
sends beyond that is read and dropped (to another bound), so that it can hear the answer.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from shared.errors import Cancelled, ImageTooLarge, InvalidRequest
from shared.http import Form, Incoming, Upload

Scope = MutableMapping[str, Any]
Buffer = bytes | bytearray
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

WHOLE_BODY: Final = "ocr_fleet.whole_body"
"""The ASGI extension of a server that can receive a body of known length past its parser: an async
function of that length."""

WHOLE_BYTES_MIN: Final = 256 * 1024
"""Shorter bodies come in a few pieces, and are there before anybody could ask for them."""

DROP_BYTES_MAX = 64 * 1024 * 1024
"""How much too much is still read away: most clients only look for an answer once all is sent."""

INFLATE_BYTES = 1024 * 1024
"""How much of a compressed body is unpacked at once, so that the bound is seen in time."""

FORM_PARTS_MAX = 1_000
"""Most parts of a form; a batch has at most 100 files."""


async def read_incoming(scope: Scope, receive: Receive, *, bytes_max: int) -> Incoming:
    """Read the whole request; a form is parsed as it comes.

    Raises:
        ImageTooLarge: the body has more than `bytes_max` bytes.
        InvalidRequest: the form or its compression is broken.
        Cancelled: the client went away while sending.
    """
    incoming = read_head(scope)
    chunks = read_chunks(incoming, receive, bytes_max=bytes_max)
    boundary = form_boundary(incoming)
    if boundary is None:
        body = b"".join([chunk async for chunk in chunks])
        return msgspec.structs.replace(incoming, body=body)
    reader = FormReader(boundary)
    async for chunk in chunks:
        reader.feed(chunk)
    return msgspec.structs.replace(incoming, form=reader.close())


def read_head(scope: Scope) -> Incoming:
    """The request without its body."""
    return Incoming(
        method=scope["method"],
        path=scope["path"],
        query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
        headers={
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        },
    )


def read_chunks(incoming: Incoming, receive: Receive, *, bytes_max: int) -> AsyncIterator[bytes]:
    """The body as it comes, unpacked and bounded; raises as `read_incoming`."""
    raw = _chunks(receive)
    if "content-encoding" not in incoming.headers:
        return _bounded(raw, raw, bytes_max)
    return _bounded(_inflated(raw, incoming.headers), raw, bytes_max)


async def read_whole(incoming: Incoming, scope: Scope, *, bytes_max: int) -> Buffer | None:
    """A large body in one piece, received into its place; none where it must be read in chunks,
    because its length is not known, it is packed or too long, or the server cannot do it.

    Raises:
        Cancelled: the client went away while sending.
    """
    receive_whole = scope.get("extensions", {}).get(WHOLE_BODY)
    length = incoming.headers.get("content-length", "")
    packed = incoming.headers.get("content-encoding", "identity").strip().lower()
    if receive_whole is None or not length.isdecimal() or packed not in {"", "identity"}:
        return None
    if not WHOLE_BYTES_MIN <= int(length) <= bytes_max:
        return None
    body: Buffer = await receive_whole(int(length))
    return body


def form_boundary(incoming: Incoming) -> str | None:
    """The boundary of a multipart body; `None` for any other body."""
    content_type = incoming.headers.get("content-type", "")
    if not content_type.lstrip()[:10].lower().startswith("multipart/"):
        return None  # as most requests; the whole syntax is some microseconds' work
    media_type, options = parse_options_header(content_type)
    return options.get("boundary", "") if media_type == "multipart/form-data" else None


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Cancelled("the client went away while sending")
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body", False):
            return


async def _inflated(
    chunks: AsyncIterator[bytes], headers: Mapping[str, str]
) -> AsyncIterator[bytes]:
    """Undo `Content-Encoding: gzip` or `deflate`, a bounded piece at a time."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        async for chunk in chunks:
            yield chunk
        return
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        raise InvalidRequest(f"Unsupported Content-Encoding: {encoding}")
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # 32: gzip or zlib, told by its head
    try:
        async for chunk in chunks:
            rest = chunk
            while rest:
                yield inflate.decompress(rest, INFLATE_BYTES)
                rest = inflate.unconsumed_tail
    except zlib.error as error:
        raise InvalidRequest("The compressed body is broken", detail=str(error)) from error
    if not inflate.eof:
        raise InvalidRequest("The compressed body is broken", detail="it ends early")


async def _bounded(
    chunks: AsyncIterator[bytes], raw: AsyncIterator[bytes], bytes_max: int
) -> AsyncIterator[bytes]:
    """The chunks; `raw` is what they are made of, which knows when the body has ended."""
    total = 0
    async for chunk in chunks:
        total += len(chunk)
        if total > bytes_max:
            await _drop_rest(raw)
            raise ImageTooLarge(
                f"The request is larger than {bytes_max // (1024 * 1024)} MiB",
                detail=f"more than {bytes_max} bytes",
            )
        yield chunk


async def _drop_rest(raw: AsyncIterator[bytes]) -> None:
    dropped = 0
    async for chunk in raw:
        dropped += len(chunk)
        if dropped > DROP_BYTES_MAX:
            return


class FormReader:
    """Parses a multipart form from pieces of any length. With `files=False` their bytes are
    dropped: enough to see the plain fields of a form that is passed on as it is."""

    def __init__(self, boundary: str, *, files: bool = True) -> None:
        if not boundary:
            raise InvalidRequest("The multipart form names no boundary")
        self._parser = PushMultipartParser(boundary, max_segment_count=FORM_PARTS_MAX)
        self._keeps_files = files
        self._segment: MultipartSegment | None = None
        self._data = bytearray()
        self._fields: dict[str, str] = {}
        self._files: list[tuple[str, Upload]] = []

    def feed(self, chunk: bytes) -> None:
        """Raises `InvalidRequest` where the form is broken."""
        if not chunk:
            return  # to the parser it would be the end
        try:
            for part in self._parser.parse(chunk):
                self._take(part)
        except MultipartError as error:
            raise InvalidRequest("The multipart form is broken", detail=str(error)) from error

    def close(self) -> Form:
        """The form. Raises `InvalidRequest` where it ends early."""
        try:
            self._parser.close()
        except MultipartError as error:
            raise InvalidRequest("The multipart form is broken", detail=str(error)) from error
        return Form(fields=self._fields, files=tuple(self._files))

    def _take(self, part: MultipartSegment | bytes | bytearray | None) -> None:
        if isinstance(part, MultipartSegment):
            self._segment, self._data = part, bytearray()
        elif self._segment is None:
            return
        elif part is None:
            self._keep(self._segment)
        elif self._keeps_files or self._segment.filename is None:
            self._data += part

    def _keep(self, segment: MultipartSegment) -> None:
        if segment.filename is not None:
            content_type = segment.content_type or "application/octet-stream"
            upload = Upload(bytes(self._data), segment.filename, content_type)
            self._files.append((segment.name, upload))
            return
        try:
            self._fields[segment.name] = self._data.decode(segment.charset or "utf-8")
        except (UnicodeDecodeError, LookupError) as error:
            raise InvalidRequest(f"Form field {segment.name} is not text") from error
