"""ChatVLMLLM's service over a real socket: the numbered compatibility cases of its wire facts and
the contract's decisions. Where the two differ the contract wins, and the test says so."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import httpx
import pytest

from tests.samples import (
    MIB,
    TELL,
    http,
    message_of,
    padded,
    picture,
    png,
    upload,
)
from tests.serving import served

MODELS = [
    ("got_ocr", "GOT-OCR 2.0", "580M"),
    ("qwen_vl_2b", "Qwen2-VL 2B", "2B"),
    ("qwen_vl_7b", "Qwen2-VL 7B", "7B"),
    ("qwen3_vl_2b", "Qwen3-VL 2B", "2B"),
    ("qwen3_vl_4b", "Qwen3-VL 4B", "4B"),
    ("qwen3_vl_8b", "Qwen3-VL 8B", "8B"),
    ("dots_ocr", "dots.ocr", "1.7B"),
]
IDS = [model for model, _, _ in MODELS]
DEFAULT = "qwen3_vl_2b"
WORDS = '{"text": "one two three", "size": [40, 20]}'
SOON_S = 5.0


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    """A service that says three words."""
    with served("chatvlm", OCR_FLEET_FAKE=WORDS) as url:
        yield url


@pytest.fixture(scope="module")
def teller() -> Iterator[str]:
    """A service that says what its engine was asked."""
    with served("chatvlm", OCR_FLEET_FAKE=TELL) as url:
        yield url


def ocr(base: str, **more: Any) -> httpx.Response:
    return http.post(f"{base}/ocr", **{"files": upload(), **more})


def chat(base: str, **more: Any) -> httpx.Response:
    return http.post(f"{base}/chat", **{"files": upload(), **more})


def batch(base: str, *files: tuple[str, bytes], **more: Any) -> httpx.Response:
    parts = [part for name, data in files for part in upload(data, name, field="files")]
    return http.post(f"{base}/batch/ocr", files=parts, **more)


def told(answer: httpx.Response) -> dict:
    """What the engine was asked."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return json.loads(body.get("text") or body["response"])


def refused(answer: httpx.Response, status: int = 400) -> str:
    assert answer.status_code == status, answer.text
    return message_of("chatvlm", answer)


def loaded(base: str) -> list[str]:
    """The models in memory, of which /models and /health must tell the same."""
    models = http.get(f"{base}/models").json()["loaded"]
    health = http.get(f"{base}/health").json()
    assert (health["loaded_models"], health["models_loaded"]) == (models, len(models))
    return models


async def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + SOON_S
    while not await asyncio.to_thread(true):
        assert time.monotonic() < ends
        await asyncio.sleep(0.01)


# ---- the numbered cases


def test_case_01_root(base):
    answer = http.get(base)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.content == (
        b'{"message":"ChatVLMLLM API","version":"1.0.0","docs":"/docs","health":"/health"}'
    )


def test_case_02_health():
    with served("chatvlm", OCR_FLEET_FAKE=WORDS) as base:
        answer = http.get(f"{base}/health")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.content == (
            b'{"status":"healthy","gpu_available":false,"gpu_name":null,"models_loaded":0,'
            b'"loaded_models":[]}'
        )
        ocr(base)
        assert http.get(f"{base}/health").content == (
            b'{"status":"healthy","gpu_available":false,"gpu_name":null,"models_loaded":1,'
            b'"loaded_models":["qwen3_vl_2b"]}'
        )


def test_case_03_models(base):
    answer = http.get(f"{base}/models")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    body = answer.json()
    assert list(body) == ["available", "loaded"]
    assert [tuple(model.values()) for model in body["available"]] == MODELS
    assert {tuple(model) for model in body["available"]} == {("id", "name", "params")}
    assert isinstance(body["loaded"], list)


def test_case_04_ocr(base):
    answer = ocr(base, params={"model": DEFAULT})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    body = answer.json()
    assert list(body) == ["text", "model", "processing_time", "image_size", "language"]
    assert isinstance(body.pop("processing_time"), float)
    assert body == {
        "text": "one two three",
        "model": DEFAULT,
        "image_size": [40, 20],
        "language": None,
    }


def test_case_05_a_language_is_echoed_and_reaches_the_engine(teller):
    for where in ("params", "data"):
        answer = ocr(teller, **{where: {"language": "Russian", "model": DEFAULT}})
        assert answer.json()["language"] == "Russian"
        assert told(answer)["language"] == "Russian"


