"""Writes a multipart form as bytes; reading one is the business of `shared.body`."""

from __future__ import annotations

from uuid import uuid4

from shared.http import Form

ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
"""As browsers write names (the WHATWG's form encoding)."""


def write_form(form: Form) -> tuple[str, bytes]:
    """The media type, with its boundary, and the body."""
    boundary = uuid4().hex
    pieces: list[bytes] = []
    for name, value in form.fields.items():
        pieces += [_head(boundary, name), b"\r\n", value.encode(), b"\r\n"]
    for name, upload in form.files:
        head = _head(boundary, name, upload.filename or "file")
        kind = f"content-type: {upload.content_type}\r\n\r\n".encode()
        pieces += [head, kind, upload.data, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", b"".join(pieces)


def _head(boundary: str, name: str, filename: str | None = None) -> bytes:
    line = f'content-disposition: form-data; name="{name.translate(ESCAPES)}"'
    if filename is not None:
        line += f'; filename="{filename.translate(ESCAPES)}"'
    return f"--{boundary}\r\n{line}\r\n".encode()
