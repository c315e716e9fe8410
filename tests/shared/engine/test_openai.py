"""The engine that asks somebody else's OpenAI-compatible server, on real sockets."""

from __future__ import annotations

import asyncio
import json
import threading
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageChops

from shared.engine.family import Question
from shared.engine.generate import GeneratingEngine, Piece
from shared.engine.openai import OpenAiBackend
from shared.engine.protocol import Recipe
from shared.errors import (
    Busy,
    EngineFailed,
    ImageTooLarge,
    InvalidRequest,
    ModelNotLoaded,
    OcrError,
    TimedOut,
)
from shared.ocr import BytesPage, Request, Stop, Task, Usage, fold
from tests.samples import noisy, png
from tests.shared.engine.plainfamily import PlainFamily
from tests.stubs import CHUNKED, Behaviour, Call, Stub, chunk, head, stub

MODELS = json.dumps({"object": "list", "data": [{"id": "ocr-1b"}, {"id": "other"}]}).encode()


def frame(text: str | None = None, finish: str | None = None, **more: object) -> bytes:
    """One chunk, as vllm serve writes it."""
    delta = {} if text is None else {"content": text}
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {"id": "x", "object": "chat.completion.chunk", "choices": choices, **more}
    return chunk(f"data: {json.dumps(body)}\n\n".encode())


def usage(prompt: int, completion: int) -> bytes:
    counts = {"prompt_tokens": prompt, "completion_tokens": completion}
    return chunk(f"data: {json.dumps({'choices': [], 'usage': counts})}\n\n".encode())


SSE_HEAD = head(200, "text/event-stream", CHUNKED)
END = chunk(b"data: [DONE]\n\n") + chunk(b"")
WHOLE = SSE_HEAD + frame("Hello") + frame(" page") + frame(finish="stop") + usage(40, 3) + END


def behaving(*answers: bytes | Behaviour, models: bytes = MODELS, status: int = 200) -> Behaviour:
    """Lists its models; answers chats one after another, the last one again and again."""
    waiting = list(answers)

    async def behave(call: Call) -> None:
        if call.path == "/v1/models":
            await call.reply(status, models)
            return
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, bytes):
            await call.send(answer)
        else:
            await answer(call)

    return behave


@asynccontextmanager
async def backend(server: Stub, **more: Any) -> AsyncIterator[OpenAiBackend]:
    made = OpenAiBackend(server.url, **more)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def answering(server: Stub) -> AsyncIterator[AsyncGenerator[Piece, None]]:
    async with backend(server) as made, aclosing(made.generate(Question(text="hi"))) as stream:
        yield stream


async def ask(server: Stub, question: Question | None = None, **more: Any) -> tuple[str, list]:
    """The answer's text and its pieces."""
    async with backend(server, **more) as made:
        async with aclosing(made.generate(question or Question(text="hi"))) as stream:
            pieces = [piece async for piece in stream]
        return "".join(piece.text for piece in pieces), pieces


def chats(server: Stub) -> list[dict[str, Any]]:
    return [json.loads(call.body) for call in server.calls if call.method == "POST"]


# ---- what is asked