def test_case_06_a_model_in_the_form_is_used_and_the_query_wins(teller):
    """The original ignores the form."""
    answer = ocr(teller, data={"model": "got_ocr"})
    assert (answer.json()["model"], told(answer)["model"]) == ("got_ocr", "got_ocr")
    answer = ocr(teller, data={"model": "got_ocr"}, params={"model": "qwen_vl_2b"})
    assert (answer.json()["model"], told(answer)["model"]) == ("qwen_vl_2b", "qwen_vl_2b")
    for nothing in ({}, {"model": ""}):
        assert ocr(teller, data=nothing).json()["model"] == DEFAULT


def test_case_07_chat(base):
    said = {
        "prompt": "What's in this image?",
        "model": "qwen3_vl_4b",
        "temperature": "0.7",
        "max_tokens": "100",
    }
    answer = chat(base, data=said)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    body = answer.json()
    assert list(body) == ["response", "model", "processing_time", "prompt"]
    assert isinstance(body.pop("processing_time"), float)
    assert body == {
        "response": "one two three",
        "model": "qwen3_vl_4b",
        "prompt": "What's in this image?",
    }


@pytest.mark.parametrize("prompt", [{}, {"prompt": ""}, {"prompt": "  "}])
def test_case_08_chat_without_a_prompt_is_400(base, prompt):
    """The original describes the image; the document says the prompt is required."""
    assert "prompt" in refused(chat(base, data=prompt))
    assert "prompt" in refused(chat(base, params=prompt))


def test_case_09_a_batch_keeps_order_and_names(teller):
    sizes = (20, 300, 7)
    files = [(f"сч{size}.png", png(size, size)) for size in sizes]
    answer = batch(teller, *files, params={"model": "got_ocr"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    body = answer.json()
    assert list(body) == ["results", "total", "successful", "failed"]
    assert (body["total"], body["successful"], body["failed"]) == (3, 3, 0)
    for (name, data), result in zip(files, body["results"], strict=True):
        assert list(result) == ["filename", "text", "processing_time", "status"]
        assert (result["filename"], result["status"]) == (name, "success")
        request = json.loads(result["text"])
        assert (request["pages"], request["model"]) == ([len(data)], "got_ocr")


def test_case_10_a_bad_file_in_a_batch_is_its_own_error(base):
    files = [
        ("a.png", png()),
        ("notes.txt", b"only words"),
        ("empty.png", b""),
        ("large.png", padded(32 * MIB + 1)),
        ("b.png", png()),
    ]
    answer = batch(base, *files)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["total"], body["successful"], body["failed"]) == (5, 2, 3)
    assert [result["filename"] for result in body["results"]] == [name for name, _ in files]
    for result in body["results"][1:4]:
        assert list(result) == ["filename", "error", "status"]
        assert result["status"] == "error"
        assert result["error"]
    only = batch(base, ("notes.txt", b"only words"))
    assert (only.status_code, only.json()["failed"]) == (200, 1)


def test_case_11_a_batch_without_files_is_400_not_422(base):
    answer = http.post(f"{base}/batch/ocr", files=upload())
    assert "files is required" in refused(answer)


def test_case_12_deleting_what_is_not_loaded(base):
    for name in ("qwen_vl_7b", "x"):
        answer = http.delete(f"{base}/models/{name}")
        assert refused(answer, 404) == f"Model {name} not loaded"


def test_case_13_deleting_what_is_loaded():
    with served("chatvlm", OCR_FLEET_FAKE=WORDS) as base:
        for model in ("qwen3_vl_8b", "got_ocr"):
            ocr(base, params={"model": model})
        assert loaded(base) == ["qwen3_vl_8b", "got_ocr"]
        answer = http.delete(f"{base}/models/qwen3_vl_8b")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.content == b'{"status":"success","message":"Model qwen3_vl_8b unloaded"}'
        assert loaded(base) == ["got_ocr"]
        again = http.delete(f"{base}/models/qwen3_vl_8b")
        assert refused(again, 404) == "Model qwen3_vl_8b not loaded"
        assert ocr(base, params={"model": "qwen3_vl_8b"}).status_code == 200
        assert loaded(base) == ["got_ocr", "qwen3_vl_8b"]


def test_case_14_an_unknown_model_is_404_and_the_models_are_listed(base):
    """The original answers 500."""
    message = f"Model 'x' not found. Available: {', '.join(IDS)}"
    for answer in (
        ocr(base, params={"model": "x"}),
        ocr(base, data={"model": "x"}),
        chat(base, data={"model": "x", "prompt": "What?"}),
        batch(base, ("a.png", png()), params={"model": "x"}),
    ):
        assert refused(answer, 404) == message


def test_case_15_a_text_file_is_the_documents_400(base):
    """The original answers 500."""
    words = upload(b"only words", "notes.txt", "text/plain")
    assert refused(ocr(base, files=words))
    assert refused(chat(base, files=words, data={"prompt": "What?"}))


@pytest.mark.parametrize("path", ["/ocr", "/chat", "/batch/ocr"])
def test_case_16_no_file_is_400_not_422(base, path):
    for more in (
        {"content": b""},
        {"json": {"file": "x"}},
        {"data": {"file": "x"}},
        {"files": [("file", (None, "text")), ("files", (None, "text"))]},
        {"files": [("other", ("a.png", png()))]},
    ):
        assert refused(http.post(base + path, **more))


def test_case_17_four_at_once(base):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ocr(base), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": "2"},
        {"temperature": "1.01"},
        {"temperature": "-0.1"},
        {"temperature": "warm"},
        {"temperature": "nan"},
        {"max_tokens": "0"},
        {"max_tokens": "-1"},
        {"max_tokens": "many"},
        {"max_tokens": "1.5"},
    ],
)
def test_case_18_values_out_of_range_are_400_wherever_they_stand(base, more):
    [name] = more
    assert name in refused(chat(base, params={"prompt": "x", **more}))
    assert name in refused(chat(base, data={"prompt": "x", **more}))
    assert name in refused(ocr(base, params=more))


