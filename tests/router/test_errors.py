"""Every kind of error in every dialect's own shape, whoever was asked: real services behind a real
router, and servers that know nothing of a fleet."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.router.originals import Original, original
from tests.router.speaking import BY_NAME, CHAT_PATH, MODELS, OF_SERVICE, SINGLE, Speech
from tests.routing import Routed, routed, routed_fleet
from tests.running import SERVICES
from tests.samples import bomb, huge_header, message_of, noisy, upload
from tests.serving import served

SERVICE_MODELS = tuple(OF_SERVICE.values())


@pytest.fixture(scope="module")
def router() -> Iterator[Routed]:
    with routed_fleet(
        SERVICES,
        OCR_FLEET_FAKE='{"text": "text", "size": [40, 20]}',
        OCR_FLEET_IMAGE_BYTES_MAX="100000",
        OCR_FLEET_ROUTER_BODY_BYTES_MAX="2000000",
    ) as one:
        yield one


def by_name(speech: Speech) -> str:
    return speech.name


# ---- what the client sent


@pytest.mark.parametrize("speech", SINGLE, ids=by_name)
@pytest.mark.parametrize("model", SERVICE_MODELS)
@pytest.mark.parametrize("page", [b"no image", b""], ids=["no image", "empty"])
def test_bad_image(router: Routed, speech: Speech, model: str, page: bytes) -> None:
    answer = speech.send(router.url, page=page, headers={"x-ocr-model": model})
    assert answer.status_code == 400
    message = message_of(speech.service, answer)
    if speech.service == "lighton" and page:
        assert message == "Failed to load image or audio file"
    if speech.service == "deepseek" and page:
        wanted = "Invalid base64 image: " if speech.name == "deepseek" else "Invalid image file: "
        assert message.startswith(wanted)
    assert message.count("Invalid") <= 1


@pytest.mark.parametrize("speech", SINGLE, ids=by_name)
@pytest.mark.parametrize("model", SERVICE_MODELS)
@pytest.mark.parametrize("page", [bomb(), huge_header()], ids=["bomb", "huge"])
def test_too_many_pixels(router: Routed, speech: Speech, model: str, page: bytes) -> None:
    answer = speech.send(router.url, page=page, headers={"x-ocr-model": model})
    too_large = {"lighton": 413, "chatvlm": 413}.get(speech.service, 400)
    assert answer.status_code == too_large, answer.text
    message_of(speech.service, answer)


@pytest.mark.parametrize("speech", SINGLE, ids=by_name)
@pytest.mark.parametrize("model", SERVICE_MODELS)
def test_too_many_bytes(router: Routed, speech: Speech, model: str) -> None:
    """More than the service takes, and more than the router does."""
    too_large = {"lighton": 413, "chatvlm": 413}.get(speech.service, 400)
    for size in (150_000, 2_100_000):
        page = noisy("PNG")
        page += bytes(size - len(page))
        answer = speech.send(router.url, page=page, headers={"x-ocr-model": model})
        assert answer.status_code == too_large, answer.text
        message_of(speech.service, answer)


@pytest.mark.parametrize("speech", SINGLE, ids=by_name)
@pytest.mark.parametrize("place", ["query", "header", "body"])
def test_unknown_model(router: Routed, speech: Speech, place: str) -> None:
    """404, and the message lists the models."""
    match place:
        case "query":
            answer = speech.send(router.url, query={"model": "nobody"})
        case "header":
            answer = speech.send(router.url, headers={"x-ocr-model": "nobody"})
        case _:
            answer = speech.send(router.url, model="nobody")
    assert answer.status_code == 404
    message = message_of(speech.service, answer)
    assert "'nobody'" in message
    assert all(model in message for model in MODELS)


@pytest.mark.parametrize("name", ["deepseek batch", "chatvlm batch"])
def test_unknown_model_of_a_batch(router: Routed, name: str) -> None:
    answer = BY_NAME[name].send(router.url, query={"model": "nobody"})
    assert answer.status_code == 404
    assert "dots-ocr" in message_of(BY_NAME[name].service, answer)


@pytest.mark.parametrize("speech", SINGLE, ids=by_name)
@pytest.mark.parametrize("model", SERVICE_MODELS)
def test_wrong_values(router: Routed, speech: Speech, model: str) -> None:
    headers = {"x-ocr-model": model}
    fields = {"dots": {"max_new_tokens": 0}}.get(speech.service, {"max_tokens": 0})
    for wrong in ({"temperature": "warm"}, {"temperature": 7}, fields):
        answer = speech.send(router.url, headers=headers, **wrong)
        assert answer.status_code == 400, answer.text
        assert next(iter(wrong)) in message_of(speech.service, answer)


@pytest.mark.parametrize("model", SERVICE_MODELS)
def test_wrong_bodies(router: Routed, model: str) -> None:
    headers = {"x-ocr-model": model}
    for service, path in (("lighton", CHAT_PATH), ("deepseek", "/ocr/batch")):
        for body in (b"", b"{", b"[]", b'{"messages": 1, "requests": 1}', b"\xff"):
            answer = httpx.post(router.url + path, content=body, headers=headers)
            assert answer.status_code == 400, (path, body, answer.text)
            message_of(service, answer)
    for service, path in (("deepseek", "/ocr/file"), ("chatvlm", "/chat")):
        for files in (None, upload(field="other")):
            answer = httpx.post(router.url + path, files=files, headers=headers)
            assert answer.status_code == 400
            assert message_of(service, answer)
    refused: list[dict[str, Any]] = [
        {"n": 2},
        {"tools": [{}]},
        {"response_format": {"type": "json_object"}},
    ]
    for more in refused:
        answer = BY_NAME["openai"].send(router.url, headers=headers, **more)
        assert answer.status_code == 400, answer.text
        message_of("lighton", answer)


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("lighton", "/nothing"),
        ("lighton", "/v1/nothing"),
        ("lighton", "/"),
        ("lighton", "/v1/chat/completions/more"),
        ("lighton", "/m/dots-ocr/v1/nothing"),
        ("lighton", "/m/nobody/v1/models"),
        ("paddle", "/paddle/nothing"),
        ("dots", "/dots/nothing"),
        ("deepseek", "/deepseek/nothing"),
        ("chatvlm", "/chatvlm/nothing"),
        ("lighton", "/lighton/nothing"),
    ],
)
def test_unknown_route(router: Routed, service: str, path: str) -> None:
    for method in ("GET", "POST"):
        if "nobody" not in path or method == "GET":
            answer = httpx.request(method, router.url + path)
            assert answer.status_code == 404
            message_of(service, answer)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/chat/completions"),
        ("PUT", "/ocr"),
        ("GET", "/ocr/stream"),
        ("DELETE", "/chat"),
        ("POST", "/v1/models"),
        ("POST", "/health"),
        ("GET", "/m/dots-ocr/v1/chat/completions"),
        ("POST", "/m/dots-ocr/v1/models"),
    ],
)
def test_wrong_method(router: Routed, method: str, path: str) -> None:
    answer = httpx.request(method, router.url + path)
    assert answer.status_code == 405
    assert message_of("lighton", answer) == "Method Not Allowed"
    assert answer.headers["allow"]


# ---- what became of it


@pytest.fixture(scope="module")
def slow() -> Iterator[Routed]:
    """Services that give up after a moment."""
    with routed_fleet(
        SERVICES, OCR_FLEET_FAKE='{"first_delay_s": 20}', OCR_FLEET_TIMEOUT_S="0.05"
    ) as one:
        yield one


@pytest.mark.parametrize("speech", SINGLE, ids=by_name)
@pytest.mark.parametrize("model", SERVICE_MODELS)
def test_timeout(slow: Routed, speech: Speech, model: str) -> None:
    answer = speech.send(slow.url, headers={"x-ocr-model": model})
    status = {"lighton": 408, "dots": 500, "deepseek": 503, "chatvlm": 500}[speech.service]
    assert answer.status_code == status, answer.text
    assert "longer than 0.05 seconds" in message_of(speech.service, answer)


@pytest.fixture(scope="module")
def broken() -> Iterator[Routed]:
    """Services whose engine fails at once, or inside the answer."""
    with ExitStack() as stack:
        urls = {
            name: stack.enter_context(served(name, OCR_FLEET_FAKE=json.dumps({"fail_after": 0})))
            for name in SERVICES
        }
        yield stack.enter_context(routed(urls))


@pytest.mark.parametrize("speech", SINGLE, ids=by_name)
@pytest.mark.parametrize("model", SERVICE_MODELS)
def test_engine_failed(broken: Routed, speech: Speech, model: str) -> None:
    answer = speech.send(broken.url, headers={"x-ocr-model": model})
    assert answer.status_code == 500
    assert message_of(speech.service, answer) == "the script says to fake here".replace(
        "fake", "fail"
    )


def test_engine_failed_inside_a_stream() -> None:
    """Told in the dialect's way, after the text that had come."""
    script = json.dumps({"text": "one two", "pieces": 2, "fail_after": 1})
    with routed_fleet(SERVICES, OCR_FLEET_FAKE=script) as router:
        for model in ("LightOnOCR-1B-1025", "PaddlePaddle/PaddleOCR-VL", "deepseek-ocr", "got_ocr"):
            headers = {"x-ocr-model": model}
            openai = BY_NAME["openai stream"].send(router.url, headers=headers).text
            *_, failure, end, _ = openai.split("\n\n")
            assert '"content":"one"' in openai
            assert "the script says to fail" in json.loads(failure[6:])["error"]["message"]
            assert end == "data: [DONE]"
            dots = BY_NAME["dots stream"].send(router.url, headers=headers).text.splitlines()
            last = json.loads(dots[-1])
            assert (last["done"], list(last)) == (True, ["model", "error", "done"])
            deepseek = BY_NAME["deepseek stream"].send(router.url, headers=headers).text
            assert deepseek.startswith("data: one\n\ndata: ERROR: ")
            assert "[DONE]" not in deepseek


