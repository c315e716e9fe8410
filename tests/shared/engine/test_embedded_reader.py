"""How one line comes to its text: the first look, a second one, a look at its head. The recogniser
here says what the test wants."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("rapidocr", reason="needs the extra `embedded`")

from shared.engine.embedded.models import Reading
from shared.engine.embedded.reader import PageReader
from shared.engine.embedded.sheet import Sheet, crop
from shared.engine.embedded.tesseract import Tesseract
from shared.engine.embedded.upright import Probe
from tests.shared.engine.handwritten import span

SHORT = span((40, 40, 100, 60))
LINE = span((20, 40, 180, 60))


class Looks:
    """A recogniser that gives its answers one after the other, and keeps what it was shown."""

    def __init__(self, *answers: tuple[str, float]) -> None:
        self.answers = [Reading(*answer) for answer in answers]
        self.shown: list[Any] = []

    def recognise(self, pixels: Any) -> Reading:
        self.shown.append(pixels)
        return self.answers.pop(0)


def blank() -> Sheet:
    shade = np.tile(np.arange(200, dtype=np.uint8)[:, np.newaxis, np.newaxis], (1, 200, 3))
    return Sheet(pixels=shade.copy(), scale=(1, 1), sent=(200, 200), page=(200, 200))


def read(looks: Looks, **more: Any) -> str:
    models: Any = looks
    probe = Probe((), (), (), down=False)
    reader = PageReader(models, Tesseract("/nowhere"), blank(), hint=None, probe=probe)
    (line,) = reader.read([msgspec.structs.replace(LINE, **more)])
    assert looks.answers == []
    return line.text


def test_a_surely_read_line_is_looked_at_once() -> None:
    assert read(Looks(("a sure line", 0.99))) == "a sure line"


def test_of_two_looks_the_surer_one_counts() -> None:
    assert read(Looks(("minus 40C", 0.96), ("minus 40℃", 0.97))) == "minus 40℃"
    assert read(Looks(("minus 40℃", 0.96), ("minus 40C", 0.95))) == "minus 40℃"


def test_the_second_look_is_wider() -> None:
    looks = Looks(("minus 40C", 0.96), ("minus 40℃", 0.97))
    read(looks)
    first, second = looks.shown
    assert (first.shape[:2], second.shape[:2]) == ((20, 160), (22, 163))


def test_a_short_line_is_not_looked_at_again_here() -> None:
    looks = Looks(("¥ 3", 0.96))
    assert read(looks, quad=SHORT.quad, box=SHORT.box) == "¥ 3"


def test_a_line_on_its_head_is_turned() -> None:
    looks = Looks(("pɐǝɥ sʇı uo", 0.55), ("on its head", 0.95))
    assert read(looks) == "on its head"
    assert (looks.shown[0] == np.rot90(looks.shown[1], 2)).all()


def test_a_bullet_beside_the_line_is_written_once() -> None:
    assert read(Looks(("an item here", 0.99)), bullet=True) == "• an item here"
    assert read(Looks(("• an item here", 0.99)), bullet=True) == "• an item here"


@pytest.mark.parametrize("vertical", [False, True])
def test_a_wider_crop_grows_evenly(vertical: bool) -> None:
    """By a share of the letters' height: at both ends, and on either side."""
    box = (100, 40, 120, 140) if vertical else (40, 100, 140, 120)
    line = span(box, vertical=vertical)
    assert crop(blank(), line, wider=(0.5, 0.1)).shape[:2] in {(24, 120), (120, 24)}
    assert crop(blank(), line).shape[:2] in {(20, 100), (100, 20)}
