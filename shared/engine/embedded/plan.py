"""Composes detected lines and layout regions into blocks in reading order, before anything is
read, so that recognition can stream block by block. Geometry alone; text is `blocks`' business."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from shared.engine.embedded.areas import Area, find_areas
from shared.engine.embedded.bounds import (
    Shelves,
    area,
    centre_x,
    em_of,
    foot,
    grown,
    height,
    line_height,
    overlap_x,
    overlap_y,
    share_inside,
    union,
    width,
)
from shared.engine.embedded.lines import Bounds, Plan, Point, Region, Rulings, Span
from shared.engine.embedded.order import reading_order
from shared.engine.embedded.paragraphs import (
    Labels,
    Segment,
    chains_of,
    paragraphs_of,
    rows_of,
    segments_of,
)
from shared.engine.embedded.prose import INITIAL_RATIO
from shared.engine.embedded.roles import with_roles
from shared.ocr import Category, Size

SCORE_MIN: Final = 0.5
"""Regions of a lower score are guesses."""
INSIDE_MIN: Final = 0.6
"""A line belongs to a region that holds this much of it."""
CUT_MARGIN_EM: Final = 0.6
"""A ruling cuts a line when it leaves at least this much on either side."""
LETTER_MIN_EM: Final = 0.5
"""A ruling cuts a line in two rows when it leaves at least this much above and below: the letters
of a row need it."""
FIGURE_TEXT_MAX: Final = 0.25
"""A figure covered with more text than this is text, whatever the layout model says."""
TOP_SHARE: Final = 0.08
"""A running head stands in this much of the page's height, at its top,"""
TOP_GAP_EM: Final = 0.8
"""and so far from what follows."""
BREAK_EM: Final = 3.5
"""White space of this height from edge to edge parts a page; columns end above it."""

CATEGORIES: Final = {
    "text": Category.TEXT,
    "title": Category.SECTION_HEADER,
    "figure_caption": Category.CAPTION,
    "table_caption": Category.CAPTION,
    "header": Category.PAGE_HEADER,
    "footer": Category.PAGE_FOOTER,
    "equation": Category.FORMULA,
}
"""What cdla's labels are called here. `reference` is text, and figure and table make blocks of
their own."""


def plan_page(
    spans: Sequence[Span], regions: Sequence[Region], rulings: Rulings, size: Size
) -> tuple[Plan, ...]:
    """The page's blocks in reading order. Every span, or its cut pieces, is in exactly one."""
    em = em_of(spans)
    regions = [region for region in regions if region.score >= SCORE_MIN]
    rulings = _drawn(rulings, spans, em)
    standing = [span for span in spans if not span.vertical]
    labels = _labels(standing, regions)
    segments = segments_of(standing, em, labels)
    areas = find_areas(standing, segments, regions, rulings, em)
    next_index = max((span.index for span in spans), default=-1) + 1
    tables, taken = _tables(standing, areas, rulings, em, next_index)
    rest = _without(segments, taken)
    initials = [segment for segment in rest if _is_initial(segment, em)]
    chains = chains_of([segment for segment in rest if segment not in initials], em)
    texts = _with_initials(paragraphs_of(chains, labels), initials)
    plans = [_text_plan(text, labels) for text in texts]
    plans += tables
    plans += _columns([span for span in spans if span.vertical], em)
    plans += _pictures(regions, plans)
    ordered = _ordered(plans, size, em)
    return tuple(with_roles(ordered, size, em))


# ---- rulings and regions


def _drawn(rulings: Rulings, spans: Sequence[Span], em: float) -> Rulings:
    """Leave out strokes of large letters, and lines struck through or drawn under words."""
    shelves = Shelves(em)
    boxes = [span.box for span in spans]
    for number, box in enumerate(boxes):
        shelves.put(number, box)

    def level(low: float, high: float) -> Iterator[Bounds]:
        return (boxes[number] for number in shelves.near((0.0, low, 0.0, high)))

    horizontal = [
        (x1, y, x2)
        for x1, y, x2 in rulings.horizontal
        if x2 - x1 >= 1.5 * em and not any(_through(box, x1, y, x2) for box in level(y, y))
    ]
    vertical = [
        (x, y1, y2)
        for x, y1, y2 in rulings.vertical
        if y2 - y1 >= em
        # A line that holds most of the ruling holds its middle.
        and not any(
            box[0] < x < box[2] and overlap_y(box, (x, y1, x, y2)) > 0.8 * (y2 - y1)
            for box in level((y1 + y2) / 2, (y1 + y2) / 2)
        )
    ]
    return Rulings(horizontal=tuple(horizontal), vertical=tuple(vertical))


