"""PaddleOCR-VL's format: modes by words, the last image, what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shared.errors import (
    Busy,
    EngineFailed,
    InvalidRequest,
    ModelNotLoaded,
    TimedOut,
)
from shared.http import Reply
from shared.ocr import EncodedPage, Result, Task, UrlPage
from shared.wire import paddle
from tests.shared.wire.samples import LIMITS, PNG_URL, STAMP, chat_body, json_request

MODEL = "PaddlePaddle/PaddleOCR-VL"


def image(url: str) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": url}}


def read(body: object) -> paddle.Call:
    return paddle.read_chat(json_request(body), LIMITS["paddle"])


def ask(text: str | None = "Extract text", **fields: Any) -> paddle.Call:
    return read(chat_body(text, **{"model": MODEL, **fields}))


@pytest.mark.parametrize(
    ("text", "task"),
    [
        (None, Task.MARKDOWN),
        ("Extract text as markdown", Task.MARKDOWN),
        ("Extract receipt information as JSON", Task.RECEIPT),
        ("all RECEIPTS here", Task.RECEIPT),
        ("Extract the invoice as JSON", Task.INVOICE),
        ("Extract invoice data", Task.INVOICE),
        ("invoices", Task.INVOICE),
        ("a table", Task.TABLE),
        ("tables", Task.TABLE),
        ("Extract all tables from this image as markdown tables", Task.TABLE),
        ("fill-in form", Task.FORM),
        ("Forms!", Task.FORM),
        ("the receipt of an invoice in a table of a form", Task.RECEIPT),
        ("an invoice with a table", Task.INVOICE),
        ("a form with a table", Task.TABLE),
        ("as JSON", Task.MARKDOWN),
        ("information", Task.MARKDOWN),
        ("format it", Task.MARKDOWN),
        ("the formula", Task.MARKDOWN),
        ("a stable portable", Task.MARKDOWN),
        ("Extract all text, with tables", Task.MARKDOWN),
        ("Extract ALL the\ntext of this form and its tables", Task.FORM),
        (
            "Extract all text from this image, format it (headings, paragraphs, lists, tables)",
            Task.MARKDOWN,
        ),
        ("Extract all text from this image as markdown", Task.MARKDOWN),
    ],
)
def test_whole_words_select_the_mode(text: str | None, task: Task):
    """Cases 9, 10 and 11, as the contract decides them."""
    assert ask(text).request.task is task


def test_system_messages_and_answers_never_select_a_mode():
    body = {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "You read receipts."},
            {"role": "assistant", "content": "An invoice."},
            {"role": "user", "content": "Here"},
            {"role": "user", "content": [image(PNG_URL)]},
        ],
    }

    assert read(body).request.task is Task.MARKDOWN
    assert read(body).request.prompt == "Here"


def test_words_in_a_message_of_their_own_select_the_mode():
    body = {
        "model": MODEL,
        "messages": [
            {"role": "user", "content": "the receipt"},
            {"role": "user", "content": [image(PNG_URL)]},
        ],
    }

    assert read(body).request.task is Task.RECEIPT


def test_the_last_image_of_the_user_is_read():
    """Cases 12, 16 and 17."""
    body = {
        "model": MODEL,
        "messages": [
            {"role": "user", "content": [image("AAAA"), image("https://example.com/b.png")]},
            {"role": "assistant", "content": [image("CCCC")]},
        ],
    }

    assert read(body).request.pages == (UrlPage("https://example.com/b.png"),)


def test_the_model_is_echoed_and_the_id_has_24_digits():
    """Case 3."""
    call = ask(model="anything")
    body = msgspec.json.decode(paddle.write_result(call, Result(text="x"), STAMP).body)

    assert body["model"] == "anything"
    assert body["id"] == "chatcmpl-0f8fad5bd9cb469fa1657086"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert list(body) == ["id", "object", "created", "model", "choices", "usage"]
    assert call.request.model == MODEL


def test_absent_and_null_are_the_defaults():
    for fields in ({}, {"temperature": None, "max_tokens": None, "stream": None}):
        sampling = ask(**fields).request.sampling
        assert (sampling.temperature, sampling.max_tokens) == (0.7, 1024)


def test_the_exact_request_of_the_best_known_client():
    call = read(
        {
            "model": MODEL,
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "Extract all text"}, image(PNG_URL)],
                }
            ],
            "max_tokens": 2048,
            "temperature": 0.0,
        }
    )

    assert call.request.pages == (EncodedPage(PNG_URL),)
    assert (call.request.sampling.temperature, call.request.sampling.max_tokens) == (0.0, 2048)


@pytest.mark.parametrize("text", ["the receipt", "an invoice", "this form"])
def test_a_json_object_may_be_asked_for_where_the_answer_is_one(text: str):
    assert ask(text, response_format={"type": "json_object"}).request.pages


@pytest.mark.parametrize(
    "body",
    [
        {"model": MODEL, "messages": [{"role": "user", "content": "test"}]},
        {
            "model": MODEL,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
        },
        {"model": MODEL, "messages": []},
        {"model": MODEL, "messages": [{"role": "system", "content": [image(PNG_URL)]}]},
        {
            "model": MODEL,
            "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": None}]}],
        },
    ],
)
def test_no_image_is_400_in_the_documents_words(body: object):
    """Cases 4 and 5."""
    with pytest.raises(InvalidRequest) as caught:
        read(body)
    reply = paddle.write_error(caught.value)

    assert reply.status == 400
    assert reply.body == b'{"detail":"No image provided in request"}'


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 5}, "`$.model`"),
        ({"stream": True}, "stream is not supported"),
        ({"max_tokens": 4097}, "max_tokens must be between 1 and 4096"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"temperature": 2.1}, "temperature must be between 0 and 2"),
        ({"n": 2}, "n must be 1"),
        ({"tools": [{}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "role must be"),
        ({"messages": [{"role": "user", "content": None}]}, "content"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "unsupported"),
        ({"messages": 5}, "`$.messages`"),
    ],
)
def test_bad_input_is_400_and_says_why(fields: dict[str, Any], message: str):
    """Cases 6, 7, 8 and 14."""
    with pytest.raises(InvalidRequest) as caught:
        ask(**fields)
    reply = paddle.write_error(caught.value)

    assert reply.status == 400
    assert message in msgspec.json.decode(reply.body)["detail"]


def test_a_missing_model_is_400():
    with pytest.raises(InvalidRequest, match="required field `model`"):
        read(chat_body())


def test_a_health_without_a_model_is_503():
    reply = paddle.write_health(model_loaded=False, device="cpu", memory_used_mb=None)

    assert (reply.status, reply.body) == (503, b'{"detail":"Model not loaded"}')


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(status=503, body=b'{"detail":"Model not loaded"}'), ModelNotLoaded),
        (Reply(status=503, headers={"retry-after": "2"}, body=b'{"detail":"full"}'), Busy),
        (Reply(status=503, body=b'{"detail":"too slow"}'), TimedOut),
        (Reply(status=500, body=b'{"error":"broke","type":"RuntimeError"}'), EngineFailed),
        (Reply(status=500, body=b'{"detail":"Incorrect padding"}'), EngineFailed),
    ],
)
def test_the_original_servers_errors_are_understood(reply: Reply, kind: type[Exception]):
    assert type(paddle.read_error(reply)) is kind
