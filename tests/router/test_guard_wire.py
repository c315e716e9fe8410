"""The runaway guard from end to end: a model that loops is stopped, whoever asked and however, and
every dialect says so in its own way; what only looks like a loop passes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from tests.router.asks import ASKS, BATCH, FORM, MODELS, UPLOADS, WIRES, Ask
from tests.routing import Routed, routed
from tests.samples import chat, http
from tests.serving import served
from tests.stubs import Call, stub, wait_until

UNIT = "and-so-on-and-so-forth-without-an-end "
LOOP = UNIT * 10_000
"""A word each 5 ms goes on for seconds whatever the most tokens are; caught, for a third of one."""
LOOPING = json.dumps({"text": LOOP, "pieces": 10_000, "delay_s": 0.005})
SLOW_S = 2.0

WHOLE_PAGE = "<|ref|>text<|/ref|><|det|>[[0, 0, 999, 999]]<|/det|>\n"
"""What stands before the text where a layout is asked of a model that gives none."""

ONE = [ask for ask in ASKS if "batch" not in ask.name]


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, str]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(served(name, OCR_FLEET_FAKE=LOOPING)) for name in WIRES}


@pytest.fixture(scope="module")
def router(services: dict[str, str]) -> Iterator[Routed]:
    with routed(services) as made:
        yield made


def send(router: Routed, ask: Ask, service: str) -> httpx.Response:
    headers = {"content-type": ask.media_type, "x-ocr-model": MODELS[service]}
    return http.post(router.url + ask.path, content=ask.body, headers=headers)


@pytest.mark.parametrize("passed", [True, False], ids=["passed", "translated"])
@pytest.mark.parametrize("ask", ONE, ids=[ask.name for ask in ONE])
def test_a_looping_model_is_stopped(
    ask: Ask, passed: bool, services: dict[str, str], router: Routed
) -> None:
    service = ask.own if passed else ask.other
    before = _metric(router.url, "ocr_fleet_router_runaways_total", MODELS[service])
    began_s = time.monotonic()
    with capture_logs() as logs:
        answer = send(router, ask, service)
        wait_until(lambda: any(_is_of_router(line) for line in logs))
    assert time.monotonic() - began_s < SLOW_S
    assert answer.status_code == 200, answer.text
    assert 10 < answer.text.count("and-so-on") < 400
    _check_end(ask, answer)
    wait_until(lambda: _metric(services[service], "ocr_fleet_in_flight") == 0, 1.0)
    assert _metric(router.url, "ocr_fleet_router_runaways_total", MODELS[service]) == before + 1
    line = next(line for line in logs if _is_of_router(line))
    assert line["stop"] == "repetition"
    assert "and-so-on" in line["detail"]
    assert line["tokens"] > 100


def _check_end(ask: Ask, answer: httpx.Response) -> None:
    """What the dialect says of a runaway."""
    if not ask.frame:
        assert answer.headers["x-ocr-stop"] == "repetition"
        assert answer.headers["content-type"].startswith("application/json")
        assert "x-ocr-fleet" not in answer.headers
        body = answer.json()
        if ask.name == "openai":
            assert body["choices"][0]["finish_reason"] == "length"
            assert body["usage"]["completion_tokens"] > 100
        return
    comment = ": x-ocr-stop=repetition\n\n"
    match ask.name:
        case "openai stream":
            *_, told, last, done, nothing = answer.text.split("\n\n")
            assert (told + "\n\n", done, nothing) == (comment, "data: [DONE]", "")
            assert (
                json.loads(last.removeprefix("data: "))["choices"][0]["finish_reason"] == "length"
            )
            ids = {json.loads(one[6:])["id"] for one in answer.text.split("\n\n") if "{" in one}
            assert len(ids) == 1
        case "deepseek stream":
            assert answer.text.endswith(comment + "data: [DONE]\n\n")
        case _:
            lines = [json.loads(line) for line in answer.text.splitlines()]
            assert [line["done"] for line in lines[:-1]] == [False] * (len(lines) - 1)
            assert lines[-1]["done"] is True
            assert "error" not in lines[-1]


@pytest.mark.parametrize(
    ("path", "body", "media_type", "model"),
    [
        ("/ocr/batch", BATCH, "application/json", "LightOnOCR-1B-1025"),
        ("/batch/ocr", UPLOADS, FORM, "deepseek-ocr"),
    ],
)
def test_a_batch_of_looping_pages_is_stopped(
    path: str, body: bytes, media_type: str, model: str, router: Routed
) -> None:
    headers = {"content-type": media_type, "x-ocr-model": model}
    answer = http.post(router.url + path, content=body, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["x-ocr-stop"] == "repetition"
    assert [item["status"] for item in answer.json()["results"]] == ["success"] * 2


def test_a_looping_model_is_stopped_under_a_services_own_address(
    services: dict[str, str], router: Routed
) -> None:
    """Paddle's flavour lives there alone."""
    answer = http.post(f"{router.url}/paddle/v1/chat/completions", json=chat(model="mine"))
    assert answer.status_code == 200
    assert answer.headers["x-ocr-stop"] == "repetition"
    assert answer.json()["model"] == "mine"
    assert answer.json()["choices"][0]["finish_reason"] == "length"
    wait_until(lambda: _metric(services["paddle"], "ocr_fleet_in_flight") == 0, 1.0)


