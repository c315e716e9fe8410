"""A request between reading and asking: its form, its pages one by one, what is left of it when
they are gone. Pure, but for the decoding of pages as a form is put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from router.dialects import (
    Call,
)
from router.fleet import Target, Wire
from shared.body import FormReader, form_boundary
from shared.http import Incoming
from shared.ocr import (
    Done,
    Request,
)
from shared.splice import Piece, Splice
from shared.tokens import NO_LIMIT
from shared.wire.fastapi import IMAGE_BYTES_MAX


def parsed(incoming: Incoming) -> Incoming:
    """The request with its form read, where it is one."""
    boundary = form_boundary(incoming)
    if boundary is None or incoming.form is not None:
        return incoming
    reader = FormReader(boundary)
    reader.feed(incoming.body)
    return msgspec.structs.replace(incoming, form=reader.close(), body=b"")


def form_fields(incoming: Incoming) -> Mapping[str, str]:
    """The plain fields of a form; its files are only skipped over."""
    boundary = form_boundary(incoming)
    if boundary is None:
        return {}
    reader = FormReader(boundary, files=False)
    reader.feed(incoming.body)
    return reader.close().fields


async def with_decoded_pages(splice: Splice, form: bytes) -> list[Piece]:
    """A form's bytes, pages in the place of their tokens."""
    if not splice:
        return [form]
    return await splice.put_back_decoded(form, bytes_max=IMAGE_BYTES_MAX)


def parts_of(request: Request, target: Target) -> list[Request]:
    """A request per page for services that read one; none where there is nothing to send."""
    if target.service.wire is Wire.LIGHTON:
        return [request]
    return [msgspec.structs.replace(request, pages=(page,)) for page in request.pages]


def what_is_left(part: Request, ends: Sequence[Done]) -> Request:
    """A further page's request: the caller's bound on tokens is that of all pages together."""
    most = part.sampling.max_tokens
    if most is None or most == NO_LIMIT or not ends:
        return part
    left = max(1, most - sum(end.usage.completion_tokens for end in ends))
    sampling = msgspec.structs.replace(part.sampling, max_tokens=left)
    return msgspec.structs.replace(part, sampling=sampling)


def without_pages(call: Call, model: str) -> Call:
    """What the answer's writer needs of a call: hours may pass until its pages are let go of."""
    request = msgspec.structs.replace(call.request, pages=())
    if "model" in call.__struct_fields__:
        return msgspec.structs.replace(call, request=request, model=model)
    return msgspec.structs.replace(call, request=request)


def answering_model(target: Target, name: str | None) -> str:
    """The model that a service's own answer names: paddle's is whatever it was called."""
    if name and (target.service.wire is Wire.PADDLE or name in target.service.models):
        return name
    return target.model
