"""The Python clients of the lighton document: each function makes the calls its example makes.
Only the address and the image path are parameters; nothing is added that the example leaves out."""

# ruff: noqa: S113 - the documents' clients name no timeout
from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import requests
from openai import OpenAI
from PIL import Image

MODEL = "LightOnOCR-1B-1025"
PROMPT = "Extract all text from this image."


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def messages(image_base64: str) -> Any:
    """Text first, then the image; always labelled JPEG, whatever the bytes are."""
    link = {"url": f"data:image/jpeg;base64,{image_base64}"}
    content = [{"type": "text", "text": PROMPT}, {"type": "image_url", "image_url": link}]
    return [{"role": "user", "content": content}]


def with_httpx(base: str, path: Path, *, stream: bool = False) -> list[str] | str:
    """Not streamed: the text. Streamed: the data lines, read after the whole body is there."""
    response = httpx.post(
        f"{base}/v1/chat/completions",
        json={
            "model": MODEL,
            "messages": messages(encoded(path)),
            "temperature": 0.1,
            "max_tokens": 4096,
            "stream": stream,
        },
        timeout=120,
    )
    if stream:
        return [line for line in response.iter_lines() if line.startswith("data: ")]
    return str(response.json()["choices"][0]["message"]["content"])


def with_requests(base: str, path: Path) -> str:
    response = requests.post(
        f"{base}/v1/chat/completions",
        json={
            "model": MODEL,
            "messages": messages(encoded(path)),
            "temperature": 0.1,
            "max_tokens": 4096,
        },
    )
    return str(response.json()["choices"][0]["message"]["content"])


def with_httpx_stream(base: str, path: Path) -> str:
    """No timeout is named, so httpx gives up after 5 s without a byte."""
    pieces = []
    with httpx.stream(
        "POST",
        f"{base}/v1/chat/completions",
        json={"model": MODEL, "messages": messages(encoded(path)), "stream": True},
    ) as response:
        for line in response.iter_lines():
            if not line.startswith("data: "):
                continue
            data = line[6:]
            if data == "[DONE]":
                break
            pieces.append(json.loads(data)["choices"][0]["delta"].get("content", ""))
        else:
            raise AssertionError("the stream ended without [DONE]")
    return "".join(piece for piece in pieces if piece)


def optimized(path: Path, max_size: tuple[int, int] = (2048, 2048), quality: int = 85) -> str:
    """Shrink and press to JPEG, as the document advises before sending."""
    image = Image.open(path)
    image.thumbnail(max_size, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, format="JPEG", quality=quality, optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def with_optimized(base: str, path: Path) -> str:
    response = requests.post(
        f"{base}/v1/chat/completions",
        json={"model": MODEL, "messages": messages(optimized(path))},
    )
    return str(response.json()["choices"][0]["message"]["content"])


async def batch(base: str, paths: Sequence[Path], max_concurrent: int = 3) -> AsyncIterator[str]:
    """Groups of `max_concurrent` at once; the example's `yield from` is a loop here."""
    async with aiohttp.ClientSession() as session:
        for start in range(0, len(paths), max_concurrent):
            group = paths[start : start + max_concurrent]
            for text in await asyncio.gather(*(one(session, base, path) for path in group)):
                yield text


async def one(session: aiohttp.ClientSession, base: str, path: Path) -> str:
    body = {"model": MODEL, "messages": messages(encoded(path))}
    async with session.post(f"{base}/v1/chat/completions", json=body) as response:
        return str((await response.json())["choices"][0]["message"]["content"])


def with_openai_stream(base: str, path: Path) -> tuple[str, int]:
    """Not in the document, but it promises compatibility: the text and the tokens reported."""
    client = OpenAI(base_url=f"{base}/v1", api_key="none")
    pieces: list[str] = []
    tokens = 0
    for chunk in client.chat.completions.create(
        model=MODEL,
        messages=messages(encoded(path)),
        stream=True,
        stream_options={"include_usage": True},
    ):
        tokens = chunk.usage.completion_tokens if chunk.usage else tokens
        pieces.extend(choice.delta.content or "" for choice in chunk.choices)
    return "".join(pieces), tokens
