"""Groups detected lines into printed rows and paragraphs, by geometry and region labels alone."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

import msgspec

from shared.engine.embedded.bounds import (
    Shelves,
    centre_y,
    foot,
    height,
    line_height,
    overlap_x,
    same_row,
    union,
    width,
)
from shared.engine.embedded.lines import Bounds, Span

WORD_GAP_EM: Final = 1.0
"""Pieces of one printed line lie closer than this; gutters between columns are wider."""
LIST_MARK_EM: Final = 3.0
"""What is narrower may be the number of a list item, which belongs to the words after it."""
NEAR_LINES: Final = 4.0
ALIGNED_EM: Final = 0.35
"""Lines that begin this close to one another are aligned."""
LINE_GAP_MAX_EM: Final = 1.5
"""Lines further apart than this never belong to one paragraph."""
PARAGRAPH_GAP_EM: Final = 0.3
"""How much wider than the usual gap between lines the gap between paragraphs is."""
USUAL_GAP_MAX_EM: Final = 0.9
"""Pages with few lines say little about the usual gap; this is double spacing."""
HEIGHT_RATIO_MAX: Final = 1.45
"""Lines of one paragraph differ less in height; detected heights vary by a third."""
HEAD_RATIO_MAX: Final = 1.25
"""The same in headings, which are often set in two sizes."""
SHORT_EM: Final = 3.0
SHORT_RATIO_MAX: Final = 1.8
"""The same beside a line of a word or two, whose detected height says little."""
INDENT_EM: Final = 0.7
INDENTED_SHARE_MAX: Final = 0.4
"""Where more lines than this are indented it is a list with hanging lines, not a first line."""


class Segment(msgspec.Struct, frozen=True):
    """A printed line, or the part of it that stands in one column."""

    spans: tuple[Span, ...]
    box: Bounds

    @property
    def tall(self) -> float:
        return max(line_height(span) for span in self.spans)


Labels = Mapping[int, str]
"""The region label of spans, by their index; absent where no region holds the span."""


def segments_of(spans: Sequence[Span], em: float, labels: Labels) -> list[Segment]:
    """Join the pieces of printed lines, from top to bottom and from left to right."""
    feet = {span.index: foot(span) for span in spans}
    by_left = sorted(spans, key=lambda span: span.box[0])
    groups: list[list[Span]] = []
    begun = Shelves(em)
    for span in sorted(spans, key=lambda span: feet[span.index][0]):
        box = feet[span.index]
        at = _group_for(span, begun.near(box), groups, feet, em, labels)
        if at is None or _starts_column(span, groups[at][-1], by_left):
            at = len(groups)
            groups.append([])
        groups[at].append(span)
        begun.put(at, box)
    found = [
        Segment(spans=tuple(group), box=union(feet[span.index] for span in group))
        for group in groups
    ]
    return sorted(found, key=lambda segment: (centre_y(segment.box), segment.box[0]))


def _group_for(
    span: Span,
    level: Sequence[int],
    groups: Sequence[Sequence[Span]],
    feet: Mapping[int, Bounds],
    em: float,
    labels: Labels,
) -> int | None:
    """Of the begun lines at its level the last that this span goes on with."""
    box = feet[span.index]
    for at in reversed(level):
        last = groups[at][-1]
        end = feet[last.index]
        if not -2 * em < box[0] - end[2] < WORD_GAP_EM * em or not same_row(box, end):
            continue
        gap = box[0] - end[2]
        small, large = sorted((line_height(span), line_height(last)))
        alike = large < HEIGHT_RATIO_MAX * min(em, small)
        if alike and gap < WORD_GAP_EM * small and _same_label(span, last, labels):
            return at
    return None


def _starts_column(span: Span, left: Span, by_left: Sequence[Span]) -> bool:
    """The span's neighbours above and below begin at the same place: the gap is a gutter."""
    em = line_height(span)
    place = span.box[0]
    if width(left.box) < LIST_MARK_EM * em:
        return False
    low = bisect_right(by_left, place - ALIGNED_EM * em, key=_left)
    high = bisect_left(by_left, place + ALIGNED_EM * em, key=_left)
    near = (abs(centre_y(o.box) - centre_y(span.box)) < NEAR_LINES * em for o in by_left[low:high])
    # It is one of them itself.
    return sum(near) > 2


def _left(span: Span) -> float:
    return span.box[0]


def _same_label(a: Span, b: Span, labels: Labels) -> bool:
    return labels.get(a.index) == labels.get(b.index)


