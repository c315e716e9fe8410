"""PaddleOCR-VL's service over a real socket: the numbered compatibility cases of its wire facts and
the contract's decisions. Where the two differ the contract wins, and the test says so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.samples import (
    CHAT_PATH,
    MIB,
    PAGE,
    TELL,
    broken_lines,
    chat,
    data_url,
    hosted,
    http,
    image_part,
    message_of,
    padded,
    picture,
    png,
    text_part,
)
from tests.serving import served

MODEL = "PaddlePaddle/PaddleOCR-VL"
NO_IMAGE = {"detail": "No image provided in request"}
DOCUMENTED: dict[str, Any] = {
    "model": MODEL,
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Extract text as markdown"},
                {"type": "image_url", "image_url": {"url": data_url(png())}},
            ],
        }
    ],
    "temperature": 0.7,
    "max_tokens": 1024,
}


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    """A service that says three words."""
    with served("paddle", OCR_FLEET_FAKE='{"text": "one two three"}') as url:
        yield url


@pytest.fixture(scope="module")
def teller() -> Iterator[str]:
    """A service that says what its engine was asked."""
    with served("paddle", OCR_FLEET_FAKE=TELL) as url:
        yield url


def post(base: str, body: object) -> httpx.Response:
    return http.post(base + CHAT_PATH, json=body)


def told(base: str, body: object) -> dict:
    """What the engine was asked."""
    answer = post(base, body)
    assert answer.status_code == 200, answer.text
    return json.loads(answer.json()["choices"][0]["message"]["content"])


def mode(base: str, *words: str) -> str:
    """The mode that the words of a request select."""
    return told(base, chat(*(text_part(word) for word in words), image_part()))["task"]


# ---- the numbered cases


def test_case_01_health(base):
    answer = http.get(f"{base}/health")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.content == (
        b'{"status":"healthy","model_loaded":true,"device":"cpu","memory_used_mb":null}'
    )


def test_case_02_models_exactly(base):
    answer = http.get(f"{base}/v1/models")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.content == (
        b'{"object":"list","data":[{"id":"PaddlePaddle/PaddleOCR-VL","object":"model",'
        b'"created":0,"owned_by":"paddleocr"}]}'
    )


def test_case_03_the_documents_body(base):
    answer = post(base, DOCUMENTED)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    body = answer.json()
    assert list(body) == ["id", "object", "created", "model", "choices", "usage"]
    assert re.fullmatch(r"chatcmpl-[0-9a-f]{24}", body["id"])
    assert (body["object"], body["model"]) == ("chat.completion", MODEL)
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "one two three"},
            "finish_reason": "stop",
        }
    ]
    usage = body["usage"]
    assert usage["completion_tokens"] == 3
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert post(base, {**DOCUMENTED, "model": "anything"}).json()["model"] == "anything"


def test_case_04_string_content_carries_no_image(base):
    answer = post(base, {"model": MODEL, "messages": [{"role": "user", "content": "test"}]})
    assert (answer.status_code, answer.json()) == (400, NO_IMAGE)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user", "content": [text_part("Extract text")]}],
        [{"role": "system", "content": [image_part()]}, {"role": "user", "content": "read"}],
        [{"role": "assistant", "content": [image_part()]}, {"role": "user", "content": "read"}],
    ],
)
def test_case_05_a_text_part_alone_and_images_of_others_are_no_image(base, messages):
    answer = post(base, {"model": MODEL, "messages": messages})
    assert (answer.status_code, answer.json()) == (400, NO_IMAGE)


@pytest.mark.parametrize("model", [{}, {"model": None}, {"model": ""}])
def test_case_06_a_missing_model_is_400_not_422(base, model):
    answer = post(base, {"messages": chat()["messages"], **model})
    assert answer.status_code == 400
    assert "model" in message_of("paddle", answer)


@pytest.mark.parametrize(
    "more",
    [
        {"max_tokens": 4097},
        {"max_tokens": 0},
        {"max_tokens": -1},
        {"max_tokens": "many"},
        {"max_completion_tokens": 4097},
        {"temperature": 2.1},
        {"temperature": -0.1},
    ],
)
def test_case_07_values_out_of_range_are_400_not_422(base, more):
    answer = post(base, chat(**more))
    assert answer.status_code == 400
    assert next(iter(more)).removeprefix("max_completion_") in message_of(
        "paddle", answer
    ) or "max_tokens" in message_of("paddle", answer)


def test_case_08_a_stream_is_refused_as_the_document_says(base):
    """The original ignores `stream: true`; the contract has 400."""
    answer = post(base, chat(stream=True))
    assert answer.status_code == 400
    assert "stream" in message_of("paddle", answer)
    for value in (False, None, "false", 0):
        assert post(base, chat(stream=value)).status_code == 200


def test_case_09_receipt_words_select_the_receipt(teller):
    assert mode(teller, "Extract receipt information as JSON") == "receipt"


def test_case_10_json_alone_selects_nothing(teller):
    """The original takes it for a receipt; the contract does not."""
    assert mode(teller, "Extract the page as JSON") == "markdown"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Extract invoice data", "invoice"),
        ("INVOICES, please", "invoice"),
        ("tables", "table"),
        ("Extract all tables from this image as markdown tables", "table"),
        ("fill-in form", "form"),
        ("Forms", "form"),
        ("receipts and invoices", "receipt"),
        ("a table of the invoice", "invoice"),
        ("the form's table", "table"),
        ("information", "markdown"),
        ("a stable format, transformed", "markdown"),
        ("Extract all text from this image as markdown", "markdown"),
        ("Extract all the text, tables too", "markdown"),
        ("all text of the form", "form"),
        ("", "markdown"),
    ],
)
def test_case_11_modes_by_whole_words_in_the_documents_order(teller, words, expected):
    assert mode(teller, words) == expected


def test_case_12_the_image_before_the_text(teller):
    assert told(teller, chat(image_part(), text_part("tables")))["task"] == "table"


@pytest.mark.parametrize(
    "url", ["data:image/png;base64,@@@@", "data:image/png;base64,AAAA", "AAAA", "/etc/passwd"]
)
def test_case_13_rubbish_is_400_not_500(base, url):
    answer = post(base, chat(image_part(url)))
    assert answer.status_code == 400
    assert message_of("paddle", answer)


def test_case_14_a_role_that_the_document_does_not_know(base):
    for role in ("tool", "developer"):
        messages = [{"role": role, "content": "x"}, *chat()["messages"]]
        answer = post(base, {"model": MODEL, "messages": messages})
        assert answer.status_code == 400
        assert role in message_of("paddle", answer)


def test_case_15_the_openai_sdk_works(base):
    with openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == [MODEL]
        answer = client.chat.completions.create(
            model=MODEL, messages=DOCUMENTED["messages"], max_tokens=2048
        )
        assert answer.choices[0].message.content == "one two three"
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(
                model=MODEL, messages=DOCUMENTED["messages"], max_tokens=5000
            )


def test_case_16_of_two_images_the_last_is_read(teller):
    last = png(60, 30)
    assert len(last) != len(png())
    request = told(teller, chat(image_part(), image_part(data_url(last))))
    assert request["pages"] == [len(last)]
    messages = [*chat()["messages"], {"role": "user", "content": [image_part(data_url(last))]}]
    assert told(teller, {"model": "m", "messages": messages})["pages"] == [len(last)]


def test_case_17_an_image_behind_a_url_is_fetched_where_that_is_allowed():
    with hosted(png()) as site:
        url = chat(image_part(f"{site}/page.png"))
        with served("paddle", OCR_FLEET_FAKE=TELL) as base:
            answer = post(base, url)
            assert answer.status_code == 400
            assert "not a public address" in message_of("paddle", answer)
        settings: dict[str, Any] = {"OCR_FLEET_FAKE": TELL, "OCR_FLEET_ALLOW_PRIVATE_URLS": "true"}
        with served("paddle", **settings) as base:
            assert told(base, url)["pages"] == [len(png())]


# ---- the contract


def test_defaults_and_what_the_client_says_reach_the_engine(teller):
    sampling = told(teller, chat())["sampling"]
    assert (sampling["temperature"], sampling["max_tokens"]) == (0.7, 1024)
    sampling = told(teller, chat(temperature=0, max_tokens=4096, stop=["END"]))["sampling"]
    assert (sampling["temperature"], sampling["max_tokens"]) == (0, 4096)
    assert sampling["stop"] == ["END"]
    assert told(teller, chat(max_completion_tokens=77))["sampling"]["max_tokens"] == 77
    assert told(teller, chat(max_tokens=None))["sampling"]["max_tokens"] == 1024


def test_a_system_message_never_selects_a_mode(teller):
    messages = [{"role": "system", "content": "You read receipts."}, *chat()["messages"]]
    assert told(teller, {"model": "m", "messages": messages})["task"] == "markdown"


def test_several_text_parts_are_read_together(teller):
    assert mode(teller, "Read this", "as an invoice") == "invoice"
    messages = [{"role": "user", "content": "the receipt"}, *chat()["messages"]]
    assert told(teller, {"model": "m", "messages": messages})["task"] == "receipt"


def test_usage_counts_tokens_and_an_answer_that_was_cut_says_so(base):
    body = post(base, chat(max_tokens=2)).json()
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": "0.5", "max_tokens": "100"},
        {"temperature": None, "max_tokens": None, "stop": None, "n": None},
        {"top_p": 0.9, "frequency_penalty": 0, "user": "x", "detail": {"a": 1}},
        {"messages": [{"role": "user", "content": [{"image_url": {"url": PAGE}}]}]},
        {"messages": [{"role": "user", "content": [image_part(data_url(png(), "image/jpeg"))]}]},
        {"response_format": {"type": "text"}},
    ],
)
def test_what_clients_really_send_works(base, more):
    answer = post(base, {**chat(), **more})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "more",
    [
        {"n": 2},
        {"tools": [{"type": "function"}]},
        {"messages": "x"},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"content": "x"}]},
    ],
)
def test_what_cannot_be_honoured_is_refused(base, more):
    answer = post(base, {**chat(), **more})
    assert answer.status_code == 400
    assert message_of("paddle", answer)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
def test_every_image_type_is_taken_whatever_its_label(base, kind):
    page = picture(40, 20, kind)
    assert post(base, chat(image_part(data_url(page, "image/jpeg")))).status_code == 200


def test_line_breaks_inside_base64_and_no_content_type(base):
    body = json.dumps(chat(image_part("data:image/jpeg;base64,HERE")))
    raw = body.replace("HERE", broken_lines(picture(300, 200, "BMP"))).encode()
    assert raw.count(b"\n") > 100
    for headers in ({}, {"content-type": "application/json"}):
        assert http.post(base + CHAT_PATH, content=raw, headers=headers).status_code == 200


def test_32_mebibytes_are_read_and_one_byte_more_is_400(base):
    assert post(base, chat(image_part(data_url(padded(32 * MIB))))).status_code == 200
    over = post(base, chat(image_part(data_url(padded(32 * MIB + 1)))))
    assert over.status_code == 400
    assert message_of("paddle", over)


def test_what_breaks_inside_is_the_documented_500():
    with served("paddle", OCR_FLEET_FAKE='{"fail_after": 0}') as base:
        answer = post(base, chat())
        assert answer.status_code == 500
        assert answer.content == b'{"error":"the script says to fail here","type":"RuntimeError"}'


def test_unknown_route_wrong_method_and_wrong_content_type(base):
    answer = http.get(f"{base}/nope")
    assert (answer.status_code, answer.content) == (404, b'{"detail":"Not Found"}')
    answer = http.get(base + CHAT_PATH)
    assert (answer.status_code, answer.content) == (405, b'{"detail":"Method Not Allowed"}')
    assert "POST" in answer.headers["allow"]
    answer = http.post(
        base + CHAT_PATH, content=json.dumps(chat()), headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 400
    assert "Content-Type" in message_of("paddle", answer)


def test_a_model_that_is_still_loading_is_503():
    with served("paddle", ready=False, OCR_FLEET_FAKE='{"load_s": 30}') as base:
        for answer in (http.get(f"{base}/health"), post(base, chat())):
            assert (answer.status_code, answer.content) == (503, b'{"detail":"Model not loaded"}')