def test_nobody_there() -> None:
    """Every service's replica is gone: a clear error in time, in every dialect."""
    gone = dict.fromkeys(SERVICES, "http://127.0.0.1:9")
    probes = {"OCR_FLEET_ROUTER_PROBE_DOWN_S": "0.05", "OCR_FLEET_ROUTER_PATIENCE_S": "0.05"}
    with routed(gone, ready=False, **probes) as router:  # type: ignore[arg-type]
        for speech in SINGLE:
            answer = speech.send(router.url)
            assert answer.status_code in {429, 500, 503}, answer.text
            message_of(speech.service, answer)
        assert until(lambda: httpx.get(router.url + "/readyz").status_code == 503)
        health = httpx.get(router.url + "/health")
        assert (health.status_code, health.json()["status"]) == (200, "unhealthy")


def until(true: Callable[[], bool]) -> bool:
    ends = time.monotonic() + 5
    while not true() and time.monotonic() < ends:
        time.sleep(0.01)
    return true()


# ---- servers that know nothing of a fleet


@pytest.fixture(scope="module")
def originals() -> Iterator[tuple[Routed, dict[str, Original]]]:
    with ExitStack() as stack:
        servers = {name: stack.enter_context(original(name)) for name in SERVICES}
        urls = {name: server.url for name, server in servers.items()}
        yield stack.enter_context(routed(urls, OCR_FLEET_ROUTER_PATIENCE_S="0.05")), servers


