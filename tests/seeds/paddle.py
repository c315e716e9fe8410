"""The Python clients of the paddle document, and two it promises compatibility with: LangChain and
the `VLLMRemoteEngine` adapter. Only the address and the image path are parameters."""

# ruff: noqa: S113 - the documents' clients name no timeout
from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx
import requests
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from openai import OpenAI

MODEL = "PaddlePaddle/PaddleOCR-VL"


def link(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def content(text: str, path: Path) -> Any:
    return [
        {"type": "text", "text": text},
        {"type": "image_url", "image_url": {"url": link(path)}},
    ]


def with_requests(base: str, path: Path, text: str = "Extract text as markdown") -> str:
    """Also the receipt example, which differs in its text alone."""
    response = requests.post(
        f"{base}/v1/chat/completions",
        json={
            "model": MODEL,
            "messages": [{"role": "user", "content": content(text, path)}],
            "max_tokens": 2048,
        },
    )
    return str(response.json()["choices"][0]["message"]["content"])


def with_openai(base: str, path: Path) -> str:
    client = OpenAI(base_url=f"{base}/v1", api_key="not-used")
    response = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": content("Extract text as markdown", path)}],
        max_tokens=2048,
    )
    return response.choices[0].message.content or ""


def with_langchain(base: str, path: Path) -> tuple[str, int]:
    """It says `max_completion_tokens` and asks for no stream; answers text and tokens."""
    model = ChatOpenAI(
        model=MODEL,
        base_url=f"{base}/v1",
        api_key="not-used",
        max_tokens=2048,
    )
    answer = model.invoke([HumanMessage(content=content("Extract text as markdown", path))])
    usage = answer.usage_metadata
    return str(answer.content), usage["output_tokens"] if usage else 0


def with_remote_engine(base: str, path: Path, *, key: str | None = None) -> str:
    """What the adapter sends: text before a PNG, temperature 0, 2048 tokens, 120 s, any 2xx.

    Its text speaks of tables and of all text at once, and wants the whole page.
    """
    text = (
        "Extract all text from this image and format it as clean markdown. Keep the structure "
        "(headings, paragraphs, lists, tables)."
    )
    response = httpx.post(
        f"{base}/v1/chat/completions",
        json={
            "model": MODEL,
            "messages": [{"role": "user", "content": content(text, path)}],
            "temperature": 0.0,
            "max_tokens": 2048,
        },
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=120,
    )
    response.raise_for_status()
    choices = response.json()["choices"]
    assert choices, "the adapter needs a choice"
    return str(choices[0]["message"]["content"]).strip()
