"""What is known of languages and scripts: which PP-OCRv6 reads, what a hint means, what is missing.

Pure decisions over texts and codes; reading is `tesseract`'s and `models`' business.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import pycountry
import regex

from shared.engine.embedded.models import Pixels, Reading
from shared.engine.embedded.upright import fullness

SCRIPTS: Final = {
    "Hangul": ("kor",),
    "Cyrillic": ("rus", "ukr", "bul", "bel", "srp", "mkd", "kaz", "mon", "kir", "tgk", "uzb_cyrl"),
    "Arabic": ("ara", "fas", "urd", "pus", "snd", "uig", "kur_ara"),
    "Thai": ("tha",),
    "Hebrew": ("heb", "yid"),
    "Devanagari": ("hin", "mar", "nep", "san"),
    "Greek": ("ell", "grc"),
    "Bengali": ("ben", "asm"),
    "Tamil": ("tam",),
    "Telugu": ("tel",),
    "Kannada": ("kan",),
    "Malayalam": ("mal",),
    "Gujarati": ("guj",),
    "Gurmukhi": ("pan",),
    "Oriya": ("ori",),
    "Sinhala": ("sin",),
    "Georgian": ("kat",),
    "Armenian": ("hye",),
    "Khmer": ("khm",),
    "Lao": ("lao",),
    "Myanmar": ("mya",),
    "Tibetan": ("bod", "dzo"),
    "Ethiopic": ("amh", "tir"),
}
"""Scripts outside of PP-OCRv6's 18,708 characters, with Tesseract's codes of their languages, the
most usual first. Greek is here because only its plain letters are inside, none with an accent."""

SCRIPT_OF: Final = {code: script for script, codes in SCRIPTS.items() for code in codes}

SHORT: Final = 0.6
"""A line with a smaller share of the characters that its box has room for was not really read:
Korean comes back as nothing or one character, Russian as blanks and a full stop."""

POOR_SCORE: Final = 0.75
"""Scores are not low on unknown scripts (0.6 to 0.8), but those of read lines are higher."""

DROP_SCORE: Final = 0.5
"""RapidOCR drops lines of a lower score."""

SURE_CONFIDENCE: Final = 0.65
"""Tesseract's mean confidence: 0.8 to 0.97 with the right language, up to 0.6 with a wrong one."""

RIVALS_MAX: Final = 3
"""Further languages of one script that are tried."""

LATIN_SIGNS: Final = 1.1
"""Letters and signs that a Latin line has at least, for each time that it is as long as high: two
are usual, one and a half in wide capitals."""

HINT_MAX: Final = 60
"""Characters; the longest names of languages have about fifty."""

_CJK: Final = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")


def language_of(hint: str | None) -> str | None:
    """Tesseract's code for a hint such as `ru`, `rus`, `ru-RU` or `Russian`; `None` if unknown."""
    name = (hint or "").strip()
    return _code(name) if name and len(name) <= HINT_MAX else None


@lru_cache(maxsize=256)
def _code(name: str) -> str | None:
    """Looked up once: a name costs a walk through eight thousand languages, 16 ms of them."""
    for text in (name, name.partition("-")[0], name.partition("_")[0]):
        if len(text) == 2:
            language = pycountry.languages.get(alpha_2=text.lower())
        elif len(text) == 3:
            language = pycountry.languages.get(alpha_3=text.lower())
        else:
            language = _by_name(text)
        if language is not None:
            return str(language.alpha_3)
    return None


def _by_name(name: str) -> Any:
    for text in (name, f"Modern {name} (1453-)"):
        try:
            return pycountry.languages.lookup(text)
        except LookupError:
            continue
    return None


def is_unread(pixels: Pixels, reading: Reading) -> bool:
    """Whether a line looks like text of a script that PP-OCRv6 does not know."""
    height, width = pixels.shape[:2]
    if width < 1.2 * height:
        return False
    return fullness(pixels, reading.text) < SHORT or reading.score < DROP_SCORE


def is_doubtful(pixels: Pixels, reading: Reading) -> bool:
    """Whether a line is worth a look with Tesseract: it need not be wrong.

    Of a Russian line with a number in it, PP-OCRv6 reads the number and the stops, well and surely.
    """
    height, width = pixels.shape[:2]
    if width < 1.2 * height:
        return False
    signs = len("".join(reading.text.split()))
    sparse = not _CJK.search(reading.text) and signs * height < LATIN_SIGNS * width
    return sparse or reading.score < POOR_SCORE or is_unread(pixels, reading)


def candidates(installed: Iterable[str], hint: str | None) -> tuple[str, ...]:
    """The languages worth trying on lines that were not read: the hinted one, then the most usual
    one of each script."""
    present = set(installed)
    hinted = language_of(hint)
    first = [hinted] if hinted in present and hinted in SCRIPT_OF else []
    usual = [next((c for c in codes if c in present), None) for codes in SCRIPTS.values()]
    return tuple(dict.fromkeys([*first, *(code for code in usual if code)]))


def rivals(language: str, installed: Iterable[str]) -> tuple[str, ...]:
    """Other languages of the same script that may fit better once it is known."""
    present = set(installed)
    same = [code for code in SCRIPTS[SCRIPT_OF[language]] if code in present and code != language]
    return tuple(same[:RIVALS_MAX])


def with_latin(language: str, installed: Iterable[str]) -> str:
    """The language, together with English where Latin words stand among the others."""
    return f"{language}+eng" if "eng" in installed and language != "kor" else language


def speaks(language: str, reading: Reading) -> bool:
    """Whether what Tesseract read is really of that language's script, and sure of it."""
    letters = regex.findall(r"\p{L}", reading.text)
    own = regex.findall(rf"\p{{{SCRIPT_OF[language]}}}", reading.text)
    return reading.score >= SURE_CONFIDENCE and 2 * len(own) >= len(letters) > 0


def better(language: str, first: Reading, second: Reading) -> Reading:
    """Of PP-OCRv6's and Tesseract's reading of one line, the one to believe."""
    own = regex.findall(rf"\p{{{SCRIPT_OF[language]}}}", second.text)
    if own and second.score >= min(SURE_CONFIDENCE, max(0.4, first.score - 0.25)):
        return second
    if first.score < DROP_SCORE and second.score >= SURE_CONFIDENCE:
        return second
    return first


def missing_note(hint: str | None, installed: Iterable[str]) -> str:
    """What the operator is told when lines stay unread for want of language data."""
    language = language_of(hint)
    if language in SCRIPT_OF and language not in set(installed):
        return (
            f"the page may hold text in {SCRIPT_OF[language]} script, which PP-OCRv6 does not "
            f"read; install {_package(language)}"
        )
    packages = [_package(codes[0]) for codes in SCRIPTS.values() if codes[0] not in set(installed)]
    return (
        "the page holds text in a script that PP-OCRv6 does not read and no installed language "
        f"of Tesseract fits; install one such as {' or '.join(packages[:3])}"
    )


def _package(language: str) -> str:
    """Debian's package of a language's data."""
    return f"tesseract-ocr-{language.replace('_', '-')}"