def _through(box: Bounds, x1: float, y: float, x2: float) -> bool:
    inner = 0.2 * height(box)
    inside = box[1] + inner < y < box[3] - inner
    return inside and overlap_x(box, (x1, y, x2, y)) > 0.7 * (x2 - x1)


def _labels(spans: Sequence[Span], regions: Sequence[Region]) -> dict[int, str]:
    """Each span's label: that of the smallest region which holds it, or of the likeliest where
    several regions are about the same."""
    labels: dict[int, str] = {}
    ordered = sorted(regions, key=lambda region: (_magnitude(region), -region.score))
    for span in spans:
        for region in ordered:
            if share_inside(span.box, grown(region.box, 0.3 * line_height(span))) >= INSIDE_MIN:
                plain = region.label in ("reference", "table")
                labels[span.index] = "text" if plain else region.label
                break
    return labels


def _magnitude(region: Region) -> int:
    """Regions of one magnitude, a factor of two, that hold the same line are the same region."""
    return int(math.log2(max(1.0, area(region.box))))


# ---- tables


def _tables(
    spans: Sequence[Span], areas: Sequence[Area], rulings: Rulings, em: float, next_index: int
) -> tuple[list[Plan], set[int]]:
    """The tables, with their spans cut at rulings, and the indexes of the spans they took."""
    plans: list[Plan] = []
    taken: set[int] = set()
    for each in areas:
        free = [span for span in spans if span.index not in taken]
        inside = [span for span in free if share_inside(foot(span), each.box) > 0.5]
        if not inside:
            continue
        taken |= {span.index for span in inside}
        pieces: list[Span] = []
        for span in inside:
            for whole in _cut_across(span, rulings, next_index, em):
                next_index = max(next_index, whole.index + 1)
                cut = _cut(whole, rulings, next_index, em)
                next_index += len(cut) if len(cut) > 1 else 0
                pieces.extend(cut)
        box = union([each.box, *(span.box for span in pieces)])
        ordered = _row_by_row(pieces)
        plans.append(Plan(Category.TABLE, box, ordered, loose=each.loose))
    return plans, taken


def _without(segments: Sequence[Segment], taken: set[int]) -> list[Segment]:
    """The segments as far as no table took their spans."""
    kept: list[Segment] = []
    for segment in segments:
        spans = tuple(span for span in segment.spans if span.index not in taken)
        if spans:
            kept.append(Segment(spans=spans, box=union(foot(span) for span in spans)))
    return kept


def _row_by_row(spans: Sequence[Span]) -> tuple[Span, ...]:
    singles = [Segment(spans=(span,), box=foot(span)) for span in spans]
    return tuple(segment.spans[0] for row in rows_of(singles) for segment in row)


def _cut(span: Span, rulings: Rulings, index: int, em: float) -> list[Span]:
    """The span's pieces on either side of the vertical rulings that cross it."""
    left, top, right, bottom = span.box
    places = sorted(
        x
        for x, y1, y2 in rulings.vertical
        if left + CUT_MARGIN_EM * em < x < right - CUT_MARGIN_EM * em
        and min(y2, bottom) - max(y1, top) >= 0.7 * (bottom - top)
    )
    edges = [left, *places, right]
    parts = [(low, high) for low, high in pairwise(edges) if high - low >= CUT_MARGIN_EM * em]
    if len(parts) < 2 or width(span.box) < 1:
        return [span]
    return [_part(span, low, high, index + at) for at, (low, high) in enumerate(parts)]


def _cut_across(span: Span, rulings: Rulings, index: int, em: float) -> list[Span]:
    """The span's pieces above and below the horizontal rulings that cross it: close rows of narrow
    cells are detected as one."""
    left, top, right, bottom = span.box
    places = sorted(
        y
        for x1, y, x2 in rulings.horizontal
        if top + LETTER_MIN_EM * em < y < bottom - LETTER_MIN_EM * em
        and x1 <= left + em / 2
        and right - em / 2 <= x2
    )
    edges = [top, *places, bottom]
    rows = [(low, high) for low, high in pairwise(edges) if high - low >= LETTER_MIN_EM * em]
    if len(rows) < 2:
        return [span]
    return [_row(span, low, high, index + at) for at, (low, high) in enumerate(rows)]


def _row(span: Span, low: float, high: float, index: int) -> Span:
    left, _, right, _ = span.box
    quad = ((left, low), (right, low), (right, high), (left, high))
    return Span(index, quad, (left, low, right, high), vertical=False)


