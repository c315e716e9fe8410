"""Amounts, currencies and dates in a line of text. The libraries read them; what is decided here
is which part of a line is one."""

from __future__ import annotations

import math
from datetime import date
from typing import Final

import msgspec
import regex
from price_parser import Price

from shared.engine.embedded.words import is_wide

CURRENCIES: Final = {
    "$": "USD",
    "us$": "USD",
    "€": "EUR",
    "£": "GBP",
    "₽": "RUB",
    "руб": "RUB",
    "р": "RUB",
    "₩": "KRW",
    "원": "KRW",
    "元": "CNY",
    "円": "JPY",
    "₹": "INR",
    "rs": "INR",
    "r$": "BRL",
    "zł": "PLN",
    "kč": "CZK",
    "fr": "CHF",
    "₴": "UAH",
    "₺": "TRY",
    "₫": "VND",
    "฿": "THB",
    "₪": "ILS",
    "a$": "AUD",
    "c$": "CAD",
    "ca$": "CAD",
    "s$": "SGD",
    "hk$": "HKD",
    "nz$": "NZD",
    "rmb": "CNY",
}
"""ISO codes of signs and short names."""

# fmt: off
YEN: Final = "¥"
"""Both yen and yuan: the page's language decides (`settled`)."""

CODES: Final = frozenset({
    "AED", "ARS", "AUD", "BGN", "BHD", "BRL", "CAD", "CHF", "CLP", "CNY", "COP",
    "CZK", "DKK", "EGP", "EUR", "GBP", "HKD", "HRK", "HUF", "IDR", "ILS", "INR",
    "ISK", "JPY", "KES", "KRW", "KWD", "KZT", "MAD", "MXN", "MYR", "NGN", "NOK",
    "NZD", "PEN", "PHP", "PKR", "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SEK",
    "SGD", "THB", "TRY", "TWD", "UAH", "USD", "UYU", "VND", "ZAR",
})
# fmt: on

SIGNS: Final = tuple(sign.casefold() for sign in (*CURRENCIES, *CODES, "¥", "￥"))

PART_CHARACTERS: Final = frozenset("0123456789.,'’ \u00a0\u202f-–−+()")
"""What an amount is written with, besides its currency."""

MARKS_MAX: Final = 2
"""Letters after an amount: a tax class, as on German or Italian receipts."""

DIGITS_MAX: Final = 12
"""More digits are a card's or a telephone's number."""


class Amount(msgspec.Struct, frozen=True):
    """An amount, with the currency printed beside it, as it is read."""

    value: float
    currency: str = ""


def number(value: float) -> float | int:
    """Whole amounts are written without a fraction."""
    value = round(value, 4)
    return int(value) if value == int(value) else value


def read_amount(text: str) -> Amount | None:
    """The amount a text is, if it is nothing else."""
    text = text.strip().lstrip("=*≈")
    bare = _without_currency(text)
    if bare is None or not any(char.isdigit() for char in bare):
        return None
    if sum(char.isdigit() for char in bare) > DIGITS_MAX or text.endswith("%"):
        return None
    price = Price.fromstring(_tidy(bare))
    if price.amount is None:
        return None
    negative = bare.strip()[:1] in "-–−(" or bare.strip()[-1:] in "-–−"
    value = float(price.amount)
    if not math.isfinite(value):
        return None
    return Amount(-value if negative else value, currency_in(text))


def _tidy(text: str) -> str:
    """Spaces that recognition put around a decimal point or comma are none."""
    for mark in ".,":
        text = text.replace(f"{mark} ", mark).replace(f" {mark}", mark)
    return text


def _without_currency(text: str) -> str | None:
    """The digits' part of an amount, or `None` when there are words in it."""
    rest = text
    for sign in SIGNS:
        folded = rest.casefold()
        if folded.startswith(sign):
            rest = rest[len(sign) :].lstrip(" .")
        elif folded.endswith(sign):
            rest = rest[: -len(sign)]
        elif folded.endswith(f"{sign}."):
            rest = rest[: -len(sign) - 1]
    parts = rest.split()
    # A tax class after the amount ("3.50 A", "2,99 B*") is no part of it.
    if (
        len(parts) > 1
        and len(parts[-1]) <= MARKS_MAX
        and not parts[-1][0].isdigit()
        and parts[-1] not in {"-", "–", "−"}
        and any(char.isdigit() for char in parts[-2])
    ):
        rest = " ".join(parts[:-1])
    return rest if rest and set(rest) <= PART_CHARACTERS else None


