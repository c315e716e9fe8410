"""The Python client the deepseek document points to, as far as it works: base64, batch, health.
Its file and stream calls hand aiohttp an argument it never had, so a form does their work here."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp

MARKDOWN = "<image>\n<|grounding|>Convert the document to markdown."
FREE = "<image>\nFree OCR."


class Client:
    """One session, one address. `prompt` is null on the wire when nobody named one."""

    def __init__(self, base: str) -> None:
        self.base = base

    async def __aenter__(self) -> Self:
        self.session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def health(self) -> dict[str, Any]:
        async with self.session.get(f"{self.base}/health") as response:
            return await json_of(response)

    async def from_base64(self, path: Path, prompt: str | None = None) -> dict[str, Any]:
        return await self.post("/ocr", item(path, prompt))

    async def batch(self, paths: Sequence[Path], prompt: str | None = None) -> dict[str, Any]:
        return await self.post("/ocr/batch", {"requests": [item(path, prompt) for path in paths]})

    async def post(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self.session.post(f"{self.base}{route}", json=body) as response:
            return await json_of(response)

    async def from_file(self, path: Path, prompt: str) -> dict[str, Any]:
        form = upload(path, prompt)
        async with self.session.post(f"{self.base}/ocr/file", data=form) as response:
            return await json_of(response)

    async def stream(self, path: Path, prompt: str) -> list[str]:
        """What follows `data: ` on each line, stripped, until `[DONE]`."""
        texts: list[str] = []
        form = upload(path, prompt)
        async with self.session.post(f"{self.base}/ocr/stream", data=form) as response:
            async for line in response.content:
                text = line.decode().strip()
                if not text.startswith("data: "):
                    continue
                if text[6:] == "[DONE]":
                    return texts
                texts.append(text[6:])
        raise AssertionError("the stream ended without [DONE]")


async def json_of(response: aiohttp.ClientResponse) -> dict[str, Any]:
    response.raise_for_status()
    answer: dict[str, Any] = await response.json()
    return answer


def item(path: Path, prompt: str | None) -> dict[str, Any]:
    return {
        "image_base64": base64.b64encode(path.read_bytes()).decode(),
        "prompt": prompt,
        "temperature": 0.0,
        "max_tokens": 8192,
    }


def upload(path: Path, prompt: str) -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("file", path.read_bytes(), filename=path.name, content_type="image/jpeg")
    form.add_field("prompt", prompt)
    return form
