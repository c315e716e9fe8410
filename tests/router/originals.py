"""Servers that behave as the documented originals do and know nothing of a fleet: no header of
ours, whole answers in the documented form alone. Each says what its model would, as it would.

    with original("dots") as server:
        server.url, server.received
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import uvicorn

from shared.body import FormReader
from shared.layout import write_dots, write_grounding, write_tags
from shared.ocr import Block, Category

WORD = "Quarterly"
"""Stands in every text of the page."""

SIZE = (40, 20)
BLOCKS = (
    Block(Category.TITLE, (2, 1, 38, 5), f"# {WORD} report"),
    Block(Category.TABLE, (2, 6, 38, 12), f"<table><tr><td>{WORD} table</td></tr></table>"),
    Block(Category.FORMULA, (2, 13, 38, 15), f"$${WORD} = 1$$"),
    Block(Category.TEXT, (2, 16, 38, 19), f"{WORD} text"),
)
TEXT = "\n\n".join(block.text for block in BLOCKS)
PLAIN = f"{WORD} report\n{WORD} table\n{WORD} text"
DOTS_TEXTS = {
    "prompt_layout_all_en": write_dots(BLOCKS),
    "prompt_layout_only_en": write_dots(BLOCKS, texts=False),
    "prompt_ocr": PLAIN,
    "prompt_grounding_ocr": f"{WORD} table",
}


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """The JSON object, or the form's plain fields."""
        kind = self.headers.get("content-type", "")
        if not kind.startswith("multipart/"):
            return dict(json.loads(self.body))
        reader = FormReader(kind.partition("boundary=")[2])
        reader.feed(self.body)
        return dict(reader.close().fields)


@dataclass
class Original:
    """A server that answers; set `failing` to a status and a body, and it answers that."""

    url: str
    received: list[Received] = field(default_factory=list)
    failing: tuple[int, dict[str, str], bytes] | None = None


@contextmanager
def original(wire: str) -> Iterator[Original]:
    """A server of one documented format."""
    server = Original("")

    async def application(
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        request = Received(
            scope["method"],
            scope["path"],
            {name: values[-1] for name, values in parse_qs(scope["query_string"].decode()).items()},
            {name.decode(): value.decode("latin-1") for name, value in scope["headers"]},
            body,
        )
        status, headers, said = _answer(wire, request)
        if request.method == "POST":
            server.received.append(request)
            if server.failing is not None:
                status, headers, said = server.failing
        fields = {"content-type": "application/json", "content-length": str(len(said)), **headers}
        encoded = [(name.encode(), value.encode()) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": said})

    config = uvicorn.Config(
        application, port=0, lifespan="off", log_config=None, access_log=False, loop="uvloop"
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.002)
    server.url = f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        running.should_exit = True
        thread.join(10)


def _answer(wire: str, request: Received) -> tuple[int, dict[str, str], bytes]:
    if request.method == "GET":
        found = request.path == "/health"
        body: dict[str, Any] = {"status": "healthy"} if found else {"detail": "Not Found"}
        return 200 if found else 404, {}, json.dumps(body).encode()
    return 200, {}, json.dumps(ANSWERS[wire](request)).encode()


def _chat(request: Received) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": request.fields["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 10},
    }


def _dots(request: Received) -> dict[str, Any]:
    prompt_type = request.fields.get("prompt_type", "prompt_layout_all_en")
    return {
        "model": "dots-ocr",
        "response": DOTS_TEXTS[prompt_type],
        "prompt_type": prompt_type,
    }


def _deepseek(request: Received) -> dict[str, Any]:
    fields = request.fields if request.path == "/ocr" else request.query
    prompt = fields.get("prompt", "")
    if "<|ref|>" in prompt:
        text = write_tags(prompt.split("<|ref|>")[1].split("<|/ref|>")[0], [BLOCKS[3].box], SIZE)
    elif "<|grounding|>" in prompt:
        text = write_grounding(BLOCKS, SIZE)
    else:
        text = TEXT if "markdown" in prompt else PLAIN
    return {"request_id": "1", "text": text, "processing_time": 0.1, "status": "success"}


def _chatvlm(request: Received) -> dict[str, Any]:
    model = request.query.get("model") or request.fields.get("model") or "qwen3_vl_2b"
    text = write_dots(BLOCKS) if model == "dots_ocr" else PLAIN
    answer = {"model": model, "processing_time": 0.1}
    if request.path == "/chat":
        return {"response": text, **answer, "prompt": request.query.get("prompt", "")}
    return {"text": text, **answer, "image_size": list(SIZE), "language": None}


ANSWERS: dict[str, Callable[[Received], dict[str, Any]]] = {
    "lighton": _chat,
    "paddle": _chat,
    "dots": _dots,
    "deepseek": _deepseek,
    "chatvlm": _chatvlm,
}
