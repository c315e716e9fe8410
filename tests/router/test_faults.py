"""What goes wrong behind the router: nothing that could be served is lost, and no answer is short
without saying so."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import msgspec
import pytest

from tests.router.asks import ASKS, MODELS, NDJSON_TYPE, WIRES, Ask
from tests.routing import Routed, routed
from tests.running import ROOT, free_port, started
from tests.samples import DOTS, b64, http, message_of
from tests.serving import served
from tests.stubs import CHUNKED, Behaviour, Call, Stub, chunk, head, stub, wait_until

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


def ask_dots(router: Routed, **more: object) -> httpx.Response:
    return http.post(router.url + "/ocr", json={**DOTS, **more})


def hurry(router: Routed, **bounds: float) -> None:
    """Deadlines of tests' length: those of the fleet file leave a service ten seconds more."""
    fleet = router.app.front.fleet
    services = tuple(msgspec.structs.replace(one, **bounds) for one in fleet.services)
    router.app.front.fleet = msgspec.structs.replace(fleet, services=services)


def pool_of(router: Routed, service: str = "dots"):
    return router.app.state.pools[service].snapshot()


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

    stubs["dots"].behaviour = answer
    for number in range(5):
        got = http.post(
            router.url + "/ocr", json=DOTS, headers={"x-request-id": f"number-{number}"}
        )
        assert got.json()["response"] == f"number-{number}"


# ---- retries


async def _hang_up(call: Call) -> None:
    call.writer.close()


def _refusing(status: int, retry_after: str = "") -> Behaviour:
    async def refuse(call: Call) -> None:
        headers = {"retry-after": retry_after} if retry_after else {}
        await call.reply(status, b'{"error":"busy"}', headers=headers)

    return refuse


def _in_turn(*behaviours: Behaviour) -> Behaviour:
    """One after the other; the last one stays."""
    left = list(behaviours)

    async def behave(call: Call) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(call)

    return behave


def test_a_dead_replica_costs_no_page() -> None:
    """Connection refused: all is served by the other one, and the dead one is soon left alone."""
    with (
        stub(_well) as good,
        routed(
            {"dots": [f"http://127.0.0.1:{free_port()}", good.url]},
            OCR_FLEET_ROUTER_PROBE_UP_S="60",
            OCR_FLEET_ROUTER_PROBE_DOWN_S="60",
            ready=False,
        ) as router,
    ):
        wait_until(lambda: good.url in router.app.state.told)
        answers = [ask_dots(router) for _ in range(10)]
        assert [answer.status_code for answer in answers] == [200] * 10
        assert len(good.calls) == 10
        dead = pool_of(router).replicas[0]
        assert dead.breaker == "open"
        assert "connect" in dead.why or "probe" in dead.why


@pytest.mark.parametrize(
    "fault",
    [_hang_up, _refusing(502), _refusing(503), _refusing(429), _refusing(503, "30")],
    ids=["hangs up", "502", "503", "429", "503 for long"],
)
@pytest.mark.parametrize("ask", ONE, ids=[ask.name for ask in ONE])
def test_another_replica_takes_what_was_not_taken_up(ask: Ask, fault: Behaviour) -> None:
    passed = [*FRAMES[ask.name], b""] if ask.frame else []
    body = b"".join(map(chunk, passed))

    async def good(call: Call) -> None:
        if ask.frame:
            await call.send(head(200, ask.stream_type, CHUNKED) + body)
        else:
            await call.reply(body=TOLD)

    with (
        stub(fault) as bad,
        stub(good) as other,
        routed({ask.own: {"replicas": [bad.url, other.url], "replica_slots": 1}}) as router,
    ):
        for _ in range(4):
            answer = send(router, ask, ask.own)
            assert answer.status_code == 200, answer.text
            assert answer.content == (b"".join(passed) if ask.frame else TOLD)
        assert bad.calls
        assert len(other.calls) == 4
        assert all(call.body == ask.body for call in (*bad.calls, *other.calls))