# ---- what must pass


def _table(rows: int = 300) -> str:
    lines = "\n".join(f"| {row} | Yes | 0.00 | | {row * 7919 % 1000} |" for row in range(rows))
    return "| No. | Paid | Rest | | Code |\n|---|---|---|---|---|\n" + lines


@pytest.mark.parametrize(
    ("text", "settings"),
    [(_table(), {}), (UNIT * 300, {"OCR_FLEET_ROUTER_GUARD_ENABLED": "false"})],
    ids=["a long honest table", "the guard is off"],
)
def test_what_passes(text: str, settings: dict[str, Any]) -> None:
    text = text.strip()
    script = json.dumps({"text": text, "pieces": 300})
    with (
        served("lighton", OCR_FLEET_FAKE=script) as lighton,
        served("deepseek", OCR_FLEET_FAKE=script) as deepseek,
        routed({"lighton": lighton, "deepseek": deepseek}, **settings) as router,
    ):
        for name in ("openai", "openai stream", "deepseek", "deepseek stream"):
            ask = next(one for one in ASKS if one.name == name)
            for service in ("lighton", "deepseek"):
                answer = send(router, ask, service)
                assert answer.status_code == 200
                assert "x-ocr-stop" not in answer.headers
                assert "x-ocr-stop" not in answer.text
                assert _told(ask, answer).removeprefix(WHOLE_PAGE) == text
        assert _metric(router.url, "ocr_fleet_router_runaways_total", "deepseek-ocr") == 0


def test_thresholds_are_settings() -> None:
    text = UNIT * 15
    script = json.dumps({"text": text, "pieces": 15})
    with served("dots", OCR_FLEET_FAKE=script) as dots:
        for letters, stopped in ((100, True), (2000, False)):
            with routed({"dots": dots}, OCR_FLEET_ROUTER_GUARD_LETTERS_MIN=str(letters)) as router:
                ask = next(one for one in ASKS if one.name == "dots")
                answer = send(router, ask, "dots")
                assert ("x-ocr-stop" in answer.headers) == stopped


def test_a_whole_answer_of_an_original_server_passes_byte_by_byte() -> None:
    """It does not know the fleet's way, and looped to its end before anybody could see it."""
    told = json.dumps({"model": "dots-ocr", "response": LOOP, "done": True, "own": [1]}).encode()
    calls: list[Call] = []

    async def answer(call: Call) -> None:
        calls.append(call)
        await call.reply(body=told)

    with stub(answer) as dots, routed({"dots": dots.url}) as router:
        ask = next(one for one in ASKS if one.name == "dots")
        got = send(router, ask, "dots")
        assert got.content == told
        assert calls[0].body == ask.body
        assert calls[0].headers["x-ocr-fleet"] == "1"


def test_a_loop_that_ends_in_the_same_breath_ends_once() -> None:
    """The whole stream comes in one piece, its own end with it: nothing is added."""
    frames = [{"model": "dots-ocr", "response": LOOP, "done": False}]
    frames += [{"model": "dots-ocr", "response": "", "done": True}]
    body = b"".join(json.dumps(frame).encode() + b"\n" for frame in frames)

    async def answer(call: Call) -> None:
        await call.reply(body=body, media_type="application/x-ndjson")

    with stub(answer) as dots, routed({"dots": dots.url}) as router:
        ask = next(one for one in ASKS if one.name == "dots stream")
        assert send(router, ask, "dots").content.count(b'"done": true') == 1


def _told(ask: Ask, answer: httpx.Response) -> str:
    match ask.name:
        case "openai":
            return str(answer.json()["choices"][0]["message"]["content"])
        case "deepseek":
            return str(answer.json()["text"])
        case "openai stream":
            chunks = [json.loads(one[6:]) for one in answer.text.split("\n\n") if "{" in one]
            deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
            return "".join(delta.get("content") or "" for delta in deltas)
        case _:
            events = answer.text.removesuffix("data: [DONE]\n\n").split("\n\n")
            lines = [event.split("\n") for event in events if event]
            return "".join(
                "\n".join(one.removeprefix("data: ") for one in event) for event in lines
            )


def _is_of_router(line) -> bool:
    return line.get("event") == "request" and line.get("stop") == "repetition"


def _metric(base: str, name: str, model: str = "") -> float:
    for line in http.get(base + "/metrics").text.splitlines():
        if line.startswith(name) and f'model="{model}"' in (line if model else 'model=""'):
            return float(line.rsplit(" ", 1)[1])
    return 0.0
