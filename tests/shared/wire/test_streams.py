"""Streams of every format: written and read, cut anywhere, cut short, failed."""

from __future__ import annotations

import itertools

import hypothesis
import pytest
from hypothesis import strategies

from shared.errors import EngineFailed, OcrError
from shared.http import Incoming
from shared.ocr import Delta, Done, Stop, Text, Usage
from shared.wire import fleet
from tests.shared.wire.goldens import failed, stream
from tests.shared.wire.samples import (
    DELTAS,
    DONE_RICH,
    ERRORS,
    STAMP,
    STREAMS,
    stream_reader,
    stream_writer,
    text_of,
)

TEXT = text_of(list(DELTAS))

LAST = {
    "openai": Done(stop=Stop.LENGTH, usage=Usage(150, 12)),
    "lighton": Done(stop=Stop.LENGTH, usage=Usage(150, 12)),
    "dots": Done(),
    "deepseek": Done(),
    "fleet": Done(stop=Stop.LENGTH, usage=Usage(150, 12)),
}
"""What is left of the end in each format."""

each_stream = pytest.mark.parametrize("wire", STREAMS)


def read(wire: str, *pieces: bytes) -> tuple[list[Delta], OcrError | None]:
    """All deltas of a stream in pieces, and the error that ended it."""
    reader = stream_reader(wire)
    deltas: list[Delta] = []
    try:
        for piece in pieces:
            deltas += reader.feed(piece)
        deltas += reader.close()
    except OcrError as error:
        return deltas, error
    return deltas, None


@each_stream
def test_a_stream_survives(wire: str):
    deltas, error = read(wire, stream(wire, DELTAS))

    assert error is None
    assert text_of(deltas) == TEXT
    assert deltas[-1] == LAST[wire]
    assert sum(isinstance(delta, Done) for delta in deltas) == 1


def test_the_fleet_loses_nothing():
    deltas = [Text("a", notes=("b",)), DONE_RICH]

    assert read("fleet", stream("fleet", tuple(deltas))) == (deltas, None)


@each_stream
def test_a_stream_cut_in_two_anywhere_reads_the_same(wire: str):
    data = stream(wire, DELTAS)
    whole = read(wire, data)

    assert text_of(whole[0]) == TEXT
    for cut in range(len(data) + 1):
        assert read(wire, data[:cut], data[cut:]) == whole, cut


@each_stream
def test_a_stream_byte_by_byte_reads_the_same(wire: str):
    data = stream(wire, DELTAS)

    assert read(wire, *(data[i : i + 1] for i in range(len(data)))) == read(wire, data)


@each_stream
def test_carriage_returns_at_line_ends_read_the_same(wire: str):
    data = stream(wire, DELTAS)
    crlf = data.replace(b"\n", b"\r\n")

    assert read(wire, crlf) == read(wire, data)
    assert read(wire, *(crlf[i : i + 1] for i in range(len(crlf)))) == read(wire, data)


@each_stream
@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(data=strategies.data())
def test_any_texts_survive_any_cuts(wire: str, data: strategies.DataObject):
    letters = strategies.sampled_from(["a", " ", "\n", "é", "表", "😀", '"', "\\", ":", "data: "])
    look_alikes = strategies.sampled_from(["[DONE]", "ERROR: ", "\n[DONE]\n", '{"done": true}'])
    texts = data.draw(strategies.lists(strategies.lists(letters | look_alikes).map("".join)))
    raw = stream(wire, (*map(Text, texts), Done()))
    cuts = sorted(data.draw(strategies.lists(strategies.integers(0, len(raw)), max_size=6)))
    edges = [0, *cuts, len(raw)]

    deltas, error = read(wire, *(raw[a:b] for a, b in itertools.pairwise(edges)))

    assert error is None
    assert text_of(deltas) == "".join(texts)
    assert isinstance(deltas[-1], Done)


@each_stream
def test_a_stream_cut_short_is_an_error(wire: str):
    data = stream(wire, DELTAS)
    # The last bytes are the newlines after the end mark; without them it is the end all the same.
    ended = len(data.rstrip(b"\n"))

    for cut in range(ended):
        deltas, error = read(wire, data[:cut])
        assert isinstance(error, EngineFailed), cut
        assert not any(isinstance(delta, Done) for delta in deltas), cut
        assert TEXT.startswith(text_of(deltas)), cut
    assert read(wire, data[:ended])[1] is None


@each_stream
def test_a_failure_comes_after_the_texts_before_it_wherever_it_is_cut(wire: str):
    data = failed(wire)

    for cut in range(len(data) + 1):
        deltas, error = read(wire, data[:cut], data[cut:])
        assert deltas == [Text("half")], cut
        assert isinstance(error, EngineFailed), cut
        assert str(error) == "the engine broke", cut
        assert error.detail == "", cut


@each_stream
def test_what_follows_the_end_is_not_read(wire: str):
    data = stream(wire, DELTAS)

    assert read(wire, data + b"rubbish \xff\n\n") == read(wire, data)
    assert read(wire, data, b"rubbish \xff\n\n") == read(wire, data)


