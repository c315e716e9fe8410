"""Which way up a page lies, also where the orientation model alone does not know: few lines, a
strip of one line, columns of Chinese."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("rapidocr", reason="needs the extra `embedded`")

from shared.engine.embedded.models import Models, Pixels
from shared.engine.embedded.sheet import Sheet, place, spans_of, turned
from shared.engine.embedded.upright import Probe, first_guess, sample, second_guess
from tests.pages.fonts import Face, FontMissing, font

TURNS = (0, 90, 180, 270)
CASES = (
    *(("sparse", turn) for turn in TURNS),
    *(("strip", turn) for turn in (90, 180)),
    *(("columns", turn) for turn in (0, 90, 270)),
    *(("column and line", turn) for turn in (0, 180)),
)


@cache
def models() -> Models:
    return Models(2)


def pen(size: tuple[int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", size, "white")
    return image, ImageDraw.Draw(image)


def draw(name: str) -> Image.Image:
    match name:
        case "sparse":
            image, ink = pen((1240, 1754))
            for n, line in enumerate(
                ("A page that holds three lines", "in its upper corner", "only")
            ):
                ink.text((140, 150 + 55 * n), line, "black", font=font(Face.SERIF, 40))
        case "strip":
            image, ink = pen((1300, 80))
            text = "One long strip of a single printed line of text"
            ink.text((20, 15), text, "black", font=font(Face.SANS, 42))
        case "columns":
            image, ink = pen((500, 700))
            for n, column in enumerate(
                ("學而時習之不亦說乎", "有朋自遠方來不亦樂乎", "人不知而不慍")
            ):
                for m, sign in enumerate(column):
                    place_at = (390 - 120 * n, 30 + 62 * m)
                    ink.text(place_at, sign, "black", font=font(Face.CHINESE, 56))
        case _:
            image, ink = pen((1240, 800))
            for n in range(6):
                line = f"Line {n} of the page, printed from left to right as usual"
                ink.text((200, 100 + 80 * n), line, "black", font=font(Face.SANS, 32))
            side, ink = pen((700, 60))
            ink.text((10, 5), "a label along the margin", "black", font=font(Face.SANS, 32))
            image.paste(side.rotate(90, expand=True), (60, 60))
    return image


def unknown(_: Pixels) -> float:
    """No language of Tesseract's fits."""
    return 0.0


def probe(of: Sheet) -> Probe:
    chosen = sample(of, spans_of(of, models().detect(of.pixels, alone=True)))
    return chosen.read([models().recognise(pixels) for pixels in chosen.crops])


def sheet_of(name: str, turn: int) -> Sheet:
    try:
        image = draw(name)
    except FontMissing as missing:
        pytest.skip(str(missing))
    return sheet(np.asarray(image.rotate(-turn, expand=True))[:, :, ::-1])


def sheet(pixels: Pixels) -> Sheet:
    size = (pixels.shape[1], pixels.shape[0])
    return Sheet(pixels=np.ascontiguousarray(pixels), scale=(1, 1), sent=size, page=size)


@pytest.mark.parametrize(("name", "turn"), CASES)
def test_turned_pages_are_found_out(name: str, turn: int) -> None:
    page = sheet_of(name, turn)
    first = first_guess(models(), page)
    page = turned(page, first)
    found = probe(page)
    second = second_guess(models(), page, found, unknown)
    assert (first + second) % 360 == turn
    assert found.down is (name == "columns") or second != 0


def test_a_page_without_ink_lies_as_it_is() -> None:
    page = sheet(np.full((300, 200, 3), 255, np.uint8))
    assert first_guess(models(), page) == 0
    found = probe(page)
    assert (found.spans, second_guess(models(), page, found, unknown)) == ((), 0)


@pytest.mark.parametrize("turn", TURNS)
def test_boxes_find_back_to_the_page_as_sent(turn: int) -> None:
    pixels = np.zeros((300, 200, 3), np.uint8)
    pixels[40:60, 10:110] = 255
    upright = turned(sheet(pixels), turn)
    rows, columns = np.nonzero(upright.pixels[:, :, 0])
    left, top = float(columns.min()), float(rows.min())
    right, bottom = float(columns.max() + 1), float(rows.max() + 1)
    assert place(upright, (left, top, right, bottom)) == (10, 40, 110, 60)
    assert upright.size == ((300, 200) if turn in {90, 270} else (200, 300))
