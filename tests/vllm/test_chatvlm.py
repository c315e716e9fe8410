"""The chatvlm service with its models' own engines, over its documented format: GOT-OCR on
transformers, Qwen2-VL and Qwen3-VL on vLLM, each loaded by its first request, let go by DELETE."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.serving import running
from tests.vllm.conftest import drawn, png

pytestmark = pytest.mark.timeout(1200)

TOKENS = 24
SIZE = (640, 448)
"""Within the families' bounds, so that the processors alone resize the page."""

http = httpx.Client(timeout=600.0, trust_env=False)

MODELS = {"got_ocr": "gotocr", "qwen_vl_2b": "qwen2vl", "qwen3_vl_2b": "qwen3vl"}

READING = {
    "got_ocr": "",
    "qwen_vl_2b": "Extract all text from this document.",
    "qwen3_vl_2b": "Extract all text from this image."
    " Maintain the original structure and formatting.",
}


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory) -> Path:
    """A folder of folders named after the models."""
    made = tmp_path_factory.mktemp("models")
    for model, family in MODELS.items():
        (made / model).symlink_to(tiny(family))
    return made


@pytest.fixture(scope="module")
def bases(folder) -> Iterator[dict[str, str]]:
    """The service on either engine: one setting chooses for all its models."""
    settings = {
        "OCR_FLEET_MODEL_PATH": str(folder),
        "OCR_FLEET_DTYPE": "float32",
        "OCR_FLEET_MAX_MODEL_LEN": "2048",
        "OCR_FLEET_MAX_NUM_SEQS": "4",
        "OCR_FLEET_ENFORCE_EAGER": "true",
    }
    with (
        running("chatvlm", "vllm", settings) as (vllm, _),
        running("chatvlm", "transformers", settings) as (transformers, _),
    ):
        yield {"vllm": vllm, "transformers": transformers}


def ocr(base: str, engine: str, model: str, text: str = "Invoice 42") -> dict[str, Any]:
    answer = http.post(
        f"{base}/ocr",
        params={"model": model, "max_tokens": TOKENS, "temperature": 0},
        files={"file": ("page.png", png(drawn(text, SIZE)))},
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ocr-engine"].startswith(f"{engine}/")
    return answer.json()


def chat(base: str, model: str, prompt: str) -> dict[str, Any]:
    answer = http.post(
        f"{base}/chat",
        params={"model": model, "max_tokens": TOKENS, "temperature": 0, "prompt": prompt},
        files={"file": ("page.png", png(drawn(size=SIZE)))},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def loaded(base: str) -> list[str]:
    return http.get(f"{base}/models").json()["loaded"]


def engines() -> list[str]:
    """The processes of vLLM's cores."""
    return [
        f"{process.name()} {process.status()}"
        for process in psutil.Process().children(recursive=True)
        if "VLLM" in process.name() and process.status() != psutil.STATUS_ZOMBIE
    ]


@pytest.mark.parametrize(
    ("engine", "model"),
    [
        ("transformers", "got_ocr"),
        ("transformers", "qwen_vl_2b"),
        ("vllm", "qwen_vl_2b"),
        ("vllm", "qwen3_vl_2b"),
    ],
)
def test_a_model_loads_says_what_transformers_says_and_goes(bases, folder, engine, model) -> None:
    from tests.vllm.references import say

    base = bases[engine]
    checkpoint, family = folder / model, MODELS[model]
    flags = {"format": True} if model == "got_ocr" else {}
    assert loaded(base) == []
    for text in ("Invoice 42", "another page"):
        page = drawn(text, SIZE)
        wanted = say(family, checkpoint, page, READING[model], tokens=TOKENS, **flags)
        assert len(wanted) > TOKENS
        answer = ocr(base, engine, model, text)
        assert answer["text"] == wanted
        assert answer["image_size"] == list(SIZE)
    if model == "got_ocr":
        wanted = say(family, checkpoint, drawn(size=SIZE), "", tokens=TOKENS, color="green")
        assert chat(base, model, "[green] OCR")["response"] == wanted
    else:
        wanted = say(family, checkpoint, drawn(size=SIZE), "What is this?", tokens=TOKENS)
        assert chat(base, model, "What is this?")["response"] == wanted
    assert loaded(base) == [model]
    assert bool(engines()) == (engine == "vllm"), engines()
    assert http.delete(f"{base}/models/{model}").status_code == 200
    assert loaded(base) == []
    assert engines() == []