@each_stream
@pytest.mark.parametrize("rubbish", [b"<html>\n\n", b"data: \xff\n\n", b'{"type": 5}\n'])
def test_rubbish_is_an_error(wire: str, rubbish: bytes):
    deltas, error = read(wire, rubbish)

    assert deltas == []
    assert isinstance(error, EngineFailed)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_the_fleet_keeps_the_kind_of_a_failure(error: OcrError):
    writer = stream_writer("fleet")

    _, read_back = read("fleet", writer.fail(error))

    assert type(read_back) is type(error)
    assert str(read_back) == str(error)
    assert getattr(read_back, "retry_after_s", None) == getattr(error, "retry_after_s", None)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(error, type(error).__name__) for error in ERRORS],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_lighton_keeps_what_a_status_tells_of_a_failure(error: OcrError, kind: str):
    _, read_back = read("lighton", stream_writer("lighton").fail(error))

    kept = {
        "UnsupportedImage": "InvalidRequest",
        "UnknownModel": "NoSuchRoute",
        "NotAllowed": "EngineFailed",
        "Busy": "ModelNotLoaded",
        "RateLimited": "Busy",
        "Cancelled": "EngineFailed",
    }
    assert type(read_back).__name__ == kept.get(kind, kind)


@each_stream
def test_an_error_is_raised_again_when_asked_again(wire: str):
    reader = stream_reader(wire)
    reader.feed(failed(wire))

    for _ in range(2):
        with pytest.raises(EngineFailed, match="the engine broke"):
            reader.feed(b"more")
        with pytest.raises(EngineFailed, match="the engine broke"):
            reader.close()


@each_stream
def test_an_empty_text_writes_nothing_that_a_client_would_see(wire: str):
    writer = stream_writer(wire)

    assert text_of(read(wire, writer.write(Text(""), STAMP.at))[0]) == ""


def test_media_types_are_the_documented_ones():
    assert {wire: stream_writer(wire).media_type for wire in STREAMS} == {
        "openai": "text/event-stream",
        "lighton": "text/event-stream",
        "dots": "application/x-ndjson",
        "deepseek": "text/event-stream; charset=utf-8",
        "fleet": "application/x-ndjson",
    }


# ---- what the original servers send


def test_llama_server_opens_with_null_content_and_ends_with_timings():
    raw = (
        b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant",'
        b'"content":null}}],"created":1,"id":"x","model":"m","object":"chat.completion.chunk"}\n\n'
        b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"Hi"}}]}\n\n'
        b": keep-alive\n\n"
        b'data: {"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"timings":{"n":1}}\n\n'
        b'data: {"choices":[],"usage":{"completion_tokens":1,"prompt_tokens":9,"total_tokens":10},'
        b'"timings":{"n":1}}\n\n'
        b"data: [DONE]\n\n"
    )

    assert read("lighton", raw) == ([Text("Hi"), Done(usage=Usage(9, 1))], None)


def test_a_documented_stream_without_a_finish_reason_is_whole():
    raw = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\ndata: [DONE]\n\n'

    assert read("lighton", raw) == ([Text("Hi"), Done()], None)


@pytest.mark.parametrize("texts", [["a\nb"], ["a\n\nb"], ["a\n\n\nb", "c"], ["a\n", "b"], ["\n"]])
def test_the_original_deepseek_server_does_not_escape_newlines(texts: list[str]):
    raw = "".join(f"data: {text}\n\n" for text in texts).encode() + b"data: [DONE]\n\n"

    for cut in range(len(raw)):
        deltas, error = read("deepseek", raw[:cut], raw[cut:])
        assert error is None, cut
        assert text_of(deltas) == "".join(texts), cut


@pytest.mark.parametrize(
    "text", ["[DONE]", "a\n[DONE]\nb", "  [DONE] ", "ERROR: no", "x\n\tERROR: no", "ERROR:"]
)
def test_no_line_of_a_deepseek_text_looks_like_the_end(text: str):
    """The known clients read line by line, strip, and stop at `[DONE]` or `ERROR:`."""
    data = stream("deepseek", (Text(text), Done()))
    lines = [line[6:].strip() for line in data.decode().split("\n") if line.startswith("data: ")]

    assert lines.index("[DONE]") == len(lines) - 1
    assert not any(line.startswith("ERROR:") for line in lines)
    assert text_of(read("deepseek", data)[0]) == text


def test_dots_lines_without_text_are_not_the_end():
    raw = (
        b'{"model": "dots-ocr", "created_at": "x", "response": "", "done": false}\n'
        b'{"model": "dots-ocr", "created_at": "x", "response": "a", "done": false}\n'
        b'{"model": "dots-ocr", "created_at": "x", "response": "", "done": true}\n'
    )

    assert read("dots", raw) == ([Text("a"), Done()], None)


def test_a_dots_line_without_a_time_of_its_own_has_that_of_its_stamp():
    assert b'"created_at": "2025-09-13T17:28:02.123456"' in stream_writer("dots").write(Text("a"))


def test_comments_of_a_proxy_are_no_text_of_deepseeks():
    raw = b": keep-alive\n\ndata: a\n\n: ping\n\ndata: [DONE]\n\n"

    assert text_of(read("deepseek", raw)[0]).strip("\n") == "a"


@pytest.mark.parametrize("wire", ["dots", "fleet"])
def test_blank_lines_between_lines_are_passed_over(wire: str):
    data = stream(wire, DELTAS)

    assert read(wire, b"\n" + data.replace(b"\n", b"\n\n")) == read(wire, data)


def test_an_error_frame_may_be_a_bare_word():
    _, error = read("openai", b'data: {"error":"broke"}\n\ndata: [DONE]\n\n')

    assert type(error) is EngineFailed
    assert str(error) == "broke"


@pytest.mark.parametrize(
    ("headers", "asked"),
    [({}, False), ({"x-ocr-fleet": "1"}, True), ({"x-ocr-fleet": " 1 "}, True)]
    + [({"x-ocr-fleet": value}, False) for value in ("", "0", "2", "true")],
)
def test_the_fleet_asks_by_a_header(headers: dict[str, str], asked: bool):
    assert fleet.is_asked(Incoming(headers=headers)) is asked
