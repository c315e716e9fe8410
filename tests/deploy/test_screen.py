"""What the supervisor writes, on a terminal and elsewhere."""

from __future__ import annotations

import io

import click
import pytest

from deploy.screen import Screen
from deploy.supervisor import Row

ROWS = [
    Row("dots", "http://127.0.0.1:5000", "dots-ocr", "embedded/pp-ocrv6", "ready"),
    Row("paddle", "http://127.0.0.1:8001", "-", "-", "failed: port 8001 is taken [by whom?]"),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_are_aligned_and_plain_where_no_terminal_is() -> None:
    stream = io.StringIO()
    screen = Screen(["dots", "deepseek"], stream)
    screen.pass_on("dots", "hello")
    screen.pass_on("deepseek", "hello [red]again[/red]")
    screen.say("it broke", bad=True)
    assert stream.getvalue().splitlines() == [
        "dots     | hello",
        "deepseek | hello [red]again[/red]",
        "fleet    | it broke",
    ]


def test_a_terminal_sees_the_same_in_colour(monkeypatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    Screen(["dots"], stream).pass_on("dots", "hello")
    assert stream.getvalue() != "dots  | hello\n"
    assert click.unstyle(stream.getvalue()) == "dots  | hello\n"


def test_no_colour_where_none_is_wanted(monkeypatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    Screen(["dots"], stream).pass_on("dots", "hello")
    assert stream.getvalue() == "dots  | hello\n"


def test_the_table_and_the_example() -> None:
    stream = io.StringIO()
    Screen(["dots", "paddle"], stream).show(ROWS, "curl http://127.0.0.1:5000/health", "1 of 2")
    lines = stream.getvalue().splitlines()
    assert lines[1].split() == ["service", "URL", "model", "engine", "state"]
    assert lines[3].split() == [
        "dots",
        "http://127.0.0.1:5000",
        "dots-ocr",
        "embedded/pp-ocrv6",
        "ready",
    ]
    assert "failed: port 8001 is taken [by whom?]" in lines[4]
    assert "    curl http://127.0.0.1:5000/health" in lines
    assert lines[-2] == "1 of 2"


def test_no_example_without_a_service_to_try() -> None:
    stream = io.StringIO()
    Screen(["paddle"], stream).show(ROWS[1:], "", "0 of 1")
    assert "Try it" not in stream.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_poor_terminal_gets_what_it_can_show(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    screen = Screen(["dots"], stream)
    screen.pass_on("dots", "글 é")
    screen.show(ROWS, "", "1 of 2")
    stream.flush()
    assert raw.getvalue().startswith(b"dots  | \\uae00 ")
    assert b"embedded/pp-ocrv6" in raw.getvalue()


def test_a_reader_that_left_is_noticed_once() -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    calls: list[str] = []
    screen = Screen(["dots"], Closed())
    screen.gone = lambda: calls.append("gone")
    screen.say("hello")
    screen.say("hello")
    assert calls == ["gone"]
