"""Large bodies, and many at once: what the router holds of them, and whom it asks to come back."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.router.asks import ASKS, FORM, MODELS, NDJSON_TYPE, SSE_TYPE, WIRES, Ask, form
from tests.routing import Routed, routed
from tests.running import Service, started
from tests.samples import MIB, b64, data_url, http, message_of, padded
from tests.stubs import CHUNKED, Call, Stub, calling, chunk, head, stub, wait_until

ONE = [ask for ask in ASKS if "batch" not in ask.name]
FLEET = head(200, NDJSON_TYPE, {**CHUNKED, "x-ocr-fleet": "1"})
READ = b'{"type":"text","text":"read"}\n{"type":"done"}\n'
ANSWER = FLEET + chunk(READ) + chunk(b"")

PAGE = padded(MIB)


def large(ask: Ask) -> bytes:
    """The body of that operation with a page of 1 MiB."""
    match ask.name.split()[0]:
        case "openai":
            url = data_url(PAGE)
            parts = [{"type": "image_url", "image_url": {"url": url}}]
            body = {"messages": [{"role": "user", "content": parts}], "stream": bool(ask.frame)}
        case "dots":
            body = {"image": b64(PAGE), "image_format": "base64", "stream": bool(ask.frame)}
        case _ if ask.media_type != FORM:
            body = {"image_base64": b64(PAGE)}
        case _:
            return form(("file", PAGE), ("prompt", "read it"))
    return json.dumps(body).encode()


async def _well(call: Call) -> None:
    """Answer the fleet's own way, or in the stream that was asked for."""
    if call.headers.get("x-ocr-fleet"):
        await call.send(ANSWER)
    else:
        media_type = SSE_TYPE if "stream" in call.path or "chat" in call.path else NDJSON_TYPE
        last = b"data: [DONE]\n\n" if media_type == SSE_TYPE else b'{"done":true}\n'
        await call.send(head(200, media_type, CHUNKED) + chunk(last) + chunk(b""))


@pytest.fixture(scope="module")
def stubs() -> Iterator[dict[str, Stub]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(stub(_well)) for name in WIRES}


def send(router: Routed, ask: Ask, service: str, body: bytes) -> httpx.Response:
    headers = {"content-type": ask.media_type, "x-ocr-model": MODELS[service]}
    return http.post(router.url + ask.path, content=body, headers=headers)


# ---- the budget


@pytest.fixture(scope="module")
def tight(stubs: dict[str, Stub]) -> Iterator[Routed]:
    """Room for one body and not for two; who waits does so for a moment."""
    with routed(
        {name: one.url for name, one in stubs.items()},
        OCR_FLEET_ROUTER_BUFFER_BYTES_MAX=str(2 * MIB),
        OCR_FLEET_ROUTER_BUFFER_WAIT_S="0.1",
    ) as made:
        yield made


@pytest.mark.parametrize("ask", ONE, ids=[ask.name for ask in ONE])
def test_past_the_budget_an_upload_waits_and_is_asked_to_come_back(
    ask: Ask, stubs: dict[str, Stub], tight: Routed
) -> None:
    with _holding(stubs["lighton"], tight):
        began_s = time.monotonic()
        answer = send(tight, ask, ask.own, large(ask))
        assert time.monotonic() - began_s > 0.1
    assert answer.status_code == 503
    # Nothing of the body has been read, so a JSON /ocr may be dots' as well as deepseek's.
    message_of("deepseek" if ask.own == "dots" else ask.own, answer)
    assert answer.headers["retry-after"].isdigit()
    assert int(answer.headers["retry-after"]) >= 1
    assert send(tight, ask, ask.own, large(ask)).status_code == 200, "there is room again"


def test_small_requests_pass_while_there_is_room_for_them(
    stubs: dict[str, Stub], tight: Routed
) -> None:
    ask = next(one for one in ASKS if one.name == "dots")
    with _holding(stubs["lighton"], tight):
        assert send(tight, ask, "dots", ask.body).status_code == 200


def test_an_upload_that_waits_is_served_when_there_is_room(stubs: dict[str, Stub]) -> None:
    urls = {name: one.url for name, one in stubs.items()}
    ask = next(one for one in ASKS if one.name == "deepseek")
    with (
        routed(urls, OCR_FLEET_ROUTER_BUFFER_BYTES_MAX=str(2 * MIB)) as router,
        ThreadPoolExecutor(6) as threads,
    ):
        with _holding(stubs["lighton"], router):
            waiting = [threads.submit(send, router, ask, "dots", large(ask)) for _ in range(6)]
            time.sleep(0.1)
            assert not any(one.done() for one in waiting)
        assert [one.result().status_code for one in waiting] == [200] * 6
        wait_until(lambda: _buffered_bytes(router.url) == 0)


@contextmanager
def _holding(one: Stub, router: Routed) -> Iterator[None]:
    """A large request is at work, and its body is held."""
    ask = next(each for each in ASKS if each.name == "openai")
    over = threading.Event()

    async def hold(call: Call) -> None:
        await call.until_hangup()
        over.set()

    one.behaviour = hold
    one.forget()
    try:
        with calling(router.url) as client:
            client.send(ask.message("lighton", large(ask)))
            one.wait_call()
            yield
        assert over.wait(5)
        wait_until(lambda: _buffered_bytes(router.url) < MIB)
    finally:
        one.behaviour = _well


