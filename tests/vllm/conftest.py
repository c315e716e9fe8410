"""Tests that need the models' own engines: `make test-vllm` runs them in an environment of its own,
and everywhere else they are not even collected."""

from __future__ import annotations

import os
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

collect_ignore_glob = [] if find_spec("vllm") else ["*.py"]

# What a CPU needs of vLLM, and nobody's network.
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Builds a family's checkpoint, once."""
    from tests.vllm.tiny import build

    folder = tmp_path_factory.mktemp("tiny")

    def make(name: str) -> Path:
        return build(name, folder)

    return make


SIZE = (196, 140)
"""Multiples of 28, which both of LightOnOCR's processors leave as they are: of other sizes that of
transformers makes multiples of 14, that of vLLM, which is the vendor's choice, of 28."""


def drawn(text: str = "Invoice 42", size: tuple[int, int] = SIZE) -> Image.Image:
    page = Image.new("RGB", size, "white")
    ImageDraw.Draw(page).text((10, 20), text, fill="black")
    return page


def png(page: Image.Image) -> bytes:
    file = BytesIO()
    page.save(file, "PNG")
    return file.getvalue()
