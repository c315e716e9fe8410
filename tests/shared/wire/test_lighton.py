"""LightOnOCR's format: the document's requests, what clients send besides, what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shared.errors import InvalidRequest, ModelNotLoaded
from shared.ocr import Done, EncodedPage, Request, Result, Stop, Task, Text, UrlPage, Usage
from shared.wire import lighton, openai
from tests.shared.wire.samples import (
    LIMITS,
    PNG_BASE64,
    PNG_URL,
    STAMP,
    chat_body,
    json_request,
)

IMAGE = {"type": "image_url", "image_url": {"url": PNG_URL}}
TEXT = {"type": "text", "text": "Read."}


def read(body: object) -> lighton.Call:
    return lighton.read_chat(json_request(body), LIMITS["lighton"])


def ask(*content: object, **fields: Any) -> Request:
    """A request of one user message."""
    return read({"messages": [{"role": "user", "content": list(content)}], **fields}).request


def test_a_request_without_model_temperature_tokens_and_stream():
    """Cases 7 and 15: the document's aiohttp client leaves them out."""
    call = read(chat_body())

    assert call.model == "LightOnOCR-1B-1025"
    assert call.request.model == "LightOnOCR-1B-1025"
    assert call.request.task is Task.MARKDOWN
    assert call.request.sampling.temperature == 0.1
    assert call.request.sampling.max_tokens == 4096
    assert not call.request.stream


@pytest.mark.parametrize("model", ["gpt-4o", None, "./models/LightOnOCR.gguf"])
def test_any_model_is_served_and_the_answer_names_the_one(model: str | None):
    call = read(chat_body(model=model))
    body = msgspec.json.decode(lighton.write_result(call, Result(text=""), STAMP).body)

    assert body["model"] == "LightOnOCR-1B-1025"


def test_words_without_an_image_are_answered():
    """Case 6, and the probe that a client sends before anything else."""
    call = read({"messages": [{"role": "user", "content": "Extract text"}]})

    assert (call.request.task, call.request.prompt) == (Task.CHAT, "Extract text")
    assert call.request.pages == ()

    assert ask(TEXT, max_tokens=10).task is Task.CHAT


@pytest.mark.parametrize("content", [(TEXT, IMAGE), (IMAGE, TEXT), (IMAGE,)])
def test_the_image_may_stand_anywhere(content: tuple[object, ...]):
    """Case 9."""
    request = ask(*content)

    assert request.pages == (EncodedPage(PNG_URL),)
    assert request.task is Task.MARKDOWN


def test_several_images_keep_their_order():
    """Case 10."""
    other = {"type": "image_url", "image_url": {"url": "https://example.com/b.png"}}

    assert ask(IMAGE, other, IMAGE).pages == (
        EncodedPage(PNG_URL),
        UrlPage("https://example.com/b.png"),
        EncodedPage(PNG_URL),
    )


@pytest.mark.parametrize(
    ("url", "page"),
    [
        (PNG_BASE64, EncodedPage(PNG_BASE64)),
        ("DATA:image/jpeg;base64,AAAA", EncodedPage("DATA:image/jpeg;base64,AAAA")),
        ("HTTP://example.com/a", UrlPage("HTTP://example.com/a")),
    ],
)
def test_an_image_is_a_data_url_an_address_or_bare_base64(url: str, page: object):
    assert ask({"type": "image_url", "image_url": {"url": url, "detail": "high"}}).pages == (page,)


@pytest.mark.parametrize(
    "part",
    [
        {"text": "Read."},
        {"type": "text", "text": "Read.", "image_url": None},
        {"type": None, "text": "Read."},
    ],
)
def test_a_text_part_without_its_type_or_with_a_null_beside_it(part: object):
    assert ask(part, {"image_url": {"url": PNG_URL}}).prompt == "Read."
    assert ask(part, {"image_url": {"url": PNG_URL}}).pages == (EncodedPage(PNG_URL),)


def test_an_image_part_that_is_null_is_no_image():
    assert ask(TEXT, {"type": "image_url", "image_url": None}).task is Task.CHAT


def test_words_of_all_the_clients_messages_are_joined():
    call = read(
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "One"},
                {"role": "assistant", "content": None},
                {"role": "assistant", "content": "earlier answer"},
                {"role": "tool", "content": None},
                {"role": "user", "content": [TEXT, {"type": "text", "text": "Two"}]},
            ]
        }
    )

    assert call.request.prompt == "Be brief.\nOne\nRead.\nTwo"


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({}, 4096),
        ({"max_tokens": None}, 4096),
        ({"max_tokens": 8}, 8),
        ({"max_tokens": "8"}, 8),
        ({"max_tokens": -1}, -1),
        ({"max_completion_tokens": 9}, 9),
        ({"max_tokens": 8, "max_completion_tokens": 9}, 9),
        ({"max_tokens": 8, "n_predict": 7}, 7),
    ],
)
def test_tokens_have_three_names(fields: dict[str, Any], tokens: int):
    assert ask(IMAGE, **fields).sampling.max_tokens == tokens


@pytest.mark.parametrize(
    ("stop", "expected"),
    [(None, ()), ("###", ("###",)), (["a", "b"], ("a", "b")), ([], ()), ("", ())],
)
def test_stop_is_a_word_or_a_list(stop: object, expected: tuple[str, ...]):
    assert ask(IMAGE, stop=stop).sampling.stop == expected