def test_a_busy_replica_is_asked_again_when_it_said() -> None:
    behaviour = _in_turn(_refusing(503, "1"), _refusing(429, "1"), _well)
    with stub(behaviour) as dots, routed({"dots": dots.url}) as router:
        assert ask_dots(router).status_code == 200
        first, second, third = (call.arrived_s for call in dots.calls)
        assert 1.0 <= second - first < 1.8
        assert 1.0 <= third - second < 1.8
        assert pool_of(router).replicas[0].breaker == "closed"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("ask", ONE, ids=[ask.name for ask in ONE])
def test_a_storm_ends_with_the_patience(
    status: int, ask: Ask, storm: tuple[dict[str, Stub], Routed]
) -> None:
    stubs, router = storm
    for service in (ask.own, ask.other):
        stubs[service].behaviour = _refusing(status)
        answer = send(router, ask, service)
        assert answer.status_code == (429 if ask.own == "dots" else 503)
        message_of(ask.own, answer)
        seconds = answer.headers["retry-after"]
        assert seconds.isdigit()
        assert int(seconds) >= 1


@pytest.fixture(scope="module")
def storm() -> Iterator[tuple[dict[str, Stub], Routed]]:
    with ExitStack() as stack:
        stubs = {name: stack.enter_context(stub(_well)) for name in WIRES}
        urls = {name: one.url for name, one in stubs.items()}
        router = stack.enter_context(routed(urls, OCR_FLEET_ROUTER_PATIENCE_S="0.15"))
        yield stubs, router


def test_retries_keep_to_their_budget() -> None:
    bounds: dict[str, Any] = {
        "OCR_FLEET_ROUTER_RETRY_SAVED_MAX": "5",
        "OCR_FLEET_ROUTER_RETRY_FLOOR_PER_S": "0",
        "OCR_FLEET_ROUTER_RETRY_SHARE": "0",
    }
    with (
        stub(_hang_up) as dots,
        routed(
            {"dots": dots.url},
            OCR_FLEET_ROUTER_BREAKER_FAILURES_MAX="1000",
            **bounds,
        ) as router,
    ):
        answers = [ask_dots(router) for _ in range(10)]
        assert {answer.status_code for answer in answers} == {500}
        assert len(dots.calls) == 10 + 5


@pytest.mark.parametrize("status", [400, 404, 413, 500, 504])
def test_an_answer_is_not_asked_for_again(status: int) -> None:
    with stub(_refusing(status)) as bad, stub(_well) as other:
        with routed({"dots": [bad.url, other.url]}) as router:
            statuses = [ask_dots(router).status_code for _ in range(4)]
        assert sorted(statuses) == [200, 200, status, status]
        assert len(bad.calls) == 2


def test_the_breaker_opens_tries_and_closes() -> None:
    with (
        stub(_hang_up) as dots,
        routed(
            {"dots": dots.url},
            OCR_FLEET_ROUTER_BREAKER_BACKOFF_S="0.3",
            OCR_FLEET_ROUTER_PROBE_UP_S="60",
            OCR_FLEET_ROUTER_PROBE_DOWN_S="60",
            OCR_FLEET_ROUTER_GRACE_S="0.1",
            OCR_FLEET_ROUTER_RETRY_SAVED_MAX="1",
        ) as router,
    ):
        for _ in range(2):
            assert ask_dots(router).status_code in {429, 500}
        assert pool_of(router).replicas[0].breaker == "open"
        count = len(dots.calls)
        assert count == 3
        refused = ask_dots(router)
        assert refused.status_code in {429, 503}
        assert int(refused.headers["retry-after"]) >= 1
        assert len(dots.calls) == count, "an open breaker lets nothing through"
        dots.behaviour = _well
        wait_until(lambda: pool_of(router).replicas[0].breaker == "half_open")
        assert ask_dots(router).status_code == 200
        assert len(dots.calls) == count + 1
        assert pool_of(router).replicas[0].breaker == "closed"