BAD_IMAGE = {
    "lighton": (
        400,
        {"error": {"message": "Failed to load image or audio file", "type": "x", "code": 400}},
    ),
    "paddle": (400, {"detail": "cannot identify image file"}),
    "dots": (400, {"error": "cannot identify image file"}),
    "deepseek": (400, {"detail": "Invalid image file: cannot identify image file"}),
    "chatvlm": (400, {"detail": "cannot identify image file"}),
}
FAILED = {
    "lighton": (500, {"error": {"message": "CUDA out of memory", "type": "x", "code": 500}}),
    "paddle": (500, {"error": "CUDA out of memory", "type": "RuntimeError"}),
    "dots": (500, {"error": "CUDA out of memory"}),
    "deepseek": (500, {"detail": "CUDA out of memory"}),
    "chatvlm": (500, {"detail": "CUDA out of memory"}),
}


@pytest.mark.parametrize("wire", SERVICES)
@pytest.mark.parametrize("speech", SINGLE, ids=by_name)
@pytest.mark.parametrize(("status", "told"), [(400, BAD_IMAGE), (500, FAILED)])
def test_an_originals_error_in_every_dialect(
    originals: tuple[Routed, dict[str, Original]],
    wire: str,
    speech: Speech,
    status: int,
    told: dict[str, tuple[int, object]],
) -> None:
    router, servers = originals
    code, body = told[wire]
    servers[wire].failing = (code, {}, json.dumps(body).encode())
    try:
        answer = speech.send(router.url, headers={"x-ocr-model": OF_SERVICE[wire]})
    finally:
        servers[wire].failing = None
    assert answer.status_code == status, answer.text
    if speech.service == wire:
        assert answer.json() == body
    else:
        assert message_of(speech.service, answer)


@pytest.mark.parametrize("wire", ["lighton", "dots"])
@pytest.mark.parametrize("speech", SINGLE, ids=by_name)
def test_busy(originals: tuple[Routed, dict[str, Original]], wire: str, speech: Speech) -> None:
    """A server that stays busy for longer than the caller may wait."""
    router, servers = originals
    status = 429 if wire == "dots" else 503
    servers[wire].failing = (status, {"retry-after": "1"}, b'{"detail": "busy", "error": "busy"}')
    try:
        answer = speech.send(router.url, headers={"x-ocr-model": OF_SERVICE[wire]})
    finally:
        servers[wire].failing = None
    assert answer.status_code == (429 if speech.service == "dots" else 503), answer.text
    assert int(answer.headers["retry-after"]) >= 1
    message_of(speech.service, answer)


def test_page_of_an_address_where_the_format_has_none(router: Routed) -> None:
    body = {"image": "http://127.0.0.1:9/page.png", "image_format": "url"}
    for model in ("deepseek-ocr", "qwen3_vl_2b"):
        answer = httpx.post(router.url + "/ocr", json=body, headers={"x-ocr-model": model})
        assert (answer.status_code, list(answer.json())) == (400, ["error"])
        assert "base64" in answer.json()["error"]