def _part(span: Span, low: float, high: float, index: int) -> Span:
    a, b, c, d = span.quad
    start, end = (low - span.box[0]) / width(span.box), (high - span.box[0]) / width(span.box)
    quad = (_on(a, b, start), _on(a, b, end), _on(d, c, end), _on(d, c, start))
    return Span(index, quad, (low, span.box[1], high, span.box[3]), span.vertical)


def _on(a: Point, b: Point, share: float) -> Point:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


# ---- texts


def _text_plan(text: Sequence[Segment], labels: Labels) -> Plan:
    spans = tuple(span for segment in text for span in segment.spans)
    box = union(span.box for span in spans)
    label = labels.get(spans[0].index, "")
    category = CATEGORIES.get(label, Category.TEXT)
    return Plan(category, box, spans)


def _is_initial(segment: Segment, em: float) -> bool:
    """A single letter, much larger than the rest."""
    square = width(segment.box) < 1.4 * height(segment.box)
    return len(segment.spans) == 1 and square and height(segment.box) > INITIAL_RATIO * em


def _with_initials(
    texts: Sequence[list[Segment]], initials: Sequence[Segment]
) -> list[list[Segment]]:
    """Put large initials before the first lines of the paragraphs they begin."""
    joined = [list(text) for text in texts]
    for initial in initials:
        text = next((text for text in joined if _begins(initial, text)), None)
        if text is None:
            joined.append([initial])
        else:
            text.insert(0, initial)
    return joined


def _begins(initial: Segment, text: Sequence[Segment]) -> bool:
    first = text[0]
    gap = first.box[0] - initial.box[2]
    return (
        len(text) > 1
        and height(initial.box) > INITIAL_RATIO * first.tall
        and abs(gap) < 1.5 * first.tall
        and abs(first.box[1] - initial.box[1]) < first.tall
    )


def _columns(spans: Sequence[Span], em: float) -> list[Plan]:
    """Vertical text: columns that stand side by side, read from right to left."""
    groups: list[list[Span]] = []
    for span in sorted(spans, key=lambda span: -centre_x(span.box)):
        for group in groups:
            last = group[-1].box
            near = last[0] - span.box[2] < 1.5 * em
            if near and overlap_y(last, span.box) > 0.3 * min(height(last), height(span.box)):
                group.append(span)
                break
        else:
            groups.append([span])
    return [
        Plan(Category.TEXT, union(span.box for span in group), tuple(_down(group)))
        for group in groups
    ]


def _down(group: Sequence[Span]) -> list[Span]:
    """Right to left, and pieces of one column from top to bottom."""
    order = reading_order([span.box for span in group], right_to_left=True)
    return [group[at] for at in order]


# ---- pictures


def _pictures(regions: Sequence[Region], plans: Sequence[Plan]) -> list[Plan]:
    """Figures as blocks without text; what is written in them stands in blocks of its own."""
    pictures = []
    for region in regions:
        if region.label != "figure":
            continue
        tables = [plan for plan in plans if plan.category is Category.TABLE]
        if any(share_inside(region.box, table.box) > 0.5 for table in tables):
            continue
        written = sum(
            area(span.box) * share_inside(span.box, region.box)
            for plan in plans
            for span in plan.spans
        )
        if written <= FIGURE_TEXT_MAX * area(region.box):
            pictures.append(Plan(Category.PICTURE, region.box))
    return pictures


# ---- order


def _ordered(plans: Sequence[Plan], size: Size, em: float) -> list[Plan]:
    vertical = [plan for plan in plans if plan.spans and plan.spans[0].vertical]
    mostly = sum(len(plan.spans) for plan in vertical) * 2 > sum(len(plan.spans) for plan in plans)
    top = [] if mostly else _top_line(plans, size, em)
    rest = [plan for plan in plans if plan not in top]
    order = reading_order([plan.box for plan in rest], right_to_left=mostly, break_px=BREAK_EM * em)
    return [*top, *(rest[at] for at in order)]


def _top_line(plans: Sequence[Plan], size: Size, em: float) -> list[Plan]:
    """The running head over a page's columns: it belongs to none of them."""
    lines = [plan for plan in plans if plan.box[3] <= TOP_SHARE * size[1]]
    lowest = max((plan.box[3] for plan in lines), default=0.0)
    others = [plan for plan in plans if plan not in lines]
    low = all(height(plan.box) <= 1.6 * em and len(plan.spans) <= 2 for plan in lines)
    if not low or any(plan.box[1] < lowest + TOP_GAP_EM * em for plan in others):
        return []
    rows = rows_of([Segment(plan.spans, plan.box) for plan in lines])
    boxes = [segment.box for row in rows for segment in row]
    return sorted(lines, key=lambda plan: boxes.index(plan.box))
