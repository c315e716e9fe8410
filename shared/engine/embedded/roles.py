"""What planned blocks are for the page: running heads and page numbers at its edges, headings and
the title among the rest. Geometry alone; every block stays, only its category is decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from shared.engine.embedded.bounds import centre_y, height, line_height, same_row, width
from shared.engine.embedded.lines import Plan
from shared.ocr import Category, Size

MARGIN_SHARE: Final = 0.14
"""Page headers and footers stand in this much of the page's height, at its top and bottom."""
MARGIN_LETTERS_MAX: Final = 1.2
"""Larger letters are a title, even where the layout model sees a page header."""
BODY_LINES_MIN: Final = 6
"""A page with fewer lines between has no header or footer: it is a crop, a card, a receipt."""
APART_EM: Final = 1.2
"""How far a page number without a region stands from the rest."""
HEADING_RATIO: Final = 1.25
"""Without a region, letters so much larger than the rest make a heading."""
HEADING_RATIO_SAME: Final = 1.18
"""With other headings on the page, letters of their size make one from here on."""
RIVAL_RATIO: Final = 0.87
"""Headings nearly as large as the largest: then none is the title."""
HEADING_LINES_MAX: Final = 3


def with_roles(plans: Sequence[Plan], size: Size, em: float) -> list[Plan]:
    """The plans, in reading order, with their categories settled."""
    return _without_bylines(_headings(_margins(plans, size, em), em), em)


def _margins(plans: Sequence[Plan], size: Size, em: float) -> list[Plan]:
    """Keep as page headers and footers only what stands at the page's edge, first and last."""
    tops = [plan for plan in plans if _is_margin(plan, plans, size, em, top=True)]
    bottoms = [plan for plan in plans if _is_margin(plan, plans, size, em, top=False)]
    body = [_as_text(plan) for plan in plans if plan not in tops and plan not in bottoms]
    if sum(len(plan.spans) for plan in body) < BODY_LINES_MIN:
        return [_as_text(plan) for plan in plans]
    alone = len(tops) == 1 and not bottoms and not _is_small(tops[0], em)
    if alone and not any(_heads(plan, em) for plan in body):
        # What stands alone over a page without a heading is its heading, not a running head.
        return [msgspec.structs.replace(tops[0], category=Category.SECTION_HEADER), *body]
    low = [plan for plan in plans if plan in tops or height(plan.box) <= 2 * em]
    first = [plan for plan in low if any(plan is top or _level(plan, top) for top in tops)]
    rest = [plan for plan in plans if plan not in first and plan not in bottoms]
    return [
        *(
            _as_margin(plan, Category.PAGE_HEADER) if _runs(plan, tops, em) else plan
            for plan in first
        ),
        *(_as_text(plan) for plan in rest),
        *(_as_margin(plan, Category.PAGE_FOOTER) for plan in bottoms),
    ]


def _runs(plan: Plan, tops: Sequence[Plan], em: float) -> bool:
    """A page header, or the name that stands beside one, as beside a page number."""
    if plan in tops:
        return True
    return len(plan.spans) == 1 and _letters(plan) <= MARGIN_LETTERS_MAX * em


def _as_text(plan: Plan) -> Plan:
    """What is called a page header or footer elsewhere than at the edge is text."""
    if plan.category not in (Category.PAGE_HEADER, Category.PAGE_FOOTER):
        return plan
    return msgspec.structs.replace(plan, category=Category.TEXT)


def _as_margin(plan: Plan, category: Category) -> Plan:
    sure = plan.category is category
    return msgspec.structs.replace(plan, category=category, sure=sure)