@pytest.fixture(scope="module")
def short(stubs: dict[str, Stub]) -> Iterator[Routed]:
    """It takes next to nothing."""
    urls = {name: one.url for name, one in stubs.items()}
    with routed(urls, OCR_FLEET_ROUTER_BODY_BYTES_MAX="2000") as made:
        yield made


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("ask", ONE, ids=[ask.name for ask in ONE])
def test_a_body_that_is_too_long_is_answered(
    ask: Ask, encoding: str, count: int, short: Routed
) -> None:
    """Also when the piece that is too much is its last one: there is nothing left to wait for."""
    raw = ask.body + b" " * 10_000
    body = gzip.compress(raw) if encoding == "gzip" else raw
    lengths = f"content-encoding: {encoding}\r\ncontent-length: {len(body)}".encode()
    message = ask.message(ask.own, b"").replace(b"content-length: 0", lengths) + body
    with calling(short.url) as client:
        step = -(-len(message) // count)
        for at in range(0, len(message), step):
            client.send(message[at : at + step])
            time.sleep(0.01)
        answer = client.read_until(b"}")
    assert answer.split()[1] in {b"400", b"413"}


# ---- large bodies are given up as soon as small ones


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("ask", ONE, ids=[ask.name for ask in ONE])
def test_a_hangup_in_a_large_upload_is_seen(
    ask: Ask, share: float, stubs: dict[str, Stub], tight: Routed
) -> None:
    body = large(ask)
    message = ask.message(ask.own, body)
    stubs[ask.own].forget()
    sent = len(message) - len(body) + round(share * len(body))
    with calling(tight.url) as client:
        client.send(message[:sent])
        wait_until(lambda: _buffered_bytes(tight.url) >= len(body))
        gone_s = client.hang_up()
        assert wait_until(lambda: _buffered_bytes(tight.url) == 0) - gone_s < 1
    assert not stubs[ask.own].calls


# ---- what a page in flight costs


BODY_BYTES = 10 * 1000 * 1000
SHARE_MAX = 1.3
CONSTANT_BYTES = 64 * MIB
"""Sockets' buffers, and the allocator's slack."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "count", [8, pytest.param(64, marks=[pytest.mark.soak, pytest.mark.timeout(300)])]
)
@pytest.mark.parametrize(
    ("service", "stream"),
    [("lighton", True), ("deepseek", False), ("chatvlm", True)],
    ids=["openai passed", "openai to deepseek's JSON", "openai to chatvlm's form"],
)
def test_many_large_bodies_cost_little_more_than_themselves(
    service: str, stream: bool, count: int, tmp_path: Path
) -> None:
    """All are held at once against a service that takes its time; figures are printed (`-s`)."""
    url = data_url(padded(BODY_BYTES * 3 // 4))
    parts = [{"type": "image_url", "image_url": {"url": url}}]
    content = {"messages": [{"role": "user", "content": parts}], "stream": stream}
    body = json.dumps(content).encode()
    ask = next(one for one in ASKS if one.name == "openai")
    arrived = threading.Semaphore(0)
    release = threading.Event()

    async def hold(call: Call) -> None:
        arrived.release()
        await _until(release)
        await _well(call)

    with stub(hold) as upstream:
        upstream.keeps_bodies = False
        fleet = tmp_path / "fleet.toml"
        fleet.write_text(
            f'[services.{service}]\nreplicas = ["{upstream.url}"]\nreplica_slots = {count}\n'
        )
        settings: dict[str, Any] = {"OCR_FLEET_FILE": str(fleet)}
        settings["OCR_FLEET_ROUTER_LEGACY_PORT"] = "0"
        with started("router", **settings) as router, ExitStack() as stack:
            router.wait_ready()
            before = _memory_bytes(router, "VmRSS")
            _lag_s(router)
            began_s = time.monotonic()
            clients = [stack.enter_context(calling(router.url)) for _ in range(count)]
            message = ask.message(service, body)
            with ThreadPoolExecutor(count) as threads:
                list(threads.map(lambda client: client.send(message), clients))
            for _ in range(count):
                assert arrived.acquire(timeout=60)
            took_s = time.monotonic() - began_s
            held = _memory_bytes(router, "VmRSS") - before
            release.set()
            for client in clients:
                assert b" 200 " in client.read_until(b"\r\n\r\n")
            peak = _memory_bytes(router, "VmHWM") - before
            lag_s = _lag_s(router)
    bodies = count * len(body)
    print(
        f"\n{count} bodies of {len(body) / 1e6:.1f} MB to {service}: {took_s:.2f} s,"
        f" held {held / bodies:.2f} and at most {peak / bodies:.2f} of the bodies"
        f" ({peak / 1e6:.0f} MB), lag {lag_s * 1000:.0f} ms"
    )
    assert peak < SHARE_MAX * bodies + CONSTANT_BYTES


async def _until(event: threading.Event) -> None:
    while not event.is_set():
        await asyncio.sleep(0.01)


def _memory_bytes(router: Service, name: str) -> int:
    status = Path(f"/proc/{router.pid}/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def _lag_s(router: Service) -> float:
    return _metric(router.url, "ocr_fleet_router_loop_lag_seconds")


def _buffered_bytes(url: str) -> float:
    return _metric(url, "ocr_fleet_router_buffered_bytes")


def _metric(url: str, name: str) -> float:
    lines = http.get(url + "/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(name + " ")).split()[1])
