"""The Python clients of the chatvlm document. Only addresses and image paths are parameters."""

# ruff: noqa: S113 - the documents' clients name no timeout
from __future__ import annotations

import concurrent.futures
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests


def ocr(base: str, path: Path) -> str:
    with path.open("rb") as file:
        response = requests.post(
            f"{base}/ocr", files={"file": file}, params={"model": "qwen3_vl_2b"}
        )
    return str(response.json()["text"])


def chat(base: str, path: Path) -> str:
    with path.open("rb") as file:
        response = requests.post(
            f"{base}/chat",
            files={"file": file},
            data={"prompt": "Describe this image", "model": "qwen3_vl_4b", "temperature": 0.7},
        )
    return str(response.json()["response"])


def batch(base: str, paths: Sequence[Path], model: str | None = "qwen3_vl_2b") -> dict[str, Any]:
    """With a model as in the first example; `None` as in the one over a folder."""
    files = [("files", path.open("rb")) for path in paths]
    try:
        params = {"model": model} if model else None
        response = requests.post(f"{base}/batch/ocr", files=files, params=params)
    finally:
        for _, file in files:
            file.close()
    answer: dict[str, Any] = response.json()
    return answer


def failing(base: str, path: Path) -> tuple[str, str]:
    """The example for errors: what raise_for_status says, and the answer's `detail`."""
    try:
        with path.open("rb") as file:
            response = requests.post(f"{base}/ocr", files={"file": file})
        response.raise_for_status()
    except requests.exceptions.HTTPError as error:
        return str(error), str(error.response.json()["detail"])
    raise AssertionError("that file was read as a page")


def concurrently(base: str, paths: Sequence[Path]) -> list[dict[str, Any]]:
    def one(path: Path) -> dict[str, Any]:
        with path.open("rb") as file:
            answer: dict[str, Any] = requests.post(f"{base}/ocr", files={"file": file}).json()
        return answer

    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as executor:
        return list(executor.map(one, paths))