def test_a_busy_serial_backend_is_not_a_dead_one() -> None:
    """While it works it answers nobody, its health page neither."""
    lock = asyncio.Lock()

    async def work(call: Call) -> None:
        async with lock:
            await asyncio.sleep(0.25)
            await call.reply(body=OK)

    async def probe(call: Call) -> None:
        async with lock:
            await call.reply()

    with (
        stub(work) as dots,
        routed(
            {"dots": dots.url},
            OCR_FLEET_ROUTER_PROBE_UP_S="0.02",
            OCR_FLEET_ROUTER_PROBE_DOWN_S="0.02",
            OCR_FLEET_ROUTER_PROBE_TIMEOUT_S="0.03",
        ) as router,
    ):
        dots.probe = probe
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: ask_dots(router), range(8)))
        assert [answer.status_code for answer in answers] == [200] * 8
        replica = pool_of(router).replicas[0]
        assert (replica.breaker, replica.ready) == ("closed", True)


# ---- processes that die


SLOW = json.dumps({"text": "word " * 200, "pieces": 200, "delay_s": 0.02, "first_delay_s": 0.3})


def test_a_killed_process_costs_no_page_and_cuts_no_stream_in_silence() -> None:
    """kill -9 while requests wait for their first byte, then in the middle of a stream."""
    with (
        started("dots", OCR_FLEET_FAKE=SLOW) as first,
        started("dots", OCR_FLEET_FAKE=SLOW) as second,
    ):
        first.wait_ready()
        second.wait_ready()
        with routed({"dots": [first.url, second.url]}) as router:
            with ThreadPoolExecutor(2) as threads:
                waiting = [threads.submit(ask_dots, router, max_new_tokens=5) for _ in range(2)]
                wait_until(lambda: pool_of(router).outstanding == 2)
                time.sleep(0.1)  # both are in the first delay of 0.3 s now
                first.process.kill()
                answers = [one.result() for one in waiting]
            assert [answer.status_code for answer in answers] == [200, 200]
            assert {answer.json()["response"] for answer in answers} == {"word word word word word"}
            with http.stream("POST", router.url + "/ocr", json={**DOTS, "stream": True}) as stream:
                lines = stream.iter_lines()
                got = [json.loads(next(lines)) for _ in range(3)]
                second.process.kill()
                got += map(json.loads, lines)
            assert got[-1]["done"] is True
            assert got[-1]["error"]
            assert "".join(line.get("response", "") for line in got).startswith("word word word")


# ---- the fleet changes


def test_replicas_come_and_go_under_load() -> None:
    async def work(call: Call) -> None:
        await asyncio.sleep(0.01)
        await call.reply(body=OK)

    with stub(work) as old, stub(work) as new, routed({"dots": old.url}) as router:
        done: list[int] = []

        def ask(_: int) -> int:
            done.append(ask_dots(router).status_code)
            return done[-1]

        with ThreadPoolExecutor(8) as threads:
            answers = threads.map(ask, range(300))
            wait_until(lambda: len(done) > 20)
            router.write_fleet({"dots": [old.url, new.url]})
            wait_until(lambda: len(new.calls) > 20)
            assert old.calls
            router.write_fleet({"dots": new.url})
            wait_until(lambda: [one.url for one in pool_of(router).replicas] == [new.url])
            last = len(old.calls)
            assert list(answers) == [200] * 300
        assert len(old.calls) == last
        assert len(old.calls) + len(new.calls) == 300


