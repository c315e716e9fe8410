"""Clients as people run them, unmodified and from their own packages, against the router: they ask
every model, whole and streamed, and read what comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import httpx
import openai
import pytest
import requests
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI

from tests.router.speaking import MODELS
from tests.routing import Routed, routed_fleet
from tests.running import SERVICES
from tests.samples import PAGE, data_url, image_part, png, text_part

FOX = "The quick brown fox"
WORDS = "What does the page say?"
CONTENT: list[Any] = [text_part(WORDS), image_part()]
MESSAGES: list[Any] = [{"role": "user", "content": CONTENT}]
ASKED = ("LightOnOCR-1B-1025", "PaddlePaddle/PaddleOCR-VL", "dots-ocr", "deepseek-ocr", "got_ocr")


@pytest.fixture(scope="module")
def router() -> Iterator[Routed]:
    script = json.dumps({"text": FOX, "size": [40, 20]})
    with routed_fleet(SERVICES, OCR_FLEET_FAKE=script) as one:
        yield one


def bases(router: Routed, model: str) -> list[tuple[str, str]]:
    """The base URLs under which a client finds a model, and what it calls it there."""
    scoped = model.replace("/", "%2F")
    return [(f"{router.url}/v1", model), (f"{router.url}/m/{scoped}/v1", "whatever")]


# ---- openai


@pytest.mark.parametrize("model", ASKED)
def test_openai(router: Routed, model: str) -> None:
    for base, name in bases(router, model):
        with openai.OpenAI(base_url=base, api_key="null", max_retries=0) as client:
            whole = client.chat.completions.create(model=name, messages=MESSAGES, max_tokens=100)
            assert whole.choices[0].message.content == FOX
            assert whole.choices[0].finish_reason == "stop"
            assert whole.usage is not None
            assert whole.usage.completion_tokens == 4
            pieces = client.chat.completions.create(
                model=name,
                messages=MESSAGES,
                stream=True,
                stream_options={"include_usage": True},
                temperature=0,
            )
            chunks = list(pieces)
            told = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
            assert "".join(told) == FOX
            # A layout that is none is told when it is whole.
            assert len([piece for piece in told if piece]) > 1 or model == "dots-ocr"
            assert chunks[-1].usage is not None
            assert model in {one.id for one in client.models.list()}


@pytest.mark.parametrize("model", ASKED)
async def test_openai_async(router: Routed, model: str) -> None:
    for base, name in bases(router, model):
        async with openai.AsyncOpenAI(base_url=base, api_key="null", max_retries=0) as client:
            several = await asyncio.gather(
                *(
                    client.chat.completions.create(
                        model=name,
                        messages=MESSAGES,
                        max_completion_tokens=100,
                        extra_body={"mm_processor_kwargs": {"min_pixels": 1}, "top_k": 1},
                    )
                    for _ in range(4)
                )
            )
            assert {one.choices[0].message.content for one in several} == {FOX}
            stream = await client.chat.completions.create(
                model=name, messages=MESSAGES, stream=True
            )
            told = [chunk.choices[0].delta.content or "" async for chunk in stream]
            assert "".join(told) == FOX


def test_openai_errors(router: Routed) -> None:
    with openai.OpenAI(base_url=f"{router.url}/v1", api_key="null", max_retries=0) as client:
        with pytest.raises(openai.NotFoundError) as unknown:
            client.chat.completions.create(model="nobody", messages=MESSAGES)
        assert all(model in str(unknown.value) for model in MODELS)
        bad: list[Any] = [{"role": "user", "content": [image_part(data_url(b"no image"))]}]
        for model in ASKED:
            with pytest.raises(openai.BadRequestError, match="Failed to load image"):
                client.chat.completions.create(model=model, messages=bad)


def test_openai_to_paddles_own_api(router: Routed) -> None:
    base = f"{router.url}/paddle/v1"
    with openai.OpenAI(base_url=base, api_key="null", max_retries=0) as client:
        whole = client.chat.completions.create(model="PaddlePaddle/PaddleOCR-VL", messages=MESSAGES)
        assert whole.choices[0].message.content == FOX
        assert [one.id for one in client.models.list()] == ["PaddlePaddle/PaddleOCR-VL"]


# ---- frameworks


@pytest.mark.parametrize("model", ASKED)
def test_langchain(router: Routed, model: str) -> None:
    for base, name in bases(router, model):
        chat = ChatOpenAI(base_url=base, api_key=lambda: "null", model=name, max_retries=0)
        message = HumanMessage(CONTENT)
        whole = chat.invoke([message])
        assert whole.content == FOX
        assert "".join(str(piece.content) for piece in chat.stream([message])) == FOX


@pytest.mark.filterwarnings("default")  # its modules warn of each other
@pytest.mark.timeout(90)  # it is slow to import
@pytest.mark.parametrize("model", ASKED)
def test_litellm(router: Routed, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fetch its list of prices on import; told so, it takes its own copy."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm = pytest.importorskip("litellm", reason="needs the extra `clients`")
    for base, name in bases(router, model):
        asked = {"model": f"openai/{name}", "api_base": base, "api_key": "null"}
        whole = litellm.completion(messages=MESSAGES, max_tokens=100, num_retries=0, **asked)
        assert whole.choices[0].message.content == FOX
        stream = litellm.completion(messages=MESSAGES, stream=True, num_retries=0, **asked)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == FOX


@pytest.mark.filterwarnings("default")
@pytest.mark.timeout(90)
@pytest.mark.parametrize("model", ASKED)
def test_llama_index(router: Routed, model: str) -> None:
    like = pytest.importorskip("llama_index.llms.openai_like", reason="needs the extra `clients`")
    llms = pytest.importorskip("llama_index.core.llms", reason="needs the extra `clients`")
    for base, name in bases(router, model):
        llm = like.OpenAILike(
            model=name, api_base=base, api_key="null", is_chat_model=True, max_retries=0
        )
        blocks = [llms.TextBlock(text=WORDS), llms.ImageBlock(image=png())]
        message = llms.ChatMessage(role="user", blocks=blocks)
        assert llm.chat([message]).message.content == FOX
        *_, last = llm.stream_chat([message])
        assert last.message.content == FOX


# ---- plain HTTP


@pytest.mark.parametrize("model", ASKED)
def test_requests(router: Routed, model: str) -> None:
    with requests.Session() as session:
        files = {"file": ("a.png", png(), "image/png")}
        form = session.post(f"{router.url}/ocr", files=files, params={"model": model})
        assert form.json()["text"] == FOX
        chat = session.post(
            f"{router.url}/chat", files=files, data={"model": model, "prompt": WORDS}
        )
        assert chat.json()["response"] == FOX
        dots = session.post(
            f"{router.url}/ocr",
            json={"image": data_url(png()), "prompt_type": "prompt_ocr", "stream": True},
            headers={"X-OCR-Model": model},
            stream=True,
        )
        lines = [json.loads(line) for line in dots.iter_lines() if line]
        assert "".join(line["response"] for line in lines) == FOX
        assert lines[-1]["done"] is True


@pytest.mark.parametrize("model", ASKED)
def test_httpx(router: Routed, model: str) -> None:
    """Reads its stream as LightOnOCR's own client does: lines of data until `[DONE]`."""
    body = {"model": model, "messages": MESSAGES, "stream": True}
    said = []
    with httpx.stream("POST", f"{router.url}/v1/chat/completions", json=body) as answer:
        for line in answer.iter_lines():
            if line == "data: [DONE]":
                break
            if line.startswith("data: "):
                said.append(json.loads(line[6:])["choices"][0]["delta"].get("content") or "")
    assert "".join(said) == FOX


@pytest.mark.parametrize("model", ASKED)
async def test_aiohttp(router: Routed, model: str) -> None:
    """As DeepSeek-OCR's own client sends: a null prompt, and forms made by hand."""
    headers = {"X-OCR-Model": model}
    async with aiohttp.ClientSession(router.url, headers=headers) as session:
        async with session.post("/ocr", json={"image_base64": PAGE, "prompt": None}) as answer:
            assert FOX in (await answer.json())["text"]
        async with session.post(
            "/ocr/batch", json={"requests": [{"image_base64": PAGE, "prompt": "Free OCR."}] * 3}
        ) as answer:
            results = (await answer.json())["results"]
        assert [(one["text"], one["status"]) for one in results] == [(FOX, "success")] * 3
        form = aiohttp.FormData()
        form.add_field("file", png(), filename="a.png", content_type="image/png")
        form.add_field("prompt", "Free OCR.")
        async with session.post("/ocr/stream", data=form) as answer:
            lines = [line.decode().strip() async for line in answer.content]
        data = [line.removeprefix("data: ") for line in lines if line]
        assert data[-1] == "[DONE]"
        assert " ".join(" ".join(data[:-1]).split()) == FOX
