"""Any dialect in, any model out, on real sockets: real services with the fake engine behind a real
router, every operation of every dialect with every model, streamed and not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.router.speaking import (
    BY_NAME,
    CHAT_PATH,
    MODELS,
    OF_SERVICE,
    SINGLE,
    SPEECHES,
    Speech,
)
from tests.routing import Routed, routed, routed_fleet
from tests.running import SERVICES
from tests.samples import PAGE, chat, data_url, image_part, png, text_part, upload
from tests.serving import served

FOX = "The quick brown fox"
ALIASES = {"mistral-ocr-latest": "lighton", "vllm-model": "deepseek-ocr", "any/name": "dots"}


@pytest.fixture(scope="module")
def router() -> Iterator[Routed]:
    script = json.dumps({"text": FOX, "size": [40, 20]})
    with routed_fleet(SERVICES, OCR_FLEET_FAKE=script, OCR_FLEET_QUEUE_MAX="64") as one:
        yield one


@pytest.fixture(scope="module")
def telling() -> Iterator[Routed]:
    """A fleet whose answers are the requests that the engines got; aliases are in its file."""
    with ExitStack() as stack:
        urls = {
            name: stack.enter_context(
                served(name, OCR_FLEET_FAKE='{"tell": true, "size": [40, 20]}')
            )
            for name in SERVICES
        }
        yield stack.enter_context(routed(urls, aliases=ALIASES))


def received(speech: Speech, answer: httpx.Response) -> dict[str, Any]:
    """The request as the engine got it."""
    assert answer.status_code == 200, answer.text
    return dict(json.loads(speech.text(answer)))


# ---- every dialect, every model


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("speech", SPEECHES, ids=lambda speech: speech.name)
def test_any_dialect_any_model(router: Routed, speech: Speech, model: str) -> None:
    answer = speech.send(router.url, headers={"x-ocr-model": model})
    assert answer.status_code == 200, answer.text
    assert speech.text(answer) == FOX
    assert answer.headers["x-ocr-model"] == model
    assert answer.headers["x-ocr-engine"] == "fake/script"
    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize("speech", SPEECHES, ids=lambda speech: speech.name)
def test_nobody_named_is_the_dialects_default(router: Routed, speech: Speech) -> None:
    answer = speech.send(router.url)
    assert speech.text(answer) == FOX
    assert answer.headers["x-ocr-model"] == speech.model


@pytest.mark.parametrize("service", OF_SERVICE)
def test_openai_usage_and_end(router: Routed, service: str) -> None:
    speech = BY_NAME["openai"]
    answer = speech.send(router.url, model=service, stop=None, n=1).json()
    assert list(answer) == ["id", "object", "created", "model", "choices", "usage"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    body = speech.body(png())["json"] | {"model": service, "stream": True}
    body |= {"stream_options": {"include_usage": True}}
    streamed = httpx.post(router.url + CHAT_PATH, json=body).text.split("\n\n")
    last = json.loads(streamed[-3].removeprefix("data: "))
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == usage["completion_tokens"]


@pytest.mark.parametrize("service", OF_SERVICE)
@pytest.mark.parametrize("stream", [False, True])
def test_openai_cut_short(router: Routed, service: str, stream: bool) -> None:
    speech = BY_NAME["openai stream" if stream else "openai"]
    answer = speech.send(router.url, model=service, max_completion_tokens=2)
    assert speech.text(answer) == "The quick"
    assert '"finish_reason":"length"' in answer.text


@pytest.mark.parametrize("model", MODELS[1:])
@pytest.mark.parametrize("stream", [False, True])
def test_openai_stops_at_a_stop_string(router: Routed, model: str, stream: bool) -> None:
    """Also where the service's format has no word for it. The first model's service is asked in
    its own words, which the fake engine does not hear."""
    speech = BY_NAME["openai stream" if stream else "openai"]
    answer = speech.send(router.url, model=model, stop=[" fox", "brown"])
    assert speech.text(answer).rstrip() in {"The quick", "The quick brown"}
    assert '"finish_reason":"stop"' in answer.text


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_words_alone_are_answered(router: Routed, model: str, stream: bool) -> None:
    """Clients probe with them (glmocr: `messages: "hello"` in its own way, others a list)."""
    speech = BY_NAME["openai stream" if stream else "openai"]
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": stream}
    answer = httpx.post(router.url + CHAT_PATH, json=body)
    assert answer.status_code == 200, answer.text
    assert speech.text(answer)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_every_image_is_read(telling: Routed, model: str, stream: bool) -> None:
    """One after another, a blank line apart; a model that takes several reads them itself."""
    sizes = [png(40, 20), png(80, 40), png(160, 80)]
    parts = [image_part(data_url(page)) for page in sizes]
    body = chat(text_part("Free OCR."), *parts, model=model, stream=stream)
    answer = httpx.post(telling.url + CHAT_PATH, json=body)
    text = BY_NAME["openai stream" if stream else "openai"].text(answer)
    told = [json.loads(part)["pages"] for part in text.split("\n\n")]
    assert [size for pages in told for size in pages] == [len(page) for page in sizes]
    if model != "LightOnOCR-1B-1025":
        assert len(told) == len(sizes)


def test_tokens_of_several_images_are_bounded_together(router: Routed) -> None:
    body = chat(image_part(), image_part(), model="deepseek", max_tokens=6)
    answer = httpx.post(router.url + CHAT_PATH, json=body).json()
    assert answer["choices"][0]["message"]["content"] == f"{FOX}\n\nThe quick"
    assert answer["choices"][0]["finish_reason"] == "length"


# ---- who is asked


@pytest.mark.parametrize("speech", SPEECHES, ids=lambda speech: speech.name)
@pytest.mark.parametrize("place", ["query", "header", "body"])
@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("got_ocr", "got_ocr"),
        ("paddle", "PaddlePaddle/PaddleOCR-VL"),
        ("paddleocr-vl", "PaddlePaddle/PaddleOCR-VL"),
        ("vllm-model", "deepseek-ocr"),
        ("any/name", "dots-ocr"),
    ],
)
def test_named_anywhere(telling: Routed, speech: Speech, place: str, name: str, model: str) -> None:
    """In the query, a header, or the body, be it JSON or a form: by id, service or alias."""
    match place:
        case "query":
            answer = speech.send(telling.url, query={"model": name})
        case "header":
            answer = speech.send(telling.url, headers={"x-ocr-model": name})
        case _:
            answer = speech.send(telling.url, model=name)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ocr-model"] == model
    assert received(speech, answer)["model"] == model


def test_query_wins(telling: Routed) -> None:
    answer = BY_NAME["chatvlm"].send(telling.url, query={"model": "dots"}, model="deepseek")
    assert answer.headers["x-ocr-model"] == "dots-ocr"


def test_line_breaks_in_base64_do_not_hide_the_model(telling: Routed) -> None:
    """The documented curl on Linux sends them."""
    body = json.dumps({"image": "@", "image_format": "base64", "model": "deepseek-ocr"})
    broken = body.replace("@", "\n".join(PAGE[at : at + 20] for at in range(0, len(PAGE), 20)))
    answer = httpx.post(telling.url + "/ocr", content=broken)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ocr-model"] == "deepseek-ocr"


@pytest.mark.parametrize(
    "name",
    ["PaddlePaddle%2FPaddleOCR-VL", "PaddlePaddle/PaddleOCR-VL", "paddle", "got_ocr", "any%2Fname"],
)
def test_openai_scoped_to_one_model(telling: Routed, name: str) -> None:
    """Whatever the body names: MinerU and chandra take the first model of the list."""
    base = f"{telling.url}/m/{name}"
    (model,) = httpx.get(f"{base}/v1/models").json()["data"]
    speech = BY_NAME["openai"]
    answer = speech.send(base, model="something-else")
    assert answer.headers["x-ocr-model"] == model["id"]
    assert received(speech, answer)["model"] == model["id"]
    assert httpx.get(f"{base}/v1/chat/completions").status_code == 405
    assert httpx.post(f"{base}/v1/models").status_code == 405
    assert httpx.post(f"{base}/v1/nothing").status_code == 404


def test_one_services_own_api(telling: Routed) -> None:
    assert httpx.get(f"{telling.url}/paddle/health").json()["model_loaded"] is True
    assert httpx.get(f"{telling.url}/dots/health").json() == {
        "status": "healthy",
        "model_loaded": True,
    }
    for service, name in [
        ("lighton", "openai"),
        ("lighton", "openai stream"),
        ("dots", "dots"),
        ("dots", "dots stream"),
        ("deepseek", "deepseek"),
        ("deepseek", "deepseek stream"),
        ("chatvlm", "chatvlm"),
        ("chatvlm", "chatvlm chat"),
    ]:
        speech = BY_NAME[name]
        answer = speech.send(f"{telling.url}/{service}")
        assert received(speech, answer)["model"] == OF_SERVICE[service]
    paddle = httpx.post(f"{telling.url}/paddle{CHAT_PATH}", json=chat(model="x", stream=True))
    assert (paddle.status_code, list(paddle.json())) == (400, ["detail"])


# ---- what the models are asked


@pytest.mark.parametrize(
    ("words", "model", "task"),
    [
        ("Extract the receipt", "paddle", "receipt"),
        ("All tables, please", "paddle", "table"),
        ("<image>\n<|grounding|>Convert the document to markdown.", "deepseek", "layout"),
        ("Free OCR.", "deepseek", "text"),
        ("Parse the figure.", "deepseek", "figure"),
        ("Locate <|ref|>fox<|/ref|> in the image.", "deepseek", "locate"),
        ("Describe this image in detail.", "deepseek", "chat"),
        ("Whatever is on it", "deepseek", "markdown"),
        ("What is there?", "qwen3_vl_2b", "chat"),
        ("What is there?", "got_ocr", "text"),
        ("Please output the layout information from the PDF image, ...", "dots", "layout_only"),
        (
            (
                "Please output the layout information from the PDF image, including each layout"
                " element's bbox, its category, and the corresponding text content within the bbox."
                "\n\n1. Bbox format: [x1, y1, x2, y2]"
            ),
            "dots",
            "layout",
        ),
        ("Extract the text content from this image.", "dots", "text"),
        (
            (
                "Extract text from the given bounding box on the image (format: [x1, y1, x2, y2])."
                "\nBounding Box:\n[1, 2, 30, 15]"
            ),
            "dots",
            "region",
        ),
        ("Anything else", "dots", "layout"),
    ],
)
def test_words_of_openai_messages(telling: Routed, words: str, model: str, task: str) -> None:
    body = chat(text_part(words), image_part(), model=model)
    answer = httpx.post(telling.url + CHAT_PATH, json=body)
    assert f'\\"task\\":\\"{task}\\"' in answer.text


def test_system_words_select_no_mode(telling: Routed) -> None:
    body = chat(text_part("Extract text"), image_part(), model="paddle")
    body["messages"].insert(0, {"role": "system", "content": "You read every receipt."})
    told = received(BY_NAME["openai"], httpx.post(telling.url + CHAT_PATH, json=body))
    assert told["task"] == "markdown"


@pytest.mark.parametrize("speech", SINGLE, ids=lambda speech: speech.name)
def test_task_header(telling: Routed, speech: Speech) -> None:
    headers = {"x-ocr-model": "paddle", "x-ocr-task": "Invoice"}
    assert received(speech, speech.send(telling.url, headers=headers))["task"] == "invoice"
    bad = speech.send(telling.url, headers={"x-ocr-task": "everything"})
    assert bad.status_code == 400
    assert "x-ocr-task must be one of text, markdown," in bad.text


def test_task_header_in_batches(telling: Routed) -> None:
    for name in ("deepseek batch", "chatvlm batch"):
        speech = BY_NAME[name]
        headers = {"x-ocr-model": "paddle", "x-ocr-task": "invoice"}
        assert received(speech, speech.send(telling.url, headers=headers))["task"] == "invoice"
    deepseek = BY_NAME["deepseek batch"]
    own = deepseek.send(telling.url, headers={"x-ocr-task": "figure"})
    assert received(deepseek, own)["task"] == "figure"


OWN = {
    "LightOnOCR-1B-1025": (0.1, 4096),
    "PaddlePaddle/PaddleOCR-VL": (0.7, 1024),
    "dots-ocr": (0.1, 12000),
    "deepseek-ocr": (0.0, 8192),
    "qwen3_vl_2b": (0.7, 512),
}
"""Temperature and tokens that each service takes when a request names none (contract.md)."""


@pytest.mark.parametrize("model", OWN)
@pytest.mark.parametrize(
    "speech",
    [speech for speech in SINGLE if speech.name != "chatvlm"],
    ids=lambda speech: speech.name,
)
def test_absent_sampling_stays_absent(telling: Routed, speech: Speech, model: str) -> None:
    """The service's own defaults apply, never the dialect's."""
    answer = speech.send(telling.url, headers={"x-ocr-model": model})
    sampling = received(speech, answer)["sampling"]
    told = sampling["temperature"], sampling["max_tokens"]
    # `/ocr` of chatvlm names no sampling; there the model sets what is absent.
    assert told == OWN[model] or (model == "qwen3_vl_2b" and told == (None, None))
    assert "x-ocr-clamped" not in answer.headers


@pytest.mark.parametrize("model", OWN)
def test_sampling_arrives(telling: Routed, model: str) -> None:
    sent: dict[str, Any] = {"temperature": 0.5, "max_tokens": 300}
    for name in ("openai", "deepseek", "chatvlm chat"):
        speech = BY_NAME[name]
        answer = speech.send(telling.url, headers={"x-ocr-model": model}, **sent)
        sampling = received(speech, answer)["sampling"]
        assert (sampling["temperature"], sampling["max_tokens"]) == (0.5, 300)
        assert "x-ocr-clamped" not in answer.headers
    speech = BY_NAME["dots"]
    answer = speech.send(
        telling.url, headers={"x-ocr-model": model}, temperature=0.5, max_new_tokens=300
    )
    assert received(speech, answer)["sampling"]["max_tokens"] == 300


@pytest.mark.parametrize(
    ("model", "sent", "clamped", "got"),
    [
        ("qwen3_vl_2b", {"temperature": 1.5}, "temperature", {"temperature": 1.0}),
        ("paddle", {"max_tokens": 9000}, "max_tokens", {"max_tokens": 4096}),
        ("deepseek", {"max_tokens": 9000}, "max_tokens", {"max_tokens": 8192}),
        ("deepseek", {"max_tokens": -1}, "max_tokens", {"max_tokens": 8192}),
        ("dots", {"max_tokens": -1}, "max_tokens", {"max_tokens": 12000}),
        ("dots", {"temperature": 2, "max_tokens": 90000}, "", {"temperature": 2.0}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_clamped_and_named(
    telling: Routed,
    model: str,
    sent: dict[str, Any],
    clamped: str,
    got: dict[str, float],
    stream: bool,
) -> None:
    speech = BY_NAME["openai stream" if stream else "openai"]
    answer = speech.send(telling.url, model=model, **sent)
    sampling = received(speech, answer)["sampling"]
    assert {name: sampling[name] for name in got} == got
    assert answer.headers.get("x-ocr-clamped", "") == clamped


def test_what_a_dialect_fixes_stays_fixed(router: Routed) -> None:
    headers = {"x-ocr-model": "deepseek-ocr"}
    dots = BY_NAME["dots"].send(router.url, headers=headers).json()
    assert dots == {"model": "dots-ocr", "prompt_type": "prompt_ocr", "response": FOX}
    openai = BY_NAME["openai"].send(router.url, model="vllm/any", headers=headers).json()
    assert openai["object"] == "chat.completion"
    chatvlm = BY_NAME["chatvlm"].send(router.url, model="deepseek", language="ru").json()
    assert (chatvlm["model"], chatvlm["language"]) == ("deepseek", "ru")
    talk = BY_NAME["chatvlm chat"].send(router.url, model="dots").json()
    assert talk["prompt"] == "What is there?"


# ---- lists


def test_lists_of_models(router: Routed) -> None:
    openai = httpx.get(router.url + "/v1/models").json()
    assert openai["object"] == "list"
    assert sorted(row["id"] for row in openai["data"]) == sorted(MODELS)
    assert {row["owned_by"] for row in openai["data"]} == set(SERVICES)
    chatvlm = httpx.get(router.url + "/models").json()
    assert list(chatvlm) == ["available", "loaded"]
    assert {row["id"] for row in chatvlm["available"]} == set(MODELS)
    assert all(list(row) == ["id", "name", "params"] for row in chatvlm["available"])


def test_unload(router: Routed) -> None:
    BY_NAME["chatvlm"].send(router.url, model="qwen_vl_7b")
    done = httpx.delete(router.url + "/models/qwen_vl_7b")
    assert done.json() == {"status": "success", "message": "Model qwen_vl_7b unloaded"}
    again = httpx.delete(router.url + "/models/qwen_vl_7b")
    assert (again.status_code, again.json()) == (404, {"detail": "Model qwen_vl_7b not loaded"})
    kept = httpx.delete(router.url + "/models/dots-ocr")
    assert (kept.status_code, list(kept.json())) == (400, ["detail"])
    none = httpx.delete(router.url + "/models/nobody")
    assert none.status_code == 404
    assert "dots-ocr" in none.json()["detail"]


# ---- which of the formats of /ocr


def test_formats_of_ocr_are_told_apart(router: Routed) -> None:
    def ocr(**request: Any) -> httpx.Response:
        return httpx.post(router.url + "/ocr", **request)

    assert "response" in ocr(json={"image": PAGE, "image_format": "base64"}).json()
    assert "request_id" in ocr(json={"image_base64": PAGE}).json()
    assert "image_size" in ocr(files=upload()).json()
    assert "request_id" in ocr(json={"image_base64": PAGE, "image": None}).json()
    assert (
        "response"
        in ocr(json={"image": PAGE, "image_format": "base64", "image_base64": None}).json()
    )
    assert ocr(json={"image_base64": None}).json() == {"detail": "image_base64 is required"}
    assert ocr(json={"image": None}).json() == {"error": "No image data provided"}
    for body in (b"", b"{}", b"[]", b"null", b'{"document": {}}', b"\xff\xfe", b'{"images": 1}'):
        refused = ocr(content=body)
        assert refused.status_code == 400
        for word in ("image_base64", "multipart", "`image`"):
            assert word in refused.json()["detail"], body
    both = ocr(json={"image": PAGE, "image_base64": PAGE})
    assert both.status_code == 400
    assert "more than one" in both.json()["detail"]
    broken = ocr(content=b'{"image_base64": "abc')
    assert (broken.status_code, list(broken.json())) == (400, ["detail"])
    broken = ocr(content=b'{"image": "abc')
    assert (broken.status_code, list(broken.json())) == (400, ["error"])


# ---- port 8000


def test_legacy_ocr_by_content_type(router: Routed) -> None:
    """JSON is deepseek's whatever it holds, any other is chatvlm's."""

    def ocr(**request: Any) -> httpx.Response:
        return httpx.post(router.legacy + "/ocr", **request)

    assert "request_id" in ocr(json={"image_base64": PAGE}).json()
    assert "image_size" in ocr(files=upload()).json()
    bodies: list[Any] = [{}, {"image": PAGE}, [], {"file": "x"}]
    for body in bodies:
        refused = ocr(json=body)
        assert refused.status_code == 400
        assert "image_base64" in refused.text or "object" in refused.text
    for headers in ({"content-type": "text/plain"}, {"content-type": "image/png"}, {}):
        refused = ocr(content=b"x", headers=headers)
        assert refused.status_code == 400
        assert "multipart/form-data" in refused.json()["detail"]
    unmarked = ocr(content=json.dumps({"image_base64": PAGE}))
    assert "request_id" in unmarked.json()


def test_legacy_knows_its_two_documents_alone(router: Routed) -> None:
    json_named = httpx.post(
        router.legacy + "/ocr", json={"image_base64": PAGE, "model": "deepseek-ai/DeepSeek-OCR"}
    )
    assert json_named.headers["x-ocr-model"] == "deepseek-ocr"
    for path, files in (("/ocr", upload()), ("/batch/ocr", upload(field="files"))):
        other = httpx.post(router.legacy + path, files=files, params={"model": "dots-ocr"})
        assert other.status_code == 404
        told = other.json()["detail"]
        assert told.startswith("Model 'dots-ocr' not found. Available: ")
        assert set(told.partition("Available: ")[2].split(", ")) == set(MODELS[4:])
        own = httpx.post(router.legacy + path, files=files, params={"model": "got_ocr"})
        assert own.headers["x-ocr-model"] == "got_ocr"
    gone = httpx.delete(router.legacy + "/models/nobody")
    assert (gone.status_code, gone.json()) == (404, {"detail": "Model nobody not loaded"})


def test_legacy_pages(router: Routed) -> None:
    assert httpx.get(router.legacy + "/").json()["message"] == "ChatVLMLLM API"
    models = httpx.get(router.legacy + "/models").json()
    assert [row["id"] for row in models["available"]] == [
        "got_ocr",
        "qwen_vl_2b",
        "qwen_vl_7b",
        "qwen3_vl_2b",
        "qwen3_vl_4b",
        "qwen3_vl_8b",
        "dots_ocr",
    ]
    health = httpx.get(router.legacy + "/health").json()
    for key in (
        *("status", "model_loaded", "gpu_available", "timestamp"),
        *("gpu_name", "models_loaded", "loaded_models"),
    ):
        assert key in health
    for path in ("/docs", "/redoc"):
        page = httpx.get(router.legacy + path)
        assert page.headers["content-type"].startswith("text/html")
    paths = httpx.get(router.legacy + "/openapi.json").json()["paths"]
    assert {"/ocr", "/ocr/file", "/ocr/stream", "/ocr/batch", "/chat", "/batch/ocr"} <= set(paths)
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("POST", "/v1/chat/completions", 404),
        ("GET", "/ocr", 405),
        ("POST", "/health", 405),
    ):
        refused = httpx.request(method, router.legacy + path)
        message = {404: "Not Found", 405: "Method Not Allowed"}[status]
        assert (refused.status_code, refused.json()) == (status, {"detail": message})


@pytest.mark.parametrize(
    "speech",
    [one for one in SPEECHES if one.service in {"deepseek", "chatvlm"}],
    ids=lambda speech: speech.name,
)
def test_legacy_speaks_both(router: Routed, speech: Speech) -> None:
    answer = speech.send(router.legacy)
    assert speech.text(answer) == FOX
    assert answer.headers["x-ocr-model"] == speech.model