@pytest.mark.allow_hosts(["127.0.0.1", "127.0.0.2", "127.0.0.3"])
def test_names_stand_for_all_their_addresses() -> None:
    """A name server that says what the test says; three replicas on one port."""
    port = free_port()
    addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    with ExitStack() as stack:
        one, two, three = (
            stack.enter_context(stub(_well, host=host, port=port)) for host in addresses
        )
        router = stack.enter_context(
            routed(
                {"dots": one.url},
                OCR_FLEET_ROUTER_RESOLVE_UP_S="0.05",
                OCR_FLEET_ROUTER_RESOLVE_DOWN_S="0.05",
            )
        )

        async def resolve(name: str) -> list[str]:
            assert name == "dots.example"
            return addresses

        router.app.state._resolver._resolve = resolve
        router.write_fleet({"dots": f"http://dots.example:{port}"})
        wait_until(lambda: len(pool_of(router).replicas) == 3)
        assert all(ask_dots(router).status_code == 200 for _ in range(9))
        assert [len(each.calls) for each in (one, two, three)] == [3, 3, 3]
        addresses.remove("127.0.0.2")
        wait_until(lambda: len(pool_of(router).replicas) == 2)
        assert all(ask_dots(router).status_code == 200 for _ in range(4))
        assert len(two.calls) == 3
        addresses.clear()  # a name server that knows nothing any more takes nobody away
        assert all(ask_dots(router).status_code == 200 for _ in range(4))


def test_sighup_reads_the_fleet_and_a_bad_file_changes_nothing(tmp_path) -> None:
    """A router's own process: signals belong to the main thread."""
    fleet = tmp_path / "fleet.toml"

    def write(url: str) -> None:
        fleet.write_text(f'[services.dots]\nreplicas = ["{url}"]\n')

    with stub(_well) as old, stub(_well) as new:
        write(old.url)
        settings: dict[str, Any] = {
            "OCR_FLEET_FILE": str(fleet),
            "OCR_FLEET_ROUTER_LEGACY_PORT": "0",
        }
        with started("router", **settings) as router:
            router.wait_ready()
            assert _read_by(router.url, old)
            write(new.url)
            router.process.send_signal(1)
            wait_until(lambda: _read_by(router.url, new))
            fleet.write_text('[services.dots]\nreplicas = ["ftp://nowhere"]\n')
            router.process.send_signal(1)
            wait_until(lambda: "file_refused" in router.log())
            assert "ftp://nowhere" in router.log()
            assert _read_by(router.url, new)
            fleet.write_text("[services.dots\n")
            wait_until(lambda: router.log().count("file_refused") == 2)
            assert _read_by(router.url, new)
            write(old.url)
            wait_until(lambda: _read_by(router.url, old))


def _read_by(url: str, one: Stub) -> bool:
    before = len(one.calls)
    assert http.post(url + "/ocr", json=DOTS).status_code == 200
    return len(one.calls) == before + 1


# ---- many against one


@pytest.mark.timeout(60)
async def test_two_hundred_clients_get_their_pages_of_a_serial_service() -> None:
    """One page at a time, 50 ms each: ten seconds of work, and nobody is sent away."""
    script = json.dumps({"text": "a page", "pieces": 1, "first_delay_s": 0.05})
    with served("dots", OCR_FLEET_FAKE=script) as dots, routed({"dots": dots}) as router:
        statuses = await _many(router, 200)
    assert statuses == ["a page"] * 200


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_forty_clients_get_their_pages_of_an_engine_that_reads() -> None:
    page = b64((ROOT / "deploy" / "sample.png").read_bytes())
    with served("dots", "embedded") as dots, routed({"dots": dots}) as router:
        texts = await _many(router, 40, image=page)
    assert len(texts) == 40
    assert len(texts[0]) > 100
    assert len(set(texts)) == 1


async def _many(router: Routed, count: int, **more: object) -> list[str]:
    async with httpx.AsyncClient(
        timeout=300, limits=httpx.Limits(max_connections=count), trust_env=False
    ) as client:
        answers = await asyncio.gather(
            *(client.post(router.url + "/ocr", json={**DOTS, **more}) for _ in range(count))
        )
    assert {answer.status_code for answer in answers} == {200}
    return [answer.json()["response"] for answer in answers]
