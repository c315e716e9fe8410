"""What an answer needs besides its text, and the small steps all wires share in writing one.

Wires have no clock and no dice: ids and times come in here, as values.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from shared.errors import EngineFailed, OcrError
from shared.http import JSON, Reply
from shared.ocr import Result
from shared.wire.kinds import write_headers

T = TypeVar("T")


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """When and as what an answer was made."""

    id: UUID
    at: datetime
    """Aware, in the zone of the server; dots writes it as its local time."""
    seconds: float = 0.0
    """How long the work took, loading and waiting left out."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one item of a batch."""

    answer: Result | OcrError
    stamp: Stamp
    filename: str = ""


def write_json(
    body: object, *, status: int = 200, headers: Mapping[str, str] = {}, media_type: str = JSON
) -> Reply:
    """A compact JSON answer in UTF-8, as FastAPI and llama-server write theirs."""
    return Reply(
        status=status, media_type=media_type, headers=headers, body=msgspec.json.encode(body)
    )


def write_json_error(
    error: OcrError, body: object, *, status: int, media_type: str = JSON
) -> Reply:
    """A JSON error answer with the headers its kind asks for."""
    return write_json(body, status=status, headers=write_headers(error), media_type=media_type)


def read_answer(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """A server's answer.

    Raises:
        EngineFailed: it is not what the format says.
    """
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        detail = f"{error}: {body[:200]!r}"
        raise EngineFailed("the model server's answer was not understood", detail=detail) from error
