"""What a service answered, as hub deltas, and what is made of several pages' answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Final

import msgspec

from router.abilities import Form
from router.heads import (
    ESTIMATED,
    USAGE_HEADER,
)
from router.sizes import page_size, told_size
from router.translate import Turn, read_whole
from router.upstream import Answer as Upstreamed
from shared.errors import EngineFailed
from shared.exchange import Exchange
from shared.http import Reply
from shared.ocr import (
    Delta,
    Done,
    EncodedPage,
    Page,
    Text,
    Usage,
)
from shared.splice import Splice
from shared.tokens import count_tokens
from shared.wire import fleet as fleet_wire

_ANY: Final = msgspec.json.Decoder(msgspec.Raw)
"""Checks that something is JSON, and reads none of it."""


async def told_by(
    exchange: Exchange, turn: Turn, answer: Upstreamed
) -> AsyncGenerator[Delta, None]:
    """The service's deltas. A server that does not know the fleet's way tells all in one."""
    if not is_fleets(answer):
        result = read_whole(turn, await answer.whole())
        usage = result.usage
        if usage == Usage():
            usage = Usage(count_tokens(turn.wanted.prompt), count_tokens(result.text))
            exchange.facts[USAGE_HEADER] = ESTIMATED
        yield Text(result.text)
        yield Done(stop=result.stop, usage=usage, sizes=result.sizes)
        return
    async with aclosing(fleets_deltas(answer)) as deltas:
        async for delta in deltas:
            yield delta


def check_whole(answer: Upstreamed, reply: Reply) -> None:
    """A Content-Length that is wrong cuts an answer without a sound; JSON shows it.

    Raises:
        EngineFailed: it is none.
    """
    try:
        _ANY.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        answer.garbled(str(error))
        raise EngineFailed("The model server's answer is broken", detail=str(error)) from error


def is_fleets(answer: Upstreamed) -> bool:
    """Whether the service has understood that it was asked the fleet's own way."""
    return answer.headers.get(fleet_wire.HEADER) == fleet_wire.VALUE


async def fleets_deltas(answer: Upstreamed) -> AsyncGenerator[Delta, None]:
    """What a service streams that was asked the fleet's own way.

    Raises:
        EngineFailed: it ended early, or is no such stream.
    """
    reader = fleet_wire.DeltaReader()
    async for chunk in answer.chunks():
        for delta in reader.feed(chunk):
            yield delta
    for delta in reader.close():
        yield delta


async def size_of(
    exchange: Exchange, turn: Turn, headers: Mapping[str, str]
) -> tuple[int, int] | None:
    """The page's size, from whoever knows it; looked up only where boxes are to be converted,
    or the caller is to be told."""
    size = told_size(headers)
    if size is not None or not wants_size(turn):
        return size
    return await asyncio.to_thread(_look, exchange.splice, turn.wanted.pages[-1])


def wants_size(turn: Turn) -> bool:
    is_plain = turn.form is turn.asked.form is Form.PLAIN
    return bool(turn.wanted.pages) and (turn.tells_size or not is_plain)


def _look(splice: Splice, page: Page) -> tuple[int, int] | None:
    if not splice or not isinstance(page, EncodedPage):
        return page_size(page)
    # A page's token begins as the page does, which mostly is enough.
    return page_size(page) or page_size(EncodedPage(splice.page(page.data)))


def joined(ends: Sequence[Done]) -> Done:
    """One end for the pages of a request."""
    return Done(
        stop=ends[-1].stop,
        usage=Usage(
            sum(end.usage.prompt_tokens for end in ends),
            sum(end.usage.completion_tokens for end in ends),
        ),
        blocks=tuple(
            msgspec.structs.replace(block, page=number)
            for number, end in enumerate(ends)
            for block in end.blocks
        )
        if len(ends) > 1
        else ends[0].blocks,
        sizes=tuple(size for end in ends for size in end.sizes),
        notes=tuple(dict.fromkeys(note for end in ends for note in end.notes)),
    )
