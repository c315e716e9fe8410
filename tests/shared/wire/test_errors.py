"""Errors of every format: written and read they are the same kind, with the same words."""

from __future__ import annotations

import msgspec
import pytest

from shared.errors import (
    Busy,
    EngineFailed,
    ImageTooLarge,
    InvalidRequest,
    ModelNotLoaded,
    NoSuchRoute,
    NotAllowed,
    OcrError,
    RateLimited,
    TimedOut,
    UnknownModel,
    UnsupportedImage,
    WrongMethod,
)
from shared.http import Reply
from shared.wire import kinds
from tests.shared.wire.samples import ERRORS, LIMITS, WIRES, call_of, form_request

FIXED = {
    "lighton": {NoSuchRoute, WrongMethod, UnsupportedImage},
    "paddle": {NoSuchRoute, WrongMethod},
    "dots": {NoSuchRoute, WrongMethod, Busy},
    "deepseek": {NoSuchRoute, WrongMethod},
    "chatvlm": {NoSuchRoute, WrongMethod},
    "openai": set(),
}
"""Kinds whose public words the format fixes."""

each_wire = pytest.mark.parametrize("wire", WIRES)
each_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


@each_wire
@each_error
def test_an_error_survives(wire: str, error: OcrError):
    reply = WIRES[wire].write_error(error, call_of(wire))

    read = WIRES[wire].read_error(reply)

    assert type(read) is type(error)
    assert str(read) == str(error) or type(error) in FIXED[wire]
    assert getattr(read, "retry_after_s", None) == getattr(error, "retry_after_s", None)
    assert getattr(read, "allow", None) == getattr(error, "allow", None)


@each_wire
@each_error
def test_an_error_written_again_is_the_same(wire: str, error: OcrError):
    reply = WIRES[wire].write_error(error)

    assert WIRES[wire].write_error(WIRES[wire].read_error(reply)) == reply


@each_wire
@each_error
def test_the_private_detail_stays_private(wire: str, error: OcrError):
    private = type(error)(str(error), detail="SECRET")

    reply = WIRES[wire].write_error(private)

    assert b"SECRET" not in reply.body
    assert "SECRET" not in str(reply.headers)


@each_wire
def test_busy_always_says_when_to_come_back(wire: str):
    reply = WIRES[wire].write_error(Busy("full"))

    assert reply.headers["retry-after"] == "1"


@each_wire
def test_a_refused_key_is_401_in_the_formats_own_shape(wire: str):
    reply = WIRES[wire].write_error(NotAllowed("no key"))

    assert reply.status == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    body = msgspec.json.decode(reply.body)
    assert body == {
        "openai": {
            "error": {
                "message": "no key",
                "type": "authentication_error",
                "param": None,
                "code": "invalid_api_key",
            }
        },
        "lighton": {"error": {"message": "no key", "type": "authentication_error", "code": 401}},
        "dots": {"error": "no key"},
    }.get(wire, {"detail": "no key"})


@each_wire
def test_asking_too_often_is_429_everywhere_with_its_own_words(wire: str):
    reply = WIRES[wire].write_error(RateLimited("too often", retry_after_s=7))

    assert reply.status == 429
    assert reply.headers["retry-after"] == "7"
    assert b"too often" in reply.body


@each_wire
def test_an_unknown_kind_counts_as_the_engines_failure(wire: str):
    reply = WIRES[wire].write_error(OcrError("odd"))

    assert reply.status == 500
    assert type(WIRES[wire].read_error(reply)) is EngineFailed


LOST_EVERYWHERE: dict[type[OcrError], type[OcrError]] = {
    NotAllowed: EngineFailed,  # some other server's refusal of our own key is not the caller's
    RateLimited: Busy,
}

