"""The rulings of one table: its edges, and which borders between its places are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from shared.engine.embedded.areas import distinct
from shared.engine.embedded.bounds import foot, overlap, union
from shared.engine.embedded.lines import Bounds, Line, Rulings

SIDES_MAX: Final = 200
"""Most rows or columns of a table; what exceeds it is a drawing, and is read as unruled rows."""

ENDS_MIN: Final = 3
"""So many vertical lines end at one place where columns do; single ones break off in scans."""

COVER_MIN: Final = 0.5
"""A border counts as drawn when a ruling covers this much of it."""


class Frame(msgspec.Struct, frozen=True):
    """The rulings of one table, and the edges they make. The first and last edge are its borders,
    drawn or not."""

    xs: tuple[float, ...]
    ys: tuple[float, ...]
    vertical: tuple[tuple[float, float, float], ...]
    horizontal: tuple[tuple[float, float, float], ...]
    near: float
    """A ruling this close to an edge lies on it."""

    @classmethod
    def around(cls, lines: Sequence[Line], rulings: Rulings, box: Bounds, em: float) -> Frame:
        near = em / 2
        left, top, right, bottom = box
        text = union(foot(line.span) for line in lines)
        vertical = tuple(
            each
            for each in rulings.vertical
            if left - near <= each[0] <= right + near and overlap(*each[1:], top, bottom) > near
        )
        horizontal = tuple(
            each
            for each in rulings.horizontal
            if top - near <= each[1] <= bottom + near
            and overlap(each[0], each[2], left, right) > near
        )
        xs = distinct([x for x, _, _ in vertical], near)
        ys = distinct([y for _, y, _ in horizontal], near)
        ys = sorted([*ys, *_ends(vertical, ys, near)])
        return cls(
            xs=_bordered(xs, text[0], text[2], near),
            ys=_bordered(ys, text[1], text[3], near),
            vertical=vertical,
            horizontal=horizontal,
            near=near,
        )

    def is_grid(self, columns: int) -> bool:
        """The rulings part at least as many columns as the gaps between the lines do."""
        high = self.ys[-1] - self.ys[0]
        parting = [
            x for x in self.xs[1:-1] if self._drawn_down(x, self.ys[0], self.ys[-1]) >= 0.4 * high
        ]
        framed = all(
            self._drawn_down(x, self.ys[0], self.ys[-1]) >= 0.8 * high
            for x in (self.xs[0], self.xs[-1])
        )
        small = len(self.xs) <= SIDES_MAX and len(self.ys) <= SIDES_MAX
        enough = len(parting) + 1 >= columns or (framed and len(self.ys) > 2)
        return small and bool(parting) and enough

    def _drawn_down(self, x: float, top: float, bottom: float) -> float:
        return sum(
            max(0.0, overlap(y1, y2, top, bottom))
            for at, y1, y2 in self.vertical
            if abs(at - x) <= self.near
        )

    def _drawn_across(self, y: float, left: float, right: float) -> float:
        return sum(
            max(0.0, overlap(x1, x2, left, right))
            for x1, at, x2 in self.horizontal
            if abs(at - y) <= self.near
        )

    def parts_columns(self, row: int, column: int) -> bool:
        """A line is drawn between this column and the next, in this row."""
        top, bottom = self.ys[row], self.ys[row + 1]
        drawn = self._drawn_down(self.xs[column + 1], top, bottom)
        return drawn >= COVER_MIN * (bottom - top)

    def parts_rows(self, row: int, column: int) -> bool:
        """A line is drawn between this row and the next, in this column."""
        left, right = self.xs[column], self.xs[column + 1]
        drawn = self._drawn_across(self.ys[row + 1], left, right)
        return drawn >= COVER_MIN * (right - left)

    def underlined(self, box: Bounds) -> tuple[float, float] | None:
        """The ruling close under a box, when it is wider than the box: a head over columns."""
        for x1, y, x2 in self.horizontal:
            close = -self.near <= y - box[3] <= self.near
            if close and x1 <= box[0] and x2 >= box[2]:
                return x1, x2
        return None


def _ends(
    vertical: Sequence[tuple[float, float, float]], ys: Sequence[float], near: float
) -> list[float]:
    """Places inside rows where several vertical lines begin or end: a head over columns, not
    underlined, ends there."""
    ends = [y for _, y1, y2 in vertical for y in (y1, y2)]
    return [
        place
        for place in distinct(ends, near)
        if sum(abs(end - place) <= near for end in ends) >= ENDS_MIN
        and ys
        and ys[0] < place < ys[-1]
        and min(abs(place - y) for y in ys) > 2 * near
    ]


def _bordered(edges: list[float], low: float, high: float, near: float) -> tuple[float, ...]:
    """Edges with the borders added that are not drawn: text stands outside of the drawn ones."""
    if not edges or low < edges[0] - near:
        edges = [low, *edges]
    if len(edges) < 2 or high > edges[-1] + near:
        edges = [*edges, max(high, edges[-1] + 1)]
    return tuple(edges)
