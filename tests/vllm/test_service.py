"""The lighton service on vLLM itself, over its documented format: streamed and whole, alone and in
company, left in the middle, and with its engine's core killed.

How: one service for all of them, on a checkpoint of the real architecture; its answers are compared
with transformers' own.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import pytest

from shared.engine.generate import GeneratingEngine
from shared.engine.vllm import VllmBackend
from tests.samples import CHAT_PATH, chat, data_url, image_part
from tests.serving import running
from tests.vllm.conftest import drawn, png

pytestmark = pytest.mark.timeout(900)

START_S_MAX = 600.0
"""Mostly imports, in three processes."""

TOKENS = 24

http = httpx.Client(timeout=120.0, trust_env=False)


@dataclass
class Served:
    base: str
    engine: GeneratingEngine
    checkpoint: Any

    @property
    def backend(self) -> VllmBackend:
        assert isinstance(self.engine.backend, VllmBackend)
        return self.engine.backend

    def is_working(self) -> bool:
        """Whether the core has any request, running or waiting."""
        watch = self.backend._watch
        assert watch is not None
        work = self.backend.engine.engine_core.call_utility_async("has_work")
        return asyncio.run_coroutine_threadsafe(work, watch.get_loop()).result(30)


@pytest.fixture(scope="module")
def served(tiny) -> Iterator[Served]:
    checkpoint = tiny("lightonocr")
    settings = {
        "OCR_FLEET_MODEL_PATH": str(checkpoint),
        "OCR_FLEET_DTYPE": "float32",
        "OCR_FLEET_MAX_MODEL_LEN": "2048",
        "OCR_FLEET_MAX_NUM_SEQS": "8",
        "OCR_FLEET_ENFORCE_EAGER": "true",
    }
    with running("lighton", "vllm", settings, start_s_max=START_S_MAX) as (base, application):
        engine = application.frame.open.__self__  # type: ignore[attr-defined]
        engine.backend._backoff_s = (0.1,)
        yield Served(base, engine, checkpoint)


def body(text: str = "Invoice 42", **more: Any) -> dict[str, Any]:
    page = image_part(data_url(png(drawn(text))))
    return chat(page, **{"temperature": 0, "max_tokens": TOKENS, **more})


def ask(served: Served, text: str = "Invoice 42", **more: Any) -> dict[str, Any]:
    answer = http.post(served.base + CHAT_PATH, json=body(text, **more))
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ocr-engine"] == "vllm/0.32"
    return answer.json()


def words(answer: dict[str, Any]) -> str:
    return answer["choices"][0]["message"]["content"]


def frames(served: Served, **more: Any) -> list[dict[str, Any]]:
    with http.stream("POST", served.base + CHAT_PATH, json=body(stream=True, **more)) as answer:
        assert answer.status_code == 200
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def test_it_says_what_transformers_says(served) -> None:
    from tests.vllm.references import say

    for text in ("Invoice 42", "another page"):
        wanted = say("lightonocr", served.checkpoint, drawn(text), "", tokens=TOKENS)
        assert len(wanted) > TOKENS
        assert words(ask(served, text)) == wanted


def test_usage_and_stop_are_the_models_own(served) -> None:
    answer = ask(served)
    assert answer["usage"]["completion_tokens"] == TOKENS
    assert answer["usage"]["prompt_tokens"] == 63
    assert answer["choices"][0]["finish_reason"] == "length"


def test_a_stream_says_the_same_token_by_token(served) -> None:
    whole = ask(served)
    options = {"stream_options": {"include_usage": True}}
    pieces = frames(served, **options)
    contents = [
        choice["delta"].get("content") or "" for piece in pieces for choice in piece["choices"]
    ]
    assert "".join(contents) == words(whole)
    assert sum(1 for content in contents if content) > TOKENS // 2
    assert pieces[-1]["usage"] == whole["usage"]


def test_a_stop_string_ends_the_answer(served) -> None:
    whole = words(ask(served))
    stop = whole[20:26]
    answer = ask(served, stop=stop)
    assert words(answer) == whole[: whole.index(stop)]
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_a_page_alone_is_the_page_in_company(served) -> None:
    texts = [f"page {number}" for number in range(8)]
    alone = [words(ask(served, text)) for text in texts]
    assert len(set(alone)) > 4
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda text: words(ask(served, text)), texts))
    assert together == alone


def test_words_without_a_page_are_answered(served) -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    answer = http.post(served.base + CHAT_PATH, json={**request, "max_tokens": 4}).json()
    assert answer["usage"]["completion_tokens"] == 4


def test_what_is_too_long_for_the_model_is_refused(served) -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "x" * 4000}]}
    answer = http.post(served.base + CHAT_PATH, json=request)
    assert answer.status_code == 400, answer.text
    assert "2048" in answer.json()["error"]["message"]


def test_leaving_in_the_middle_stops_the_engine_within_a_step(served) -> None:
    request = body(stream=True, max_tokens=1900)
    with http.stream("POST", served.base + CHAT_PATH, json=request) as answer:
        lines = answer.iter_lines()
        while '"content":"' not in next(lines):
            pass
        assert served.is_working()
    left = time.monotonic()
    while served.is_working():
        assert time.monotonic() - left < 5
    assert served.engine.at_work == 0
    assert served.backend.engine.get_num_unfinished_requests() == 0


def test_a_whole_answer_that_nobody_waits_for_stops_the_engine(served) -> None:
    async def leave() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            request = client.post(served.base + CHAT_PATH, json=body(max_tokens=1900))
            task = asyncio.create_task(request)
            while not served.engine.at_work:
                await asyncio.sleep(0.005)
            while not await asyncio.to_thread(served.is_working):
                assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(leave())
    left = time.monotonic()
    while served.is_working():
        assert time.monotonic() - left < 5


def test_a_killed_core_is_an_error_then_service_again(served) -> None:
    """The last of them: what came before must not meet a core that starts."""
    before = ask(served)
    caught: list[httpx.Response] = []
    request = body(max_tokens=1900)
    thread = threading.Thread(
        target=lambda: caught.append(http.post(served.base + CHAT_PATH, json=request))
    )
    thread.start()
    while not served.is_working():
        time.sleep(0.005)
    killed = time.monotonic()
    for core in cores():
        os.kill(core.pid, signal.SIGKILL)
    thread.join(60)
    assert caught
    assert caught[0].status_code == 500
    assert caught[0].headers["x-ocr-error"] == "engine_failed"
    assert "died" in caught[0].json()["error"]["message"]
    assert time.monotonic() - killed < 30

    refused = http.post(served.base + CHAT_PATH, json=body())
    assert refused.status_code == 503
    assert http.get(f"{served.base}/readyz").status_code == 503
    assert "started again" in http.get(f"{served.base}/readyz").json()["reason"]

    ends = time.monotonic() + START_S_MAX
    while http.get(f"{served.base}/readyz").status_code != 200:
        assert time.monotonic() < ends
        time.sleep(0.2)
    assert words(ask(served)) == words(before)
    print(f"service again after {time.monotonic() - killed:.1f} s")


def cores() -> list[psutil.Process]:
    """The core's own processes among this one's."""
    found = [
        process
        for process in psutil.Process().children(recursive=True)
        if "VLLM" in process.name() or "VLLM" in " ".join(process.cmdline())
    ]
    assert found, [process.cmdline() for process in psutil.Process().children(recursive=True)]
    return found