LOST: dict[str, dict[type[OcrError], type[OcrError]]] = {
    "openai": {UnsupportedImage: InvalidRequest},
    "lighton": {UnsupportedImage: InvalidRequest, UnknownModel: NoSuchRoute},
    "paddle": {
        ImageTooLarge: InvalidRequest,
        UnsupportedImage: InvalidRequest,
        UnknownModel: InvalidRequest,
    },
    "dots": {
        ImageTooLarge: InvalidRequest,
        UnsupportedImage: InvalidRequest,
        UnknownModel: NoSuchRoute,
        TimedOut: EngineFailed,
    },
    "deepseek": {ImageTooLarge: InvalidRequest, UnknownModel: NoSuchRoute},
    "chatvlm": {UnsupportedImage: InvalidRequest, TimedOut: EngineFailed},
}

RESTORED: list[tuple[str, type[OcrError], type[OcrError]]] = [
    (wire, kind, expected)
    for wire, lost in LOST.items()
    for kind, expected in (
        (kind, {**LOST_EVERYWHERE, **lost}.get(kind, kind))
        for kind in (
            InvalidRequest,
            ImageTooLarge,
            UnsupportedImage,
            UnknownModel,
            NotAllowed,
            NoSuchRoute,
            WrongMethod,
            ModelNotLoaded,
            Busy,
            RateLimited,
            TimedOut,
            EngineFailed,
        )
    )
]


@pytest.mark.parametrize(("wire", "kind", "expected"), RESTORED)
def test_without_our_header_status_and_body_tell_the_kind(
    wire: str, kind: type[OcrError], expected: type[OcrError]
):
    """What is left of each kind when an original server, or a proxy, drops the header."""
    error = next(error for error in ERRORS if type(error) is kind)
    reply = WIRES[wire].write_error(error)
    headers = {name: value for name, value in reply.headers.items() if name != kinds.KIND_HEADER}

    read = WIRES[wire].read_error(msgspec.structs.replace(reply, headers=headers))

    assert type(read) is expected


@each_wire
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, EngineFailed),
        (403, EngineFailed),
        (415, InvalidRequest),
        (422, InvalidRequest),
        (429, Busy),
        (500, EngineFailed),
        (502, EngineFailed),
        (504, TimedOut),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b"\xff", b"[]", b"{}"])
def test_an_answer_in_no_known_shape_is_told_by_its_status(
    wire: str, status: int, kind: type[OcrError], body: bytes
):
    read = WIRES[wire].read_error(Reply(status=status, body=body))

    assert type(read) is kind
    assert str(read) == f"the model server answered {status}"


@each_wire
@pytest.mark.parametrize("value", ["soon", "-1", "Wed, 21 Oct 2015 07:28:00 GMT", "", "²"])
def test_a_retry_after_that_is_no_number_is_passed_over(wire: str, value: str):
    read = WIRES[wire].read_error(Reply(status=429, headers={"retry-after": value}, body=b"{}"))

    assert isinstance(read, Busy)
    assert read.retry_after_s is None


def test_fastapis_own_validation_errors_are_told_as_they_stand():
    body = b'{"detail":[{"type":"missing","loc":["body","file"],"msg":"Field required"}]}'

    for wire in ("paddle", "deepseek", "chatvlm"):
        read = WIRES[wire].read_error(Reply(status=422, body=body))
        assert "Field required" in str(read)


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"no","type":"x","code":"y"}}',
        b'{"error":"no"}',
        b'{"object":"error","message":"no","code":400}',
        b'{"detail":"no"}',
    ],
)
def test_all_that_openai_like_servers_send_is_understood(body: bytes):
    read = WIRES["openai"].read_error(Reply(status=400, body=body))

    assert type(read) is InvalidRequest
    assert str(read) == "no"


def test_openai_tells_an_unknown_model_from_an_unknown_route():
    body = b'{"error":{"message":"no such model","type":"x","code":"model_not_found"}}'

    assert type(WIRES["openai"].read_error(Reply(status=404, body=body))) is UnknownModel


def test_a_bad_image_is_named_after_the_way_it_came():
    deepseek = WIRES["deepseek"]
    error = UnsupportedImage("cut short")
    file = deepseek.read_file(form_request(), LIMITS["deepseek"])

    assert deepseek.write_message(error) == "Invalid base64 image: cut short"
    assert deepseek.write_message(error, file) == "Invalid image file: cut short"
