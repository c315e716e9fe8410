"""Logging and metrics of one service's process. Sets both up; what is counted and said is decided
by the frame, which writes one canonical line per request.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Final, TextIO

import msgspec
import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from structlog.typing import EventDict, Processor, WrappedLogger

from shared.settings import LogFormat, LogLevel

FIRST_DELTA_S: Final = (0.02, 0.05, 0.1, 0.2, 0.35, 0.6, 1, 2, 3.5, 6, 10, 20, 35, 60, 120, 300)
"""From a cached health page to the longest deadline of the contract; each about 1.8 times the last,
so that a percentile read from the buckets is never off by more."""

DURATION_S: Final = (0.05, 0.1, 0.2, 0.35, 0.6, 1, 2, 3.5, 6, 10, 20, 35, 60, 120, 180, 300)

NOISY: Final = (
    "RapidOCR",
    "rapidocr",
    "RapidLayout",
    "asyncio",
    "PIL",
    "urllib3",
    "httpx",
    "openai",
)
"""Loggers whose `info` is about themselves, not about our work."""


class _Children(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted of the requests to one model with one outcome."""

    requests: Counter
    duration: Histogram
    first_delta: Histogram
    pages: Counter
    prompt_tokens: Counter
    completion_tokens: Counter


class Metrics:
    """The numbers of one service, in a registry of their own, so that several can live in a test.

    `model` must come from a short list: a label's every value is a new time series.
    """

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, service: str) -> None:
        self.service = service
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        own = self.registry
        by_model = ("service", "model")
        self._requests = Counter(
            "ocr_fleet_requests",
            "Requests answered, by what became of them",
            (*by_model, "outcome"),
            registry=own,
        )
        self._first_delta = Histogram(
            "ocr_fleet_first_delta_seconds",
            "From a request's arrival to the first piece of its answer",
            by_model,
            buckets=FIRST_DELTA_S,
            registry=own,
        )
        self._duration = Histogram(
            "ocr_fleet_request_duration_seconds",
            "From a request's arrival to the end of its answer",
            by_model,
            buckets=DURATION_S,
            registry=own,
        )
        self._pages = Counter("ocr_fleet_pages", "Pages read", by_model, registry=own)
        self._tokens = Counter(
            "ocr_fleet_tokens",
            "Tokens in the engine's own count",
            (*by_model, "kind"),
            registry=own,
        )
        self._children: dict[tuple[str, str], _Children] = {}
        self._waiting = Gauge(
            "ocr_fleet_queue_depth", "Requests waiting for a slot", ("service",), registry=own
        ).labels(service)
        self._in_flight = Gauge(
            "ocr_fleet_in_flight", "Requests at work", ("service",), registry=own
        ).labels(service)

    def observe(
        self,
        *,
        outcome: str,
        model: str,
        duration_s: float,
        first_delta_s: float | None = None,
        pages: int = 0,
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
    ) -> None:
        """Count one request that is over."""
        ours = self._children.get((model, outcome)) or self._label(model, outcome)
        ours.requests.inc()
        ours.duration.observe(duration_s)
        if first_delta_s is not None:
            ours.first_delta.observe(first_delta_s)
        if pages:
            ours.pages.inc(pages)
        if prompt_tokens or completion_tokens:
            ours.prompt_tokens.inc(prompt_tokens)
            ours.completion_tokens.inc(completion_tokens)

    def _label(self, model: str, outcome: str) -> _Children:
        """The time series of a model and an outcome: finding them by label costs more than
        counting."""
        labels = {"service": self.service, "model": model}
        made = self._children[model, outcome] = _Children(
            requests=self._requests.labels(outcome=outcome, **labels),
            duration=self._duration.labels(**labels),
            first_delta=self._first_delta.labels(**labels),
            pages=self._pages.labels(**labels),
            prompt_tokens=self._tokens.labels(kind="prompt", **labels),
            completion_tokens=self._tokens.labels(kind="completion", **labels),
        )
        return made

    def set_load(self, *, waiting: int, in_flight: int) -> None:
        self._waiting.set(waiting)
        self._in_flight.set(in_flight)

    def exposition(self) -> bytes:
        """What `/metrics` answers, in Prometheus' text format."""
        return generate_latest(self.registry)


def set_up_logging(
    service: str,
    level: LogLevel = LogLevel.INFO,
    form: LogFormat = LogFormat.AUTO,
    stream: TextIO | None = None,
) -> None:
    """Send everything that is logged, ours and the libraries', to one stream in one format."""
    stream = stream or sys.stderr
    terminal = stream.isatty()
    text = form is LogFormat.TEXT or (form is LogFormat.AUTO and terminal)
    rendering = _as_text(terminal and not os.environ.get("NO_COLOR")) if text else _as_json()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.PositionalArgumentsFormatter(),
                *_first(service),
                structlog.stdlib.ExtraAdder(),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(capture=True)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Ours do not pass through `logging`: a line for every request would cost three times as much.
    structlog.configure(
        processors=[*_first(service), *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level.upper()),
        logger_factory=lambda name="": _Lines(name, stream),
        cache_logger_on_first_use=True,
    )


class _Lines:
    """Writes finished lines to a stream, whatever their level."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name = name
        self._stream = stream

    def info(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()

    debug = warning = error = critical = exception = log = info


def _first(service: str) -> list[Processor]:
    """What every line passes, ours or a library's."""

    def add_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        add_service,
        _drop_empty,
    ]


def _drop_empty(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A fact that does not apply is left out, not written as null."""
    return {name: value for name, value in event.items() if value is not None}


def _as_json() -> list[Processor]:
    return [
        structlog.processors.format_exc_info,  # the plain one: locals would hold pages and keys
        structlog.processors.EventRenamer("message"),
        _ordered,
        structlog.processors.JSONRenderer(_encode),
    ]


ENCODER: Final = json.JSONEncoder(ensure_ascii=False, default=str)


def _encode(event: EventDict, **_: object) -> str:
    return ENCODER.encode(event)


def _ordered(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """What a reader looks for first stands first."""
    first = ("timestamp", "level", "service", "logger", "message")
    return {**{name: event[name] for name in first if name in event}, **event}


def _as_text(colors: bool) -> list[Processor]:
    def shorten(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        """On a screen the date, the service and the logger say nothing new."""
        event["timestamp"] = str(event.get("timestamp", ""))[11:19]
        for name in ("service", "logger"):
            event.pop(name, None)
        return event

    plain = structlog.dev.plain_traceback
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=plain, pad_event_to=0
    )
    return [shorten, renderer]
