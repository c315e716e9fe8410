"""Logs in one format, whoever writes them; metrics that Prometheus reads."""

from __future__ import annotations

import io
import itertools
import json
import logging
import warnings

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from shared.settings import LogFormat, LogLevel
from shared.telemetry import DURATION_S, FIRST_DELTA_S, Metrics, set_up_logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def stream():
    """A stream to log into; afterwards the process logs as before."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = handlers, level


def test_our_lines_and_the_libraries_lines_have_one_format(stream) -> None:
    set_up_logging("dots", LogLevel.INFO, LogFormat.AUTO, stream)
    structlog.get_logger("ocr_fleet.service").info("request", status=200, model=None, text="Ж")
    logging.getLogger("uvicorn.error").warning("took %d s", 3)
    ours, theirs = (json.loads(line) for line in stream.getvalue().splitlines())
    assert list(ours) == ["timestamp", "level", "service", "logger", "message", "status", "text"]
    assert ours["message"] == "request"
    assert (ours["level"], ours["service"], ours["logger"]) == ("info", "dots", "ocr_fleet.service")
    assert ours["timestamp"].endswith("Z")
    assert (theirs["message"], theirs["level"]) == ("took 3 s", "warning")
    assert theirs["service"] == "dots"
    assert "Ж" in stream.getvalue(), "text stays readable"


def test_an_exception_is_one_line_without_local_values(stream) -> None:
    set_up_logging("dots", LogLevel.INFO, LogFormat.JSON, stream)

    def break_over(page: str) -> None:
        page = page.upper()  # the value stands in no line of the source
        raise RuntimeError(str(len(page)))

    try:
        break_over("never logged")
    except RuntimeError:
        structlog.get_logger("ocr_fleet").exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert "RuntimeError: 12" in json.loads(line)["exception"]
    assert "NEVER LOGGED" not in line


def test_below_the_level_nothing_is_written(stream) -> None:
    set_up_logging("dots", LogLevel.WARNING, LogFormat.JSON, stream)
    structlog.get_logger("ocr_fleet").info("hello")
    logging.getLogger("uvicorn.error").info("hello")
    assert stream.getvalue() == ""


def test_a_terminal_gets_text_and_a_setting_overrides(stream) -> None:
    terminal = Terminal()
    set_up_logging("dots", LogLevel.INFO, LogFormat.AUTO, terminal)
    structlog.get_logger("ocr_fleet").info("request", status=200)
    assert "request" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    set_up_logging("dots", LogLevel.INFO, LogFormat.TEXT, stream)
    logging.getLogger("uvicorn.error").info("a line")
    assert stream.getvalue().endswith("a line\n")
    assert "\x1b" not in stream.getvalue(), "no colours where no terminal is"
    again = Terminal()
    set_up_logging("dots", LogLevel.INFO, LogFormat.JSON, again)
    logging.getLogger("uvicorn.error").info("a line")
    assert json.loads(again.getvalue())["message"] == "a line"


def test_warnings_are_logged_and_not_printed(stream) -> None:
    set_up_logging("dots", LogLevel.INFO, LogFormat.JSON, stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", UserWarning, stacklevel=1)
    assert "UserWarning: old" in json.loads(stream.getvalue())["message"]


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Each sample's value by its name and label values."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (one.name, *(value for _, value in sorted(one.labels.items()))): one.value
        for family in families
        for one in family.samples
    }


def test_requests_are_counted_by_outcome() -> None:
    metrics = Metrics("dots")
    metrics.observe(
        outcome="ok",
        model="dots-ocr",
        duration_s=1.5,
        first_delta_s=0.3,
        pages=2,
        prompt_tokens=7,
        completion_tokens=11,
    )
    metrics.observe(outcome="busy", model="dots-ocr", duration_s=0.001)
    metrics.set_load(waiting=3, in_flight=1)
    found = samples(metrics)
    assert found["ocr_fleet_requests_total", "dots-ocr", "ok", "dots"] == 1
    assert found["ocr_fleet_requests_total", "dots-ocr", "busy", "dots"] == 1
    assert found["ocr_fleet_pages_total", "dots-ocr", "dots"] == 2
    assert found["ocr_fleet_tokens_total", "prompt", "dots-ocr", "dots"] == 7
    assert found["ocr_fleet_tokens_total", "completion", "dots-ocr", "dots"] == 11
    assert found["ocr_fleet_first_delta_seconds_count", "dots-ocr", "dots"] == 1
    assert found["ocr_fleet_first_delta_seconds_bucket", "0.35", "dots-ocr", "dots"] == 1
    assert found["ocr_fleet_first_delta_seconds_bucket", "0.2", "dots-ocr", "dots"] == 0
    assert found["ocr_fleet_request_duration_seconds_count", "dots-ocr", "dots"] == 2
    assert found["ocr_fleet_queue_depth", "dots"] == 3
    assert found["ocr_fleet_in_flight", "dots"] == 1
    assert found["process_resident_memory_bytes",] > 0


def test_two_services_in_one_process_do_not_mix() -> None:
    one, other = Metrics("dots"), Metrics("dots")
    one.observe(outcome="ok", model="m", duration_s=1)
    assert ("ocr_fleet_requests_total", "m", "ok", "dots") in samples(one)
    assert ("ocr_fleet_requests_total", "m", "ok", "dots") not in samples(other)


def test_the_exposition_names_its_format() -> None:
    assert Metrics.media_type.startswith("text/plain; version=")


@pytest.mark.parametrize("buckets", [FIRST_DELTA_S, DURATION_S])
def test_buckets_reach_the_longest_deadline_in_even_steps(buckets) -> None:
    assert buckets[-1] == 300
    steps = [high / low for low, high in itertools.pairwise(buckets)]
    assert all(1.4 < step <= 2.5 for step in steps)
