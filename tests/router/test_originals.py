"""Servers that know nothing of a fleet, in front of every dialect: they are asked in their own
documented words and their documented answers are translated; what they do not tell is estimated,
and marked so. Where the dialect is theirs, bytes pass as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from shared.layout import read_dots, read_grounding
from tests.router.originals import BLOCKS, SIZE, TEXT, WORD, Original, original
from tests.router.speaking import BY_NAME, CHAT_PATH, OF_SERVICE, SINGLE, Speech
from tests.routing import Routed, routed
from tests.running import SERVICES
from tests.samples import PAGE, chat, image_part, png, text_part, upload

Fleet = tuple[Routed, dict[str, Original]]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with ExitStack() as stack:
        servers = {name: stack.enter_context(original(name)) for name in SERVICES}
        urls = {name: server.url for name, server in servers.items()}
        yield stack.enter_context(routed(urls)), servers


def by_name(speech: Speech) -> str:
    return speech.name


@pytest.mark.parametrize(
    ("speech", "service"),
    # The stubs do not stream, and a stream in their own dialect would pass as it is.
    [
        pytest.param(speech, service, id=f"{speech.name}-{service}")
        for speech in SINGLE
        for service in SERVICES
        if not (speech.streams and speech.service == service)
    ],
)
def test_originals_are_translated(fleet: Fleet, speech: Speech, service: str) -> None:
    router, _ = fleet
    answer = speech.send(router.url, headers={"x-ocr-model": OF_SERVICE[service]})
    assert answer.status_code == 200, answer.text
    assert WORD in speech.text(answer)
    tells_usage = service in {"lighton", "paddle"} or speech.service == service
    assert ("x-ocr-usage" in answer.headers) != tells_usage


@pytest.mark.parametrize("service", ["dots", "deepseek", "chatvlm"])
@pytest.mark.parametrize("name", ["openai", "openai stream"])
def test_usage_is_estimated_and_marked(fleet: Fleet, service: str, name: str) -> None:
    router, _ = fleet
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if "stream" in name else {}
    body = BY_NAME[name].body(png())["json"] | {"model": service} | more
    answer = httpx.post(router.url + CHAT_PATH, json=body)
    assert answer.headers["x-ocr-usage"] == "estimated"
    whole = answer.text.split("\n\n")[-3].removeprefix("data: ") if more else answer.text
    usage = json.loads(whole)["usage"]
    assert usage["completion_tokens"] > 3
    assert usage["prompt_tokens"] == 4


def test_usage_that_is_told_is_kept(fleet: Fleet) -> None:
    router, _ = fleet
    answer = BY_NAME["openai"].send(router.url, model="paddle")
    assert answer.json()["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 7,
        "total_tokens": 10,
    }


def test_what_originals_are_asked(fleet: Fleet) -> None:
    """Their own documented fields alone: absent sampling stays absent, and nothing streams."""
    router, servers = fleet
    for service in SERVICES:
        servers[service].received.clear()
    for service in ("paddle", "dots", "deepseek", "chatvlm"):
        BY_NAME["openai"].send(router.url, model=service)
    BY_NAME["dots"].send(router.url, headers={"x-ocr-model": "lighton"})
    (paddle,) = servers["paddle"].received
    assert paddle.fields == {
        "model": "PaddlePaddle/PaddleOCR-VL",
        "messages": [
            {"role": "user", "content": [text_part("Extract all text."), image_part()]},
        ],
        "stream": False,
    } or set(paddle.fields) <= {"model", "messages", "stream"}
    (dots,) = servers["dots"].received
    assert set(dots.fields) <= {"image", "image_format", "prompt_type", "stream"}
    assert dots.fields["prompt_type"] == "prompt_layout_all_en"
    (deepseek,) = servers["deepseek"].received
    assert (deepseek.path, set(deepseek.fields)) == ("/ocr", {"image_base64", "prompt"})
    (chatvlm,) = servers["chatvlm"].received
    assert chatvlm.path == "/chat"
    assert chatvlm.query == {"model": "qwen3_vl_2b", "prompt": "Extract all text."}
    assert chatvlm.fields == chatvlm.query
    (lighton,) = servers["lighton"].received
    assert set(lighton.fields) <= {"model", "messages", "stream"}
    for service in SERVICES:
        (one,) = servers[service].received
        assert one.headers["x-ocr-fleet"] == "1"
        assert len(one.headers["x-request-id"]) == 32


# ---- layouts, through every kind of model


def ask(router: Routed, dialect: str, model: str, task: str) -> httpx.Response:
    headers = {"x-ocr-model": model, "x-ocr-task": task}
    if dialect == "openai":
        body = chat(text_part(f"{WORD} text"), image_part())
        return httpx.post(router.url + CHAT_PATH, json=body, headers=headers)
    if dialect == "dots":
        boxed = {"prompt_type": "prompt_grounding_ocr", "bbox": [0, 5, 40, 13]}
        more: dict[str, Any] = boxed if task == "region" else {}
        return BY_NAME["dots"].send(router.url, headers=headers, **more)
    body = {"image_base64": PAGE, "prompt": f"{WORD} text"}
    return httpx.post(router.url + "/ocr", json=body, headers=headers)


@pytest.mark.parametrize("model", ["dots-ocr", "deepseek-ocr", "dots_ocr"])
@pytest.mark.parametrize("dialect", ["dots", "deepseek"])
def test_layouts_convert_into_each_other(fleet: Fleet, dialect: str, model: str) -> None:
    router, _ = fleet
    text = BY_NAME[dialect].text(ask(router, dialect, model, "layout"))
    found = read_dots(text) if dialect == "dots" else read_grounding(text, SIZE)
    assert [(one.category, one.text) for one in found] == [
        (one.category, one.text) for one in BLOCKS
    ]
    for one, other in zip(found, BLOCKS, strict=True):
        assert all(abs(a - b) <= 1 for a, b in zip(one.box, other.box, strict=True))


@pytest.mark.parametrize("model", ["lighton", "paddle", "got_ocr"])
@pytest.mark.parametrize("dialect", ["dots", "deepseek", "openai"])
def test_layout_of_a_model_without_boxes(fleet: Fleet, dialect: str, model: str) -> None:
    router, _ = fleet
    answer = ask(router, dialect, model, "layout")
    text = BY_NAME[dialect].text(answer)
    (block,) = read_grounding(text, SIZE) if dialect == "deepseek" else read_dots(text)
    assert (block.category, block.box) == ("Text", (0, 0, *SIZE))
    assert WORD in block.text
    assert answer.headers["x-ocr-loss"] == "the layout is one Text block over the page"


@pytest.mark.parametrize("model", ["dots-ocr", "deepseek-ocr", "dots_ocr"])
@pytest.mark.parametrize("dialect", ["openai", "deepseek"])
def test_locate(fleet: Fleet, dialect: str, model: str) -> None:
    router, _ = fleet
    text = BY_NAME[dialect].text(ask(router, dialect, model, "locate"))
    (block,) = read_dots(text) or read_grounding(text, SIZE)
    assert all(abs(a - b) <= 1 for a, b in zip(block.box, BLOCKS[3].box, strict=True))


@pytest.mark.parametrize("model", ["dots-ocr", "deepseek-ocr", "dots_ocr"])
def test_region_and_table(fleet: Fleet, model: str) -> None:
    router, _ = fleet
    region = BY_NAME["dots"].text(ask(router, "dots", model, "region"))
    assert f"{WORD} table" in region
    assert f"{WORD} text" not in region
    for dialect in ("openai", "dots", "deepseek"):
        table = BY_NAME[dialect].text(ask(router, dialect, model, "table"))
        assert table == BLOCKS[1].text
        only = BY_NAME[dialect].text(ask(router, dialect, model, "layout_only"))
        assert WORD not in only
        assert read_dots(only) or read_grounding(only, SIZE)


@pytest.mark.parametrize("model", ["dots-ocr", "deepseek-ocr", "dots_ocr"])
def test_markdown_of_a_layout(fleet: Fleet, model: str) -> None:
    router, _ = fleet
    assert BY_NAME["openai"].text(ask(router, "openai", model, "markdown")) == TEXT


# ---- the same dialect on both sides


def test_unknown_fields_survive_both_ways(fleet: Fleet) -> None:
    """Bytes pass as they are, there and back."""
    router, servers = fleet
    cases: list[tuple[str, str, dict[str, Any]]] = [
        ("lighton", CHAT_PATH, {"json": chat(image_part(), top_k=3, future={"a": [1.0, None]})}),
        ("dots", "/ocr", {"json": {"image": PAGE, "image_format": "base64", "future": [1]}}),
        ("deepseek", "/ocr", {"json": {"image_base64": PAGE, "future": "x"}}),
        ("deepseek", "/ocr/file", {"files": upload(), "data": {"future": "x"}}),
        ("deepseek", "/ocr/batch", {"json": {"requests": [], "future": 1}}),
        ("chatvlm", "/chat", {"files": upload(), "data": {"prompt": "p", "future": "x"}}),
        ("chatvlm", "/batch/ocr", {"files": upload(field="files")}),
    ]
    told = b'{"future": [1, 2.50, null], "error": null, "text" : "\\u00e9"}'
    for service, path, request in cases:
        server = servers[service]
        server.received.clear()
        server.failing = (200, {"x-future": "yes", "content-type": "application/json"}, told)
        try:
            query = {"future": "a b", "model": OF_SERVICE[service]}
            sent = httpx.Request("POST", router.url + path, params=query, **request)
            sent.headers["x-future"] = "ä".encode("latin-1").decode("latin-1")
            sent.read()
            with httpx.Client() as http:
                answer = http.send(sent)
        finally:
            server.failing = None
        (one,) = server.received
        assert answer.content == told
        assert answer.headers["x-future"] == "yes"
        assert one.body == sent.content
        assert one.path == path
        assert one.query["future"] == "a b"
        assert one.headers["content-type"] == sent.headers["content-type"]
        assert answer.headers["x-ocr-model"] == OF_SERVICE[service]
