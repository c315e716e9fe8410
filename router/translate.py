"""Turns a caller's request into one for a service, and the service's answer into the caller's.

Pure: the envelope is rebuilt, the page inside it is not looked at. What gets lost or is bent on
the way is said in `Turn`, and from there in the answer's headers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Final

import msgspec

from router.abilities import Asked, Form, ask
from router.fleet import Target, Wire
from router.retell import Retelling, retelling, wanted_form
from shared.errors import InvalidRequest, OcrError
from shared.http import Outgoing, Reply
from shared.ocr import Delta, Done, Request, Result, Sampling, Size, Task, Text, Usage
from shared.tokens import NO_LIMIT, StopFilter, count_tokens
from shared.wire import chatvlm, deepseek, dots, lighton, paddle

WIRES: Final[Mapping[Wire, ModuleType]] = {
    Wire.LIGHTON: lighton,
    Wire.PADDLE: paddle,
    Wire.DOTS: dots,
    Wire.DEEPSEEK: deepseek,
    Wire.CHATVLM: chatvlm,
}

NO_IMAGE: Final = "No image was sent; {model} reads images"

DESCRIBE: Final = "Describe this image in detail."
"""What a chat is about whose caller has no words."""


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """What a service takes of a client's sampling."""

    temperature_max: float = 2.0
    max_tokens_max: int | None = None
    """Absent: any number."""


RANGES: Final[Mapping[Wire, Range]] = {
    Wire.LIGHTON: Range(),
    Wire.PADDLE: Range(max_tokens_max=4096),
    Wire.DOTS: Range(),
    Wire.DEEPSEEK: Range(max_tokens_max=8192),
    Wire.CHATVLM: Range(temperature_max=1.0),
}
"""contract.md's table."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One request on its way to a service."""

    wanted: Request
    """What the caller wants."""
    target: Target
    asked: Asked
    outgoing: Outgoing
    form: Form
    """The form that the caller's dialect writes the answer in."""
    tells_size: bool = False
    """Whether the caller's dialect has a field for the page's size."""
    clamped: tuple[str, ...] = ()
    """Fields that were moved into the service's range."""

    @property
    def loss(self) -> str:
        return self.asked.loss


def make_turn(wanted: Request, target: Target, dialect: str) -> Turn:
    """How the caller's request is put to the target.

    Raises:
        InvalidRequest: what was sent cannot be asked of the model at all.
    """
    if not wanted.pages and not _reads_words(target):
        raise InvalidRequest(NO_IMAGE.format(model=target.model))
    if wanted.task is Task.LOCATE and not wanted.phrase:
        raise InvalidRequest("locate needs a phrase to look for")
    if wanted.task is Task.REGION and wanted.box is None:
        # Without a box the region is the page.
        wanted = msgspec.structs.replace(wanted, task=Task.TEXT)
    asked = ask(target, wanted.task) if wanted.pages else Asked(Task.CHAT)
    sampling, clamped = clamp(wanted.sampling, RANGES[target.service.wire])
    request = msgspec.structs.replace(
        wanted,
        model=target.model,
        task=asked.task,
        prompt=_words(wanted, asked),
        sampling=sampling,
        pages=wanted.pages if target.service.wire is Wire.LIGHTON else wanted.pages[-1:],
        stream=False,
    )
    return Turn(
        wanted=wanted,
        target=target,
        asked=asked,
        outgoing=WIRES[target.service.wire].write_request(request),
        form=wanted_form(dialect, wanted.task, asked.form),
        tells_size=dialect == "chatvlm",
        clamped=clamped,
    )


def _words(wanted: Request, asked: Asked) -> str:
    """The caller's words, unless they would ask for something else."""
    if asked.task is Task.CHAT:
        return wanted.prompt or (DESCRIBE if wanted.pages else "")
    return wanted.prompt if asked.task is wanted.task else ""


def clamp(sampling: Sampling, allowed: Range) -> tuple[Sampling, tuple[str, ...]]:
    """Sampling inside the range, and the names of what was moved. What is absent stays absent."""
    moved: dict[str, float | None] = {}
    if sampling.temperature is not None and sampling.temperature > allowed.temperature_max:
        moved["temperature"] = allowed.temperature_max
    most, tokens = allowed.max_tokens_max, sampling.max_tokens
    if tokens == NO_LIMIT:
        moved["max_tokens"] = most  # none of these formats knows it; absent is the most it has
    elif most is not None and tokens is not None and tokens > most:
        moved["max_tokens"] = most
    if not moved:
        return sampling, ()
    return msgspec.structs.replace(sampling, **moved), tuple(moved)


def retell(turn: Turn, size: Size | None) -> Retelling:
    return retelling(turn.wanted, turn.asked, turn.form, size)


class Retold:
    """Hub deltas of the service told again as hub deltas of the caller's; `Done` last, and with the
    page's size where the service did not tell it."""

    def __init__(self, turn: Turn, size: Size | None) -> None:
        self._size = size
        self._retelling = retell(turn, size)

    def feed(self, delta: Delta) -> list[Delta]:
        match delta:
            case Text(text, notes):
                told = self._retelling.feed(text)
                return [Text(told, notes)] if told or notes else []
            case Done(sizes=sizes):
                if not sizes and self._size is not None:
                    delta = msgspec.structs.replace(delta, sizes=(self._size,))
                rest = self._retelling.close()
                return [Text(rest), delta] if rest else [delta]


class Stops:
    """Ends an answer at the caller's stop strings, which most formats cannot ask for."""

    def __init__(self, request: Request) -> None:
        self._filter = StopFilter(request.sampling.stop)
        self._prompt = request.prompt
        self._said: list[str] = []

    @property
    def reached(self) -> bool:
        return self._filter.stopped

    def feed(self, text: str) -> str:
        told = self._filter.feed(text)
        self._said.append(told)
        return told

    def close(self) -> str:
        """What was held back, when no stop string came."""
        return "" if self.reached else self._filter.close()

    def done(self) -> Done:
        """The end of an answer whose service was not heard to its own."""
        said = count_tokens("".join(self._said))
        return Done(usage=Usage(count_tokens(self._prompt), said))


def read_whole(turn: Turn, reply: Reply) -> Result:
    """A whole answer of a server that does not know the fleet's own way.

    Raises:
        OcrError: the answer is an error.
    """
    read: Callable[[Reply], Result] = WIRES[turn.target.service.wire].read_result
    return read(reply)


def read_error(turn: Turn, reply: Reply) -> OcrError:
    read: Callable[[Reply], OcrError] = WIRES[turn.target.service.wire].read_error
    return read(reply)


def _reads_words(target: Target) -> bool:
    """Whether the model answers a request without a page."""
    return target.service.wire is Wire.LIGHTON
