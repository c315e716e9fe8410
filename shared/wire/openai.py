"""OpenAI's chat completions, as far as pages need them: both sides of requests, answers, errors.

Knows no service's habits; `lighton` and `paddle` are flavours of it, `openai_stream` its streams,
`openai_errors` its errors.
The hub carries one turn: the words of system and user messages in order, an earlier answer is left
out. A result keeps its text, stop (a repetition reads back as a length) and usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from shared import base64s
from shared.errors import EngineFailed, InvalidRequest
from shared.http import JSON, Incoming, Outgoing, Reply
from shared.limits import Limits
from shared.ocr import (
    BytesPage,
    EncodedPage,
    Page,
    PathPage,
    Request,
    Result,
    Sampling,
    Stop,
    Task,
    UrlPage,
    Usage,
)
from shared.wire import parameters
from shared.wire.answers import Stamp, read_answer, write_json
from shared.wire.openai_errors import read_error, write_error

__all__ = ("read_error", "write_error")

PATH: Final = "/v1/chat/completions"

STOPS_MAX: Final = 16
"""Most stop sequences; each is searched for in every piece of an answer. OpenAI takes 4."""


# ---- the format


class ImageUrl(msgspec.Struct):
    """Where an image is: a data URL, an address, or bare base64."""

    url: str


class Part(msgspec.Struct, omit_defaults=True):
    """A piece of a message. Clients leave `type` out, or send the other kind's key as null."""

    type: str | None = None
    text: str | None = None
    image_url: ImageUrl | None = None


class Message(msgspec.Struct):
    """One turn."""

    role: str
    content: str | list[Part] | None = None


class StreamOptions(msgspec.Struct):
    """What a stream carries besides its text."""

    include_usage: bool | None = None


class ResponseFormat(msgspec.Struct):
    """`text`, `json_object` or `json_schema`."""

    type: str | None = None


