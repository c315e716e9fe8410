"""DeepSeek-OCR's service over a real socket: the numbered compatibility cases of its wire facts and
the contract's decisions. Where the two differ the contract wins, and the test says so."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.samples import (
    MIB,
    PAGE,
    TELL,
    b64,
    broken_lines,
    data_url,
    http,
    message_of,
    padded,
    picture,
    png,
    upload,
)
from tests.serving import served

DEFAULT_PROMPT = "<image>\n<|grounding|>Convert the document to markdown."
KEYS = ["request_id", "text", "processing_time", "status"]
WORDS = '{"text": "one two three", "pieces": 3}'


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    """A service that says three words."""
    with served("deepseek", OCR_FLEET_FAKE=WORDS) as url:
        yield url


@pytest.fixture(scope="module")
def teller() -> Iterator[str]:
    """A service that says what its engine was asked."""
    with served("deepseek", OCR_FLEET_FAKE=TELL) as url:
        yield url


def post(base: str, body: object, query: str = "") -> httpx.Response:
    return http.post(f"{base}/ocr{query}", json=body)


def told(answer: httpx.Response) -> dict:
    """What the engine was asked."""
    assert answer.status_code == 200, answer.text
    return json.loads(answer.json()["text"])


def refused(answer: httpx.Response, status: int = 400) -> str:
    assert answer.status_code == status, answer.text
    return message_of("deepseek", answer)


def is_answer(body: dict, text: str = "one two three") -> None:
    assert list(body) == KEYS
    assert UUID(body["request_id"]).version == 4
    assert (body["text"], body["status"]) == (text, "success")
    assert isinstance(body["processing_time"], float)
    assert 0 < body["processing_time"] < 10


# ---- the numbered cases


def test_case_01_health(base):
    answer = http.get(f"{base}/health")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    body = answer.json()
    assert list(body) == ["status", "model_loaded", "gpu_available", "timestamp"]
    assert (body["status"], body["model_loaded"], body["gpu_available"]) == ("healthy", True, False)
    assert isinstance(body["timestamp"], float)
    assert abs(body["timestamp"] - time.time()) < 60


def test_case_02_an_image_alone(base):
    answer = post(base, {"image_base64": PAGE})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    is_answer(answer.json())


def test_case_03_a_data_url(base):
    assert post(base, {"image_base64": data_url(png(), "image/jpeg")}).status_code == 200


@pytest.mark.parametrize("prompt", [{}, {"prompt": None}, {"prompt": ""}])
def test_case_04_no_prompt_is_the_default_prompt(teller, prompt):
    """Which asks for Markdown with boxes."""
    default = told(post(teller, {"image_base64": PAGE, "prompt": DEFAULT_PROMPT}))
    assert default["task"] == "layout"
    assert told(post(teller, {"image_base64": PAGE, **prompt})) == default


@pytest.mark.parametrize("image", [{}, {"image_base64": None}, {"image_base64": ""}])
def test_case_05_no_image(base, image):
    answer = post(base, image)
    assert (answer.status_code, answer.content) == (400, b'{"detail":"image_base64 is required"}')


OUT_OF_RANGE = [
    {"max_tokens": 8193},
    {"max_tokens": 0},
    {"max_tokens": -1},
    {"temperature": 2.1},
    {"temperature": -1},
    {"ngram_size": 0},
    {"ngram_size": 101},
    {"window_size": 0},
    {"window_size": 201},
    {"base_size": 0},
    {"image_size": 0},
    {"max_tokens": "many"},
    {"temperature": "warm"},
    {"crop_mode": "perhaps"},
]


@pytest.mark.parametrize("more", OUT_OF_RANGE)
def test_case_06_out_of_range_is_400_not_422_wherever_it_stands(base, more):
    [name] = more
    fields = {key: str(value) for key, value in more.items()}
    for answer in (
        post(base, {"image_base64": PAGE, **more}),
        http.post(f"{base}/ocr", params=fields, json={"image_base64": PAGE}),
        http.post(f"{base}/ocr/file", files=upload(), data=fields),
        http.post(f"{base}/ocr/file", params=fields, files=upload()),
        http.post(f"{base}/ocr/stream", files=upload(), data=fields),
    ):
        assert name in refused(answer)


@pytest.mark.parametrize("image", ["@@@@", "ä", "data:image/png;base64", b64(b"only words")])
def test_case_07_bad_base64_is_the_documents_400(base, image):
    answer = post(base, {"image_base64": image})
    assert refused(answer).startswith("Invalid base64 image: ")


def test_case_08_a_form_prompt_and_a_query_prompt_are_honoured_and_the_query_wins(teller):
    """The original reads the query alone."""
    free, figure = "<image>\nFree OCR.", "<image>\nParse the figure."
    for path in ("/ocr/file", "/ocr"):
        answer = http.post(teller + path, files=upload(), data={"prompt": free})
        assert told(answer)["task"] == "text"
        answer = http.post(teller + path, files=upload(), params={"prompt": figure})
        assert told(answer)["task"] == "figure"
        both = http.post(
            teller + path, files=upload(), params={"prompt": figure}, data={"prompt": free}
        )
        assert told(both)["task"] == "figure"


def test_case_09_a_stream_ends_with_done(base):
    answer = http.post(f"{base}/ocr/stream", files=upload())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.content == b"data: one\n\ndata:  two\n\ndata:  three\n\ndata: [DONE]\n\n"


def test_case_10_a_stream_of_a_text_file_is_400_before_the_first_text(base):
    """The original answers 200 and an error event; before the first text a failure has a real
    status."""
    answer = http.post(f"{base}/ocr/stream", files=upload(b"only words", "notes.txt"))
    assert refused(answer).startswith("Invalid image file: ")


def test_case_11_a_batch_of_two(teller):
    items = [
        {"image_base64": PAGE, "prompt": "<image>\nFree OCR."},
        {"image_base64": data_url(png(60, 30)), "max_tokens": 77},
    ]
    answer = http.post(f"{teller}/ocr/batch", json={"requests": items})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    body = answer.json()
    assert list(body) == ["results", "total_processing_time"]
    assert body["total_processing_time"] > 0
    first, second = body["results"]
    for result in (first, second):
        is_answer(result, result["text"])
    assert first["request_id"] != second["request_id"]
    first, second = json.loads(first["text"]), json.loads(second["text"])
    assert (first["task"], first["pages"]) == ("text", [len(png())])
    assert (second["task"], second["pages"]) == ("layout", [len(png(60, 30))])
    assert second["sampling"]["max_tokens"] == 77


def test_case_12_an_empty_item_is_its_own_error(base):
    good = {"image_base64": PAGE}
    items = [
        good,
        {},
        {"image_base64": None},
        {"image_base64": "@@@@"},
        {"image_base64": b64(b"only words")},
        {**good, "max_tokens": 9000},
        5,
        good,
    ]
    answer = http.post(f"{base}/ocr/batch", json={"requests": items})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["status"][:7] for result in results] == [
        "success",
        *["error: "] * 6,
        "success",
    ]
    for result in results[1:7]:
        assert list(result) == KEYS
        assert (result["text"], result["processing_time"]) == ("", 0.0)
        assert UUID(result["request_id"]).version == 4
    assert results[1]["status"] == results[2]["status"] == "error: no image provided"
    assert results[3]["status"].startswith("error: Invalid base64 image: ")
    assert "max_tokens" in results[5]["status"]


def test_case_13_a_hundred_items_are_read_and_101_are_400_not_422(base):
    item = {"image_base64": PAGE}
    answer = http.post(f"{base}/ocr/batch", json={"requests": [item] * 100})
    assert [result["status"] for result in answer.json()["results"]] == ["success"] * 100
    answer = http.post(f"{base}/ocr/batch", json={"requests": [item] * 101})
    assert refused(answer) == "Maximum 100 requests per batch"


def test_case_14_an_empty_batch(base):
    answer = http.post(f"{base}/ocr/batch", json={"requests": []})
    assert answer.status_code == 200
    assert answer.json()["results"] == []
    bodies: list[Any] = [{}, {"requests": None}, {"requests": {}}, []]
    for body in bodies:
        refused(http.post(f"{base}/ocr/batch", json=body))


@pytest.mark.parametrize(
    ("written", "meant"),
    [("true", True), ("false", False), ("1", True), ("0", False), ("on", True), ("no", False)],
)
def test_case_15_crop_mode_as_text(teller, written, meant):
    for answer in (
        http.post(f"{teller}/ocr/file", files=upload(), data={"crop_mode": written}),
        http.post(f"{teller}/ocr", params={"crop_mode": written}, json={"image_base64": PAGE}),
    ):
        assert told(answer)["sampling"]["crop_mode"] is meant


def test_case_15_crop_mode_in_json(teller):
    for written, meant in (("true", True), ("false", False), (True, True), (False, False)):
        answer = post(teller, {"image_base64": PAGE, "crop_mode": written})
        assert told(answer)["sampling"]["crop_mode"] is meant


def test_case_16_cors(base):
    origin = {"origin": "http://page.example"}
    answer = http.post(f"{base}/ocr", json={"image_base64": PAGE}, headers=origin)
    assert answer.headers["access-control-allow-origin"] == "*"
    answer = post(base, {})
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "x-a"}
    answer = http.options(f"{base}/ocr/stream", headers={**origin, **ask})
    assert answer.is_success
    assert answer.headers["access-control-allow-origin"] == "*"


def test_case_16_cors_of_an_error(base):
    """A browser shows a page the message only if the error carries the header, too."""
    origin = {"origin": "http://page.example"}
    for answer in (
        http.post(f"{base}/ocr", json={}, headers=origin),
        http.get(f"{base}/nope", headers=origin),
    ):
        assert answer.headers["access-control-allow-origin"] == "*"


# ---- the contract


DEFAULTS = {
    "temperature": 0.0,
    "max_tokens": 8192,
    "ngram_size": 30,
    "window_size": 90,
    "crop_mode": True,
    "base_size": 1024,
    "image_size": 640,
}


def test_defaults_reach_the_engine(teller):
    sampling = told(post(teller, {"image_base64": PAGE}))["sampling"]
    assert sampling.items() >= DEFAULTS.items()
    nothing = dict.fromkeys(DEFAULTS)
    sampling = told(post(teller, {"image_base64": PAGE, **nothing}))["sampling"]
    assert sampling.items() >= DEFAULTS.items()
    blank = dict.fromkeys(DEFAULTS, "")
    answer = http.post(f"{teller}/ocr/file", files=upload(), data=blank)
    assert told(answer)["sampling"].items() >= DEFAULTS.items()


def test_every_parameter_is_read_in_json_form_and_query(teller):
    said = {
        "temperature": 1.5,
        "max_tokens": 100,
        "ngram_size": 5,
        "window_size": 200,
        "crop_mode": False,
        "base_size": 640,
        "image_size": 512,
    }
    fields = {name: str(value) for name, value in said.items()}
    for answer in (
        post(teller, {"image_base64": PAGE, **said}),
        post(teller, {"image_base64": PAGE, **fields}),
        http.post(f"{teller}/ocr", params=fields, json={"image_base64": PAGE, "temperature": 0}),
        http.post(f"{teller}/ocr/file", files=upload(), data=fields),
        http.post(f"{teller}/ocr/file", files=upload(), params=fields, data={"max_tokens": "7"}),
    ):
        assert told(answer)["sampling"].items() >= said.items()


def test_the_documents_names_are_settings():
    settings: dict[str, Any] = {
        "PROMPT": "<image>\nFree OCR.",
        "CROP_MODE": "false",
        "BASE_SIZE": "640",
        "IMAGE_SIZE": "320",
        "MAX_CONCURRENCY": "3",
    }
    with served("deepseek", OCR_FLEET_FAKE=TELL, **settings) as base:
        request = told(post(base, {"image_base64": PAGE}))
        assert request["task"] == "text"
        sampling = request["sampling"]
        assert (sampling["crop_mode"], sampling["base_size"]) == (False, 640)
        assert sampling["image_size"] == 320
        batch = http.post(f"{base}/ocr/batch", json={"requests": [{"image_base64": PAGE}]})
        assert json.loads(batch.json()["results"][0]["text"]) == request
        streamed = http.post(f"{base}/ocr/stream", files=upload()).text
        assert '"task":"text"' in streamed
        assert '"image_size":320' in streamed


@pytest.mark.parametrize(
    ("prompt", "task", "words"),
    [
        ("<image>\nFree OCR.", "text", ""),
        ("Free OCR.", "text", ""),
        (r"<image>\nFree OCR.", "text", ""),
        ("<image>\n<|grounding|>Convert the document to markdown.", "layout", ""),
        (r"<image>\n<|grounding|>Convert the document to markdown.", "layout", ""),
        ("<image>\nConvert the document to markdown.", "markdown", ""),
        ("<image>\nParse the figure.", "figure", ""),
        ("<image>\nDescribe this image in detail.", "chat", "Describe this image in detail."),
        ("<image>\nLocate <|ref|>the total<|/ref|> in the image.", "locate", ""),
        ("What is the total?", "chat", "What is the total?"),
    ],
)
def test_the_documents_prompts(teller, prompt, task, words):
    request = told(post(teller, {"image_base64": PAGE, "prompt": prompt}))
    assert (request["task"], request["prompt"]) == (task, words)
    assert request["phrase"] == ("the total" if task == "locate" else None)


def test_a_newline_inside_a_streamed_text_is_a_further_data_line():
    script = json.dumps({"text": "# Title\n\nfirst line\nsecond", "pieces": 1})
    with served("deepseek", OCR_FLEET_FAKE=script) as base:
        answer = http.post(f"{base}/ocr/stream", files=upload())
    assert answer.content == (
        b"data: # Title\ndata: \ndata: first line\ndata: second\n\ndata: [DONE]\n\n"
    )


def test_a_stream_that_breaks_says_error_and_never_done():
    script = '{"text": "a b", "pieces": 2, "fail_after": 1}'
    with served("deepseek", OCR_FLEET_FAKE=script) as base:
        answer = http.post(f"{base}/ocr/stream", files=upload())
    assert answer.status_code == 200
    assert answer.content == b"data: a\n\ndata: ERROR: the script says to fail here\n\n"


def test_what_breaks_inside_is_500():
    with served("deepseek", OCR_FLEET_FAKE='{"fail_after": 0}') as base:
        answer = post(base, {"image_base64": PAGE})
        assert refused(answer, 500) == "the script says to fail here"
        batch = http.post(f"{base}/ocr/batch", json={"requests": [{"image_base64": PAGE}]})
        assert batch.status_code == 200
        assert batch.json()["results"][0]["status"] == "error: the script says to fail here"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
def test_every_image_type_is_taken_whatever_its_label(base, kind):
    page = picture(40, 20, kind)
    assert post(base, {"image_base64": b64(page)}).status_code == 200
    answer = http.post(f"{base}/ocr/file", files=upload(page, "page", "text/plain"))
    assert answer.status_code == 200


def test_line_breaks_inside_base64_and_no_content_type(base):
    raw = json.dumps({"image_base64": "HERE", "prompt": "<image>\\nFree OCR."})
    body = raw.replace("HERE", broken_lines(picture(300, 200, "BMP"))).encode()
    assert body.count(b"\n") > 100
    for headers in ({}, {"content-type": "application/json"}):
        assert http.post(f"{base}/ocr", content=body, headers=headers).status_code == 200


def test_the_route_for_json_takes_a_form_and_the_stream_takes_json(base):
    """A form may carry base64, too."""
    body = {"image_base64": PAGE}
    assert http.post(f"{base}/ocr", data=body, files=[("x", (None, "y"))]).status_code == 200
    assert http.post(f"{base}/ocr/stream", json=body).status_code == 200


@pytest.mark.parametrize("path", ["/ocr/file", "/ocr/stream"])
def test_a_missing_file_is_400_not_422(base, path):
    for answer in (
        http.post(base + path, data={"prompt": "x"}, files=[("x", (None, "y"))]),
        http.post(base + path, files=[("file", (None, "notafile"))]),
        http.post(base + path, content=b""),
    ):
        assert refused(answer)


def test_32_mebibytes_are_read_and_one_byte_more_is_400(base):
    assert http.post(f"{base}/ocr/file", files=upload(padded(32 * MIB))).status_code == 200
    assert refused(http.post(f"{base}/ocr/file", files=upload(padded(32 * MIB + 1))))
    assert refused(post(base, {"image_base64": b64(padded(32 * MIB + 1))}))


def test_a_model_that_is_still_loading_is_503():
    with served("deepseek", ready=False, OCR_FLEET_FAKE='{"load_s": 30}') as base:
        health = http.get(f"{base}/health").json()
        assert (health["status"], health["model_loaded"]) == ("unhealthy", False)
        for answer in (
            post(base, {"image_base64": PAGE}),
            http.post(f"{base}/ocr/file", files=upload()),
            http.post(f"{base}/ocr/stream", files=upload()),
            http.post(f"{base}/ocr/batch", json={"requests": [{"image_base64": PAGE}]}),
        ):
            assert (answer.status_code, answer.content) == (503, b'{"detail":"Model not loaded"}')


def test_unknown_route_wrong_method_and_wrong_content_type(base):
    answer = http.get(f"{base}/nope")
    assert (answer.status_code, answer.content) == (404, b'{"detail":"Not Found"}')
    answer = http.get(f"{base}/ocr")
    assert (answer.status_code, answer.content) == (405, b'{"detail":"Method Not Allowed"}')
    assert "POST" in answer.headers["allow"]
    body = json.dumps({"image_base64": PAGE})
    answer = http.post(f"{base}/ocr", content=body, headers={"content-type": "text/plain"})
    assert "Content-Type" in refused(answer)


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_documents_pages_load_nothing_from_elsewhere(base, page):
    answer = http.get(base + page)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    links = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert len(links) >= 2
    assert "//" not in answer.text.replace("<!doctype html>", "")
    for link in links:
        asset = http.get(f"{base}/{link}")
        assert asset.status_code == 200
        assert len(asset.content) > 500
    assert '"openapi.json"' in answer.text
    assert http.get(f"{base}/openapi.json").json()["openapi"] == "3.1.0"
