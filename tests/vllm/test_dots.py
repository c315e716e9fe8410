"""The dots service on vLLM itself, over its documented format: no code of a repository is trusted,
and the prompt is the vendor's, turn markers and all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.samples import b64
from tests.serving import running
from tests.vllm.conftest import drawn, png

pytestmark = pytest.mark.timeout(900)

TOKENS = 24
SIZE = (280, 196)

http = httpx.Client(timeout=120.0, trust_env=False)


@pytest.fixture(scope="module")
def served(tiny) -> Iterator[tuple[str, Any]]:
    settings = {
        "OCR_FLEET_MODEL_PATH": str(tiny("dotsocr")),
        "OCR_FLEET_DTYPE": "float32",
        "OCR_FLEET_MAX_MODEL_LEN": "4096",
        "OCR_FLEET_MAX_NUM_SEQS": "4",
        "OCR_FLEET_ENFORCE_EAGER": "true",
    }
    with running("dots", "vllm", settings, start_s_max=600) as (base, application):
        yield base, application.frame.open.__self__.backend  # type: ignore[attr-defined]


def body(text: str, **more: Any) -> dict[str, Any]:
    page = b64(png(drawn(text, SIZE)))
    given = {"image": page, "image_format": "base64", "prompt_type": "prompt_ocr"}
    return {**given, "temperature": 0, "max_new_tokens": TOKENS, **more}


def official(backend: Any, text: str, prompt: str) -> str:
    """The answer to the vendor's prompt, written out and given to vLLM as one string."""
    from vllm import SamplingParams

    words = f"<|user|><|img|><|imgpad|><|endofimg|>{prompt}<|endofuser|><|assistant|>"
    given = {"prompt": words, "multi_modal_data": {"image": drawn(text, SIZE)}}

    async def ask() -> str:
        params = SamplingParams(temperature=0, max_tokens=TOKENS)
        said = ""
        async for output in backend.engine.generate(given, params, f"official {text}"):
            said = output.outputs[0].text
        return said

    return asyncio.run_coroutine_threadsafe(ask(), backend._watch.get_loop()).result(60)


def test_it_says_what_vllm_says_to_the_vendors_prompt(served) -> None:
    base, backend = served
    for text in ("Invoice 42", "another page"):
        wanted = official(backend, text, "Extract the text content from this image.")
        assert len(wanted) > TOKENS
        answer = http.post(f"{base}/ocr", json=body(text))
        assert answer.status_code == 200, answer.text
        assert answer.json()["response"] == wanted


def test_a_stream_says_the_same(served) -> None:
    base, _ = served
    whole = http.post(f"{base}/ocr", json=body("Invoice 42")).json()["response"]
    with http.stream("POST", f"{base}/ocr", json=body("Invoice 42", stream=True)) as answer:
        lines = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line]
    assert "".join(line.get("response", "") for line in lines) == whole
    assert len(lines) > TOKENS // 2


def test_a_region_is_asked_in_the_pixels_the_model_sees(served) -> None:
    base, backend = served
    prompt = (
        "Extract text from the given bounding box on the image (format: [x1, y1, x2, y2])."
        "\nBounding Box:\n[10, 20, 100, 50]"
    )
    wanted = official(backend, "Invoice 42", prompt)
    given = body("Invoice 42", prompt_type="prompt_grounding_ocr", bbox=[10, 20, 100, 50])
    assert http.post(f"{base}/ocr", json=given).json()["response"] == wanted