class Body(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A chat request: the fields that change the answer. Others are passed over."""

    model: str | None = None
    messages: list[Message]
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n_predict: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    tools: list[msgspec.Raw] | None = None
    functions: list[msgspec.Raw] | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | int | None = None


class Counts(msgspec.Struct):
    """Tokens. Some servers leave a count out or send null."""

    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    total_tokens: int | None = 0


class Answer(msgspec.Struct):
    """The one message of a completion."""

    role: str = "assistant"
    content: str | None = None


class Choice(msgspec.Struct):
    """One answer; there is always exactly one."""

    index: int
    message: Answer
    finish_reason: str | None = None
    logprobs: object = msgspec.UNSET
    """Asked for, it is null: no engine here gives them. Not asked for, it is not there."""


class Completion(msgspec.Struct, kw_only=True):
    """A whole answer."""

    id: str = ""
    object: str = "chat.completion"
    created: int = 0
    model: str = ""
    choices: list[Choice]
    usage: Counts | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request, and what its answer has to repeat."""

    request: Request
    model: str
    asked: str = ""
    """The user's own words, without the system's."""
    include_usage: bool = False
    logprobs: bool = False


BODIES: Final = msgspec.json.Decoder(Body, strict=False)
COMPLETIONS: Final = msgspec.json.Decoder(Completion)


# ---- wire to hub


def read_chat(incoming: Incoming, limits: Limits) -> Call:
    """A chat request: pages are to be read as Markdown, words alone are a chat.

    Raises:
        InvalidRequest: it cannot be understood, or asks for what is not done.
    """
    body = parameters.read_json(incoming, BODIES)
    refuse_unheard(body)
    refuse_formats(body)
    pages = read_pages(body.messages, limits)
    request = Request(
        model=body.model or "",
        task=Task.MARKDOWN if pages else Task.CHAT,
        pages=pages,
        prompt=read_words(body.messages),
        sampling=read_sampling(body, limits),
        stream=bool(body.stream),
    )
    options = body.stream_options
    return Call(
        request=request,
        model=request.model,
        asked=read_words(body.messages, "user"),
        include_usage=options is not None and bool(options.include_usage),
        logprobs=bool(body.logprobs),
    )


def refuse_unheard(body: Body) -> None:
    """Refuse what would change the answer and cannot be done, and messages that say nothing."""
    if body.n is not None and body.n != 1:
        raise InvalidRequest("Only one completion choice is allowed: n must be 1")
    if body.tools or body.functions:
        raise InvalidRequest("tools are not supported")
    if not body.messages:
        raise InvalidRequest("messages must not be empty")
    for message in body.messages:
        if message.content is None and message.role not in {"assistant", "tool"}:
            raise InvalidRequest("All non-assistant messages must contain 'content'")


def refuse_formats(body: Body, *formats: str) -> None:
    """Refuse a `response_format` that is neither text nor one of `formats`."""
    wanted = None if body.response_format is None else body.response_format.type
    if wanted is not None and wanted not in {"text", *formats}:
        raise InvalidRequest(f"response_format {wanted} is not supported, only text is")


def read_pages(messages: Sequence[Message], limits: Limits) -> tuple[Page, ...]:
    """All images of all messages, in order."""
    parts = [part for message in messages for part in _parts(message)]
    pages = tuple(
        _page(part.image_url.url)
        for part in parts
        if _kind(part) == "image_url" and part.image_url is not None
    )
    if len(pages) > limits.batch_max:
        raise InvalidRequest(f"At most {limits.batch_max} images per request, got {len(pages)}")
    return pages


def read_words(messages: Sequence[Message], *roles: str) -> str:
    """The text of the client's messages, one part per line; of `roles` alone if any are named."""
    wanted = roles or ("system", "developer", "user")
    parts = (part for message in messages if message.role in wanted for part in _parts(message))
    return "\n".join(part.text for part in parts if _kind(part) == "text" and part.text)


def read_sampling(body: Body, limits: Limits, *, unlimited: bool = True) -> Sampling:
    """How to draw the answer. Of several token bounds the newest name counts."""
    parameters.check_range("top_p", body.top_p, 0, 1)
    bounds = (body.n_predict, body.max_completion_tokens, body.max_tokens)
    wanted = next((bound for bound in bounds if bound is not None), None)
    return Sampling(
        temperature=parameters.read_temperature(body.temperature, limits),
        top_p=body.top_p,
        max_tokens=parameters.read_max_tokens(wanted, limits, unlimited=unlimited),
        stop=_stops(body.stop),
        seed=body.seed,
    )


def read_result(reply: Reply) -> Result:
    """A server's whole answer.

    Raises:
        OcrError: the answer is an error, or no completion.
    """
    if reply.status != 200:
        raise read_error(reply)
    completion = read_answer(reply.body, COMPLETIONS)
    if not completion.choices:
        raise EngineFailed("the model server gave no answer", detail="choices is empty")
    choice = completion.choices[0]
    return Result(
        text=choice.message.content or "",
        stop=read_stop(choice.finish_reason),
        usage=read_usage(completion.usage),
    )


def read_stop(reason: str | None) -> Stop:
    """Why it ended; a server that does not say ended of itself."""
    return Stop.LENGTH if reason == "length" else Stop.STOP


def read_usage(counts: Counts | None) -> Usage:
    """Token counts; none given is 0."""
    if counts is None:
        return Usage()
    return Usage(counts.prompt_tokens or 0, counts.completion_tokens or 0)


# ---- hub to wire


def write_request(request: Request, *, words: str | None = None) -> Outgoing:
    """A chat request of one user message: words first, then the images, as most clients do.

    Raises:
        InvalidRequest: a page is a path, which no other machine can read.
    """
    words = request.prompt if words is None else words
    parts = [Part(type="text", text=words)] if words else []
    parts += [
        Part(type="image_url", image_url=ImageUrl(_write_url(page))) for page in request.pages
    ]
    content: str | list[Part] = parts if request.pages else words
    sampling = request.sampling
    body = Body(
        model=request.model,
        messages=[Message("user", content)],
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=None if sampling.max_tokens == -1 else sampling.max_tokens,
        stop=list(sampling.stop) or None,
        seed=sampling.seed,
        stream=request.stream,
        stream_options=StreamOptions(include_usage=True) if request.stream else None,
    )
    return Outgoing(path=PATH, headers={"content-type": JSON}, body=msgspec.json.encode(body))


def write_result(
    call: Call, result: Result, stamp: Stamp, *, media_type: str = JSON, id_chars: int = 32
) -> Reply:
    """A whole answer, its keys in the documented order."""
    choice = Choice(
        index=0,
        message=Answer(content=result.text),
        finish_reason=write_stop(result.stop),
        logprobs=None if call.logprobs else msgspec.UNSET,
    )
    completion = Completion(
        id=write_id(stamp, id_chars),
        created=int(stamp.at.timestamp()),
        model=call.model,
        choices=[choice],
        usage=write_usage(result.usage),
    )
    return write_json(completion, media_type=media_type)


def write_id(stamp: Stamp, chars: int = 32) -> str:
    """The completion's id; paddle's has 24 hexadecimal digits."""
    return f"chatcmpl-{stamp.id.hex[:chars]}"


def write_stop(stop: Stop) -> Literal["stop", "length"]:
    """A repetition was cut off, which this format calls a length."""
    return "stop" if stop is Stop.STOP else "length"


def write_usage(usage: Usage) -> Counts:
    return Counts(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)


def write_models(models: Sequence[str], *, created: int, owned_by: str) -> Reply:
    """The list of models."""
    data = [
        {"id": name, "object": "model", "created": created, "owned_by": owned_by} for name in models
    ]
    return write_json({"object": "list", "data": data})


# ---- details


def _parts(message: Message) -> list[Part]:
    """Content as parts: words alone are one text part."""
    if isinstance(message.content, list):
        return message.content
    return [Part(type="text", text=message.content)]


def _kind(part: Part) -> str:
    """A part's type; without one, the key it carries tells."""
    kind = part.type or ("image_url" if part.image_url is not None else "text")
    if kind not in {"text", "image_url"}:
        raise InvalidRequest(f"unsupported content[].type: {kind}")
    return kind


def _page(url: str) -> Page:
    """Where the image is. What names no scheme is base64 without its head."""
    head = url[:8].lower()
    if head.startswith(("http://", "https://")):
        return UrlPage(url)
    if head.startswith("file:"):
        raise InvalidRequest("image_url.url must be a data URL or an http(s) address")
    return EncodedPage(url)


def _stops(stop: str | list[str] | None) -> tuple[str, ...]:
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(stops) > STOPS_MAX:
        raise InvalidRequest(f"At most {STOPS_MAX} stop sequences, got {len(stops)}")
    return tuple(text for text in stops if text)


def _write_url(page: Page) -> str:
    match page:
        case EncodedPage() | BytesPage():
            return base64s.write_data_url(page)
        case UrlPage(url):
            return url
        case PathPage():
            raise InvalidRequest("A page in a file of the server cannot be sent in this format")
