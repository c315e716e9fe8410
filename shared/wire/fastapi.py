"""What the formats made with FastAPI share: `{"detail"}` bodies, forms, the query that wins.

Knows no service's fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from shared import base64s
from shared.errors import InvalidRequest
from shared.http import Form, Incoming, Reply, Upload
from shared.limits import MIB
from shared.ocr import BytesPage, EncodedPage, Page

IMAGE_BYTES_MAX: Final = 1024 * MIB
"""For our own client side, which sends what it was given; the server has its bound."""


class Failure(msgspec.Struct):
    """An error answer; FastAPI's own validation errors are lists."""

    detail: object = ""


FAILURES: Final = msgspec.json.Decoder(Failure)


def read_form(incoming: Incoming) -> Form:
    """The form of a request.

    Raises:
        InvalidRequest: its body is none.
    """
    if incoming.form is None:
        raise InvalidRequest("The request must be multipart/form-data with a file in it")
    return incoming.form


def read_upload(form: Form, name: str) -> Upload:
    """The last file of that name.

    Raises:
        InvalidRequest: there is none.
    """
    uploads = [upload for field, upload in form.files if field == name]
    if uploads:
        return uploads[-1]
    if name in form.fields:
        raise InvalidRequest(f"{name} must be an uploaded file, not text")
    raise InvalidRequest(f"{name} is required")


def merge(query: Mapping[str, str], form: Form) -> dict[str, str]:
    """Query and form as one; the query wins, unless its value is blank."""
    return {**form.fields, **{name: value for name, value in query.items() if value}}


def read_detail(reply: Reply) -> str:
    """The message of an error answer, whatever sent it."""
    try:
        detail = FAILURES.decode(reply.body).detail
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        detail = ""
    if not isinstance(detail, str):
        detail = msgspec.json.encode(detail).decode()
    return detail or f"the model server answered {reply.status}"


def write_upload(page: Page) -> Upload:
    """A page as a file.

    Raises:
        InvalidRequest: nobody here has its bytes.
    """
    match page:
        case BytesPage(data, name):
            return Upload(data, name or "page", base64s.media_type(data))
        case EncodedPage(text):
            data = base64s.decode(text, bytes_max=IMAGE_BYTES_MAX)
            return Upload(data, "page", base64s.media_type(data))
        case _:
            raise InvalidRequest("This format takes pages as base64 or as files alone")
