"""Lines as a detector and a recogniser would give them, written by hand for tests."""

from __future__ import annotations

from collections.abc import Sequence

from shared.engine.embedded.lines import Bounds, Line, Plan, Region, Rulings, Span
from shared.ocr import Category

EM = 20.0
"""The height of a line."""
LETTER = 10.0
"""The width of a letter."""


def span(box: Bounds, index: int = 0, *, vertical: bool = False) -> Span:
    left, top, right, bottom = box
    quad = ((left, top), (right, top), (right, bottom), (left, bottom))
    return Span(index, quad, box, vertical)


class Paper:
    """A page to write lines on, one after another."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def write(
        self, text: str, x: float, y: float, *, em: float = EM, width: float | None = None
    ) -> Line:
        """A line whose letters are half as wide as high, unless its width is given."""
        wide = len(text) * em / 2 if width is None else width
        line = Line(span((x, y, x + wide, y + em), len(self.lines)), text, 0.99)
        self.lines.append(line)
        return line

    def column(
        self, texts: Sequence[str], x: float, y: float, *, pitch: float = EM, **how: float
    ) -> None:
        for number, text in enumerate(texts):
            self.write(text, x, y + number * pitch, **how)

    def table(
        self, rows: Sequence[Sequence[str]], xs: Sequence[float], y: float, pitch: float = 2 * EM
    ) -> None:
        """Rows of cells at the same places; an empty text is an empty cell."""
        for number, row in enumerate(rows):
            for text, x in zip(row, xs, strict=True):
                if text:
                    self.write(text, x, y + number * pitch)

    @property
    def spans(self) -> list[Span]:
        return [line.span for line in self.lines]

    def said(self, plan: Plan) -> list[str]:
        """The texts of a plan's lines, in the plan's order."""
        return [self.lines[each.index].text for each in plan.spans]

    def of(self, plan: Plan) -> list[Line]:
        return [self.lines[each.index] for each in plan.spans]


def grid(xs: Sequence[float], ys: Sequence[float]) -> Rulings:
    """Every line of a grid."""
    return Rulings(
        horizontal=tuple((xs[0], y, xs[-1]) for y in ys),
        vertical=tuple((x, ys[0], ys[-1]) for x in xs),
    )


def region(label: str, box: Bounds, score: float = 0.9) -> Region:
    return Region(label, box, score)


def plan(category: Category, lines: Sequence[Line], **more: bool) -> Plan:
    boxes = [line.span.box for line in lines] or [(0.0, 0.0, 10.0, 10.0)]
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    box = (min(lefts), min(tops), max(rights), max(bottoms))
    return Plan(category, box, tuple(line.span for line in lines), **more)