def rows_of(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Segments that stand side by side, as rows from top to bottom."""
    rows: list[list[Segment]] = []
    for segment in sorted(segments, key=lambda segment: centre_y(segment.box)):
        for row in reversed(rows[-3:]):
            if all(_level(segment.box, other.box) for other in row):
                row.append(segment)
                break
        else:
            rows.append([segment])
    rows.sort(key=lambda row: median([centre_y(segment.box) for segment in row]))
    return [sorted(row, key=lambda segment: segment.box[0]) for row in rows]


def _level(a: Bounds, b: Bounds) -> bool:
    """On one row, and not one above the other."""
    apart = overlap_x(a, b) <= 0.2 * min(width(a), width(b))
    return same_row(a, b) and apart


def chains_of(segments: Sequence[Segment], em: float) -> list[list[Segment]]:
    """Segments that follow each other down a column, with no other beside them in between."""
    ordered = sorted(segments, key=lambda segment: segment.box[1])
    tallest = max((height(segment.box) for segment in ordered), default=0.0)
    below = [_nearest_below(at, ordered, tallest, em) for at in range(len(ordered))]
    above: dict[int, int] = {}
    for at, nearest in enumerate(below):
        if len(nearest) == 1:
            other = nearest[0]
            if other in above:
                above[other] = -1
            else:
                above[other] = at
    starts = [at for at in range(len(ordered)) if above.get(at, -1) == -1]
    chains: list[list[Segment]] = []
    for start in starts:
        chain = [ordered[start]]
        at = start
        while len(below[at]) == 1 and above.get(below[at][0]) == at:
            at = below[at][0]
            chain.append(ordered[at])
        chains.append(chain)
    return chains


def _nearest_below(at: int, ordered: Sequence[Segment], tallest: float, em: float) -> list[int]:
    """The segments of the next row below that stand under this one; several part a chain."""
    box = ordered[at].box
    found: list[int] = []
    # Nothing that begins higher can have its centre below this one's.
    first = bisect_left(ordered, centre_y(box) - tallest / 2, key=_top)
    for other in range(first, len(ordered)):
        under = ordered[other].box
        if under[1] > box[3] + LINE_GAP_MAX_EM * em:
            break
        if other == at or centre_y(under) <= centre_y(box) or same_row(box, under):
            continue
        if overlap_x(box, under) < 0.3 * min(width(box), width(under)):
            continue
        if found and not same_row(ordered[found[0]].box, under):
            if under[1] < ordered[found[0]].box[1]:
                found = [other]
            continue
        found.append(other)
    return found


def _top(segment: Segment) -> float:
    return segment.box[1]


def paragraphs_of(chains: Sequence[Sequence[Segment]], labels: Labels) -> list[list[Segment]]:
    """Cut chains where a paragraph ends: at wider gaps, other letters, other regions, indents."""
    usual = _usual_gap(chains)
    paragraphs: list[list[Segment]] = []
    for chain in chains:
        current = [chain[0]]
        for above, below in pairwise(chain):
            if _parts(above, below, usual, labels):
                paragraphs.append(current)
                current = []
            current.append(below)
        paragraphs.append(current)
    return [part for paragraph in paragraphs for part in _at_indents(paragraph)]


def _gap_em(above: Segment, below: Segment) -> float:
    return (below.box[1] - above.box[3]) / max(1.0, min(above.tall, below.tall))


def _usual_gap(chains: Sequence[Sequence[Segment]]) -> float:
    gaps = sorted(_gap_em(above, below) for chain in chains for above, below in pairwise(chain))
    return min(USUAL_GAP_MAX_EM, gaps[len(gaps) * 2 // 5]) if gaps else 0.0


def _parts(above: Segment, below: Segment, usual: float, labels: Labels) -> bool:
    if not _same_label(above.spans[0], below.spans[0], labels):
        return True
    small, large = sorted((above.tall, below.tall))
    if large > _ratio_max(above, below, labels) * small:
        return True
    return _gap_em(above, below) > usual + PARAGRAPH_GAP_EM


def _ratio_max(above: Segment, below: Segment, labels: Labels) -> float:
    if min(width(above.box), width(below.box)) < SHORT_EM * min(above.tall, below.tall):
        return SHORT_RATIO_MAX
    return HEAD_RATIO_MAX if labels.get(above.spans[0].index) == "title" else HEIGHT_RATIO_MAX


def _at_indents(paragraph: list[Segment]) -> list[list[Segment]]:
    """Cut where a first line is indented, in text whose lines end at one right edge."""
    if len(paragraph) < 3:
        return [paragraph]
    em = median(segment.tall for segment in paragraph)
    left = min(segment.box[0] for segment in paragraph)
    right = max(segment.box[2] for segment in paragraph)
    indented = [segment.box[0] - left >= INDENT_EM * em for segment in paragraph]
    if sum(indented) > INDENTED_SHARE_MAX * len(paragraph):
        return [paragraph]
    parts: list[list[Segment]] = [[paragraph[0]]]
    for at in range(1, len(paragraph)):
        last = at + 1 == len(paragraph)
        starts = indented[at] and not indented[at - 1] and (last or not indented[at + 1])
        full = last or right - paragraph[at].box[2] < 2 * em
        if starts and full:
            parts.append([])
        parts[-1].append(paragraph[at])
    return parts


def flows(chain: Sequence[Segment], em: float) -> bool:
    """The chain is running text that fills its column, not a column of a table."""
    widths = sorted(width(segment.box) for segment in chain)
    usual, full = median(widths), widths[len(widths) * 4 // 5]
    wide = sum(1 for each in widths if each >= 0.85 * full) >= 0.6 * len(widths)
    even = sum(1 for each in widths if each >= 0.9 * full) >= 0.8 * len(widths)
    if len(chain) >= 3 and usual >= 14 * em and wide:
        return True
    return len(chain) >= 6 and usual >= 8 * em and even
