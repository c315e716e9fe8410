"""Pages taken out of JSON bodies and put back as they were."""

from __future__ import annotations

import json

import msgspec
import pybase64
import pytest

from shared import base64s
from shared.errors import ImageTooLarge, UnsupportedImage
from shared.splice import HEAD_CHARS, TAKEN_BYTES_MIN, Splice, join, size_of, take_pages

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 2048
PAGE = pybase64.b64encode(PNG).decode()
SIZE_MAX = 10 * 1024 * 1024


def whole(envelope: bytes, splice: Splice) -> bytes:
    return join(splice.put_back(envelope))


@pytest.mark.parametrize("head", ["", "data:image/png;base64,", "DATA:image/jpeg;BASE64,"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_page_leaves_an_envelope_of_the_same_meaning(head: str, ascii_only: bool) -> None:
    given = {"a": 'quo"te\\', "page": head + PAGE, "é": ["\\\\", "", head + PAGE], "stream": True}
    body = json.dumps(given, ensure_ascii=ascii_only).encode()
    envelope, splice = take_pages(body)
    assert len(splice) == 2
    assert len(envelope) < 3 * HEAD_CHARS
    meant = json.loads(envelope)
    token = meant["page"].removeprefix(head)
    assert meant == given | {"page": meant["page"], "é": ["\\\\", "", meant["é"][2]]}
    assert base64s.decode(token, bytes_max=SIZE_MAX).startswith(PNG[:1024])
    assert whole(envelope, splice) == body
    assert splice.page(meant["page"]) == head + PAGE
    assert splice.page("words") == "words"


def test_nothing_is_copied_on_the_way() -> None:
    body = msgspec.json.encode({"page": PAGE})
    envelope, splice = take_pages(body)
    assert take_pages(body)[1].put_back(envelope) == [envelope]  # another body's token
    pages = [piece for piece in splice.put_back(envelope) if isinstance(piece, memoryview)]
    assert [page.obj for page in pages] == [body]
    assert size_of(splice.put_back(envelope)) == len(body)


@pytest.mark.parametrize(
    "page",
    [
        PAGE[: TAKEN_BYTES_MIN - 4],
        "words " * TAKEN_BYTES_MIN,
        "\n".join(PAGE[at : at + 76] for at in range(0, len(PAGE), 76)),
        PAGE.replace("/", "\\/"),
        "https://" + PAGE,
    ],
)
def test_what_is_no_page_in_one_line_stays(page: str) -> None:
    body = b'{"page":"' + page.encode() + b'"}'
    assert take_pages(body)[0] is body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'"',
        b'{"page":"' + PAGE.encode(),
        b'{"page":"' + PAGE.encode() + b"\\",
        PAGE.encode(),
        b'"\\\\\\"' + PAGE.encode() + b'"',
        b'"",' * 2000 + b'"' + PAGE.encode() + b'"',
    ],
)
def test_a_broken_body_comes_back_as_it_was(body: bytes) -> None:
    envelope, splice = take_pages(body)
    assert whole(envelope, splice) == body


async def test_a_form_gets_the_bytes_behind_the_base64() -> None:
    envelope, splice = take_pages(msgspec.json.encode({"page": PAGE, "prompt": PAGE + "AAAA"}))
    meant = msgspec.json.decode(envelope)
    token = base64s.decode(meant["page"], bytes_max=SIZE_MAX)
    form = b"head " + token + b" mid " + meant["prompt"].encode() + b" tail"
    made = join(await splice.put_back_decoded(form, bytes_max=SIZE_MAX))
    assert made == b"head " + PNG + b" mid " + PAGE.encode() + b"AAAA tail"


@pytest.mark.parametrize(
    ("tail", "error"), [(b"!", UnsupportedImage), (b"\x01", UnsupportedImage), (b"", ImageTooLarge)]
)
async def test_a_form_refuses_what_is_no_page(tail: bytes, error: type[Exception]) -> None:
    envelope, splice = take_pages(b'{"page":"' + PAGE.encode() + tail + b'"}')
    token = base64s.decode(msgspec.json.decode(envelope)["page"], bytes_max=SIZE_MAX)
    with pytest.raises(error):
        await splice.put_back_decoded(token, bytes_max=1024 if not tail else SIZE_MAX)


async def test_escapes_far_inside_a_page_are_undone_for_a_form() -> None:
    text = PAGE[:-8] + PAGE[-8:].replace(PAGE[-4], f"\\u{ord(PAGE[-4]):04x}")
    envelope, splice = take_pages(b'{"page":"' + text.encode() + b'"}')
    token = base64s.decode(msgspec.json.decode(envelope)["page"], bytes_max=SIZE_MAX)
    assert join(await splice.put_back_decoded(token, bytes_max=SIZE_MAX)) == PNG
