"""Slots and their queue: order, bounds, hand-over, closing."""

from __future__ import annotations

import asyncio

import pytest

from shared.admission import Admission
from shared.errors import Busy


async def hold(admission: Admission, gate: asyncio.Event, log: list[str], name: str) -> None:
    async with admission.slot():
        log.append(name)
        await gate.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_waiting_requests_enter_in_the_order_they_came():
    admission = Admission(1, 10)
    gates = {name: asyncio.Event() for name in "abc"}
    log: list[str] = []
    async with asyncio.TaskGroup() as group:
        for name, gate in gates.items():
            group.create_task(hold(admission, gate, log, name))
            await settle()
        assert repr(admission) == "<Admission 1/1 at work, 2 waiting>"
        for gate in gates.values():
            gate.set()
            await settle()
    assert log == ["a", "b", "c"]
    assert repr(admission) == "<Admission 0/1 at work, 0 waiting>"


async def test_a_full_queue_is_busy_and_says_when_to_come_back():
    admission = Admission(1, 0, busy_message="Server is busy processing another request")
    async with admission.slot():
        with pytest.raises(Busy, match="Server is busy processing another request") as caught:
            async with admission.slot():
                pass
    assert caught.value.retry_after_s == 1
    async with admission.slot():
        assert admission.in_flight == 1


async def test_a_cancelled_waiter_leaves_no_trace():
    admission = Admission(1, 10)
    gate = asyncio.Event()
    log: list[str] = []
    first = asyncio.create_task(hold(admission, gate, log, "first"))
    await settle()
    waiter = asyncio.create_task(hold(admission, gate, log, "waiter"))
    await settle()
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert admission.waiting == 0
    gate.set()
    await first
    assert (log, admission.in_flight) == (["first"], 0)


async def test_a_waiter_cancelled_while_the_slot_is_handed_over_passes_it_on():
    admission = Admission(1, 10)
    gate = asyncio.Event()
    log: list[str] = []
    async with admission.slot():
        promised = asyncio.create_task(hold(admission, gate, log, "promised"))
        await settle()
        next_one = asyncio.create_task(hold(admission, gate, log, "next"))
        await settle()
    promised.cancel()  # the slot is its own already, but it has not run since
    await settle()
    assert log == ["next"]
    gate.set()
    await next_one
    assert admission.in_flight == 0


async def test_closing_refuses_who_comes_and_who_waits_but_not_who_works():
    admission = Admission(1, 10)
    gate = asyncio.Event()
    log: list[str] = []
    working = asyncio.create_task(hold(admission, gate, log, "working"))
    await settle()
    waiting = asyncio.create_task(hold(admission, gate, log, "waiting"))
    await settle()
    admission.close()
    with pytest.raises(Busy, match="shutting down"):
        await waiting
    with pytest.raises(Busy, match="shutting down"):
        async with admission.slot():
            pass
    gate.set()
    await working
    assert (log, admission.in_flight) == (["working"], 0)
