"""One value of the settings: text in, the type a setting wants out, and in words what it wants.

Knows no setting by name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect


class ValueRefused(ValueError):
    """A value is not of its setting's type; the message says what was expected."""


class Secret:
    """A value that no log, table or traceback shows."""

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')" if self._value else "Secret('')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


def decode(value: object, kind: Any) -> object:
    """Turn a raw value into its type; text is split, parsed or looked up as the type wants.

    Raises:
        ValueRefused: it is something else, or out of range.
    """
    info = inspect.type_info(kind)
    try:
        return msgspec.convert(_prepare(value, info), kind, strict=False, dec_hook=_build)
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError) as error:
        detail = f" ({error})" if isinstance(_bare(info), inspect.StructType) else ""
        shown = "***" if is_secret(kind) else repr(value)
        raise ValueRefused(f"is {shown}; expected {_words(info)}{detail}") from None


def expected(kind: Any) -> str:
    """What values a type takes, in words."""
    return _words(inspect.type_info(kind))


def described(kind: Any) -> str:
    """The description that a type carries."""
    info = inspect.type_info(kind)
    schema = info.extra_json_schema if isinstance(info, inspect.Metadata) else None
    return str((schema or {}).get("description", ""))


def is_secret(kind: Any) -> bool:
    info = _bare(inspect.type_info(kind))
    return isinstance(info, inspect.CustomType) and info.cls is Secret


def written(value: object) -> str:
    """A value as it would be written into the environment; a secret is masked."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case Secret():
            return "***" if value.reveal() else ""
        case tuple():
            mark = os.pathsep if value and isinstance(value[0], Path) else ","
            return mark.join(str(part) for part in value)
        case float():
            return f"{value:g}"
        case msgspec.Struct():
            return "{}" if value == type(value)() else msgspec.json.encode(value).decode()
    return str(value)


def _prepare(value: object, info: inspect.Type) -> object:
    """What the environment can only write as text, in the shape msgspec wants."""
    if not isinstance(value, str):
        return value
    match _bare(info):
        case inspect.VarTupleType(item_type=inspect.CustomType()):
            return [part for part in value.split(os.pathsep) if part]
        case inspect.VarTupleType():
            return [part.strip() for part in value.split(",") if part.strip()]
        case inspect.StructType():
            return msgspec.json.decode(value)
        case inspect.UnionType(includes_none=True) if value.strip().lower() in {"", "none"}:
            return None
        case inspect.UnionType() | inspect.StrType():
            return value
        case inspect.BoolType():
            return {"yes": True, "on": True, "no": False, "off": False}.get(value.lower(), value)
    return value.strip()


def _build(kind: type, value: object) -> object:
    """Types msgspec does not know."""
    if not isinstance(value, str):
        raise TypeError("expected text")
    return Path(value).expanduser() if kind is Path else kind(value)


def _bare(info: inspect.Type) -> inspect.Type:
    """A type without its bounds and description."""
    return _bare(info.type) if isinstance(info, inspect.Metadata) else info


def _words(info: inspect.Type) -> str:  # noqa: PLR0911 - one line per type
    match info:
        case inspect.Metadata():
            return _words(info.type)
        case inspect.UnionType():
            parts = [_words(one) for one in info.types if not isinstance(one, inspect.NoneType)]
            return " or ".join([*parts, "none"])
        case inspect.EnumType():
            return "one of " + ", ".join(str(member) for member in info.cls)
        case inspect.VarTupleType(item_type=inspect.CustomType()):
            return f"folders joined by {os.pathsep}"
        case inspect.VarTupleType():
            return "a list joined by commas"
        case inspect.CustomType():
            return "a path" if info.cls is Path else "text"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "a whole number" + _range(info)
        case inspect.FloatType():
            return "a number" + _range(info)
        case inspect.StructType():
            return "a JSON object with " + ", ".join(field.name for field in info.fields)
    return "text"


def _range(info: inspect.IntType | inspect.FloatType) -> str:
    bounds = [
        ("from", info.ge),
        ("above", info.gt),
        ("to", info.le),
        ("below", info.lt),
    ]
    words = [f"{word} {bound:g}" for word, bound in bounds if bound is not None]
    return " " + " ".join(words) if words else ""
