"""Batches of DeepSeek-OCR's format: every item has its own fate, the batch answers 200.

A bad item is `status: "error: ..."` beside the good ones; only a batch that cannot be read at all,
or is too long, is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from shared import base64s
from shared.errors import EngineFailed, InvalidRequest, OcrError
from shared.http import JSON, Incoming, Outgoing, Reply
from shared.limits import Limits
from shared.ocr import BytesPage, EncodedPage, Request, Result
from shared.wire import deepseek, parameters
from shared.wire.answers import Outcome, read_answer, write_json

PATH: Final = "/ocr/batch"

NO_IMAGE: Final = "no image provided"

ERROR: Final = "error: "


# ---- the format


class Body(msgspec.Struct):
    """A batch; its items are read one by one."""

    requests: list[msgspec.Raw]


class Answers(msgspec.Struct):
    """The answer: one item for each request, in its order."""

    results: list[deepseek.Answer]
    total_processing_time: float


BODIES: Final = msgspec.json.Decoder(Body, strict=False)
ANSWERS: Final = msgspec.json.Decoder(Answers)


# ---- wire to hub


def read_batch(
    incoming: Incoming, limits: Limits, *, prompt: str = deepseek.PROMPT_DEFAULT
) -> tuple[deepseek.Call | InvalidRequest, ...]:
    """The items of a batch, each a call or what is wrong with it.

    Raises:
        InvalidRequest: it is no batch, or has too many items.
    """
    items = parameters.read_json(incoming, BODIES).requests
    if len(items) > limits.batch_max:
        raise InvalidRequest(f"Maximum {limits.batch_max} requests per batch")
    return tuple(_read_item(bytes(item), incoming, limits, prompt) for item in items)


def read_results(reply: Reply) -> tuple[Result | OcrError, ...]:
    """A server's answer to a batch; of what failed, the message survives and the kind does not.

    Raises:
        OcrError: the whole batch failed.
    """
    if reply.status != 200:
        raise deepseek.read_error(reply)
    return tuple(
        Result(text=item.text)
        if item.status == "success"
        else EngineFailed(item.status.removeprefix(ERROR))
        for item in read_answer(reply.body, ANSWERS).results
    )


# ---- hub to wire


def write_request(requests: Sequence[Request]) -> Outgoing:
    """A batch of one page each.

    Raises:
        InvalidRequest: a page that is neither base64 nor bytes, or a task without words here.
    """
    body = {"requests": [_write_item(request) for request in requests]}
    return Outgoing(path=PATH, headers={"content-type": JSON}, body=msgspec.json.encode(body))


def write_batch(outcomes: Sequence[Outcome], seconds: float) -> Reply:
    """The answer of a batch that took that long as a whole."""
    return write_json(Answers([_answer(outcome) for outcome in outcomes], seconds))


# ---- details


def _read_item(
    item: bytes, incoming: Incoming, limits: Limits, prompt: str
) -> deepseek.Call | InvalidRequest:
    try:
        given = deepseek.override(parameters.decode_json(item, deepseek.BODIES), incoming.query)
        if given.image_base64:
            page = EncodedPage(given.image_base64)
            return deepseek.Call(request=deepseek.read_parameters(given, page, limits, prompt))
    except InvalidRequest as error:
        return error
    return InvalidRequest(NO_IMAGE)


def _write_item(request: Request) -> deepseek.Parameters:
    given = deepseek.write_parameters(request)
    match request.pages:
        case (EncodedPage(data), *_):
            given.image_base64 = data
        case (BytesPage(data), *_):
            given.image_base64 = base64s.write(data)
        case _:
            raise InvalidRequest("This format takes pages as base64 alone in a batch")
    return given


def _answer(outcome: Outcome) -> deepseek.Answer:
    match outcome.answer:
        case Result() as result:
            return deepseek.answer_of(result, outcome.stamp)
        case error:
            status = ERROR + deepseek.write_message(error)
            return deepseek.Answer(str(outcome.stamp.id), "", 0.0, status)
