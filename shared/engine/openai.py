"""The backend that is somebody else's server: whatever speaks OpenAI's chat completions (vllm
serve, SGLang, llama-server), behind a family's own questions.

It starts no server and never repeats a question: a page that failed half-way is the client's to
send again.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from io import BytesIO
from typing import Any, Final

import aiohttp
import msgspec
from PIL.Image import Image
from yarl import URL

from shared.engine.family import Question
from shared.engine.generate import Piece
from shared.engine.protocol import EngineState
from shared.errors import (
    Busy,
    EngineFailed,
    ImageTooLarge,
    InvalidRequest,
    ModelNotLoaded,
    OcrError,
    TimedOut,
    UnknownModel,
)
from shared.http import JSON, SSE, Reply
from shared.ocr import Done, Text
from shared.tokens import NO_LIMIT
from shared.wire import openai, openai_stream

log = logging.getLogger("ocr_fleet.engine")

CONNECT_S: Final = 5.0
"""A server that does not take a connection by then is not there."""

PROBE_S: Final = 5.0
"""Between two looks at whether the server answers; one may take that long."""

KEPT_S: Final = 4.0
"""Idle connections are dropped before the server's side is: uvicorn, which vllm and SGLang run on,
closes them after 5 s."""

ERROR_BYTES_MAX: Final = 64 * 1024
"""Of an error answer, that much is read."""

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of a server that does not stream."""

DRAIN_S: Final = 1.0
"""For the few bytes behind an answer's end."""

PNG_LEVEL: Final = 1
"""Lossless, as the model has to see the very pixels, and three times as fast as the default."""


class OpenAiBackend:
    """See the module.

    Args:
        url: the server's base URL; without a path `/v1` is meant.
        key: its API key; empty is none.
        model: the model's name there; `None` is the first that it lists.
        first_s: how long the first word of an answer may take; queues of other clients count.
        silence_s: the longest pause inside an answer.
        probe_s: between two looks at whether the server answers.
        at_once: how many questions of a page may run at the same time.
    """

    name = "openai/remote"
    warms_up = False

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        model: str | None = None,
        first_s: float = 300.0,
        silence_s: float = 60.0,
        probe_s: float = PROBE_S,
        at_once: int = 1,
    ) -> None:
        base = URL(url.rstrip("/"))
        self._base = base / "v1" if base.path in {"", "/"} else base
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self.at_once = at_once
        self._wanted = model
        self._model = ""
        self._first_s = first_s
        self._silence_s = silence_s
        self._probe_s = probe_s
        self._session: aiohttp.ClientSession | None = None
        self._why = "the model server was not asked yet"
        self._watch: asyncio.Task[None] | None = None

    async def open(self) -> None:
        if self._session is not None:
            return
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_S),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            headers=self._headers,
            read_bufsize=256 * 1024,
        )
        try:
            await self._probe(self._session)
        except EngineFailed:
            await self.close()
            raise
        if self._why:
            log.warning("not ready: %s", self._why)
        self._watch = asyncio.create_task(self._keep_watch(self._session))

    async def _keep_watch(self, session: aiohttp.ClientSession) -> None:
        """Ready as long as the server answers; it may start later than this, and again."""
        while True:
            await asyncio.sleep(self._probe_s)
            before = self._why
            try:
                await self._probe(session)
            except EngineFailed as error:
                self._why = str(error)
            if self._why != before:
                log.warning("%s", self._why or f"the model server answers: {self._model}")

    async def _probe(self, session: aiohttp.ClientSession) -> None:
        """Look which models there are.

        Raises:
            EngineFailed: the server is there and will not serve, whoever waits how long.
        """
        try:
            async with asyncio.timeout(PROBE_S), session.get(self._base / "models") as answer:
                body = await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            self._why = f"{self._base} does not answer: {_said(error)}"
            return
        if status in {401, 403}:
            raise EngineFailed(f"{self._base} refuses the API key; set engine_key")
        if status == 404:
            raise EngineFailed(f"{self._base}/models is not there; engine_url is no OpenAI server")
        if status != 200:
            self._why = f"{self._base}/models answers {status}"
            return
        self._model = self._choose(_read_models(body))
        self._why = ""

    def _choose(self, names: list[str]) -> str:
        if self._wanted is None and names:
            return names[0]
        if self._wanted in names:
            return self._wanted
        listed = ", ".join(names) or "none"
        raise EngineFailed(f"{self._base} has no model {self._wanted or 'at all'}; it has {listed}")

    async def generate(self, question: Question) -> AsyncGenerator[Piece, None]:
        session = self._session
        if session is None:
            raise EngineFailed("the engine is not open")
        body = await asyncio.to_thread(_write_question, question, self._model)
        deadline = asyncio.get_running_loop().time() + self._first_s
        answer: aiohttp.ClientResponse | None = None
        try:
            with self._mapped():
                answer = await self._post(session, body, deadline)
            if answer.content_type != SSE:
                with self._mapped():
                    piece = await _read_whole(answer, deadline)
                yield piece
                return
            async with aclosing(self._read_stream(answer, deadline)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            if answer is not None:
                answer.close()

    async def _post(
        self, session: aiohttp.ClientSession, body: bytes, deadline: float
    ) -> aiohttp.ClientResponse:
        url = self._base / "chat" / "completions"
        headers = {"content-type": JSON, "accept": SSE}
        async with asyncio.timeout_at(deadline):
            answer = await session.post(url, data=body, headers=headers)
            if answer.status == 200:
                return answer
            try:
                raise await _read_error(answer)
            finally:
                answer.close()

    async def _read_stream(
        self, answer: aiohttp.ClientResponse, deadline: float
    ) -> AsyncGenerator[Piece, None]:
        """A chunk is mostly one token; the server's own count comes with the end and puts that
        right."""
        reader = openai_stream.DeltaReader()
        count = 0
        while True:
            with self._mapped():
                async with asyncio.timeout_at(deadline):
                    data = await answer.content.readany()
                deltas = reader.feed(data) if data else reader.close()
            for delta in deltas:
                match delta:
                    case Text(text):
                        count += 1
                        yield Piece(text=text, tokens=1)
                    case Done(stop=stop, usage=usage):
                        await _drain(answer)
                        total = usage.completion_tokens or count
                        yield Piece(
                            tokens=total - count, prompt_tokens=usage.prompt_tokens, stop=stop
                        )
                        return
            with self._mapped():
                reader.feed(b"")  # a failure behind the deltas is told now, not at the next word
            deadline = asyncio.get_running_loop().time() + self._silence_s

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """What can go wrong between here and the server, in the fleet's kinds."""
        try:
            yield
        except aiohttp.ClientConnectorError as error:
            self._why = f"{self._base} takes no connection"
            raise ModelNotLoaded("The model server does not answer", detail=repr(error)) from error
        except TimeoutError as error:
            raise TimedOut("The model server took too long", detail=str(self._base)) from error
        except aiohttp.ClientError as error:
            raise EngineFailed("the model server broke off", detail=repr(error)) from error
        except OcrError as error:
            raise _translate(error) from error

    def state(self) -> EngineState:
        # The server's device is not known here, and is not this machine's to tell of.
        return EngineState(ready=not self._why, why=self._why)

    async def close(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        session, self._session = self._session, None
        self._why = "the engine was closed"
        if session is not None:
            await session.close()


def _said(error: Exception) -> str:
    return str(error) or "it took too long"


class _Model(msgspec.Struct):
    """One entry of a server's list."""

    id: str


class _Models(msgspec.Struct):
    """A server's list of models."""

    data: list[_Model] = []


_MODELS: Final = msgspec.json.Decoder(_Models)


def _read_models(body: bytes) -> list[str]:
    try:
        return [model.id for model in _MODELS.decode(body).data]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EngineFailed("engine_url lists no models", detail=str(error)) from error


def _write_question(question: Question, model: str) -> bytes:
    """The body: image first, then the words, as every family's own client does; defaults of the
    server's own (`generation_config.json`) are always overruled."""
    messages: list[dict[str, Any]] = []
    if question.system is not None:
        messages.append({"role": "system", "content": question.system})
    messages.append({"role": "user", "content": _content(question)})
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": question.temperature,
        "top_p": question.top_p,
        "top_k": question.top_k or -1,
        "repetition_penalty": question.repetition_penalty,
        "skip_special_tokens": question.skip_special_tokens,
    }
    if question.max_tokens != NO_LIMIT:
        body["max_tokens"] = question.max_tokens
    if question.seed is not None:
        body["seed"] = question.seed
    more = {
        "stop": list(question.stop),
        "vllm_xargs": question.extra_args,
        "mm_processor_kwargs": question.processor_kwargs,
        "chat_template_kwargs": question.template_kwargs,
    }
    return msgspec.json.encode({**body, **{name: value for name, value in more.items() if value}})


def _content(question: Question) -> str | list[dict[str, Any]]:
    if question.image is None:
        return question.text
    words = question.image_text + question.text
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": _data_url(question.image)}}
    ]
    if words:
        parts.append({"type": "text", "text": words})
    return parts


