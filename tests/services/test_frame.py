"""What every service's frame promises, on real processes and sockets: hang-ups, slots, deadlines,
draining, request ids, the fleet's own answers."""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
import time
from typing import Any

import aiohttp
import httpx
import pytest

from tests.running import started
from tests.samples import DOTS, PAGE, ask, chat, png
from tests.serving import served

SOON_S = 5.0
"""A bound for what happens at once; only a broken service comes near it."""


SLOW = '{"text": "one two three four", "first_delay_s": 30}'
ENDLESS = '{"text": "one two three four", "pieces": 4, "hang_after": 2}'


async def gauge(base: str, name: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"{base}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return float(next(line for line in lines if line.startswith(name + "{")).split()[-1])


async def until(base: str, name: str, value: float) -> None:
    """Wait until a gauge of /metrics has the value."""
    ends = time.monotonic() + SOON_S
    while (seen := await gauge(base, name)) != value:
        assert time.monotonic() < ends, f"{name} is {seen}, not {value}"
        await asyncio.sleep(0.01)


HANGUPS = [
    ("lighton", "/v1/chat/completions", chat(stream=False), SLOW),
    ("lighton", "/v1/chat/completions", chat(stream=True), SLOW),
    ("lighton", "/v1/chat/completions", chat(stream=True), ENDLESS),
    ("paddle", "/v1/chat/completions", chat(), SLOW),
    ("dots", "/ocr", DOTS, SLOW),
    ("dots", "/ocr", {**DOTS, "stream": True}, SLOW),
    ("dots", "/ocr", {**DOTS, "stream": True}, ENDLESS),
    ("deepseek", "/ocr", {"image_base64": PAGE}, SLOW),
    ("deepseek", "/ocr/stream", None, SLOW),
    ("deepseek", "/ocr/stream", None, ENDLESS),
    ("chatvlm", "/ocr", None, SLOW),
]


@pytest.mark.parametrize(("service", "path", "body", "script"), HANGUPS)
async def test_a_client_that_hangs_up_frees_its_slot(service, path, body, script):
    """Whole or streamed, before the first delta or between two."""
    with served(service, OCR_FLEET_FAKE=script, OCR_FLEET_SLOTS="1") as base:
        async with aiohttp.ClientSession() as session:
            if body is None:
                form = aiohttp.FormData()
                form.add_field("file", png(), filename="a.png", content_type="image/png")
                asking = asyncio.create_task(session.post(base + path, data=form))
            else:
                asking = asyncio.create_task(session.post(base + path, json=body))
            await until(base, "ocr_fleet_in_flight", 1)
            if script == ENDLESS:
                answer = await asking
                assert answer.status == 200
                assert await answer.content.readany()
                answer.close()
            else:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
        await until(base, "ocr_fleet_in_flight", 0)


async def test_a_failure_before_the_first_delta_has_a_real_status_and_none_after():
    for after, status in ((0, 500), (1, 200)):
        with served(
            "lighton", OCR_FLEET_FAKE=f'{{"text": "a b c d", "fail_after": {after}}}'
        ) as base:
            answer = httpx.post(f"{base}/v1/chat/completions", json=chat(stream=True))
        assert answer.status_code == status
        if after:
            frames = [line for line in answer.text.split("\n\n") if line]
            failure = json.loads(frames[-2].removeprefix("data: "))
            assert failure["error"]["message"] == "the script says to fail here"
            assert frames[-1] == "data: [DONE]"
        else:
            assert answer.json()["error"]["message"] == "the script says to fail here"


@pytest.mark.parametrize(
    ("service", "status"),
    [("lighton", 408), ("paddle", 503), ("dots", 500), ("deepseek", 503), ("chatvlm", 500)],
)
async def test_a_request_that_takes_too_long_has_the_documented_status(service, status):
    with served(service, OCR_FLEET_FAKE=SLOW, OCR_FLEET_TIMEOUT_S="0.2") as base:
        answer = ask(base, service)
        assert answer.status_code == status
        assert "longer than 0.2 seconds" in answer.text
        await until(base, "ocr_fleet_in_flight", 0)


async def test_a_stream_that_falls_silent_ends_with_an_error():
    settings: dict[str, Any] = {"OCR_FLEET_FAKE": ENDLESS, "OCR_FLEET_SILENCE_S": "0.2"}
    with served("dots", **settings) as base:
        answer = httpx.post(f"{base}/ocr", json={**DOTS, "stream": True}, timeout=SOON_S)
    last = json.loads(answer.text.splitlines()[-1])
    assert last == {
        "model": "dots-ocr",
        "error": "The request took longer than 0.2 seconds",
        "done": True,
    }


async def test_a_full_queue_is_503_with_retry_after_and_an_invalid_request_still_400():
    settings: dict[str, Any] = {
        "OCR_FLEET_FAKE": SLOW,
        "OCR_FLEET_SLOTS": "1",
        "OCR_FLEET_QUEUE_MAX": "1",
    }
    with served("lighton", **settings) as base:
        async with aiohttp.ClientSession() as session:
            url = f"{base}/v1/chat/completions"
            waiting = [asyncio.create_task(session.post(url, json=chat())) for _ in range(2)]
            await until(base, "ocr_fleet_queue_depth", 1)
            async with session.post(url, json=chat()) as answer:
                assert answer.status == 503
                assert answer.headers["retry-after"] == "2"
                assert (await answer.json())["error"]["type"] == "unavailable_error"
            async with session.post(url, json={"messages": 1}) as answer:
                assert answer.status == 400
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        await until(base, "ocr_fleet_in_flight", 0)
        assert await gauge(base, "ocr_fleet_queue_depth") == 0


async def test_dots_refuses_a_second_request_but_never_the_next_of_the_same_client():
    settings: dict[str, Any] = {"OCR_FLEET_FAKE": '{"text": "a b", "delay_s": 0.01}'}
    with served("dots", **settings) as base, httpx.Client() as client:
        for _ in range(20):
            for body in (DOTS, {**DOTS, "stream": True}):
                assert client.post(f"{base}/ocr", json=body).status_code == 200
    with served("dots", OCR_FLEET_FAKE=SLOW) as base:
        async with aiohttp.ClientSession() as session:
            first = asyncio.create_task(session.post(f"{base}/ocr", json={**DOTS, "stream": True}))
            await until(base, "ocr_fleet_in_flight", 1)
            async with session.post(f"{base}/ocr", json=DOTS) as answer:
                assert answer.status == 429
                assert await answer.read() == (
                    b'{"error":"Server is busy processing another request"}\n'
                )
            async with session.post(f"{base}/ocr", json={"image_format": "base64"}) as answer:
                assert answer.status == 400
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)


@pytest.mark.parametrize("service", ["lighton", "paddle", "dots", "deepseek", "chatvlm"])
async def test_every_answer_carries_its_request_id_and_its_engine(service):
    with served(service) as base:
        answer = ask(base, service, {"x-request-id": "mine-42"})
        assert (answer.status_code, answer.headers["x-request-id"]) == (200, "mine-42")
        assert answer.headers["x-ocr-engine"] == "fake/script"
        answer = ask(base, service, {"x-request-id": "two words"})
        assert len(answer.headers["x-request-id"]) == 32
        for path in ("/nope", "/health", "/livez", "/readyz", "/metrics", "/openapi.json"):
            answer = httpx.get(base + path, headers={"x-request-id": "again"})
            assert answer.status_code == (404 if path == "/nope" else 200)
            assert answer.headers["x-request-id"] == "again"


@pytest.mark.parametrize("service", ["lighton", "paddle", "dots", "deepseek", "chatvlm"])
async def test_the_fleet_header_is_answered_with_the_hubs_own_deltas(service):
    script = '{"text": "a b", "pieces": 2, "size": [40, 20], "notes": ["a note"]}'
    with served(service, OCR_FLEET_FAKE=script) as base:
        answer = ask(base, service, {"x-ocr-fleet": "1"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["x-ocr-note"] == "a note"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["type"] for line in lines] == ["text", "text", "done"]
    assert "".join(line["text"] for line in lines[:-1]) == "a b"
    assert lines[-1]["stop"] == "stop"
    assert lines[-1]["usage"]["completion_tokens"] == 2
    assert lines[-1]["sizes"] == [[40, 20]]


@pytest.mark.parametrize("service", ["lighton", "paddle", "dots", "deepseek", "chatvlm"])
async def test_cors_preflight_and_answer(service):
    with served(service) as base:
        answer = httpx.options(
            f"{base}/ocr",
            headers={
                "origin": "http://page.example",
                "access-control-request-method": "POST",
                "access-control-request-headers": "content-type",
            },
        )
        assert answer.status_code in {200, 204}
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "POST" in answer.headers["access-control-allow-methods"] or (
            answer.headers["access-control-allow-methods"] == "*"
        )
        answer = httpx.get(f"{base}/health", headers={"origin": "http://page.example"})
        assert answer.headers["access-control-allow-origin"] == "*"


async def test_gzip_chunked_and_expect_bodies_are_read():
    with served("dots") as base:
        packed = gzip.compress(json.dumps(DOTS).encode())
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        assert httpx.post(f"{base}/ocr", content=packed, headers=headers).status_code == 200
        answer = httpx.post(f"{base}/ocr", content=packed[:-20], headers=headers)
        assert (answer.status_code, answer.json()) == (
            400,
            {"error": "The compressed body is broken"},
        )
        bomb = gzip.compress(bytes(200 * 1024 * 1024), 9)
        answer = httpx.post(f"{base}/ocr", content=bomb, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (
            400,
            "The request is larger than 43 MiB",
        )

        def pieces():
            data = json.dumps(DOTS).encode()
            for at in range(0, len(data), 50):
                yield data[at : at + 50]

        answer = httpx.post(
            f"{base}/ocr", content=pieces(), headers={"content-type": "application/json"}
        )
        assert answer.status_code == 200
        expecting = {"expect": "100-continue"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{base}/ocr", json=DOTS, headers=expecting, expect100=True) as got,
        ):
            assert got.status == 200


async def test_health_answers_while_the_model_loads_and_requests_are_refused():
    slow_load: dict[str, Any] = {"OCR_FLEET_FAKE": '{"load_s": 30}'}
    expected: dict[str, Any] = {
        "lighton": (503, {"error": {"message": "Loading model"}}, 503),
        "paddle": (503, {"detail": "Model not loaded"}, 503),
        "dots": (200, {"status": "healthy", "model_loaded": False}, 500),
        "deepseek": (200, {"status": "unhealthy", "model_loaded": False}, 503),
    }
    for service, (health, body, refusal) in expected.items():
        with served(service, ready=False, **slow_load) as base:
            answer = httpx.get(f"{base}/health")
            assert answer.status_code == health
            assert body.items() <= answer.json().items() or service == "lighton"
            assert httpx.get(f"{base}/readyz").status_code == 503
            assert httpx.get(f"{base}/livez").status_code == 200
            assert ask(base, service).status_code == refusal


async def test_an_engine_that_cannot_load_ends_the_process_and_says_why():
    with started("dots", OCR_FLEET_FAKE='{"fail_load": "no weights in /models"}') as one:
        assert one.process.wait(SOON_S * 3) == 1
        assert "no weights in /models" in one.log()


async def test_sigterm_finishes_what_runs_refuses_the_rest_and_exits_0():
    script = '{"text": "one two three four", "pieces": 4, "delay_s": 0.3}'
    with started("lighton", OCR_FLEET_FAKE=script, OCR_FLEET_SLOTS="1") as one:
        one.wait_ready()
        url = f"{one.url}/v1/chat/completions"
        async with aiohttp.ClientSession() as session:
            running_one = await session.post(url, json=chat(stream=True))
            waiting = asyncio.create_task(session.post(url, json=chat()))
            await until(one.url, "ocr_fleet_queue_depth", 1)
            one.process.send_signal(signal.SIGTERM)
            refused = await waiting
            assert refused.status == 503
            assert "shutting down" in await refused.text()
            text = await running_one.text()
            assert text.endswith("data: [DONE]\n\n")
            assert '"finish_reason":"stop"' in text
        assert await asyncio.to_thread(one.process.wait, SOON_S) == 0


async def test_a_drain_that_takes_too_long_is_cut_off():
    with started("lighton", OCR_FLEET_FAKE=SLOW, OCR_FLEET_DRAIN_S="1") as one:
        one.wait_ready()
        async with aiohttp.ClientSession() as session:
            asking = asyncio.create_task(
                session.post(f"{one.url}/v1/chat/completions", json=chat())
            )
            await until(one.url, "ocr_fleet_in_flight", 1)
            one.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(one.process.wait, SOON_S) == 0
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


@pytest.mark.parametrize(
    ("service", "body"),
    [
        (
            "lighton",
            {
                "error": {
                    "message": "Invalid HTTP request received.",
                    "type": "invalid_request_error",
                    "code": 400,
                }
            },
        ),
        ("paddle", {"detail": "Invalid HTTP request received."}),
        ("dots", {"error": "Invalid HTTP request received."}),
    ],
)
async def test_what_is_no_http_is_refused_in_the_services_own_shape(service, body):
    with served(service) as base:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(base.rpartition(":")[2]))
        writer.write(b"this is no request\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), SOON_S)
        writer.close()
    head, _, sent = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(sent) == body
