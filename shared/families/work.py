"""Reading one page with one question, which is how most families do it: what the model writes goes
through a filter piece by piece, and comes out the same wherever it was cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec
import regex

from shared.engine.family import Question
from shared.errors import InvalidRequest
from shared.ocr import Block, Request, Sampling

NEWLINES_MAX: Final = 2
"""A blank line parts two blocks; more says nothing."""


class Filter(Protocol):
    """Passes a text through in pieces, changed."""

    def feed(self, piece: str) -> str:
        """What of the text can be passed on now."""

    def close(self) -> str:
        """What was held back, now that the text is whole."""


class OneAnswer:
    """The work of a page that takes one question.

    Args:
        question: what is asked.
        filter: what the text goes through; without it, it passes as it is.
        blocks: reads the layout out of the text as it was told.
    """

    def __init__(
        self,
        question: Question,
        filter: Filter | None = None,  # noqa: A002 - the family's word for it
        blocks: Callable[[str], tuple[Block, ...]] | None = None,
    ) -> None:
        self.questions: Sequence[Question] = (question,)
        self._filter = filter
        self._read_blocks = blocks
        self._told: list[str] = []

    def feed(self, number: int, text: str) -> str:  # noqa: ARG002 - there is one question
        return self._tell(text if self._filter is None else self._filter.feed(text))

    def end(self, number: int) -> str:  # noqa: ARG002 - there is one question
        held, self._filter = self._filter, None
        return self._tell("" if held is None else held.close())

    def cut(self) -> str:
        return self.end(0)

    def blocks(self) -> tuple[Block, ...]:
        return () if self._read_blocks is None else self._read_blocks("".join(self._told))

    def _tell(self, text: str) -> str:
        if self._read_blocks is not None:
            self._told.append(text)
        return text


def drawn(question: Question, sampling: Sampling) -> Question:
    """The question, drawn as the client asked; what the client did not say is the family's."""
    said = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
    }
    return msgspec.structs.replace(
        question, **{name: value for name, value in said.items() if value is not None}
    )


def unable(model: str, request: Request) -> InvalidRequest:
    """The error for a task that the model was not trained for."""
    return InvalidRequest(f"{model} has no prompt for the task {request.task}")


def no_page(model: str) -> InvalidRequest:
    """The error for words without an image."""
    return InvalidRequest(f"{model} reads images and answers no questions without one")


# ---- filters


class Chain:
    """Several filters, one after another."""

    def __init__(self, *filters: Filter) -> None:
        self._filters = filters

    def feed(self, piece: str) -> str:
        for each in self._filters:
            piece = each.feed(piece) if piece else ""
        return piece

    def close(self) -> str:
        rest = ""
        for each in self._filters:
            rest = (each.feed(rest) if rest else "") + each.close()
        return rest


class Replacer:
    """Replaces fixed strings, none of which begins another one."""

    def __init__(self, replacements: Mapping[str, str]) -> None:
        self._replacements = replacements
        self._found = regex.compile("|".join(map(regex.escape, replacements)))
        self._begun = tuple({key[:length] for key in replacements for length in range(1, len(key))})
        self._longest = max(map(len, replacements)) - 1
        self._held = ""

    def feed(self, piece: str) -> str:
        text = self._held + piece
        end = max((match.end() for match in self._found.finditer(text)), default=0)
        keep = self._keep(text[end:])
        self._held = text[len(text) - keep :]
        return self._replaced(text[: len(text) - keep])

    def close(self) -> str:
        held, self._held = self._held, ""
        return held

    def _replaced(self, text: str) -> str:
        return self._found.sub(lambda match: self._replacements[match[0]], text)

    def _keep(self, tail: str) -> int:
        """How much of the end may yet become one of the strings."""
        for length in range(min(self._longest, len(tail)), 0, -1):
            if tail[len(tail) - length :] in self._begun:
                return length
        return 0


class BlankLines:
    """Makes one blank line of several."""

    def __init__(self) -> None:
        self._newlines = 0

    def feed(self, piece: str) -> str:
        told: list[str] = []
        for char in piece:
            self._newlines = self._newlines + 1 if char == "\n" else 0
            if self._newlines <= NEWLINES_MAX:
                told.append(char)
        return "".join(told)

    def close(self) -> str:
        return ""
