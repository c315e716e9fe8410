"""The Python client of the dots document: a health check, then a page named by its path."""

# ruff: noqa: S113 - the documents' clients name no timeout
from __future__ import annotations

from pathlib import Path
from typing import Any

import requests


def health(base: str) -> dict[str, Any]:
    answer: dict[str, Any] = requests.get(f"{base}/health").json()
    return answer


def with_requests(base: str, path: Path) -> dict[str, Any]:
    body = {
        "image": str(path),
        "image_format": "path",
        "prompt_type": "prompt_layout_all_en",
        "temperature": 0.1,
        "max_new_tokens": 12000,
        "stream": False,
    }
    answer: dict[str, Any] = requests.post(f"{base}/ocr", json=body).json()
    return answer
