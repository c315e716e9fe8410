"""Lines and events: whole, byte by byte, with rests left over, and past their bounds."""

from __future__ import annotations

import pytest

from shared.errors import EngineFailed
from shared.framing import Event, EventReader, LineReader, read_utf8, write_event


def lines(data: bytes, *, lone_cr: bool = False, step: int | None = None) -> list[bytes]:
    """All lines of `data`, fed whole or in steps."""
    reader = LineReader(lone_cr=lone_cr)
    step = step or max(len(data), 1)
    pieces = [data[i : i + step] for i in range(0, len(data), step)]
    return [line for piece in pieces for line in reader.feed(piece)] + reader.close()


def events(data: bytes, step: int | None = None) -> list[Event]:
    reader = EventReader()
    step = step or max(len(data), 1)
    pieces = [data[i : i + step] for i in range(0, len(data), step)]
    return [event for piece in pieces for event in reader.feed(piece)] + reader.close()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\nb", [b"a", b"b"]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"\n\n", [b"", b""]),
        (b"a\rb\n", [b"a\rb"]),
    ],
)
@pytest.mark.parametrize("step", [None, 1, 2])
def test_lines_end_with_lf_or_crlf(data: bytes, expected: list[bytes], step: int | None):
    assert lines(data, step=step) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\rb\n", [b"a", b"b"]),
        (b"a\r\nb\r", [b"a", b"b"]),
        (b"\r\r\n\n", [b"", b"", b""]),
        (b"a\n\rb", [b"a", b"", b"b"]),
    ],
)
@pytest.mark.parametrize("step", [None, 1, 2])
def test_a_lone_cr_ends_a_line_where_the_sse_standard_rules(
    data: bytes, expected: list[bytes], step: int | None
):
    assert lines(data, lone_cr=True, step=step) == expected


@pytest.mark.parametrize("step", [None, 1, 3])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"data: a\n\n", [Event("a")]),
        (b"data:a\n\n", [Event("a")]),
        (b"data:  a \n\n", [Event(" a ")]),
        (b"data: a\ndata: b\n\n", [Event("a\nb")]),
        (b"data: \ndata: \n\n", [Event("\n")]),
        (b"data\n\n", [Event("")]),
        (b"\n\n\n", []),
        (b": comment\n\ndata: a\n\n", [Event("a")]),
        (
            b"event: error\nid: 7\nretry: 10\ndata: x\n\ndata: y\n\n",
            [Event("x", "error"), Event("y")],
        ),
        (b"event: lost\n\ndata: y\n\n", [Event("y")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event("a")]),
        (b"data: a\r\n\r\ndata: b\r\r", [Event("a"), Event("b")]),
        (b"data: [DONE]", [Event("[DONE]")]),
        (b"data: a\ndata: b", [Event("a\nb")]),
        ("data: é表😀\n\n".encode(), [Event("é表😀")]),
    ],
)
def test_events(data: bytes, expected: list[Event], step: int | None):
    assert events(data, step) == expected


@pytest.mark.parametrize("text", ["a", "", "a\nb", "\n", "\n\na\n", " a ", "data: x", "é😀"])
def test_an_event_survives(text: str):
    assert events(write_event(text)) == [Event(text)]
    assert events(write_event(text), 1) == [Event(text)]


def test_a_line_past_its_bound_is_refused_and_the_lines_before_it_are_not():
    reader = LineReader(bytes_max=4)
    stream = reader.feed(b"abcd\nabcde")
    assert next(stream) == b"abcd"
    with pytest.raises(EngineFailed, match="too long"):
        next(stream)


def test_a_line_past_its_bound_is_refused_however_it_comes():
    reader = LineReader(bytes_max=4)

    assert [list(reader.feed(b"a")) for _ in range(4)] == [[]] * 4
    with pytest.raises(EngineFailed):
        list(reader.feed(b"a"))


def test_an_event_of_many_lines_past_its_bound_is_refused():
    reader = EventReader(bytes_max=16)

    with pytest.raises(EngineFailed, match="too long"):
        list(reader.feed(b"data: abcdefgh\n" * 3))


def test_the_bound_is_of_one_event_not_of_the_stream():
    reader = EventReader(bytes_max=16)

    assert len(list(reader.feed(b"data: abcdefgh\n\n" * 100))) == 100


def test_what_is_not_utf8_is_the_servers_failure():
    with pytest.raises(EngineFailed, match="UTF-8") as caught:
        read_utf8(b"\xff")
    assert caught.value.detail
