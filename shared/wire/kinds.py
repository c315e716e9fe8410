"""The kinds of errors by name, and the header that carries the name.

A documented error body has no room for a kind (400 may be a bad field or a bad image), so every
error answer also says it in a header; bodies keep exactly their documented keys. An original
server sends no such header: then each wire reads status and body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shared.errors import (
    Busy,
    Cancelled,
    EngineFailed,
    ImageTooLarge,
    InvalidRequest,
    ModelNotLoaded,
    NoSuchRoute,
    NotAllowed,
    OcrError,
    RateLimited,
    TimedOut,
    UnknownModel,
    UnsupportedImage,
    WrongMethod,
)

KIND_HEADER: Final = "x-ocr-error"

RETRY_AFTER_S: Final = 1
"""When the queue cannot say: pages take about a second, so a slot is free about then."""

NAMES: Final[Mapping[type[OcrError], str]] = {
    InvalidRequest: "invalid_request",
    ImageTooLarge: "image_too_large",
    UnsupportedImage: "unsupported_image",
    UnknownModel: "unknown_model",
    NotAllowed: "not_allowed",
    NoSuchRoute: "no_such_route",
    WrongMethod: "wrong_method",
    ModelNotLoaded: "model_not_loaded",
    Busy: "busy",
    RateLimited: "rate_limited",
    TimedOut: "timed_out",
    Cancelled: "cancelled",
    EngineFailed: "engine_failed",
}

KINDS: Final[Mapping[str, type[OcrError]]] = {name: kind for kind, name in NAMES.items()}


STATUS_KINDS: Final[Mapping[int, type[OcrError]]] = {
    404: NoSuchRoute,
    405: WrongMethod,
    408: TimedOut,
    413: ImageTooLarge,
    429: Busy,
    504: TimedOut,
}

REFUSALS: Final = frozenset({401, 403})
"""A server that refuses our key is ours to set right, not the client's."""


def name_of(error: OcrError) -> str:
    """The name of an error's kind; one of no known kind counts as the engine's failure."""
    kinds = (NAMES[kind] for kind in type(error).__mro__ if kind in NAMES)
    return next(kinds, NAMES[EngineFailed])


def write_headers(error: OcrError) -> dict[str, str]:
    """The headers of an error answer: its kind, and what HTTP itself has a header for."""
    headers = {KIND_HEADER: name_of(error)}
    match error:
        case Busy(retry_after_s=seconds):
            headers["retry-after"] = str(RETRY_AFTER_S if seconds is None else seconds)
        case NotAllowed():
            headers["www-authenticate"] = "Bearer"
        case WrongMethod(allow=allow) if allow:
            headers["allow"] = allow
    return headers


def read_kind(headers: Mapping[str, str]) -> type[OcrError] | None:
    """The kind a fleet's server named; `None` for any other server."""
    return KINDS.get(headers.get(KIND_HEADER, ""))


def read_retry_after(headers: Mapping[str, str]) -> int | None:
    """Whole seconds of `retry-after`; a date, which HTTP also allows, is not read."""
    value = headers.get("retry-after", "").strip()
    return int(value) if value.isascii() and value.isdigit() else None


def kind_of_status(status: int, headers: Mapping[str, str]) -> type[OcrError]:
    """What a status says where its server says nothing else."""
    if status == 503:
        return Busy if "retry-after" in headers else ModelNotLoaded
    kind = STATUS_KINDS.get(status)
    if kind is not None:
        return kind
    return InvalidRequest if 400 <= status < 500 and status not in REFUSALS else EngineFailed


def restore(kind: type[OcrError], message: str, headers: Mapping[str, str]) -> OcrError:
    """The error as it was before it was written."""
    if issubclass(kind, Busy):
        return kind(message, retry_after_s=read_retry_after(headers))
    if issubclass(kind, WrongMethod):
        return kind(message, allow=headers.get("allow", ""))
    return kind(message)