# ---- the contract


def test_defaults_and_what_the_client_says_reach_the_engine(teller):
    request = told(chat(teller, data={"prompt": "What?"}))
    assert (request["task"], request["prompt"], request["model"]) == ("chat", "What?", DEFAULT)
    sampling = request["sampling"]
    assert (sampling["temperature"], sampling["max_tokens"]) == (0.7, 512)
    for where in ("params", "data"):
        said = {"prompt": "What?", "temperature": "0", "max_tokens": "9000"}
        sampling = told(chat(teller, **{where: said}))["sampling"]
        assert (sampling["temperature"], sampling["max_tokens"]) == (0, 9000)
    both = chat(teller, params={"prompt": "query"}, data={"prompt": "form", "max_tokens": "7"})
    assert both.json()["prompt"] == "query"


def test_dots_ocr_reads_layout_and_the_others_text(teller):
    assert told(ocr(teller, params={"model": "dots_ocr"}))["task"] == "layout"
    for model in IDS[:-1]:
        assert told(ocr(teller, params={"model": model}))["task"] == "text"


def test_a_size_of_32_mebibytes_is_read_and_one_byte_more_is_413(base):
    assert ocr(base, files=upload(padded(32 * MIB))).status_code == 200
    assert refused(ocr(base, files=upload(padded(32 * MIB + 1))), 413)
    over = chat(base, files=upload(padded(32 * MIB + 1)), data={"prompt": "x"})
    assert refused(over, 413)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
def test_every_image_type_is_taken_whatever_its_name_and_label(base, kind):
    page = picture(40, 20, kind)
    assert ocr(base, files=upload(page, "page", "application/pdf")).status_code == 200
    assert ocr(base, files=upload(page, "page.jpg", "image/jpeg")).status_code == 200


def test_a_hundred_files_are_read_and_101_are_400(base):
    files = [(f"{number}.png", png()) for number in range(100)]
    body = batch(base, *files).json()
    assert (body["total"], body["successful"]) == (100, 100)
    assert [result["filename"] for result in body["results"]] == [name for name, _ in files]
    assert "100" in refused(batch(base, *files, ("more.png", png())))


def test_concurrent_first_requests_load_a_model_once():
    with served("chatvlm", OCR_FLEET_FAKE='{"text": "a", "load_s": 0.3}') as base:
        assert loaded(base) == []
        started = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: ocr(base), range(8)))
        assert time.monotonic() - started < 8 * 0.3
        assert [answer.status_code for answer in answers] == [200] * 8
        assert loaded(base) == [DEFAULT]


def test_processing_time_leaves_the_loading_out():
    with served("chatvlm", OCR_FLEET_FAKE='{"text": "a", "load_s": 0.5}') as base:
        assert ocr(base).json()["processing_time"] < 0.4