def test_what_other_servers_take_is_passed_over():
    fields = {
        "top_k": "x",
        "vllm_xargs": {"a": 1},
        "priority": 1,
        "mm_processor_kwargs": {"min_pixels": 1},
        "skip_special_tokens": False,
        "repetition_penalty": 1.1,
        "cache_prompt": True,
        "top_logprobs": None,
        "user": "me",
        "n": 1,
        "tools": [],
        "functions": None,
        "response_format": {"type": "text"},
        "stream_options": None,
    }

    assert ask(IMAGE, **fields) == ask(IMAGE)


def test_logprobs_asked_for_are_null():
    call = read(chat_body(logprobs=True))
    body = msgspec.json.decode(lighton.write_result(call, Result(text="a"), STAMP).body)

    assert body["choices"][0]["logprobs"] is None
    assert b'"logprobs":null' in lighton.DeltaWriter(call, STAMP).write(Text("a"))

    plain = lighton.write_result(read(chat_body(logprobs=False)), Result(text="a"), STAMP)
    assert b"logprobs" not in plain.body


REFUSED: list[tuple[object, str]] = [
    ({}, "messages"),
    ([], "Expected `object`"),
    ({"messages": []}, "messages must not be empty"),
    ({"messages": "hello"}, "`$.messages`"),
    ({"messages": None}, "`$.messages`"),
    ({"messages": [{"content": "a"}]}, "role"),
    ({"messages": [{"role": "user"}]}, "All non-assistant messages must contain 'content'"),
    ({"messages": [{"role": "user", "content": 5}]}, "`$.messages[0].content`"),
    ({"messages": [{"role": "user", "content": [5]}]}, "`$.messages[0].content[0]`"),
    (
        {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
        "unsupported content[].type: input_audio",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": PNG_URL}]}]},
        "image_url`",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        "url",
    ),
    (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}],
                }
            ]
        },
        "data URL",
    ),
    (chat_body(n=2), "n must be 1"),
    (chat_body(n=0), "n must be 1"),
    (chat_body(tools=[{"type": "function"}]), "tools"),
    (chat_body(functions=[{}]), "tools"),
    (chat_body(response_format={"type": "json_object"}), "response_format json_object"),
    (chat_body(response_format={"type": "json_schema", "json_schema": {}}), "response_format"),
    (chat_body(temperature=2.1), "temperature must be between 0 and 2"),
    (chat_body(temperature=-1), "temperature"),
    (chat_body(temperature="hot"), "`$.temperature`"),
    (chat_body(top_p=1.5), "top_p"),
    (chat_body(max_tokens=0), "max_tokens must be between 1"),
    (chat_body(max_tokens=-2), "max_tokens"),
    (chat_body(max_tokens=2**40), "max_tokens"),
    (chat_body(max_tokens="x"), "`$.max_tokens`"),
    (chat_body(stream="maybe"), "`$.stream`"),
    (chat_body(stop=5), "`$.stop`"),
    (chat_body(stop=["x"] * 17), "At most 16 stop sequences"),
    (
        {"messages": [{"role": "user", "content": [IMAGE] * 101}]},
        "At most 100 images per request, got 101",
    ),
]


@pytest.mark.parametrize(("body", "message"), REFUSED)
def test_bad_input_is_400_and_says_why(body: object, message: str):
    """Case 11 among others."""
    with pytest.raises(InvalidRequest) as caught:
        read(body)
    reply = lighton.write_error(caught.value)
    error = msgspec.json.decode(reply.body)["error"]

    assert reply.status == 400
    assert list(error) == ["message", "type", "code"]
    assert message in error["message"]
    assert (error["type"], error["code"]) == ("invalid_request_error", 400)


def test_the_first_delta_has_the_role_and_the_last_a_finish_reason():
    """Cases 4 and 5: no usage unless it is asked for."""
    writer = lighton.DeltaWriter(read(chat_body(stream=True)), STAMP)
    raw = writer.start() + writer.write(Text("텍")) + writer.write(Done(usage=Usage(1, 2)))
    *frames, end = raw.decode().removesuffix("\n\n").split("\n\n")
    chunks = [msgspec.json.decode(frame.removeprefix("data: ")) for frame in frames]

    assert end == "data: [DONE]"
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "텍"},
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert all("usage" not in chunk for chunk in chunks)
    assert len({chunk["id"] for chunk in chunks}) == 1
    # The document's own frame, key by key.
    assert list(chunks[1]) == ["id", "object", "created", "model", "choices"]
    assert list(chunks[1]["choices"][0]) == ["index", "delta"]


@pytest.mark.parametrize("stop", [Stop.LENGTH, Stop.REPETITION])
def test_what_was_cut_says_so(stop: Stop):
    """Case 14."""
    result = Result(text="x", stop=stop, usage=Usage(3, 8))
    body = msgspec.json.decode(lighton.write_result(read(chat_body()), result, STAMP).body)

    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 8, "total_tokens": 11}


def test_a_service_that_cannot_serve_yet_says_so_in_the_format():
    reply = lighton.write_error(ModelNotLoaded("Loading model"))

    assert reply.status == 503
    assert reply.body == (
        b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}'
    )


def test_the_plain_format_keeps_the_clients_model():
    call = openai.read_chat(json_request(chat_body(model="m")), LIMITS["openai"])

    assert call.model == "m"
    assert openai.read_chat(json_request(chat_body()), LIMITS["openai"]).model == ""


def test_models_are_listed_in_openais_shape():
    reply = openai.write_models(["a", "b"], created=5, owned_by="me")

    assert [row["id"] for row in msgspec.json.decode(reply.body)["data"]] == ["a", "b"]
