"""Where settings come from: the environment, under one of several names, then a table of the fleet
file. Decodes what it finds and refuses names that stand for nothing; knows no setting by name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from shared.values import ValueRefused, decode

PREFIX: Final = "OCR_FLEET_"

RESERVED: Final = frozenset({"OCR_FLEET_FILE"})
"""Names that are no setting: where the fleet file is."""


class SettingError(Exception):
    """A setting is wrong; the message is one line for the person who wrote it."""


def find_values(
    fields: Mapping[str, Any],
    environ: Mapping[str, str],
    names: Callable[[str], Sequence[str]],
    table: Mapping[str, Any],
    where: str,
) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of those fields that somebody set, and for each field where its value comes from.

    `names` are a field's names in the environment, the one that wins first; `where` is what an
    error calls the table.

    Raises:
        SettingError: a value is wrong; the message says what, where and what was expected.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for field, kind in fields.items():
        key = next((key for key in names(field) if environ.get(key)), None)
        # An empty variable is how compose files write "not set".
        if key is not None:
            raw, sources[field] = environ[key], f"environment {key}"
        elif field in table:
            raw, sources[field] = table[field], f"{field} in {where}"
        else:
            sources[field] = "default"
            continue
        try:
            values[field] = decode(raw, kind)
        except ValueRefused as error:
            raise SettingError(f"{sources[field]} {error}") from None
    return values, sources


def environment_name(name: str, service: str | None = None) -> str:
    middle = "" if service is None else service.upper().replace("-", "_") + "_"
    return f"{PREFIX}{middle}{name.upper()}"


def check_name(name: str, known: Iterable[str], what: str) -> None:
    """Raises `SettingError` for a name that is not known, with the nearest one that is."""
    names = list(known)
    if name not in names:
        hint = nearest(name, names)
        if not hint and len(names) < 5:
            hint = f"; expected {' or '.join(names)}"
        raise SettingError(f"{name} is no {what}{hint}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint at the end of an error; empty when nothing is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
