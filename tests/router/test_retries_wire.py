"""Who is asked again, when, and how often: replicas that are dead, busy or come back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.router.asks import ASKS, MODELS, WIRES, Ask
from tests.routing import Routed, routed
from tests.running import free_port
from tests.samples import DOTS, http, message_of
from tests.stubs import CHUNKED, Behaviour, Call, Stub, chunk, head, stub, wait_until

ONE = [ask for ask in ASKS if "batch" not in ask.name]
TEXT = "Ümlauts, 漢字 and 🦊 in one line"
TOLD = json.dumps({"response": TEXT, "text": TEXT, "done": True}).encode()
OK = json.dumps({"model": "dots-ocr", "response": TEXT, "done": True}).encode()
FRAMES = {
    "openai stream": [
        b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n'
        % TEXT.encode(),
        b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ],
    "dots stream": [
        json.dumps({"response": TEXT, "done": False}, ensure_ascii=False).encode() + b"\n",
        b'{"response":"","done":true}\n',
    ],
    "deepseek stream": [b"data: %s\n\n" % TEXT.encode(), b"data: [DONE]\n\n"],
}


async def _well(call: Call) -> None:
    await call.reply(body=OK)


def send(router: Routed, ask: Ask, service: str) -> httpx.Response:
    headers = {"content-type": ask.media_type, "x-ocr-model": MODELS[service]}
    return http.post(router.url + ask.path, content=ask.body, headers=headers)


def ask_dots(router: Routed, **more: object) -> httpx.Response:
    return http.post(router.url + "/ocr", json={**DOTS, **more})


def pool_of(router: Routed, service: str = "dots"):
    return router.app.state.pools[service].snapshot()


# ---- retries


async def _hang_up(call: Call) -> None:
    call.writer.close()


def _refusing(status: int, retry_after: str = "") -> Behaviour:
    async def refuse(call: Call) -> None:
        headers = {"retry-after": retry_after} if retry_after else {}
        await call.reply(status, b'{"error":"busy"}', headers=headers)

    return refuse


def _in_turn(*behaviours: Behaviour) -> Behaviour:
    """One after the other; the last one stays."""
    left = list(behaviours)

    async def behave(call: Call) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(call)

    return behave


def test_a_dead_replica_costs_no_page() -> None:
    """Connection refused: all is served by the other one, and the dead one is soon left alone."""
    with (
        stub(_well) as good,
        routed(
            {"dots": [f"http://127.0.0.1:{free_port()}", good.url]},
            OCR_FLEET_ROUTER_PROBE_UP_S="60",
            OCR_FLEET_ROUTER_PROBE_DOWN_S="60",
            ready=False,
        ) as router,
    ):
        wait_until(lambda: good.url in router.app.state.told)
        answers = [ask_dots(router) for _ in range(10)]
        assert [answer.status_code for answer in answers] == [200] * 10
        assert len(good.calls) == 10
        dead = pool_of(router).replicas[0]
        assert dead.breaker == "open"
        assert "connect" in dead.why or "probe" in dead.why


@pytest.mark.parametrize(
    "fault",
    [_hang_up, _refusing(502), _refusing(503), _refusing(429), _refusing(503, "30")],
    ids=["hangs up", "502", "503", "429", "503 for long"],
)
@pytest.mark.parametrize("ask", ONE, ids=[ask.name for ask in ONE])
def test_another_replica_takes_what_was_not_taken_up(ask: Ask, fault: Behaviour) -> None:
    passed = [*FRAMES[ask.name], b""] if ask.frame else []
    body = b"".join(map(chunk, passed))

    async def good(call: Call) -> None:
        if ask.frame:
            await call.send(head(200, ask.stream_type, CHUNKED) + body)
        else:
            await call.reply(body=TOLD)

    with (
        stub(fault) as bad,
        stub(good) as other,
        routed({ask.own: {"replicas": [bad.url, other.url], "replica_slots": 1}}) as router,
    ):
        for _ in range(4):
            answer = send(router, ask, ask.own)
            assert answer.status_code == 200, answer.text
            assert answer.content == (b"".join(passed) if ask.frame else TOLD)
        assert bad.calls
        assert len(other.calls) == 4
        assert all(call.body == ask.body for call in (*bad.calls, *other.calls))


def test_a_busy_replica_is_asked_again_when_it_said() -> None:
    behaviour = _in_turn(_refusing(503, "1"), _refusing(429, "1"), _well)
    with stub(behaviour) as dots, routed({"dots": dots.url}) as router:
        assert ask_dots(router).status_code == 200
        first, second, third = (call.arrived_s for call in dots.calls)
        assert 1.0 <= second - first < 1.8
        assert 1.0 <= third - second < 1.8
        assert pool_of(router).replicas[0].breaker == "closed"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("ask", ONE, ids=[ask.name for ask in ONE])
def test_a_storm_ends_with_the_patience(
    status: int, ask: Ask, storm: tuple[dict[str, Stub], Routed]
) -> None:
    stubs, router = storm
    for service in (ask.own, ask.other):
        stubs[service].behaviour = _refusing(status)
        answer = send(router, ask, service)
        assert answer.status_code == (429 if ask.own == "dots" else 503)
        message_of(ask.own, answer)
        seconds = answer.headers["retry-after"]
        assert seconds.isdigit()
        assert int(seconds) >= 1


@pytest.fixture(scope="module")
def storm() -> Iterator[tuple[dict[str, Stub], Routed]]:
    with ExitStack() as stack:
        stubs = {name: stack.enter_context(stub(_well)) for name in WIRES}
        urls = {name: one.url for name, one in stubs.items()}
        router = stack.enter_context(routed(urls, OCR_FLEET_ROUTER_PATIENCE_S="0.15"))
        yield stubs, router


def test_retries_keep_to_their_budget() -> None:
    bounds: dict[str, Any] = {
        "OCR_FLEET_ROUTER_RETRY_SAVED_MAX": "5",
        "OCR_FLEET_ROUTER_RETRY_FLOOR_PER_S": "0",
        "OCR_FLEET_ROUTER_RETRY_SHARE": "0",
    }
    with (
        stub(_hang_up) as dots,
        routed(
            {"dots": dots.url},
            OCR_FLEET_ROUTER_BREAKER_FAILURES_MAX="1000",
            **bounds,
        ) as router,
    ):
        answers = [ask_dots(router) for _ in range(10)]
        assert {answer.status_code for answer in answers} == {500}
        assert len(dots.calls) == 10 + 5


@pytest.mark.parametrize("status", [400, 404, 413, 500, 504])
def test_an_answer_is_not_asked_for_again(status: int) -> None:
    with stub(_refusing(status)) as bad, stub(_well) as other:
        with routed({"dots": [bad.url, other.url]}) as router:
            statuses = [ask_dots(router).status_code for _ in range(4)]
        assert sorted(statuses) == [200, 200, status, status]
        assert len(bad.calls) == 2


def test_the_breaker_opens_tries_and_closes() -> None:
    with (
        stub(_hang_up) as dots,
        routed(
            {"dots": dots.url},
            OCR_FLEET_ROUTER_BREAKER_BACKOFF_S="0.3",
            OCR_FLEET_ROUTER_PROBE_UP_S="60",
            OCR_FLEET_ROUTER_PROBE_DOWN_S="60",
            OCR_FLEET_ROUTER_GRACE_S="0.1",
            OCR_FLEET_ROUTER_RETRY_SAVED_MAX="1",
        ) as router,
    ):
        for _ in range(2):
            assert ask_dots(router).status_code in {429, 500}
        assert pool_of(router).replicas[0].breaker == "open"
        count = len(dots.calls)
        assert count == 3
        refused = ask_dots(router)
        assert refused.status_code in {429, 503}
        assert int(refused.headers["retry-after"]) >= 1
        assert len(dots.calls) == count, "an open breaker lets nothing through"
        dots.behaviour = _well
        wait_until(lambda: pool_of(router).replicas[0].breaker == "half_open")
        assert ask_dots(router).status_code == 200
        assert len(dots.calls) == count + 1
        assert pool_of(router).replicas[0].breaker == "closed"


def test_a_busy_serial_backend_is_not_a_dead_one() -> None:
    """While it works it answers nobody, its health page neither."""
    lock = asyncio.Lock()

    async def work(call: Call) -> None:
        async with lock:
            await asyncio.sleep(0.25)
            await call.reply(body=OK)

    async def probe(call: Call) -> None:
        async with lock:
            await call.reply()

    with (
        stub(work) as dots,
        routed(
            {"dots": dots.url},
            OCR_FLEET_ROUTER_PROBE_UP_S="0.02",
            OCR_FLEET_ROUTER_PROBE_DOWN_S="0.02",
            OCR_FLEET_ROUTER_PROBE_TIMEOUT_S="0.03",
        ) as router,
    ):
        dots.probe = probe
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: ask_dots(router), range(8)))
        assert [answer.status_code for answer in answers] == [200] * 8
        replica = pool_of(router).replicas[0]
        assert (replica.breaker, replica.ready) == ("closed", True)
