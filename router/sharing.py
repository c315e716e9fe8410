"""Tells apart the dialects that share `/ocr`, by content type and top-level key, and gives errors
the shape of whichever it was. It reads no more of a body than that takes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from router.dialects import CHATVLM, DEEPSEEK, DOTS, Operation
from shared.body import form_boundary
from shared.errors import InvalidRequest, OcrError
from shared.http import Incoming, Reply

SHAPES: Final = (
    "The request fits none of the /ocr formats: a JSON object with `image` (dots.ocr) or"
    " `image_base64` (DeepSeek-OCR), or a multipart form with `file` (ChatVLMLLM)"
)

AMBIGUOUS: Final = SHAPES.replace("fits none", "fits more than one")

SEEN_BYTES_MAX: Final = 64 * 1024
"""Of a body that is not whole: where its first keys stand."""


class _Keys(msgspec.Struct):
    """The top-level keys that tell two formats of `/ocr` apart."""

    image: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    image_base64: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_KEYS: Final = msgspec.json.Decoder(_Keys)


def sniff(incoming: Incoming) -> Operation:
    """Which of the formats of `/ocr` a request is.

    Raises:
        InvalidRequest: none; the message names them.
    """
    if form_boundary(incoming) is not None:
        return CHATVLM
    body = incoming.body
    if b'"image' not in body:
        raise InvalidRequest(SHAPES)
    try:
        keys = _KEYS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Broken JSON, or line breaks inside a string: the dialect's own reader knows what to say.
        head = body[:SEEN_BYTES_MAX]
        return DOTS if b'"image"' in head and b'"image_base64"' not in head else DEEPSEEK
    match _says(keys.image), _says(keys.image_base64):
        case (True, True):
            raise InvalidRequest(AMBIGUOUS)
        case (True, False):
            return DOTS
        case (False, True):
            return DEEPSEEK
    # An image that is null: the dialect's own reader says that it is missing.
    if keys.image_base64 is not msgspec.UNSET:
        return DEEPSEEK
    if keys.image is not msgspec.UNSET:
        return DOTS
    raise InvalidRequest(SHAPES)


def _says(value: msgspec.Raw | msgspec.UnsetType) -> bool:
    return not isinstance(value, msgspec.UnsetType) and bytes(value) != b"null"


def write_noted(error: OcrError) -> Reply:
    """In the shape of the dialect an error is marked with; DeepSeek-OCR's where nobody knows."""
    dialects = {operation.dialect: operation for operation in (DEEPSEEK, DOTS, CHATVLM)}
    notes = getattr(error, "__notes__", ())
    operation = next((dialects[note] for note in notes if note in dialects), DEEPSEEK)
    return operation.write_error(error)


def documented_dialect(incoming: Incoming) -> Operation:
    """Two formats share `/ocr` of the legacy port: JSON is deepseek's whatever it holds."""
    kind = incoming.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or kind.endswith("+json")
    if not kind and incoming.body.lstrip()[:1] == b"{":
        is_json = True
    return DEEPSEEK if is_json else CHATVLM
