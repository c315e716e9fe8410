"""Scripts that PP-OCRv6 does not know: what a hint means, what is noticed, who reads it, and what
is said when nobody can."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("rapidocr", reason="needs the extra `embedded`")

from shared.engine.embedded import EmbeddedEngine, scripts
from shared.engine.embedded.models import Reading
from shared.engine.embedded.tesseract import Tesseract
from shared.engine.protocol import Recipe
from shared.ocr import BytesPage, Request, Result, Task, fold
from tests.pages.fonts import Face, FontMissing, font

RUSSIAN = "Широкая электрификация южных губерний"
KOREAN = "새로운 기술 발전 소식을 전합니다"
ENGLISH = "The quick brown fox jumps over it"
LINE = np.zeros((40, 400, 3), np.uint8)
"""A line ten times as long as high."""


def drawn(*lines: tuple[str, Face], turn: int = 0) -> bytes:
    image = Image.new("RGB", (860, 70 * len(lines) + 40), "white")
    pen = ImageDraw.Draw(image)
    try:
        for number, (line, face) in enumerate(lines):
            pen.text((30, 20 + 70 * number), line, "black", font=font(face, 32))
    except FontMissing as missing:
        pytest.skip(str(missing))
    file = BytesIO()
    image.rotate(-turn, expand=True).save(file, "PNG")
    return file.getvalue()


def needing(*languages: str) -> None:
    for language in languages:
        if language not in Tesseract(None).languages:
            pytest.skip(f"needs the Debian package tesseract-ocr-{language}")


async def read(engine: EmbeddedEngine, page: bytes, language: str | None = None) -> Result:
    pages = (BytesPage(page),)
    request = Request(model="test", task=Task.TEXT, pages=pages, language=language)
    return await fold(engine.read(request))


@pytest.mark.parametrize(
    ("hint", "code"),
    [
        ("ru", "rus"),
        ("rus", "rus"),
        ("Russian", "rus"),
        (" russian ", "rus"),
        ("ru-RU", "rus"),
        ("ko_KR", "kor"),
        ("Korean", "kor"),
        ("zh-CN", "zho"),
        ("English", "eng"),
        ("Greek", "ell"),
        ("el", "ell"),
        ("auto", None),
        ("", None),
        (None, None),
        ("no such language", None),
    ],
)
def test_hints_are_understood(hint: str | None, code: str | None) -> None:
    assert scripts.language_of(hint) == code


@pytest.mark.parametrize(
    ("text", "score", "unread"),
    [
        ("", 0.0, True),
        ("     .", 0.8, True),
        ("舍", 0.79, True),
        ("The quick brown fox", 0.99, False),
        ("日常价春分农村学校特别", 0.98, False),
        ("..........", 0.9, False),
        ("The quick brown fox", 0.4, True),
    ],
)
def test_lines_far_too_short_for_their_box_are_noticed(
    text: str, score: float, unread: bool
) -> None:
    assert scripts.is_unread(LINE, Reading(text, score)) is unread


@pytest.mark.parametrize(
    ("text", "score", "doubtful"),
    [
        ("2024   ,  .  17", 0.95, True),
        ("The quick brown fox", 0.7, True),
        ("The quick brown fox", 0.99, False),
        ("日常价春分", 0.98, False),
    ],
)
def test_lines_worth_a_second_reading(text: str, score: float, doubtful: bool) -> None:
    assert scripts.is_doubtful(LINE, Reading(text, score)) is doubtful


def test_a_single_sign_is_not_suspicious() -> None:
    assert not scripts.is_unread(np.zeros((40, 30, 3), np.uint8), Reading("", 0.0))


def test_the_hinted_language_is_tried_first() -> None:
    installed = {"eng", "kor", "rus", "ukr"}
    assert scripts.candidates(installed, None) == ("kor", "rus")
    assert scripts.candidates(installed, "ukrainian") == ("ukr", "kor", "rus")
    assert scripts.candidates(installed, "en") == ("kor", "rus")
    assert scripts.candidates({"eng"}, "ru") == ()
    assert scripts.rivals("rus", installed) == ("ukr",)


@pytest.mark.parametrize(
    ("first", "second", "better"),
    [
        (Reading("     .", 0.8), Reading("Славянские языки", 0.94), 1),
        (Reading("GOST 7.1-2003", 0.99), Reading("GOST 7.1-2003", 0.9), 0),
        (Reading("CTOP", 0.8), Reading("СТОР", 0.93), 1),
        (Reading("Hello", 0.98), Reading("Нено", 0.3), 0),
        (Reading("", 0.0), Reading("ow", 0.2), 0),
    ],
)
def test_the_better_reading_is_kept(first: Reading, second: Reading, better: int) -> None:
    assert scripts.better("rus", first, second) is (first, second)[better]


def test_notes_name_the_package() -> None:
    assert "install tesseract-ocr-rus" in scripts.missing_note("Russian", {"eng"})
    general = scripts.missing_note(None, {"eng", "kor"})
    assert "tesseract-ocr-rus" in general
    assert "tesseract-ocr-kor" not in general


def test_language_data_is_found_where_it_is_said_to_be(tmp_path: Path) -> None:
    for name in ("kor", "osd", "eng"):
        (tmp_path / f"{name}.traineddata").touch()
    assert Tesseract(str(tmp_path)).languages == {"kor", "eng"}
    assert Tesseract(str(tmp_path / "nowhere")).languages == frozenset()


@pytest.mark.parametrize("turn", [0, 180])
async def test_russian_is_noticed_and_read_however_it_lies(
    engine: EmbeddedEngine, turn: int
) -> None:
    needing("rus", "eng")
    result = await read(engine, drawn((RUSSIAN, Face.DEJAVU), turn=turn))
    assert (result.text, result.notes) == (RUSSIAN, ())


async def test_korean_is_noticed_and_its_words_are_one_line(engine: EmbeddedEngine) -> None:
    needing("kor")
    result = await read(engine, drawn((KOREAN, Face.KOREAN), (KOREAN, Face.KOREAN)))
    assert same(result.text, [KOREAN, KOREAN])
    assert result.notes == ()


async def test_mixed_lines_are_each_read_by_who_can(engine: EmbeddedEngine) -> None:
    needing("rus", "eng")
    mixed = "Отчёт PDF за 2024 год, стр. 17"
    lines = [(ENGLISH, Face.DEJAVU), (RUSSIAN, Face.DEJAVU), (mixed, Face.DEJAVU)]
    result = await read(engine, drawn(*lines))
    assert same(result.text, [ENGLISH, RUSSIAN, mixed])


async def test_a_hint_helps_where_the_letters_look_latin(engine: EmbeddedEngine) -> None:
    needing("rus", "eng")
    result = await read(engine, drawn(("МОТОР ВОСТОК", Face.DEJAVU)), "ru")
    assert result.text == "МОТОР ВОСТОК"


async def test_without_language_data_the_answer_says_what_is_missing(tmp_path: Path) -> None:
    engine = EmbeddedEngine(Recipe(model="test"), threads=2, tessdata=str(tmp_path))
    await engine.open()
    try:
        unhinted = await read(engine, drawn((RUSSIAN, Face.DEJAVU)))
        hinted = await read(engine, drawn((RUSSIAN, Face.DEJAVU)), "Russian")
        latin = await read(engine, drawn((ENGLISH, Face.DEJAVU)))
    finally:
        await engine.close()
    [note] = unhinted.notes
    assert "does not read" in note
    assert "tesseract-ocr-rus" in note
    [note] = hinted.notes
    assert note.endswith("install tesseract-ocr-rus")
    assert (latin.text, latin.notes) == (ENGLISH, ())


def same(text: str, lines: Iterable[str]) -> bool:
    return " ".join(text.split()) == " ".join(lines)
