"""The clients of the lighton document, run against the service with the real engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.seeds import lighton
from tests.seeds.conftest import Node, Shell
from tests.seeds.receipt import says_receipt

pytestmark = pytest.mark.timeout(120)


def test_curl_health(shell: Shell) -> None:
    assert json.loads(shell("health").stdout) == {"status": "ok"}


def test_curl_models(shell: Shell) -> None:
    model = json.loads(shell("models").stdout)["data"][0]
    assert model["id"] == "LightOnOCR-1B-1025"
    assert (model["object"], model["owned_by"]) == ("model", "lightonai")
    assert isinstance(model["created"], int)


def test_curl_chat_with_wrapped_base64(shell: Shell) -> None:
    done = shell("chat")
    answer = json.loads(done.stdout)
    assert answer["object"] == "chat.completion", done.stdout
    assert answer["choices"][0]["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    says_receipt(answer["choices"][0]["message"]["content"])


def test_httpx(base: str, images: Path) -> None:
    text = lighton.with_httpx(base, images / "image.jpg")
    assert isinstance(text, str)
    says_receipt(text)


def test_httpx_asks_for_a_stream_and_reads_it_afterwards(base: str, images: Path) -> None:
    lines = lighton.with_httpx(base, images / "image.jpg", stream=True)
    assert isinstance(lines, list)
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line[6:]) for line in lines[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    says_receipt("".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks))


def test_requests(base: str, images: Path) -> None:
    says_receipt(lighton.with_requests(base, images / "image.jpg"))


def test_png_bytes_labelled_jpeg(base: str, images: Path) -> None:
    says_receipt(lighton.with_requests(base, images / "image.png"))


def test_fetch_under_node(node: Node) -> None:
    says_receipt(node("lighton.cjs"))


def test_httpx_stream_with_its_default_timeout(base: str, images: Path) -> None:
    says_receipt(lighton.with_httpx_stream(base, images / "image.jpg"))


def test_optimized_image(base: str, images: Path) -> None:
    says_receipt(lighton.with_optimized(base, images / "image.png"))


def test_the_batch_example_is_no_python() -> None:
    """Why it is driven and not run: `yield from` may not stand inside `async def`."""
    with pytest.raises(SyntaxError, match="yield from"):
        compile("async def batch():\n    yield from []\n", "example", "exec")


async def test_batch_with_aiohttp(base: str, images: Path) -> None:
    """Groups of three, and a last group of one, in the order asked for."""
    paths = [images / name for name in ("doc1.jpg", "doc2.jpg", "doc3.jpg", "image.jpg")]
    texts = [text async for text in lighton.batch(base, paths)]
    assert len(texts) == 4
    assert "Cloakroom ticket" in texts[1]
    for text in (texts[0], texts[2], texts[3]):
        says_receipt(text)


def test_openai_sdk_streaming(base: str, images: Path) -> None:
    text, tokens = lighton.with_openai_stream(base, images / "image.jpg")
    says_receipt(text)
    assert tokens > 20
