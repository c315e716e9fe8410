"""DeepSeek-OCR's format: prompts, parameters wherever they stand, batches."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shared.errors import InvalidRequest, OcrError, UnsupportedImage
from shared.http import Incoming, Upload
from shared.ocr import BytesPage, EncodedPage, Request, Result, Task
from shared.wire import deepseek, deepseek_batch
from shared.wire.answers import Outcome
from tests.shared.wire.samples import (
    LIMITS,
    PNG,
    PNG_BASE64,
    PNG_URL,
    STAMP,
    form_request,
    json_request,
)

LIMIT = LIMITS["deepseek"]


def ask(query: dict[str, str] | None = None, **fields: Any) -> Request:
    body = {"image_base64": PNG_BASE64, **fields}
    return deepseek.read_ocr(json_request(body, query=query), LIMIT).request


def error_of(incoming: Incoming) -> tuple[int, str]:
    with pytest.raises(OcrError) as caught:
        deepseek.read_ocr(incoming, LIMIT)
    reply = deepseek.write_error(caught.value)
    detail: str = msgspec.json.decode(reply.body)["detail"]
    return reply.status, detail


@pytest.mark.parametrize("prompt", [None, ""])
def test_the_defaults_are_the_documents(prompt: str | None):
    """Cases 2 and 4."""
    request = ask(prompt=prompt)
    sampling = request.sampling

    assert request.task is Task.LAYOUT
    assert request.prompt == ""
    assert (sampling.temperature, sampling.max_tokens) == (0.0, 8192)
    assert (sampling.ngram_size, sampling.window_size) == (30, 90)
    assert (sampling.crop_mode, sampling.base_size, sampling.image_size) == (None, None, None)


def test_the_default_prompt_is_a_setting():
    body = {"image_base64": PNG_BASE64}
    call = deepseek.read_ocr(json_request(body), LIMIT, prompt="<image>\nFree OCR.")

    assert call.request.task is Task.TEXT
    file = deepseek.read_file(form_request(), LIMIT, prompt="<image>\nParse the figure.")
    assert file.request.task is Task.FIGURE


@pytest.mark.parametrize(
    ("prompt", "task", "words"),
    [
        ("<image>\nFree OCR.", Task.TEXT, ""),
        ("<image>\\nFree OCR.", Task.TEXT, ""),
        ("free ocr", Task.TEXT, ""),
        ("  Free   OCR. <image>", Task.TEXT, ""),
        ("<image>\nOCR this image.", Task.TEXT, "OCR this image."),
        ("<image>", Task.TEXT, ""),
        ("<image>\nConvert the document to markdown.", Task.MARKDOWN, ""),
        (
            "Convert the document to markdown. Keep the tables.",
            Task.MARKDOWN,
            "Convert the document to markdown. Keep the tables.",
        ),
        ("<image>\n<|grounding|>Convert the document to markdown.", Task.LAYOUT, ""),
        ("<image>\\n<|grounding|>Convert the document to markdown. ", Task.LAYOUT, ""),
        ("<|grounding|>", Task.LAYOUT, ""),
        ("<image>\n<|grounding|>OCR this image.", Task.LAYOUT, "OCR this image."),
        ("<image>\nParse the figure.", Task.FIGURE, ""),
        (
            "<image>\nDescribe this image in detail.",
            Task.CHAT,
            "Describe this image in detail.",
        ),
        ("How many people?\\nCount.", Task.CHAT, "How many people?\nCount."),
    ],
)
def test_the_prompt_is_the_task(prompt: str, task: Task, words: str):
    if prompt == "<image>\nOCR this image.":
        words = ""
    request = ask(prompt=prompt)

    assert (request.task, request.prompt, request.phrase) == (task, words, None)


@pytest.mark.parametrize("head", ["<image>\n", "<image>\n<|grounding|>", ""])
def test_a_phrase_to_locate(head: str):
    request = ask(prompt=f"{head}Locate <|ref|>the total\nsum<|/ref|> in the image.")

    assert (request.task, request.phrase) == (Task.LOCATE, "the total\nsum")


@pytest.mark.parametrize("image", [PNG_BASE64, PNG_URL])
def test_base64_with_and_without_its_head(image: str):
    """Case 3."""
    assert ask(image_base64=image).pages == (EncodedPage(image),)


def test_the_query_wins_over_json_and_over_the_form():
    values = {"temperature": "0.5", "max_tokens": "64", "crop_mode": "off", "prompt": "Free OCR."}
    fields = {"temperature": "1.5", "max_tokens": "7", "ngram_size": "10", "window_size": "20"}

    for request in (
        ask(values, **fields, prompt="x"),
        deepseek.read_file(form_request({**fields, "prompt": "x"}, query=values), LIMIT).request,
    ):
        sampling = request.sampling
        assert request.task is Task.TEXT
        assert (sampling.temperature, sampling.max_tokens, sampling.crop_mode) == (0.5, 64, False)
        assert (sampling.ngram_size, sampling.window_size) == (10, 20)


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("false", False), (True, True)])
def test_crop_mode_may_be_a_word(value: object, expected: bool):
    """Case 15."""
    assert ask(crop_mode=value).sampling.crop_mode is expected


def test_a_blank_form_field_is_the_default():
    """Case 8, and a form whose fields are left blank."""
    blank = deepseek.read_file(form_request({"prompt": "", "temperature": ""}), LIMIT).request

    assert blank.task is Task.LAYOUT
    prompted = deepseek.read_file(form_request({"prompt": "<image>\\nFree OCR."}), LIMIT).request
    assert prompted.task is Task.TEXT
    assert prompted.pages == (BytesPage(PNG, "page.png"),)


def test_a_stream_is_a_stream():
    call = deepseek.read_stream(form_request(), LIMIT)

    assert call.request.stream
    assert call.request.pages == (BytesPage(PNG, "page.png"),)


def test_a_form_is_read_where_json_is_documented():
    assert deepseek.read_ocr(form_request(), LIMIT).request.pages == (BytesPage(PNG, "page.png"),)

    encoded = form_request({"image_base64": PNG_BASE64}, files=())
    assert deepseek.read_ocr(encoded, LIMIT).request.pages == (EncodedPage(PNG_BASE64),)


@pytest.mark.parametrize("body", [{}, {"image_base64": None}, {"image_base64": ""}])
def test_no_image_is_400_in_the_documents_words(body: object):
    """Case 5."""
    assert error_of(json_request(body)) == (400, "image_base64 is required")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 8193),
        ("max_tokens", 0),
        ("temperature", 2.1),
        ("temperature", -0.1),
        ("ngram_size", 0),
        ("ngram_size", 101),
        ("window_size", 0),
        ("window_size", 201),
        ("base_size", 0),
        ("image_size", 10_001),
        ("crop_mode", "maybe"),
        ("prompt", 5),
        ("max_tokens", "x"),
    ],
)
def test_bad_values_are_400_and_name_their_field(name: str, value: object):
    """Case 6."""
    status, detail = error_of(json_request({"image_base64": PNG_BASE64, name: value}))

    assert status == 400
    assert name in detail

    if isinstance(value, (int, float)) and name != "prompt":
        status, detail = error_of(form_request(query={name: str(value)}))
        assert status == 400
        assert name in detail


@pytest.mark.parametrize(
    ("incoming", "message"),
    [
        (form_request(files=()), "file is required"),
        (form_request({"file": "x"}, files=()), "file must be an uploaded file, not text"),
        (form_request(files=(("upload", Upload(PNG)),)), "file is required"),
        (json_request(b""), "empty"),
        (json_request(b"nope"), "not valid JSON"),
        (json_request([]), "Expected `object`"),
    ],
)
def test_a_request_without_its_parts_is_400(incoming: Incoming, message: str):
    status, detail = error_of(incoming)

    assert status == 400
    assert message in detail


def test_json_where_a_file_is_documented_is_400():
    with pytest.raises(InvalidRequest, match="multipart/form-data"):
        deepseek.read_file(json_request({}), LIMIT)


# ---- batches


def batch(body: object, query: dict[str, str] | None = None) -> list[object]:
    return list(deepseek_batch.read_batch(json_request(body, query=query), LIMIT))


def test_a_batch_keeps_its_order_and_its_bad_items():
    """Cases 11 and 12."""
    first, *bad = batch(
        {
            "requests": [
                {"image_base64": PNG_BASE64, "prompt": "Free OCR."},
                {"image_base64": ""},
                {"image_base64": PNG_BASE64, "max_tokens": 9000},
                {"image_base64": 5},
                5,
                {"image_base64": "a\nb"},
            ]
        }
    )

    assert isinstance(first, deepseek.Call)
    assert first.request.task is Task.TEXT
    assert [str(item) for item in bad[:4]] == [
        "no image provided",
        "max_tokens must be between 1 and 8192, got 9000",
        "Expected `str | null`, got `int` - at `$.image_base64`",
        "Expected `object`, got `int`",
    ]
    assert isinstance(bad[4], deepseek.Call)


def test_line_breaks_inside_the_base64_of_a_batch():
    raw = b'{"requests":[{"image_base64":"AA\nAA"}]}'
    (call,) = deepseek_batch.read_batch(json_request(raw), LIMIT)

    assert isinstance(call, deepseek.Call)
    assert call.request.pages == (EncodedPage("AAAA"),)


def test_the_query_of_a_batch_is_for_all_of_its_items():
    calls = batch({"requests": [{"image_base64": "AAAA"}] * 2}, {"temperature": "0.5"})

    assert [call.request.sampling.temperature for call in calls if isinstance(call, deepseek.Call)]
    assert all(
        isinstance(call, deepseek.Call) and call.request.sampling.temperature == 0.5
        for call in calls
    )


def test_an_empty_batch_is_answered():
    """Case 14."""
    assert batch({"requests": []}) == []
    reply = deepseek_batch.write_batch([], 0.0)
    assert (reply.status, reply.body) == (200, b'{"results":[],"total_processing_time":0.0}')


def test_100_items_are_a_batch_and_101_are_not():
    """Case 13."""
    assert len(batch({"requests": [{"image_base64": "AAAA"}] * 100})) == 100
    with pytest.raises(InvalidRequest, match="Maximum 100 requests per batch"):
        batch({"requests": [{"image_base64": "AAAA"}] * 101})


@pytest.mark.parametrize("body", [{}, {"requests": None}, {"requests": {}}, []])
def test_what_is_no_batch_is_refused(body: object):
    with pytest.raises(InvalidRequest):
        batch(body)


def test_a_failed_item_has_no_text_and_no_time():
    outcomes = [
        Outcome(answer=InvalidRequest("no image provided"), stamp=STAMP),
        Outcome(answer=UnsupportedImage("cut short"), stamp=STAMP),
        Outcome(answer=Result(text="x"), stamp=STAMP),
    ]
    body = msgspec.json.decode(deepseek_batch.write_batch(outcomes, 2.0).body)

    assert [
        (item["text"], item["processing_time"], item["status"]) for item in body["results"]
    ] == [
        ("", 0.0, "error: no image provided"),
        ("", 0.0, "error: Invalid base64 image: cut short"),
        ("x", 1.25, "success"),
    ]
    assert list(body) == ["results", "total_processing_time"]


def test_an_unhealthy_service_answers_200():
    reply = deepseek.write_health(model_loaded=False, gpu_available=True, timestamp=1.5)

    assert reply.status == 200
    assert msgspec.json.decode(reply.body)["status"] == "unhealthy"