def split_amount(text: str) -> tuple[str, Amount | None]:
    """What stands before the amount at the end of a line, and the amount."""
    parts = text.split()
    for count in (1, 2, 3):
        if count > len(parts):
            break
        tail, head = " ".join(parts[-count:]), " ".join(parts[:-count])
        amount = read_amount(tail)
        if amount is None:
            continue
        # "12 345,67" is one amount, and so is "$ 5": take in what still belongs to it.
        wider = read_amount(" ".join(parts[-count - 1 :])) if count < len(parts) else None
        if wider is not None and _belongs(parts[-count - 1], parts[-count]):
            return " ".join(parts[: -count - 1]), wider
        return head, amount
    return text, None


def _belongs(before: str, after: str) -> bool:
    """Two parts are one amount: a sign beside it, or thousands set apart by a space."""
    if not any(char.isdigit() for char in before):
        return True
    thousands = after[:3].isdigit() and len(after) >= 3 and not after[3:4].isdigit()
    return thousands and before.isdigit() and len(before) <= 3 and not before.startswith("0")


def currency_in(text: str) -> str:
    """The currency a text names, as an ISO code where its sign has one."""
    for part in text.replace(":", " ").split():
        bare = part.strip("()[].,:0123456789-–−+'")
        if bare.upper() in CODES and bare.isascii():
            return bare.upper()
        if bare.casefold() in CURRENCIES and (len(bare) > 1 or not bare.isascii() or bare == "$"):
            return CURRENCIES[bare.casefold()]
        if bare in {"¥", "￥"}:
            return YEN
    price = Price.fromstring(text)
    sign = (price.currency or "").strip(".").casefold()
    if sign in CURRENCIES and any(char.isdigit() for char in text):
        return CURRENCIES[sign]
    return ""


def settled(currency: str, text: str) -> str:
    """The currency, with what `¥` means on a page that says this: Japanese has kana."""
    if currency != YEN:
        return currency
    kana = any("\u3040" <= char <= "\u30ff" for char in text)
    return "JPY" if kana or not any(map(is_wide, text)) else "CNY"


# ---- dates

LANGUAGES: Final = ("en", "de", "fr", "es", "it", "pt", "nl", "ru", "zh", "ja", "ko")
DATE_CHARACTERS_MAX: Final = 120
"""Longer lines are prose, and slow to search."""
YEAR_MIN, YEAR_MAX = 1900, 2100
DIGITS_MIN: Final = 3


def read_date(text: str, *, month_first: bool = True) -> str:
    """The first full date in a text as ISO 8601, or nothing."""
    digits = sum(char.isdigit() for char in text)
    if digits < DIGITS_MIN or len(text) > DATE_CHARACTERS_MAX:
        return ""
    # dateparser takes 0.2 s to import; only these three tasks need it.
    from dateparser.search import search_dates  # noqa: PLC0415

    settings: dict[str, bool | str] = {"STRICT_PARSING": True, "RETURN_AS_TIMEZONE_AWARE": False}
    if not month_first:
        settings["DATE_ORDER"] = "DMY"
    found = search_dates(text, languages=list(LANGUAGES), settings=settings) or []
    for said, moment in found:
        day: date = moment.date()
        if _is_date(said) and YEAR_MIN <= day.year <= YEAR_MAX:
            return day.isoformat()
    return ""


def _is_date(said: str) -> bool:
    """Day, month and year: three numbers with one sign between them, or a month in words."""
    return _NUMERIC_DATE.search(said) is not None or any(map(str.isalpha, said))


_NUMERIC_DATE: Final = regex.compile(r"\d{1,4}([./-])\s?\d{1,2}\1\s?\d{2,4}")
