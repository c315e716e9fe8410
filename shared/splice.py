"""Takes the base64 of pages out of a JSON body and puts it back as it was, so that what lies
between works on a small envelope. It copies no page, and decodes one only for a form.

In a page's place stands a token: the page's own beginning, which says what kind of image it is,
and a mark that nobody can guess. A token is base64 itself, so every wire's envelope carries it.
"""

from __future__ import annotations

import asyncio
import binascii
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
import pybase64

from shared import base64s
from shared.body import Buffer
from shared.errors import ImageTooLarge, UnsupportedImage

TAKEN_BYTES_MIN: Final = 256 * 1024
"""Shorter pages are read faster than they are taken out."""

STRINGS_MAX: Final = 1024
"""A request has some thirty strings, a batch of a hundred pages 500; others are read whole."""

PREFIX: Final = re.compile(rb"data:[!#-\[\]-~]{0,64};base64,", re.IGNORECASE)

HEAD_CHARS: Final = 8 * 1024
"""How much of a page stands in its token: whole groups of four, longer than any path or address."""

MARK_BYTES: Final = 24
"""Nobody can guess so much; whole groups of four in base64, too."""

STEP_CHARS: Final = 256 * 1024
"""Decoded at once: a piece of that size is memory used before, one of 10 MB is all new."""

STEPS_IN_A_TURN: Final = 4
"""Some tenths of a millisecond, then others may go on."""


class Encoded:
    """Base64 that is decoded step by step when it is sent, and so never lies there twice."""

    __slots__ = ("_page", "_size")

    def __init__(self, page: memoryview, size: int) -> None:
        self._page = page
        self._size = size

    def __len__(self) -> int:
        return self._size

    def parts(self) -> Iterator[bytes]:
        return _parts(self._page)


Piece = bytes | memoryview | Encoded


class Splice:
    """The pages that were taken out of one body, by the token that stands for each."""

    __slots__ = ("_pages",)

    def __init__(self) -> None:
        self._pages: dict[bytes, memoryview] = {}

    def __len__(self) -> int:
        return len(self._pages)

    def take(self, page: memoryview) -> bytes:
        """Keep a page; its token."""
        token = bytes(page[:HEAD_CHARS]) + pybase64.b64encode(os.urandom(MARK_BYTES))
        self._pages[token] = page
        return token

    def page(self, text: str) -> str:
        """The text of a page with its token replaced; other text as it is."""
        return join(self.put_back(text.encode())).decode("ascii", "replace")

    def put_back(self, envelope: bytes) -> list[Piece]:
        """The pieces of the whole body: pages in the place of their tokens."""
        pieces: list[Piece] = [envelope]
        for token, page in self._pages.items():
            pieces = _replaced(pieces, token, [page])
        return pieces

    async def put_back_decoded(self, envelope: bytes, *, bytes_max: int) -> list[Piece]:
        """The same for an envelope that holds decoded tokens.

        Raises:
            UnsupportedImage: a page is not base64.
            ImageTooLarge: it has more than `bytes_max` bytes.
        """
        pieces = self.put_back(envelope)
        for token, page in self._pages.items():
            decoded = pybase64.b64decode(token)
            if decoded[-MARK_BYTES:] in envelope:
                pieces = _replaced(pieces, decoded, [await _checked(page, bytes_max)])
        return pieces


def take_pages(body: Buffer) -> tuple[bytes, Splice]:
    """The envelope and what was taken out of it; the body itself where there is nothing to take.

    It goes from string to string as JSON has them. Where the body is not JSON, the envelope is not
    JSON either.
    """
    splice = Splice()
    view = memoryview(body)
    pieces: list[bytes | memoryview] = []
    kept = at = 0
    for _ in range(STRINGS_MAX):
        start = body.find(b'"', at) + 1
        if not start:
            break
        end = _end(body, start)
        if end - start >= TAKEN_BYTES_MIN and (page := _page_start(body, start)):
            pieces += [view[kept:page], splice.take(view[page:end])]
            kept = end
        at = end + 1
    else:
        pieces.clear()
    if not pieces:
        return bytes(body), Splice()
    return b"".join([*pieces, view[kept:]]), splice


def size_of(pieces: Sequence[Piece]) -> int:
    return sum(map(len, pieces))


def parts_of(piece: Piece) -> Iterable[bytes | memoryview]:
    return piece.parts() if isinstance(piece, Encoded) else (piece,)


def join(pieces: Sequence[Piece]) -> bytes:
    return b"".join(part for piece in pieces for part in parts_of(piece))


def _end(body: Buffer, start: int) -> int:
    """Where the string ends that starts here: its quote, or the body's end."""
    end = body.find(b'"', start)
    while end > 0:
        escapes = end
        while body[escapes - 1] == 0x5C:  # a backslash
            escapes -= 1
        if (end - escapes) % 2 == 0:
            return end
        end = body.find(b'"', end + 1)
    return len(body)


def _page_start(body: Buffer, start: int) -> int:
    """Where the base64 begins in the string that starts here; 0 if it is none."""
    prefix = PREFIX.match(body, start)
    if prefix is not None:
        start = prefix.end()
    try:  # what has line breaks or escapes has them here already
        pybase64.b64decode(body[start : start + HEAD_CHARS], validate=True)
    except (binascii.Error, ValueError):
        return 0
    return start


def _replaced(pieces: Sequence[Piece], token: bytes, page: Sequence[Piece]) -> list[Piece]:
    """The pieces, with the page wherever they hold the token."""
    made: list[Piece] = []
    for piece in pieces:
        if not isinstance(piece, bytes):
            made.append(piece)
            continue
        mark = token[-MARK_BYTES:]  # a search for the whole of it would take its time
        first, *others = piece.split(mark)
        for other in others:
            made += [first[: len(mark) - len(token)], *page]
            first = other
        made.append(first)
    return made


async def _checked(page: memoryview, bytes_max: int) -> Piece:
    size = 0
    try:
        for number, part in enumerate(_parts(page)):
            size += len(part)
            if number % STEPS_IN_A_TURN == 0:
                await asyncio.sleep(0)
    except binascii.Error:
        return await asyncio.to_thread(_decoded, page, bytes_max)
    if size > bytes_max:
        raise ImageTooLarge(f"the image is larger than {bytes_max} bytes")
    return Encoded(page, size)


def _parts(page: memoryview) -> Iterator[bytes]:
    for at in range(0, len(page), STEP_CHARS):
        yield pybase64.b64decode(page[at : at + STEP_CHARS], validate=True)


def _decoded(page: memoryview, bytes_max: int) -> bytes:
    """What is base64 with escapes, without its padding or in another alphabet."""
    return base64s.decode(_string(page), bytes_max=bytes_max)


def _string(page: memoryview) -> str:
    """What a JSON string means, escapes and all."""
    try:
        return msgspec.json.decode(b'"%b"' % bytes(page), type=str)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnsupportedImage("the image is not valid base64", detail=str(error)) from error
