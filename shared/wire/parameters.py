"""Reading what clients send: JSON bodies, query and form values, and the ranges of both.

Generous in how a value is written (numeric strings, null, unknown fields, line breaks inside a
base64 string, a byte order mark), strict about what it means: a wrong type or range is
`InvalidRequest` naming the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from shared.errors import InvalidRequest
from shared.http import Incoming
from shared.limits import Limits

T = TypeVar("T")

S = TypeVar("S", bound=msgspec.Struct)

BOM: Final = b"\xef\xbb\xbf"

TOKENS_MAX: Final = 2**31 - 1
"""Largest number of tokens or pixels any engine's integers take, where no format sets a bound."""

SWITCHES: Final[Mapping[str, str]] = {
    "on": "true",
    "yes": "true",
    "off": "false",
    "no": "false",
}
"""Words for booleans in a query or form, besides those msgspec reads (true, false, 1, 0)."""


def read_json(incoming: Incoming, decoder: msgspec.json.Decoder[T]) -> T:
    """A request's JSON body; build the decoder with `strict=False`, so that "12" is 12.

    Raises:
        InvalidRequest: not JSON by its type or its text, or not of the decoder's shape.
    """
    check_json_type(incoming)
    body = incoming.body.removeprefix(BOM)
    if not body.strip():
        raise InvalidRequest("The request body is empty; a JSON object is expected")
    return decode_json(body, decoder)


def decode_json(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Like `read_json`, of bytes alone.

    `base64 -i` on Linux breaks its lines, so the documented curl puts raw newlines into a JSON
    string, where JSON allows none. Taking all raw CR and LF out cannot change a valid document:
    outside strings they are white space, inside they are escaped.
    """
    try:
        try:
            return decoder.decode(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            if b"\n" not in body and b"\r" not in body:
                raise
            return decoder.decode(body.translate(None, b"\r\n"))
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}") from error


def check_json_type(incoming: Incoming) -> None:
    """Refuse a body that says it is something else than JSON; saying nothing is fine."""
    name = incoming.headers.get("content-type", "").partition(";")[0].strip().lower()
    if name and name != "application/json" and not name.endswith("+json"):
        raise InvalidRequest(f"Content-Type must be application/json, not {name}")


def read_values(values: Mapping[str, str], kind: type[S]) -> S:
    """Query or form values as a Struct whose fields all have defaults.

    An empty value counts as absent, as a form sends a field left blank.
    """
    fields = {f.encode_name: f.type for f in msgspec.structs.fields(kind)}
    known = {
        name: SWITCHES.get(value.lower(), value) if _takes_bool(fields[name]) else value
        for name, value in values.items()
        if name in fields and value
    }
    try:
        return msgspec.convert(known, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error).replace("$.", "")) from error


def check_range(name: str, value: float | None, low: float, high: float) -> None:
    """Refuse a number outside its range; NaN is outside every range.

    Raises:
        InvalidRequest: naming the field and the range.
    """
    if value is not None and not low <= value <= high:
        raise InvalidRequest(f"{name} must be between {low:g} and {high:g}, got {value:g}")


def read_temperature(value: float | None, limits: Limits) -> float | None:
    """The client's temperature, or the service's own, if it has one."""
    check_range("temperature", value, 0, limits.temperature_max)
    return limits.temperature if value is None else value


def read_max_tokens(
    value: int | None, limits: Limits, *, name: str = "max_tokens", unlimited: bool = False
) -> int | None:
    """The client's token bound, or the service's own, if any; -1 only where the format knows it."""
    if unlimited and value == -1:
        return -1
    high = TOKENS_MAX if limits.max_tokens_max is None else limits.max_tokens_max
    if value is not None and not 1 <= value <= high:
        raise InvalidRequest(f"{name} must be between 1 and {high}, got {value}")
    return limits.max_tokens if value is None else value


def _takes_bool(annotation: object) -> bool:
    return bool in getattr(annotation, "__args__", (annotation,))
