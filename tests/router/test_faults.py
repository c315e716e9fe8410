"""What goes wrong behind the router: nothing that could be served is lost, and no answer is short
without saying so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import msgspec
import pytest

from tests.router.asks import ASKS, MODELS, NDJSON_TYPE, WIRES, Ask
from tests.routing import Routed, routed
from tests.samples import DOTS, http, message_of
from tests.stubs import CHUNKED, Call, Stub, chunk, head, stub

ONE = [ask for ask in ASKS if "batch" not in ask.name]
STREAMS = [ask for ask in ONE if ask.frame]
WHOLE = [ask for ask in ONE if not ask.frame]
BY_NAME = {ask.name: ask for ask in ASKS}

JSON_TYPE = "application/json"
TEXT = "Ümlauts, 漢字 and 🦊 in one line"
TOLD = json.dumps({"response": TEXT, "text": TEXT, "done": True}).encode()
OK = json.dumps({"model": "dots-ocr", "response": TEXT, "done": True}).encode()
FLEET = {**CHUNKED, "x-ocr-fleet": "1"}
PAUSE_S = 0.03
"""So that what comes before a fault is read before it."""
DELTAS = [
    json.dumps({"type": "text", "text": TEXT}, ensure_ascii=False).encode() + b"\n",
    b'{"type":"done"}\n',
]
FRAMES = {
    "openai stream": [
        b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n'
        % TEXT.encode(),
        b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ],
    "dots stream": [
        json.dumps({"response": TEXT, "done": False}, ensure_ascii=False).encode() + b"\n",
        b'{"response":"","done":true}\n',
    ],
    "deepseek stream": [b"data: %s\n\n" % TEXT.encode(), b"data: [DONE]\n\n"],
}


@pytest.fixture(scope="module")
def stubs() -> Iterator[dict[str, Stub]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(stub(_well)) for name in WIRES}


@pytest.fixture(scope="module")
def router(stubs: dict[str, Stub]) -> Iterator[Routed]:
    """Its replicas are never left alone: each case below breaks one."""
    with routed(
        {name: one.url for name, one in stubs.items()},
        OCR_FLEET_ROUTER_BREAKER_FAILURES_MAX="100000",
        OCR_FLEET_ROUTER_RETRY_SAVED_MAX="1000",
    ) as made:
        yield made


async def _well(call: Call) -> None:
    await call.reply(body=OK)


def send(router: Routed, ask: Ask, service: str) -> httpx.Response:
    headers = {"content-type": ask.media_type, "x-ocr-model": MODELS[service]}
    return http.post(router.url + ask.path, content=ask.body, headers=headers)


def hurry(router: Routed, **bounds: float) -> None:
    """Deadlines of tests' length: those of the fleet file leave a service ten seconds more."""
    fleet = router.app.front.fleet
    services = tuple(msgspec.structs.replace(one, **bounds) for one in fleet.services)
    router.app.front.fleet = msgspec.structs.replace(fleet, services=services)


# ---- answers that are cut, garbled or silent: said in the caller's dialect


def _cut_whole(_: Ask) -> bytes:
    return head(200, JSON_TYPE, {"content-length": "5000"}) + b'{"text":"half of'


def _cut_chunks(_: Ask) -> bytes:
    return head(200, JSON_TYPE, CHUNKED) + chunk(b'{"text":"half of')


def _short_length(_: Ask) -> bytes:
    """It promises less than it sends: what is promised is no JSON."""
    return head(200, JSON_TYPE, {"content-length": "10"}) + TOLD


def _no_http(_: Ask) -> bytes:
    return b"SSH-2.0-OpenSSH_9.6\r\n\r\n"


def _no_json(_: Ask) -> bytes:
    body = b"<html>It works!</html>"
    return head(200, JSON_TYPE, {"content-length": str(len(body))}) + body


def _empty(_: Ask) -> bytes:
    return head(200, JSON_TYPE, {"content-length": "0"})


def _broken_chunks(_: Ask) -> bytes:
    return head(200, JSON_TYPE, CHUNKED) + b"zz\r\nwhat is this\r\n0\r\n\r\n"


@pytest.mark.parametrize("passed", [True, False], ids=["passed", "translated"])
@pytest.mark.parametrize(
    "fault",
    [_cut_whole, _cut_chunks, _short_length, _no_http, _no_json, _empty, _broken_chunks],
)
@pytest.mark.parametrize("ask", WHOLE, ids=[ask.name for ask in WHOLE])
def test_a_whole_answer_that_is_broken_is_an_error(
    ask: Ask, fault, passed: bool, stubs: dict[str, Stub], router: Routed
) -> None:
    service = ask.own if passed else ask.other
    _behave(stubs[service], fault(ask))
    answer = send(router, ask, service)
    assert answer.status_code in {500, 502, 503}, answer.text
    assert "half of" not in answer.text
    message_of(ask.own, answer)
    assert len(stubs[service].calls) == 1, "the first byte had come: nobody else may be asked"