def _is_margin(plan: Plan, plans: Sequence[Plan], size: Size, em: float, *, top: bool) -> bool:
    if plan.category in (Category.TABLE, Category.PICTURE, Category.FORMULA) or not plan.spans:
        return False
    edge = size[1] * MARGIN_SHARE
    outer = plan.box[3] <= edge if top else plan.box[1] >= size[1] - edge
    wanted = Category.PAGE_HEADER if top else Category.PAGE_FOOTER
    if plan.category is wanted:
        small = _letters(plan) <= MARGIN_LETTERS_MAX * em
        return outer and small and _nothing_beyond(plan, plans, em, top=top)
    if not _is_small(plan, em) or (top and not outer):
        return False
    others = [other for other in plans if other is not plan and other.spans]
    gaps = (_gap(plan, other, top=top) for other in others if not _level(plan, other))
    return all(gap > APART_EM * em for gap in gaps)


def _nothing_beyond(plan: Plan, plans: Sequence[Plan], em: float, *, top: bool) -> bool:
    """Between the block and the page's edge stands nothing but its like and page numbers."""
    return all(
        other.category is plan.category or _level(plan, other) or _is_small(other, em)
        for other in plans
        if other.spans
        and (centre_y(other.box) < plan.box[1] if top else centre_y(other.box) > plan.box[3])
    )


def _gap(plan: Plan, other: Plan, *, top: bool) -> float:
    return other.box[1] - plan.box[3] if top else plan.box[1] - other.box[3]


def _level(a: Plan, b: Plan) -> bool:
    return same_row(a.box, b.box)


def _is_small(plan: Plan, em: float) -> bool:
    """As short as a page number."""
    return len(plan.spans) == 1 and width(plan.box) <= 3 * em and height(plan.box) <= 1.6 * em


def _headings(plans: Sequence[Plan], em: float) -> list[Plan]:
    """Find headings by their size, and the title among the headings."""
    named = [_letters(p) for p in plans if p.category is Category.SECTION_HEADER]
    large = [_letters(p) for p in plans if _may_head(p, HEADING_RATIO * em)]
    least = max(HEADING_RATIO_SAME * em, 0.9 * min([*named, *large], default=float("inf")))
    marked = [
        msgspec.structs.replace(plan, category=Category.SECTION_HEADER)
        if _may_head(plan, min(least, HEADING_RATIO * em)) and len(plans) > 1
        else plan
        for plan in plans
    ]
    heads = [plan for plan in marked if plan.category is Category.SECTION_HEADER]
    if not heads:
        return marked
    largest = max(heads, key=_letters)
    near = RIVAL_RATIO * _letters(largest)
    rivals = [plan for plan in heads if plan is not largest and _letters(plan) > near]
    if _letters(largest) < HEADING_RATIO * em or rivals:
        return marked
    return [
        msgspec.structs.replace(plan, category=Category.TITLE) if plan is largest else plan
        for plan in marked
    ]


def _heads(plan: Plan, em: float) -> bool:
    return plan.category is Category.SECTION_HEADER or _may_head(plan, HEADING_RATIO * em)


def _without_bylines(plans: Sequence[Plan], em: float) -> list[Plan]:
    """Small lines that the layout model takes into a heading are text."""
    kept: list[Plan] = []
    for plan in plans:
        above = kept[-1] if kept else None
        if (
            plan.category is Category.SECTION_HEADER
            and above is not None
            and above.category in (Category.SECTION_HEADER, Category.TITLE)
            and _letters(plan) < HEADING_RATIO_SAME * em
            and _letters(above) > HEADING_RATIO * _letters(plan)
            and plan.box[1] - above.box[3] < em
        ):
            kept.append(msgspec.structs.replace(plan, category=Category.TEXT))
        else:
            kept.append(plan)
    return kept


def _letters(plan: Plan) -> float:
    return sum(line_height(span) for span in plan.spans) / max(1, len(plan.spans))


def _may_head(plan: Plan, letters: float) -> bool:
    """A few words in letters of that size."""
    # Captions are set smaller than the text: in larger letters it is the heading of what follows.
    if plan.category not in (Category.TEXT, Category.CAPTION):
        return False
    if not plan.spans or plan.spans[0].vertical:
        return False
    few = len(plan.spans) <= HEADING_LINES_MAX
    wide = width(plan.box) > 3 * line_height(plan.spans[0])
    return few and wide and _letters(plan) >= letters
