"""A client that hangs up, at whatever stage, closes the upstream at once and frees its slot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.router.asks import ASKS, NDJSON_TYPE, WIRES, Ask
from tests.routing import Routed, routed
from tests.stubs import CHUNKED, Call, Caller, Stub, calling, chunk, head, stub, wait_until

AIM_S = 0.1
"""What the design asks for."""
BOUND_S = 1.0
"""What a busy machine may take without the test telling lies about the code."""

STAGES = ("uploading", "queued", "waiting", "answering", "retrying")


@pytest.fixture(scope="module")
def stubs() -> Iterator[dict[str, Stub]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(stub(_silent)) for name in WIRES}


@pytest.fixture(scope="module")
def router(stubs: dict[str, Stub]) -> Iterator[Routed]:
    entries = {name: {"replicas": [one.url], "replica_slots": 1} for name, one in stubs.items()}
    with routed(entries) as made:
        yield made


@pytest.fixture(scope="module")
def latencies() -> Iterator[list[float]]:
    """What was measured; printed at the end (`-s`)."""
    found: list[float] = []
    yield found
    ordered = sorted(found)
    if ordered:
        middle, last = ordered[len(ordered) // 2], ordered[-1]
        late = sum(one > AIM_S for one in ordered)
        print(
            f"\nhang-ups: {len(ordered)}, p50 {middle * 1000:.1f} ms, max {last * 1000:.1f} ms,"
            f" {late} over {AIM_S * 1000:.0f} ms"
        )


async def _silent(call: Call) -> None:
    await call.until_hangup()


async def _busy(call: Call) -> None:
    await call.reply(503, b'{"detail":"busy"}', headers={"retry-after": "20"})


@pytest.mark.parametrize("passed", [True, False], ids=["passed", "translated"])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("ask", ASKS, ids=[ask.name for ask in ASKS])
def test_a_hangup_closes_the_upstream_and_frees_the_slot(
    ask: Ask,
    stage: str,
    passed: bool,
    stubs: dict[str, Stub],
    router: Routed,
    latencies: list[float],
) -> None:
    service = ask.own if passed else ask.other
    upstream = stubs[service]
    upstream.forget()
    upstream.behaviour = _busy if stage == "retrying" else _silent
    if stage == "answering":
        upstream.behaviour = _begin(ask, passed)
    pool = router.app.state.pools[service]
    with ExitStack() as stack:
        first = stack.enter_context(calling(router.url))
        client = stack.enter_context(calling(router.url))
        if stage == "uploading":
            message = ask.message(service)
            client.send(message[:-10])
            wait_until(lambda: _buffered_bytes(router) > 0)
        elif stage == "queued":
            first.send(ask.message(service))
            upstream.wait_call()
            waiting = pool.snapshot().waiting  # of the first one's own batch
            client.send(ask.message(service))
            wait_until(lambda: pool.snapshot().waiting > waiting)
        else:
            client.send(ask.message(service))
        gone_s, freed_s = _hang_up(stage, client, upstream, router, service)
        latencies.append(freed_s - gone_s)
        assert freed_s - gone_s < BOUND_S
        if stage == "queued":
            assert len(upstream.calls) == 1
            assert pool.snapshot().outstanding == 1
            first.hang_up()
        wait_until(lambda: _is_idle(router, service), BOUND_S)
    calls = {"uploading": 0, "queued": 1, "waiting": 1, "answering": 1, "retrying": 1}
    assert len(upstream.calls) == calls[stage]
    assert _buffered_bytes(router) == 0
    _forgive(pool)


def _hang_up(
    stage: str, client: Caller, upstream: Stub, router: Routed, service: str
) -> tuple[float, float]:
    """When the client hung up, and when all that was held for it was free again."""
    pool = router.app.state.pools[service]
    if stage in {"waiting", "answering"}:
        call = upstream.wait_call()
        if stage == "answering":
            wait_until(lambda: pool.snapshot().replicas[0].latency_s is not None)
        gone_s = client.hang_up()
        assert call.closed.wait(BOUND_S)
        return gone_s, max(call.closed_s, wait_until(lambda: _is_idle(router, service), BOUND_S))
    if stage == "retrying":
        upstream.wait_call()
        wait_until(lambda: pool.snapshot().waiting > 0)
        gone_s = client.hang_up()
        return gone_s, wait_until(lambda: _is_idle(router, service), BOUND_S)
    if stage == "uploading":
        gone_s = client.hang_up()
        return gone_s, wait_until(lambda: _buffered_bytes(router) == 0, BOUND_S)
    before = pool.snapshot().waiting
    gone_s = client.hang_up()
    return gone_s, wait_until(lambda: pool.snapshot().waiting < before, BOUND_S)


def _begin(ask: Ask, passed: bool):
    """Answers the beginning, then says nothing more."""

    async def begin(call: Call) -> None:
        if not passed:
            assert call.headers["x-ocr-fleet"] == "1"
            first = b'{"type":"text","text":"one"}\n'
            started = head(200, NDJSON_TYPE, {**CHUNKED, "x-ocr-fleet": "1"}) + chunk(first)
        elif ask.frame:
            started = head(200, ask.stream_type, CHUNKED) + chunk(ask.frame)
        else:
            started = head(200, "application/json", {"content-length": "100"}) + b'{"te'
        await call.send(started)
        await call.until_hangup()

    return begin


def _is_idle(router: Routed, service: str) -> bool:
    state = router.app.state.pools[service].snapshot()
    return state.waiting == 0 and state.outstanding == 0


def _buffered_bytes(router: Routed) -> float:
    name = "ocr_fleet_router_buffered_bytes "
    text = httpx.get(router.url + "/metrics", trust_env=False).text
    return float(next(line for line in text.splitlines() if line.startswith(name)).split()[1])


def _forgive(pool) -> None:
    """The next case starts with a replica that nothing is known about."""
    for replica in pool._schedule.replicas.values():
        replica.paused_until_s, replica.latency_s = time.monotonic(), None