def _cut_in_frame(ask: Ask) -> bytes:
    return chunk(FRAMES[ask.name][1][:-4])


def _cut_between_frames(_: Ask) -> bytes:
    return b""


def _ended_without_end(_: Ask) -> bytes:
    return chunk(b"")


def _cut_chunk(_: Ask) -> bytes:
    return b"1000\r\ndata: "


def _broken_chunk(_: Ask) -> bytes:
    return b"zz\r\n"


@pytest.mark.parametrize(
    "fault", [_cut_in_frame, _cut_between_frames, _ended_without_end, _cut_chunk, _broken_chunk]
)
@pytest.mark.parametrize("ask", STREAMS, ids=[ask.name for ask in STREAMS])
def test_a_passed_stream_that_breaks_ends_in_an_error(
    ask: Ask, fault, stubs: dict[str, Stub], router: Routed
) -> None:
    begun = head(200, ask.stream_type, CHUNKED) + chunk(FRAMES[ask.name][0])
    _behave(stubs[ask.own], begun, fault(ask))
    _check_broken(ask, send(router, ask, ask.own))
    assert len(stubs[ask.own].calls) == 1


FLEET_FAULTS = {
    "cut in a line": [DELTAS[0], DELTAS[1][:-6]],
    "cut between lines": [DELTAS[0]],
    "ended without its end": [DELTAS[0], b""],
    "not of its format": [DELTAS[0], b"<html>\n", b""],
    "told a failure": [DELTAS[0], b'{"type":"error","kind":"engine_failed","message":"broke"}\n'],
}


@pytest.mark.parametrize("chunks", FLEET_FAULTS.values(), ids=FLEET_FAULTS.keys())
@pytest.mark.parametrize("ask", ONE, ids=[ask.name for ask in ONE])
def test_a_translated_stream_that_breaks_ends_in_an_error(
    ask: Ask, chunks: list[bytes], stubs: dict[str, Stub], router: Routed
) -> None:
    begun = head(200, NDJSON_TYPE, FLEET) + chunk(chunks[0])
    _behave(stubs[ask.other], begun, b"".join(map(chunk, chunks[1:])))
    answer = send(router, ask, ask.other)
    # A layout made of plain text has nothing to tell before its end, so its status still can.
    if ask.frame and (ask.name == "openai stream" or answer.status_code == 200):
        _check_broken(ask, answer, first=False)
    else:
        assert answer.status_code >= 500, answer.text
        message_of(ask.own, answer)


@pytest.mark.parametrize("ask", WHOLE, ids=[ask.name for ask in WHOLE])
def test_a_watched_whole_answer_that_breaks_is_an_error(
    ask: Ask, stubs: dict[str, Stub], router: Routed
) -> None:
    """The caller's dialect is the service's own, which is asked the fleet's way."""
    for chunks in FLEET_FAULTS.values():
        _behave(stubs[ask.own], head(200, NDJSON_TYPE, FLEET) + b"".join(map(chunk, chunks)))
        answer = send(router, ask, ask.own)
        assert answer.status_code >= 500, answer.text
        message_of(ask.own, answer)


@pytest.mark.parametrize("ask", STREAMS, ids=[ask.name for ask in STREAMS])
def test_a_failure_that_a_stream_tells_of_itself_is_told_once(
    ask: Ask, stubs: dict[str, Stub], router: Routed
) -> None:
    told = {
        "openai stream": b'data: {"error":{"message":"broke","type":"x","code":500}}\n\n'
        b"data: [DONE]\n\n",
        "dots stream": b'{"model":"dots-ocr","error":"broke","done":true}\n',
        "deepseek stream": b"data: ERROR: broke\n\n",
    }[ask.name]
    frames = FRAMES[ask.name][0] + told
    for pieces in ([frames], [FRAMES[ask.name][0], told]):
        body = b"".join(map(chunk, [*pieces, b""]))
        _behave(stubs[ask.own], head(200, ask.stream_type, CHUNKED) + body)
        assert send(router, ask, ask.own).content == frames


def _behave(one: Stub, *pieces: bytes) -> None:
    """Say this, piece by piece, and hang up."""

    async def say(call: Call) -> None:
        for piece in pieces:
            await call.send(piece)
            await asyncio.sleep(PAUSE_S if len(pieces) > 1 else 0)
        call.writer.close()

    one.behaviour = say
    one.forget()