def test_a_model_that_cannot_load_is_500_and_stays_unloaded():
    with served("chatvlm", OCR_FLEET_FAKE='{"fail_load": "no weights"}') as base:
        for answer in (ocr(base), chat(base, data={"prompt": "x"}), batch(base, ("a.png", png()))):
            assert "no weights" in refused(answer, 500)
        assert loaded(base) == []
        assert http.get(f"{base}/readyz").status_code == 200


async def test_delete_waits_for_the_page_in_flight_and_takes_the_model_out_at_once():
    script = '{"text": "a b", "delay_s": 0.5, "pieces": 2}'
    with served("chatvlm", OCR_FLEET_FAKE=script) as base:
        async with aiohttp.ClientSession() as session:
            form = aiohttp.FormData()
            form.add_field("file", png(), filename="a.png")
            asking = asyncio.create_task(session.post(f"{base}/ocr", data=form))
            await until(lambda: 'in_flight{service="chatvlm"} 1.0' in metrics(base))
            deleting = asyncio.create_task(session.delete(f"{base}/models/{DEFAULT}"))
            # One list alone: between two requests for both it may well change.
            await until(lambda: http.get(f"{base}/models").json()["loaded"] == [])
            assert not deleting.done()
            assert not asking.done()
            assert (await asking).status == 200
            assert (await deleting).status == 200
            # In memory again as soon as it is asked for again.
            assert (await asyncio.to_thread(ocr, base)).status_code == 200
            assert loaded(base) == [DEFAULT]


def metrics(base: str) -> str:
    return http.get(f"{base}/metrics").text


async def test_a_model_that_loads_is_not_loaded_yet_and_health_answers():
    with served("chatvlm", OCR_FLEET_FAKE='{"text": "a", "load_s": 30}') as base:
        async with aiohttp.ClientSession() as session:
            form = aiohttp.FormData()
            form.add_field("file", png(), filename="a.png")
            asking = asyncio.create_task(session.post(f"{base}/ocr", data=form))
            await asyncio.sleep(0)
            assert loaded(base) == []
            answer = http.delete(f"{base}/models/{DEFAULT}")
            assert refused(answer, 404) == f"Model {DEFAULT} not loaded"
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


def test_each_model_works_on_its_own():
    """One that is busy does not hold up another, and is full on its own."""
    settings: dict[str, Any] = {
        "OCR_FLEET_FAKE": '{"text": "a", "hang_after": 0}',
        "OCR_FLEET_QUEUE_MAX": "0",
        "OCR_FLEET_TIMEOUT_S": "1",
    }
    with served("chatvlm", **settings) as base, ThreadPoolExecutor(3) as pool:
        names = ("got_ocr", "got_ocr", "qwen_vl_2b")
        answers = list(pool.map(lambda name: ocr(base, params={"model": name}), names))
    assert sorted(answer.status_code for answer in answers[:2]) == [500, 503]
    busy = next(answer for answer in answers if answer.status_code == 503)
    assert int(busy.headers["retry-after"]) >= 1
    assert "longer than 1 seconds" in refused(answers[2], 500)


def test_what_breaks_inside_is_500_and_in_a_batch_an_item():
    with served("chatvlm", OCR_FLEET_FAKE='{"fail_after": 0}') as base:
        assert refused(ocr(base), 500) == "the script says to fail here"
        body = batch(base, ("a.png", png())).json()
        assert body["results"] == [
            {"filename": "a.png", "error": "the script says to fail here", "status": "error"}
        ]


def test_unknown_routes_and_wrong_methods(base):
    for path in ("/nope", "/models/a/b"):
        answer = http.get(base + path)
        assert (answer.status_code, answer.content) == (404, b'{"detail":"Not Found"}')
    for method, path in (("GET", "/ocr"), ("PUT", "/chat"), ("GET", "/models/got_ocr")):
        answer = http.request(method, base + path)
        assert (answer.status_code, answer.content) == (405, b'{"detail":"Method Not Allowed"}')
        assert answer.headers["allow"]


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_documents_pages_load_nothing_from_elsewhere(base, page):
    answer = http.get(base + page)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    links = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert len(links) >= 2
    assert "//" not in answer.text
    for link in links:
        asset = http.get(f"{base}/{link}")
        assert asset.status_code == 200
        assert len(asset.content) > 500
