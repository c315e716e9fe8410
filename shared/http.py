"""HTTP messages as plain values, so that wire formats can be read and written without any I/O."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

JSON = "application/json"
NDJSON = "application/x-ndjson"
SSE = "text/event-stream"


class Upload(msgspec.Struct, frozen=True):
    """One file of a multipart form."""

    data: bytes
    filename: str = ""
    content_type: str = "application/octet-stream"


class Form(msgspec.Struct, frozen=True):
    """A multipart (or urlencoded) form: its plain fields, the last of each name, and all files."""

    fields: Mapping[str, str] = {}
    files: tuple[tuple[str, Upload], ...] = ()


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A request as a service received it. A form is parsed already; any other body is `body`."""

    method: str = "POST"
    path: str = "/"
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    """Names in lower case."""
    body: bytes = b""
    form: Form | None = None


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A request to be sent: JSON bytes in `body`, or a multipart form in `form`."""

    method: str = "POST"
    path: str = "/"
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: bytes = b""
    form: Form | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer: status, media type, further headers (names in lower case), body."""

    status: int = 200
    media_type: str = JSON
    headers: Mapping[str, str] = {}
    body: bytes = b""
