"""The paddle service on vLLM itself, over its documented format: an element as a whole, and a page
whose elements the layout model finds, asked side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image, ImageDraw

from shared.ocr import BytesPage, Request, Sampling, Task, Usage, fold
from tests.samples import CHAT_PATH, chat, data_url, image_part, text_part
from tests.serving import running
from tests.vllm.conftest import drawn, png

pytestmark = pytest.mark.timeout(900)

TOKENS = 16
SIZE = (448, 448)
"""Within the recipe's bounds, 256 tokens; above the tiny checkpoint's own, which are overruled. It
is the grid of the checkpoint's positions: to others vLLM and transformers stretch that differently
(by up to 0.4 in the logarithm of a probability), with the very same pixels and tokens."""

BOUNDS = {"min_pixels": 112_896, "max_pixels": 1_003_520}

http = httpx.Client(timeout=120.0, trust_env=False)


@pytest.fixture(scope="module")
def served(tiny) -> Iterator[tuple[str, Any]]:
    settings = {
        "OCR_FLEET_MODEL_PATH": str(tiny("paddleocrvl")),
        "OCR_FLEET_DTYPE": "float32",
        "OCR_FLEET_MAX_MODEL_LEN": "4096",
        "OCR_FLEET_MAX_NUM_SEQS": "8",
        "OCR_FLEET_ENFORCE_EAGER": "true",
        "OCR_FLEET_SLOTS": "4",
    }
    with running("paddle", "vllm", settings, start_s_max=600) as (made, application):
        engine = application.frame.open.__self__  # type: ignore[attr-defined]
        yield made, engine


def ask(base: str, page: Image.Image, words: str, tokens: int = TOKENS) -> dict[str, Any]:
    parts = (text_part(words), image_part(data_url(png(page))))
    request = chat(*parts, temperature=0, max_tokens=tokens)
    answer = http.post(base + CHAT_PATH, json=request)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_element_is_asked_as_the_pipeline_asks(served, tiny) -> None:
    """Pictures within the recipe's bounds, the prompt to the letter, and nothing else. The format
    has no words for a region; the fleet's router has."""
    from tests.vllm.references import said_tokens

    page, engine = drawn("Invoice 42", SIZE), served[1]
    wanted = said_tokens("paddleocrvl", tiny("paddleocrvl"), page, "OCR:", tokens=TOKENS, **BOUNDS)
    request = Request(
        model="m",
        task=Task.REGION,
        pages=(BytesPage(png(page)),),
        sampling=Sampling(temperature=0.0, max_tokens=TOKENS),
    )
    loop = engine.backend._watch.get_loop()
    result = asyncio.run_coroutine_threadsafe(fold(engine.read(request)), loop).result(60)
    assert result.usage == Usage(wanted.prompt_tokens, TOKENS)
    assert wanted.prompt_tokens > 256
    assert wanted.text.strip() in result.text


def test_a_page_of_elements_says_the_same_again(served) -> None:
    page = Image.new("RGB", (900, 1200), "white")
    pen = ImageDraw.Draw(page)
    for block in range(5):
        for line in range(5):
            words = f"Block {block}: a line of words, number {line}, long enough for a paragraph"
            pen.text((80, 80 + 210 * block + 26 * line), words, fill="black", font_size=20)
    base = served[0]
    alone = ask(base, page, "Extract text", 400)
    assert alone["usage"]["completion_tokens"] > TOKENS
    assert ask(base, page, "Extract text", 400)["choices"] == alone["choices"]
