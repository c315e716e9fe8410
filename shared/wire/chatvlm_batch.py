"""Batches of ChatVLMLLM's format: several files in, one body out, 200 even when every file failed.

A bad file is an item with `error` beside the good ones, which carry neither size nor usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from shared.errors import InvalidRequest, OcrError
from shared.http import Form, Incoming, Outgoing, Reply
from shared.limits import Limits
from shared.ocr import Page, Result
from shared.wire import chatvlm, fastapi
from shared.wire.answers import Outcome, read_answer, write_json

PATH: Final = "/batch/ocr"


# ---- the format


class Item(msgspec.Struct, kw_only=True):
    """One file of a batch: text and time when it was read, `error` when not."""

    filename: str | None = None
    text: str | msgspec.UnsetType = msgspec.UNSET
    processing_time: float | msgspec.UnsetType = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET
    status: str


class Batch(msgspec.Struct):
    """The answer of `/batch/ocr`."""

    results: list[Item]
    total: int
    successful: int
    failed: int


BATCHES: Final = msgspec.json.Decoder(Batch)


# ---- wire to hub


def read_batch(incoming: Incoming, limits: Limits) -> tuple[chatvlm.Call, ...]:
    """Several files to be read, in the order they were sent.

    Raises:
        InvalidRequest: no files, too many, or a value out of range.
        UnknownModel: not one of the seven.
    """
    form = fastapi.read_form(incoming)
    given = chatvlm.read_parameters(incoming, form)
    uploads = [upload for name, upload in form.files if name in {"files", "files[]"}]
    if not uploads:
        raise InvalidRequest("files is required: one multipart part for each image")
    if len(uploads) > limits.batch_max:
        raise InvalidRequest(f"Maximum {limits.batch_max} files per request")
    return tuple(chatvlm.read_upload(upload, given, limits) for upload in uploads)


def read_results(reply: Reply) -> tuple[Result | OcrError, ...]:
    """A server's answer to a batch; of what failed, the message survives and the kind does not.

    Raises:
        OcrError: the whole batch failed.
    """
    if reply.status != 200:
        raise chatvlm.read_error(reply)
    return tuple(
        Result(text=item.text) if isinstance(item.text, str) else InvalidRequest(item.error or "")
        for item in read_answer(reply.body, BATCHES).results
    )


# ---- hub to wire


def write_request(model: str, pages: Sequence[Page]) -> Outgoing:
    """Several pages to be read by one model.

    Raises:
        InvalidRequest: a page that is neither base64 nor bytes.
    """
    files = tuple(("files", fastapi.write_upload(page)) for page in pages)
    return Outgoing(path=PATH, query={"model": model}, form=Form(files=files))


def write_batch(outcomes: Sequence[Outcome], seconds: float = 0.0) -> Reply:  # noqa: ARG001 (one signature for all wires)
    """The answer of a batch: 200 even when every file failed."""
    items = [_item(outcome) for outcome in outcomes]
    failed = sum(item.status == "error" for item in items)
    return write_json(Batch(items, len(items), len(items) - failed, failed))


# ---- details


def _item(outcome: Outcome) -> Item:
    match outcome.answer:
        case Result(text=text):
            return Item(
                filename=outcome.filename,
                text=text,
                processing_time=outcome.stamp.seconds,
                status="success",
            )
        case error:
            return Item(
                filename=outcome.filename, error=chatvlm.write_message(error), status="error"
            )
