"""What is read of a JSON body and of query and form values, and what is refused."""

from __future__ import annotations

import msgspec
import pytest

from shared.errors import InvalidRequest
from shared.http import Incoming
from shared.wire import parameters


class Body(msgspec.Struct):
    """A body with one field of each type."""

    text: str | None = None
    count: int | None = None
    ratio: float | None = None
    flag: bool | None = None


BODIES = msgspec.json.Decoder(Body, strict=False)


def read(body: bytes, content_type: str | None = "application/json") -> Body:
    headers = {} if content_type is None else {"content-type": content_type}
    return parameters.read_json(Incoming(headers=headers, body=body), BODIES)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", Body()),
        (b' {"text": "a"} \n', Body(text="a")),
        (b'\xef\xbb\xbf{"text":"a"}', Body(text="a")),
        (b'{"text":null,"count":null,"ratio":null,"flag":null}', Body()),
        (b'{"count":"12","ratio":"0.5","flag":"true"}', Body(count=12, ratio=0.5, flag=True)),
        (b'{"count":12.0,"ratio":1,"flag":0}', Body(count=12, ratio=1.0, flag=False)),
        (b'{"unknown":{"deep":[1e999]},"text":"a"}', Body(text="a")),
        (b'{"text":"ab\ncd\r\nef"}', Body(text="abcdef")),
        (b'{\r\n"text":\n"a\nb"\n}', Body(text="ab")),
        (b'{"text":"a\\nb"}', Body(text="a\nb")),
    ],
)
def test_every_way_to_write_a_body_is_read(body: bytes, expected: Body):
    assert read(body) == expected


def test_a_large_body_with_line_breaks_is_read():
    """As `base64 -i` on Linux breaks them: every 76 characters."""
    lines = b"\n".join([b"A" * 76] * 10_000)

    assert read(b'{"text":"' + lines + b'"}').text == "A" * 760_000


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/vnd.api+json",
    ],
)
def test_json_by_any_of_its_names_is_read(content_type: str | None):
    assert read(b'{"text":"a"}', content_type) == Body(text="a")


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "json"],
)
def test_a_body_that_says_it_is_something_else_is_refused(content_type: str):
    with pytest.raises(InvalidRequest, match="Content-Type must be application/json"):
        read(b'{"text":"a"}', content_type)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"nope", "not valid JSON"),
        (b'{"text":"a"', "not valid JSON"),
        (b'{"text":"a"} x', "not valid JSON"),
        (b'{"text":"a\n', "not valid JSON"),
        (b'{"text":"a\tb"}', "not valid JSON"),
        (b'{"text":"\\ud800"}', "not valid JSON"),
        (b'{"text":"\xff"}', "not valid JSON"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not valid JSON"),
        (b"[]", "Expected `object`, got `array`"),
        (b'"text"', "Expected `object`, got `str`"),
        (b"null", "Expected `object`, got `null`"),
        (b'{"text":5}', "`$.text`"),
        (b'{"count":"x"}', "`$.count`"),
        (b'{"count":1.5}', "`$.count`"),
        (b'{"count":true}', "`$.count`"),
        (b'{"ratio":[]}', "`$.ratio`"),
        (b'{"ratio":1e999}', "`$.ratio`"),
        (b'{"flag":"maybe"}', "`$.flag`"),
        (b'{"text":"a\nb","count":"x"}', "`$.count`"),
    ],
)
def test_what_is_wrong_is_said(body: bytes, message: str):
    with pytest.raises(InvalidRequest) as caught:
        read(body)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, Body()),
        ({"text": "a", "count": "12", "ratio": "0.5"}, Body(text="a", count=12, ratio=0.5)),
        ({"text": "", "count": "", "flag": ""}, Body()),
        ({"other": "x"}, Body()),
        ({"text": "on"}, Body(text="on")),
        *(({"flag": word}, Body(flag=True)) for word in ("true", "True", "1", "on", "YES")),
        *(({"flag": word}, Body(flag=False)) for word in ("false", "0", "Off", "no")),
    ],
)
def test_query_and_form_values_are_read(values: dict[str, str], expected: Body):
    assert parameters.read_values(values, Body) == expected


@pytest.mark.parametrize("values", [{"count": "x"}, {"ratio": "x"}, {"flag": "maybe"}])
def test_a_wrong_value_names_its_field(values: dict[str, str]):
    with pytest.raises(InvalidRequest, match=next(iter(values))):
        parameters.read_values(values, Body)


@pytest.mark.parametrize("value", [-0.1, 2.1, float("nan"), float("inf"), float("-inf")])
def test_a_number_out_of_range_names_its_field(value: float):
    with pytest.raises(InvalidRequest, match="temperature must be between 0 and 2"):
        parameters.check_range("temperature", value, 0, 2)


@pytest.mark.parametrize("value", [None, 0, 0.5, 2])
def test_a_number_within_its_range_passes(value: float | None):
    parameters.check_range("temperature", value, 0, 2)
