"""Reads a request's body into an `Incoming`, within a bound: raw bytes, or a parsed multipart form.

The one place that touches the ASGI `receive`. It keeps at most `bytes_max` of a body; what a client
sends beyond that is read and dropped (to another bound), so that it can hear the answer.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from shared.errors import Cancelled, ImageTooLarge, InvalidRequest
from shared.http import Form, Incoming, Upload

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

DROP_BYTES_MAX = 64 * 1024 * 1024
"""How much too much is still read away: most clients only look for an answer once all is sent."""

INFLATE_BYTES = 1024 * 1024
"""How much of a compressed body is unpacked at once, so that the bound is seen in time."""

FORM_PARTS_MAX = 1_000
"""Most parts of a form; a batch has at most 100 files."""


async def read_incoming(scope: Scope, receive: Receive, *, bytes_max: int) -> Incoming:
    """Read the whole request.

    Raises:
        ImageTooLarge: the body has more than `bytes_max` bytes.
        InvalidRequest: the form or its compression is broken.
        Cancelled: the client went away while sending.
    """
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    chunks = _bounded(_inflated(_chunks(receive), headers), receive, bytes_max)
    media_type, options = parse_options_header(headers.get("content-type", ""))
    form: Form | None = None
    body = b""
    if media_type == "multipart/form-data":
        form = await _read_multipart(chunks, options.get("boundary", ""))
    else:
        body = b"".join([chunk async for chunk in chunks])
    return Incoming(
        method=scope["method"],
        path=scope["path"],
        query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
        headers=headers,
        body=body,
        form=form,
    )


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Cancelled("the client went away while sending")
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body", False):
            return


async def _inflated(chunks: AsyncIterator[bytes], headers: dict[str, str]) -> AsyncIterator[bytes]:
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
    chunks: AsyncIterator[bytes], receive: Receive, bytes_max: int
) -> AsyncIterator[bytes]:
    total = 0
    async for chunk in chunks:
        total += len(chunk)
        if total > bytes_max:
            await _drop_rest(receive)
            raise ImageTooLarge(
                f"The request is larger than {bytes_max // (1024 * 1024)} MiB",
                detail=f"more than {bytes_max} bytes",
            )
        yield chunk


async def _drop_rest(receive: Receive) -> None:
    dropped = 0
    async for chunk in _chunks(receive):
        dropped += len(chunk)
        if dropped > DROP_BYTES_MAX:
            return


async def _read_multipart(chunks: AsyncIterator[bytes], boundary: str) -> Form:
    if not boundary:
        raise InvalidRequest("The multipart form names no boundary")
    fields: dict[str, str] = {}
    files: list[tuple[str, Upload]] = []
    segment: MultipartSegment | None = None
    data = bytearray()
    try:
        with PushMultipartParser(boundary, max_segment_count=FORM_PARTS_MAX) as parser:
            async for chunk in chunks:
                for part in parser.parse(chunk) if chunk else ():
                    if isinstance(part, MultipartSegment):
                        segment, data = part, bytearray()
                    elif part:
                        data += part
                    elif segment is not None:
                        _keep(segment, data, fields, files)
    except MultipartError as error:
        raise InvalidRequest("The multipart form is broken", detail=str(error)) from error
    return Form(fields=fields, files=tuple(files))


def _keep(
    segment: MultipartSegment,
    data: bytearray,
    fields: dict[str, str],
    files: list[tuple[str, Upload]],
) -> None:
    if segment.filename is not None:
        content_type = segment.content_type or "application/octet-stream"
        files.append((segment.name, Upload(bytes(data), segment.filename, content_type)))
    else:
        try:
            fields[segment.name] = data.decode(segment.charset or "utf-8")
        except (UnicodeDecodeError, LookupError) as error:
            raise InvalidRequest(f"Form field {segment.name} is not text") from error