def _check_broken(ask: Ask, answer: httpx.Response, *, first: bool = True) -> None:
    """The text that came, then the error in the dialect's own way, and nothing behind it."""
    assert answer.status_code == 200
    if first:
        assert answer.content.startswith(FRAMES[ask.name][0])
    match ask.name:
        case "openai stream":
            *_, error, done, nothing = answer.text.split("\n\n")
            assert (done, nothing) == ("data: [DONE]", "")
            assert list(json.loads(error.removeprefix("data: "))) == ["error"]
            assert answer.text.count("[DONE]") == 1
        case "dots stream":
            *others, last = map(json.loads, answer.text.splitlines())
            assert last["done"] is True
            assert last["error"]
            assert not any(line["done"] for line in others)
        case _:
            *_, error, nothing = answer.text.split("\n\n")
            assert error.startswith("data: ERROR: ")
            assert not nothing
            assert "[DONE]" not in answer.text


# ---- bytes in odd pieces


async def _drip(call: Call, data: bytes, media_type: str, headers: dict[str, str]) -> None:
    """Each byte in a chunk of its own, so that characters and frames are cut everywhere."""
    await call.send(head(200, media_type, headers))
    for at in range(len(data)):
        await call.send(chunk(data[at : at + 1]))
        await asyncio.sleep(0)
    await call.send(chunk(b""))


@pytest.mark.parametrize("passed", [True, False], ids=["passed", "translated"])
@pytest.mark.parametrize("ask", STREAMS, ids=[ask.name for ask in STREAMS])
def test_a_drip_is_whole(ask: Ask, passed: bool, stubs: dict[str, Stub], router: Routed) -> None:
    service = ask.own if passed else ask.other

    async def drip(call: Call) -> None:
        if passed:
            await _drip(call, b"".join(FRAMES[ask.name]), ask.stream_type, CHUNKED)
        else:
            await _drip(call, b"".join(DELTAS), NDJSON_TYPE, FLEET)

    stubs[service].behaviour = drip
    answer = send(router, ask, service)
    assert answer.status_code == 200
    if passed:
        assert answer.content == b"".join(FRAMES[ask.name])
    else:
        assert TEXT in answer.text or json.dumps(TEXT)[1:-1] in answer.text
        assert "rror" not in answer.text


def test_a_slow_drip_is_not_cut_and_a_silence_is(stubs: dict[str, Stub], router: Routed) -> None:
    ask = BY_NAME["dots stream"]
    kept = router.app.front.fleet
    hurry(router, silence_s=0.2)

    async def drip(call: Call) -> None:
        await call.send(head(200, NDJSON_TYPE, CHUNKED))
        for frame in FRAMES[ask.name]:
            for part in (frame[:3], frame[3:9], frame[9:]):
                await asyncio.sleep(0.1)
                await call.send(chunk(part))
        await call.send(chunk(b""))

    async def fall_silent(call: Call) -> None:
        await call.send(head(200, NDJSON_TYPE, CHUNKED) + chunk(FRAMES[ask.name][0]))
        await call.until_hangup()

    try:
        stubs["dots"].behaviour = drip
        assert send(router, ask, "dots").content == b"".join(FRAMES[ask.name])
        stubs["dots"].behaviour = fall_silent
        stubs["dots"].forget()
        _check_broken(ask, send(router, ask, "dots"))
        assert stubs["dots"].calls[0].closed.wait(1)
    finally:
        router.app.front.fleet = kept


@pytest.mark.parametrize("ask", ONE, ids=[ask.name for ask in ONE])
def test_who_never_answers_is_given_up(ask: Ask, stubs: dict[str, Stub], router: Routed) -> None:
    async def hold(call: Call) -> None:
        await call.until_hangup()

    kept = router.app.front.fleet
    hurry(router, timeout_s=0.05)
    try:
        for service in (ask.own, ask.other):
            stubs[service].behaviour = hold
            stubs[service].forget()
            answer = send(router, ask, service)
            assert answer.status_code in {408, 500, 503, 504}
            message_of(ask.own, answer)
            assert stubs[service].calls[0].closed.wait(1)
            assert len(stubs[service].calls) == 1, "who knows what was done"
    finally:
        router.app.front.fleet = kept


def test_what_follows_a_body_is_nobodys_answer(stubs: dict[str, Stub], router: Routed) -> None:
    """A replica that promises fewer bytes than it sends must not poison its connection."""

    async def answer(call: Call) -> None:
        mine = json.dumps({"response": call.headers["x-request-id"], "done": True}).encode()
        await call.reply(body=mine)
        await call.send(head(200, JSON_TYPE, {"content-length": "17"}) + b'{"response":"no"}')
        await call.until_hangup()

    stubs["dots"].behaviour = answer
    stubs["dots"].forget()
    for number in range(5):
        got = http.post(
            router.url + "/ocr", json=DOTS, headers={"x-request-id": f"number-{number}"}
        )
        assert got.json()["response"] == f"number-{number}"
        # Bytes still on their way when the next request goes out could not be told from its answer.
        assert stubs["dots"].calls[number].closed.wait(1), "a connection with surplus bytes is kept"