def _data_url(image: Image) -> str:
    file = BytesIO()
    image.save(file, "PNG", compress_level=PNG_LEVEL)
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


async def _read_error(answer: aiohttp.ClientResponse) -> OcrError:
    body = await answer.content.read(ERROR_BYTES_MAX)
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return openai.read_error(Reply(status=answer.status, headers=headers, body=body))


async def _read_whole(answer: aiohttp.ClientResponse, deadline: float) -> Piece:
    """The answer of a server that does not stream."""
    async with asyncio.timeout_at(deadline):
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > ANSWER_BYTES_MAX:
                raise EngineFailed("the model server's answer is too long")
    result = openai.read_result(Reply(body=bytes(body)))
    usage = result.usage
    return Piece(
        text=result.text,
        tokens=usage.completion_tokens,
        prompt_tokens=usage.prompt_tokens,
        stop=result.stop,
    )


async def _drain(answer: aiohttp.ClientResponse) -> None:
    """Read the body's end, so that the connection can serve again; not at any price."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(DRAIN_S):
            while await answer.content.readany():
                pass
        answer.release()


def _translate(error: OcrError) -> OcrError:
    """The server's errors as the client's: what is wrong between us and it is not the client's."""
    match error:
        case Busy(retry_after_s=seconds):
            return Busy("The model server is busy", retry_after_s=seconds, detail=str(error))
        case ModelNotLoaded():
            return Busy("The model server is busy or loading", detail=str(error))
        case TimedOut() | ImageTooLarge():
            return error
        case UnknownModel():
            return EngineFailed("the model server does not know the model", detail=str(error))
        case InvalidRequest():
            return InvalidRequest(f"The model server refused the request: {error}")
        case EngineFailed():
            return EngineFailed("the model server failed", detail=f"{error} {error.detail}".strip())
        case _:
            return EngineFailed("the model server refused the request", detail=str(error))
