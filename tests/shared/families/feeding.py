"""Feeds a page's work as an engine does: whole, letter by letter, and cut once at every place (of a
long answer, at many)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from shared.engine.family import PageWork

CUTS_MAX = 400
"""More would take longer and show nothing new."""


def told(work: PageWork, answers: Sequence[str], pieces: Callable[[str], Sequence[str]]) -> str:
    text = ""
    for number, answer in enumerate(answers):
        for piece in pieces(answer):
            text += work.feed(number, piece)
        text += work.end(number)
    return text


def every_way(open_work: Callable[[], PageWork], *answers: str) -> str:
    """What is told of the answers, after checking that no cut changes it."""
    whole = told(open_work(), answers, lambda answer: [answer])
    assert told(open_work(), answers, list) == whole
    longest = max(map(len, answers), default=0)
    for cut in range(1, longest, 1 + longest // CUTS_MAX):
        assert told(open_work(), answers, partial(_cut, at=cut)) == whole, f"cut at {cut}"
    return whole


def _cut(answer: str, at: int) -> list[str]:
    return [answer[:at], answer[at:]]
