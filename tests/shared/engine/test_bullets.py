"""Bullets that stand apart from their words, on a few strokes of ink drawn here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("rapidocr", reason="needs the extra `embedded`")

from shared.engine.embedded.bullets import with_bullets
from shared.engine.embedded.lines import Bounds, Span
from shared.engine.embedded.sheet import Sheet
from tests.shared.engine.handwritten import span

LINES = [(100.0, 50.0 + 40 * n, 400.0, 74.0 + 40 * n) for n in range(3)]
DISCS = [(72, 57 + 40 * n, 81, 66 + 40 * n) for n in range(3)]


def marked(ink: Sequence[Bounds], *more: Span, scale: float = 1.0) -> list[bool]:
    """Which of the lines, and of `more`, are left and have a bullet."""
    image = Image.new("RGB", (500, 250), "white")
    pen = ImageDraw.Draw(image)
    for left, top, right, bottom in LINES:
        pen.rectangle((left + 2, top + 4, right - 2, bottom - 4), "black")
    for box in ink:
        pen.ellipse(box, "black")
    small = image.resize((round(500 / scale), round(250 / scale)), Image.Resampling.BOX)
    sheet = Sheet(
        pixels=np.asarray(small)[:, :, ::-1].copy(),
        scale=(scale, scale),
        sent=(500, 250),
        page=(500, 250),
    )
    spans = [span(box, index) for index, box in enumerate(LINES)]
    return [each.bullet for each in with_bullets(sheet, [*spans, *more])]


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_discs_below_one_another_are_bullets(scale: float) -> None:
    assert marked(DISCS, scale=scale) == [True] * 3
    assert marked(DISCS[::2], scale=scale) == [True, False, True]


def test_a_lone_speck_is_none() -> None:
    assert marked(DISCS[:1]) == [False] * 3
    assert marked([DISCS[0], (40, 97, 49, 106)]) == [False] * 3


@pytest.mark.parametrize(
    "shift",
    [
        pytest.param((0, 0, 14, 14), id="as large as a letter"),
        pytest.param((0, 9, 0, 9), id="as low as a full stop"),
        pytest.param((0, 4, -7, -3), id="as small as dust"),
        pytest.param((-12, 0, 0, 0), id="as wide as a dash"),
        pytest.param((-40, 0, -40, 0), id="too far"),
    ],
)
def test_other_ink_is_none(shift: tuple[int, int, int, int]) -> None:
    other = [tuple(a + b for a, b in zip(disc, shift, strict=True)) for disc in DISCS]
    assert marked(other) == [False] * 3  # type: ignore[arg-type]


def test_the_end_of_the_line_before_is_none() -> None:
    """Another column's line reaches there: the disc is its last sign."""
    before = [span((10, box[1], 85, box[3]), 10 + at) for at, box in enumerate(LINES)]
    assert marked(DISCS, *before) == [False] * 6


def test_a_box_around_a_bullet_is_the_bullet() -> None:
    boxes = [span((70, 55 + 40 * n, 84, 68 + 40 * n), 10 + n) for n in range(2)]
    assert marked(DISCS, *boxes) == [True] * 3
