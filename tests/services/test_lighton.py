"""LightOnOCR's service over a real socket: the numbered compatibility cases of its wire facts and
the contract's decisions. Where the two differ the contract wins, and the test says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.samples import (
    CHAT_PATH,
    MIB,
    PAGE,
    TELL,
    broken_lines,
    chat,
    data_url,
    hosted,
    http,
    image_part,
    message_of,
    padded,
    picture,
    png,
    text_part,
)
from tests.serving import served

MODEL = "LightOnOCR-1B-1025"
JSON = "application/json; charset=utf-8"
WORDS = '{"text": "one two three", "pieces": 3}'
DOCUMENTED: dict[str, Any] = {
    "model": MODEL,
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Extract all text from this image."},
                {
                    "type": "image_url",
                    "image_url": {"url": f"data:image/jpeg;base64,{PAGE}"},
                },
            ],
        }
    ],
    "temperature": 0.1,
    "max_tokens": 4096,
    "stream": False,
}


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    """A service that says three words."""
    with served("lighton", OCR_FLEET_FAKE=WORDS) as url:
        yield url


@pytest.fixture(scope="module")
def teller() -> Iterator[str]:
    """A service that says what its engine was asked."""
    with served("lighton", OCR_FLEET_FAKE=TELL) as url:
        yield url


def post(base: str, body: object) -> httpx.Response:
    return http.post(base + CHAT_PATH, json=body)


def told(base: str, body: object) -> dict:
    """What the engine was asked."""
    answer = post(base, body)
    assert answer.status_code == 200, answer.text
    return json.loads(answer.json()["choices"][0]["message"]["content"])


def frames(answer: httpx.Response) -> list[str]:
    """The data of each frame; every frame is one `data: ` line and a blank one."""
    assert answer.text.endswith("\n\n")
    events = answer.text.removesuffix("\n\n").split("\n\n")
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    return [event.removeprefix("data: ") for event in events]


# ---- the numbered cases


def test_case_01_health(base):
    answer = http.get(f"{base}/health")
    assert (answer.status_code, answer.content) == (200, b'{"status":"ok"}')
    assert answer.headers["content-type"] == JSON


def test_case_02_models_is_a_list_whose_id_works_as_model(base):
    answer = http.get(f"{base}/v1/models")
    body = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON)
    assert body["object"] == "list"
    [model] = body["data"]
    assert list(model) == ["id", "object", "created", "owned_by"]
    assert (model["id"], model["object"], model["owned_by"]) == (MODEL, "model", "lightonai")
    assert model["created"] > 1_700_000_000
    assert post(base, chat(model=model["id"])).status_code == 200


def test_case_03_the_documents_body(base):
    answer = post(base, DOCUMENTED)
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON)
    body = answer.json()
    assert list(body) == ["id", "object", "created", "model", "choices", "usage"]
    assert body["id"].startswith("chatcmpl-")
    assert (body["object"], body["model"]) == ("chat.completion", MODEL)
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "one two three"},
            "finish_reason": "stop",
        }
    ]
    usage = body["usage"]
    assert list(usage) == ["prompt_tokens", "completion_tokens", "total_tokens"]
    assert usage["completion_tokens"] == 3
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_case_04_streamed_the_role_comes_first_and_the_text_is_the_same(base):
    answer = post(base, {**DOCUMENTED, "stream": True, "temperature": 0})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    *chunks, end = frames(answer)
    assert end == "[DONE]"
    read = [json.loads(chunk) for chunk in chunks]
    assert {chunk["object"] for chunk in read} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in read}) == 1
    assert all(
        list(chunk) == ["id", "object", "created", "model", "choices"] and chunk["model"] == MODEL
        for chunk in read
    )
    choices = [chunk["choices"][0] for chunk in read]
    assert choices[0] == {"index": 0, "delta": {"role": "assistant", "content": ""}}
    text = "".join(choice["delta"].get("content", "") for choice in choices)
    assert text == post(base, DOCUMENTED).json()["choices"][0]["message"]["content"]
    assert choices[1] == {"index": 0, "delta": {"content": "one"}}
    assert choices[-1] == {"index": 0, "delta": {}, "finish_reason": "stop"}


def test_case_05_usage_is_streamed_when_it_is_asked_for_and_only_then(base):
    plain = frames(post(base, chat(stream=True)))
    assert not any("usage" in frame for frame in plain)
    off = {"include_usage": False}
    assert len(frames(post(base, chat(stream=True, stream_options=off)))) == len(plain)
    asked = frames(post(base, chat(stream=True, stream_options={"include_usage": True})))
    assert len(asked) == len(plain) + 1
    last = json.loads(asked[-2])
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 3
    assert not any("usage" in frame for frame in asked[:-2])


def test_case_06_words_without_an_image_are_answered(teller):
    request = told(teller, {"messages": [{"role": "user", "content": "Extract text"}]})
    assert (request["task"], request["pages"], request["prompt"]) == ("chat", [], "Extract text")


@pytest.mark.parametrize("model", [{"model": "gpt-4o"}, {"model": None}, {}])
def test_case_07_any_model_is_served_and_the_answer_names_the_one_there_is(base, model):
    body = {"messages": chat()["messages"], **model}
    answer = post(base, body)
    assert (answer.status_code, answer.json()["model"]) == (200, MODEL)


def test_case_08_png_bytes_labelled_jpeg(base):
    answer = post(base, chat(image_part(data_url(png(), "image/jpeg"))))
    assert answer.status_code == 200


def test_case_09_the_image_before_the_text(teller):
    request = told(teller, chat(image_part(), text_part("Read this.")))
    assert (request["task"], len(request["pages"])) == ("markdown", 1)
    assert request["prompt"] == "Read this."


def test_case_10_two_images_are_read_in_order(teller):
    first, second = png(10, 10), png(2000, 1000)
    parts = (image_part(data_url(first)), text_part("both"), image_part(data_url(second)))
    assert told(teller, chat(*parts))["pages"] == [len(first), len(second)]


def test_case_11_an_empty_object_misses_messages(base):
    answer = post(base, {})
    assert answer.status_code == 400
    assert "messages" in message_of("lighton", answer)
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("url", ["data:image/png;base64,@@@@", "data:image/png;base64,AAAA"])
def test_case_12_rubbish_in_a_data_url(base, url):
    answer = post(base, chat(image_part(url)))
    assert answer.status_code == 400
    assert answer.json() == {
        "error": {
            "message": "Failed to load image or audio file",
            "type": "invalid_request_error",
            "code": 400,
        }
    }


def test_case_13_an_unknown_route(base):
    answer = http.get(f"{base}/nope")
    assert (answer.status_code, answer.headers["content-type"]) == (404, JSON)
    assert answer.json() == {
        "error": {"message": "File Not Found", "type": "not_found_error", "code": 404}
    }


def test_case_14_max_tokens_cuts_and_says_so():
    script = '{"text": "1 2 3 4 5 6 7 8 9 10 11 12"}'
    with served("lighton", OCR_FLEET_FAKE=script) as base:
        for bound in ("max_tokens", "max_completion_tokens", "n_predict"):
            body = post(base, chat(**{bound: 8})).json()
            assert body["choices"][0]["finish_reason"] == "length"
            assert body["choices"][0]["message"]["content"] == "1 2 3 4 5 6 7 8"
            assert body["usage"]["completion_tokens"] == 8
        assert '"finish_reason":"length"' in post(base, chat(stream=True, max_tokens=8)).text
        whole = post(base, chat(max_tokens=-1)).json()["choices"][0]
        assert whole["finish_reason"] == "stop"


def test_case_15_a_request_without_temperature_tokens_and_stream(teller):
    request = told(teller, {"model": MODEL, "messages": DOCUMENTED["messages"]})
    assert request["sampling"]["temperature"] == 0.1
    assert request["sampling"]["max_tokens"] == 4096
    assert request["stream"] is False


# ---- the contract


def test_what_the_client_says_reaches_the_engine(teller):
    asked = chat(temperature=1.5, max_tokens=7000, top_p=0.5, stop=["END"], seed=5)
    sampling = told(teller, asked)["sampling"]
    assert (sampling["temperature"], sampling["max_tokens"]) == (1.5, 7000)
    assert (sampling["top_p"], sampling["stop"], sampling["seed"]) == (0.5, ["END"], 5)
    assert told(teller, chat(stop="END"))["sampling"]["stop"] == ["END"]


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": None, "max_tokens": None, "stream": None, "stop": None, "seed": None},
        {"temperature": "0.5", "max_tokens": "100", "stream": "false"},
        {"temperature": 2, "presence_penalty": 1, "user": "x", "metadata": {"a": [1]}},
        {"n": 1, "tools": [], "response_format": {"type": "text"}},
        {"messages": [{"role": "system", "content": ""}, *chat()["messages"]]},
        {"messages": [{"role": "developer", "content": "Read."}, *chat()["messages"]]},
        {
            "messages": [
                {"role": "user", "content": [{"image_url": {"url": PAGE, "detail": "high"}}]}
            ]
        },
    ],
)
def test_what_clients_really_send_works(base, more):
    answer = post(base, {**chat(), **more})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": -0.1},
        {"temperature": 2.1},
        {"temperature": "warm"},
        {"max_tokens": 0},
        {"max_tokens": -2},
        {"max_tokens": "many"},
        {"max_tokens": 1.5},
        {"max_completion_tokens": 0},
        {"stream": "perhaps"},
        {"n": 2},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_object"}},
        {"messages": []},
        {"messages": "text"},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "user", "content": [{"type": "audio", "audio": "x"}]}]},
        {"messages": [{"role": "user", "content": [image_part("ftp://a/b.png")]}]},
        {"messages": [{"role": "user", "content": [image_part("file:///etc/passwd")]}]},
    ],
)
def test_what_cannot_be_honoured_is_refused(base, more):
    answer = post(base, {**chat(), **more})
    assert answer.status_code == 400, answer.text
    assert message_of("lighton", answer)
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_logprobs_are_null_where_they_were_asked_for(base):
    [choice] = post(base, chat(logprobs=True, top_logprobs=3)).json()["choices"]
    assert choice["logprobs"] is None
    [choice] = post(base, chat()).json()["choices"]
    assert "logprobs" not in choice
    chunk = json.loads(frames(post(base, chat(logprobs=True, stream=True)))[1])
    assert chunk["choices"][0]["logprobs"] is None


def test_ten_mebibytes_are_read_and_one_byte_more_is_413(base):
    fits = post(base, chat(image_part(data_url(padded(10 * MIB)))))
    assert fits.status_code == 200
    for size in (10 * MIB + 1, 11 * MIB, 33 * MIB):
        over = post(base, chat(image_part(data_url(padded(size)))))
        assert over.status_code == 413
        assert message_of("lighton", over)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
def test_every_documented_type_and_webp_is_taken(base, kind):
    page = picture(40, 20, kind)
    assert post(base, chat(image_part(data_url(page, "image/jpeg")))).status_code == 200


def test_base64_comes_in_every_way_clients_send_it(base):
    """Bare, with line breaks inside the JSON string, URL-safe, without padding or content type."""
    assert post(base, chat(image_part(PAGE))).status_code == 200
    assert post(base, chat(image_part(PAGE.rstrip("=")))).status_code == 200
    body = json.dumps(chat(image_part("data:image/jpeg;base64,HERE")))
    raw = body.replace("HERE", broken_lines(noise := picture(300, 200, "BMP"))).encode()
    assert raw.count(b"\n") > 100
    assert len(noise) > 100_000
    for headers in ({}, {"content-type": "application/json; charset=utf-8"}):
        answer = http.post(base + CHAT_PATH, content=raw, headers=headers)
        assert answer.status_code == 200, answer.text


def test_an_image_behind_a_url_is_fetched_where_that_is_allowed():
    with hosted(png(30, 30)) as site:
        url = image_part(f"{site}/page.png")
        with served("lighton", OCR_FLEET_FAKE=TELL) as base:
            answer = post(base, chat(url))
            assert answer.status_code == 400
            assert "not a public address" in message_of("lighton", answer)
        settings: dict[str, Any] = {"OCR_FLEET_FAKE": TELL, "OCR_FLEET_ALLOW_PRIVATE_URLS": "true"}
        with served("lighton", **settings) as base:
            assert told(base, chat(url))["pages"] == [len(png(30, 30))]
            missing = post(base, chat(image_part(f"{site}/nope.png")))
            assert missing.status_code == 400
            assert "Failed to download image" in message_of("lighton", missing)


def test_a_wrong_method_and_a_wrong_content_type(base):
    answer = http.get(base + CHAT_PATH)
    assert (answer.status_code, message_of("lighton", answer)) == (405, "Method Not Allowed")
    assert "POST" in answer.headers["allow"]
    answer = http.post(
        base + CHAT_PATH, content=json.dumps(chat()), headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 400
    assert "Content-Type" in message_of("lighton", answer)


def test_the_openai_sdk_reads_whole_and_streamed(base):
    with openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == [MODEL]
        whole = client.chat.completions.create(model=MODEL, messages=chat()["messages"])
        assert whole.choices[0].message.content == "one two three"
        stream = client.chat.completions.create(
            model=MODEL,
            messages=chat()["messages"],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == "one two three"
        usage = chunks[-1].usage
        assert usage is not None
        assert usage.completion_tokens == 3
        with pytest.raises(openai.BadRequestError, match="Only one completion choice"):
            client.chat.completions.create(model=MODEL, messages=chat()["messages"], n=2)


def test_a_model_that_is_still_loading_is_503():
    with served("lighton", ready=False, OCR_FLEET_FAKE='{"load_s": 30}') as base:
        answer = http.get(f"{base}/health")
        assert answer.status_code == 503
        assert answer.json() == {
            "error": {"message": "Loading model", "type": "unavailable_error", "code": 503}
        }
        refused = post(base, chat())
        assert refused.status_code == 503
        assert refused.json()["error"]["type"] == "unavailable_error"