async def test_the_page_goes_first_and_arrives_pixel_for_pixel() -> None:
    page = Image.open(BytesIO(noisy("PNG"))).convert("RGB")
    with stub(behaving(WHOLE)) as server:
        await ask(server, Question(text="OCR:", image=page, max_tokens=77))
        body = chats(server)[0]
    (message,) = body["messages"]
    image, words = message["content"]
    assert words == {"type": "text", "text": "OCR:"}
    kind, _, data = image["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    sent = Image.open(BytesIO(b64decode(data)))
    assert sent.size == page.size
    assert ImageChops.difference(sent, page).getbbox() is None
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert (body["model"], body["max_tokens"]) == ("ocr-1b", 77)


async def test_sampling_overrules_the_servers_own_defaults() -> None:
    with stub(behaving(WHOLE)) as server:
        await ask(server)
        body = chats(server)[0]
    assert {name: body[name] for name in ("temperature", "top_p", "top_k")} == {
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": -1,
    }
    assert body["repetition_penalty"] == 1.0
    assert body["skip_special_tokens"] is True
    assert "stop" not in body
    assert "vllm_xargs" not in body
    assert "seed" not in body


async def test_a_familys_extras_reach_the_server() -> None:
    question = Question(
        text="Free OCR.",
        system="",
        top_k=20,
        stop=("</s>",),
        seed=7,
        max_tokens=-1,
        skip_special_tokens=False,
        extra_args={"ngram_size": 30, "whitelist_token_ids": [1, 2]},
        processor_kwargs={"max_pixels": 1003520},
        template_kwargs={"enable_thinking": False},
    )
    with stub(behaving(WHOLE)) as server:
        await ask(server, question)
        body = chats(server)[0]
    assert body["messages"] == [
        {"role": "system", "content": ""},
        {"role": "user", "content": "Free OCR."},
    ]
    assert (body["top_k"], body["stop"], body["seed"]) == (20, ["</s>"], 7)
    assert body["skip_special_tokens"] is False
    assert body["vllm_xargs"] == {"ngram_size": 30, "whitelist_token_ids": [1, 2]}
    assert body["mm_processor_kwargs"] == {"max_pixels": 1003520}
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert "max_tokens" not in body


async def test_a_picture_alone_has_no_words() -> None:
    with stub(behaving(WHOLE)) as server:
        await ask(server, Question(image=Image.new("RGB", (8, 8))))
        (message,) = chats(server)[0]["messages"]
    assert [part["type"] for part in message["content"]] == ["image_url"]


async def test_the_picture_stands_in_the_words_where_the_template_wants_that() -> None:
    question = Question(text="Read.", image_text="<img>", image=Image.new("RGB", (8, 8)))
    with stub(behaving(WHOLE)) as server:
        await ask(server, question)
        (message,) = chats(server)[0]["messages"]
    assert message["content"][1] == {"type": "text", "text": "<img>Read."}


async def test_the_key_is_shown_and_the_named_model_asked() -> None:
    with stub(behaving(WHOLE)) as server:
        await ask(server, key="sk-1", model="other")
        assert {call.headers["authorization"] for call in server.calls} == {"Bearer sk-1"}
        assert chats(server)[0]["model"] == "other"


# ---- what comes back


async def test_an_answer_comes_piece_by_piece_with_the_servers_counts() -> None:
    with stub(behaving(WHOLE)) as server:
        text, pieces = await ask(server)
    assert text == "Hello page"
    assert [piece.text for piece in pieces] == ["Hello", " page", ""]
    assert sum(piece.tokens for piece in pieces) == 3
    assert sum(piece.prompt_tokens for piece in pieces) == 40
    assert [piece.stop for piece in pieces] == [None, None, Stop.STOP]


async def test_a_cut_at_max_tokens_says_so() -> None:
    cut = SSE_HEAD + frame("a") + frame(finish="length") + END
    with stub(behaving(cut)) as server:
        _, pieces = await ask(server)
    assert pieces[-1].stop is Stop.LENGTH


async def test_the_first_piece_is_told_before_the_second_is_there() -> None:
    async def slow(call: Call) -> None:
        await call.send(SSE_HEAD + frame("first"))
        await asyncio.wait_for(asyncio.to_thread(told.wait), 5)
        await call.send(frame(finish="stop") + END)

    told = threading.Event()
    with stub(behaving(slow)) as server:
        async with answering(server) as stream:
            assert (await anext(stream)).text == "first"
            told.set()
            assert (await anext(stream)).stop is Stop.STOP


async def test_one_connection_serves_one_question_after_another() -> None:
    with stub(behaving(WHOLE)) as server:
        async with backend(server) as made:
            for _ in range(3):
                async with aclosing(made.generate(Question(text="hi"))) as stream:
                    async for piece in stream:
                        if piece.stop is not None:
                            break
            assert len({id(call.writer) for call in server.calls}) == 1


async def test_a_server_that_does_not_stream_is_understood() -> None:
    choices = [{"index": 0, "message": {"content": "all of it"}, "finish_reason": "length"}]
    counts = {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}
    body = json.dumps({"choices": choices, "usage": counts}).encode()
    with stub(behaving(lambda call: call.reply(200, body))) as server:
        text, (piece,) = await ask(server)
    assert text == "all of it"
    assert (piece.tokens, piece.prompt_tokens, piece.stop) == (6, 5, Stop.LENGTH)


# ---- what goes wrong


def refusing(status: int, message: str = "no", **headers: str) -> Behaviour:
    body = json.dumps({"error": {"message": message, "type": "x", "code": status}}).encode()
    return behaving(lambda call: call.reply(status, body, headers=headers))


@pytest.mark.parametrize(
    ("behaviour", "kind", "message"),
    [
        (refusing(429, **{"retry-after": "7"}), Busy, "busy"),
        (refusing(503), Busy, "busy or loading"),
        (refusing(503, **{"retry-after": "7"}), Busy, "busy"),
        (refusing(400, "context is 8192 tokens"), InvalidRequest, "context is 8192 tokens"),
        (refusing(422, "bad top_k"), InvalidRequest, "bad top_k"),
        (refusing(413), ImageTooLarge, "no"),
        (refusing(401), EngineFailed, "failed"),
        (refusing(404), EngineFailed, "refused"),
        (refusing(504), TimedOut, "no"),
        (refusing(500), EngineFailed, "failed"),
        (
            behaving(head(502, "text/html", {"content-length": "6"}) + b"<html>"),
            EngineFailed,
            "failed",
        ),
        (behaving(b"not http at all\r\n\r\n"), EngineFailed, "broke off"),
    ],
    ids=[
        "429",
        "503",
        "503-later",
        "400",
        "422",
        "413",
        "401",
        "404",
        "504",
        "500",
        "502",
        "garbage",
    ],
)
async def test_its_errors_are_ours(
    behaviour: Behaviour, kind: type[OcrError], message: str
) -> None:
    with stub(behaviour) as server, pytest.raises(kind, match=message) as caught:
        await ask(server)
    assert type(caught.value) is kind


async def test_when_to_come_back_is_passed_on() -> None:
    with stub(refusing(429, **{"retry-after": "7"})) as server, pytest.raises(Busy) as caught:
        await ask(server)
    assert caught.value.retry_after_s == 7


async def _break(call: Call) -> None:
    await call.send(SSE_HEAD + frame("Hel"))
    call.writer.close()


async def _end_early(call: Call) -> None:
    await call.send(SSE_HEAD + frame("Hel") + chunk(b""))


async def _fail_inside(call: Call) -> None:
    error = {"error": {"message": "engine dead", "type": "x", "code": 500}}
    await call.send(SSE_HEAD + frame("Hel") + chunk(f"data: {json.dumps(error)}\n\n".encode()))
    await call.until_hangup()


@pytest.mark.parametrize("cut", [_break, _end_early, _fail_inside])
async def test_a_stream_cut_short_is_never_a_short_answer(cut: Behaviour) -> None:
    with stub(behaving(cut)) as server:
        async with answering(server) as stream:
            assert (await anext(stream)).text == "Hel"
            with pytest.raises(EngineFailed):
                await anext(stream)


async def _say_nothing(call: Call) -> None:
    await call.until_hangup()


async def _head_alone(call: Call) -> None:
    await call.send(SSE_HEAD)
    await call.until_hangup()


async def _fall_silent(call: Call) -> None:
    await call.send(SSE_HEAD + frame("Hel"))
    await call.until_hangup()


@pytest.mark.parametrize("silent", [_say_nothing, _head_alone, _fall_silent])
async def test_silence_has_an_end(silent: Behaviour) -> None:
    with stub(behaving(silent)) as server:
        with pytest.raises(TimedOut):
            await ask(server, first_s=0.1, silence_s=0.1)
        assert await asyncio.to_thread(server.calls[-1].closed.wait, 2)


@pytest.mark.parametrize("waiting", [_say_nothing, _fall_silent])
async def test_leaving_hangs_up_on_the_server(waiting: Behaviour) -> None:
    with stub(behaving(waiting)) as server:
        async with backend(server) as made:
            task = asyncio.create_task(_drain(made))
            await asyncio.to_thread(server.wait_call, 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.calls[-1].closed.wait, 2)


async def _drain(made: OpenAiBackend) -> None:
    async with aclosing(made.generate(Question(text="hi"))) as stream:
        async for _ in stream:
            pass


# ---- readiness


async def test_a_server_that_is_not_up_yet_is_waited_for() -> None:
    with stub(behaving(WHOLE, status=503)) as server:
        async with backend(server, probe_s=0.05) as made:
            assert not made.state().ready
            assert "503" in made.state().why
            server.behaviour = behaving(WHOLE)
            async with asyncio.timeout(5):
                while not made.state().ready:
                    await asyncio.sleep(0.005)
            server.behaviour = behaving(WHOLE, status=500)
            async with asyncio.timeout(5):
                while made.state().ready:
                    await asyncio.sleep(0.005)


async def test_a_server_that_is_gone_makes_it_not_ready() -> None:
    with stub(behaving(WHOLE)) as server:
        made = OpenAiBackend(server.url)
        await made.open()
        assert made.state().ready
    with pytest.raises((ModelNotLoaded, EngineFailed)):
        await _drain(made)
    with pytest.raises(ModelNotLoaded, match="does not answer"):
        await _drain(made)
    assert "takes no connection" in made.state().why
    await made.close()


@pytest.mark.parametrize(
    ("models", "status", "wanted", "message"),
    [
        (MODELS, 200, "absent", "has no model absent; it has ocr-1b, other"),
        (b'{"data": []}', 200, None, "has no model at all"),
        (b"<html>", 200, None, "lists no models"),
        (b"{}", 401, None, "refuses the API key"),
        (b"{}", 404, None, "is no OpenAI server"),
    ],
)
async def test_a_server_that_cannot_serve_fails_the_opening(
    models: bytes, status: int, wanted: str | None, message: str
) -> None:
    with stub(behaving(WHOLE, models=models, status=status)) as server:
        made = OpenAiBackend(server.url, model=wanted)
        with pytest.raises(EngineFailed, match=message):
            await made.open()
        await made.close()


# ---- as an engine


async def test_a_page_is_read_through_it() -> None:
    with stub(behaving(WHOLE)) as server:
        engine = GeneratingEngine(OpenAiBackend(server.url), Recipe(model="m"), PlainFamily("OCR:"))
        await engine.open()
        result = await fold(
            engine.read(Request(model="m", task=Task.TEXT, pages=(BytesPage(png()),)))
        )
        await engine.close()
    assert (result.text, result.usage) == ("Hello page", Usage(40, 3))
    assert result.sizes == ((40, 20),)
