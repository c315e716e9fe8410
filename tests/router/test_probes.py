"""Active probes: when they come, what they report, what they survive."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.probes import Prober
from router.replica import Health
from router.rounds import Pace, Rounds

SLOW = Pace(up_s=5, down_s=1, timeout_s=2, at_once_max=2)
QUICK = Pace(up_s=0.02, down_s=0.005, timeout_s=0.05, at_once_max=4)


def rounds(*keys: str, chance: float = 0.5, pace: Pace = SLOW) -> Rounds:
    one = Rounds(pace, lambda: chance)
    one.set_keys(keys, 0)
    return one


def test_new_ones_are_due_at_once_and_no_more_than_the_bound_are_under_way():
    one = rounds("a", "b", "c")
    assert one.take(0) == ["a", "b"]
    assert one.take(0) == []
    assert one.wake_s() is None
    assert repr(one) == "<Rounds 3 kept, 2 under way>"
    one.done("a", 1, up=True)
    assert one.wake_s() == 0
    assert one.take(1) == ["c"]


def test_what_is_down_is_looked_at_sooner():
    one = rounds("a", "b")
    one.take(0)
    one.done("a", 1, up=True)
    one.done("b", 1, up=False)
    assert one.wake_s() == 2
    assert one.take(1.9) == []
    assert one.take(2) == ["b"]
    assert one.take(6) == ["a"]


@pytest.mark.parametrize(("chance", "pause_s"), [(0.0, 4.0), (0.5, 5.0), (1.0, 6.0)])
def test_pauses_are_jittered_both_ways(chance: float, pause_s: float):
    one = rounds("a", chance=chance)
    one.take(0)
    one.done("a", 0, up=True)
    assert one.wake_s() == pytest.approx(pause_s)


def test_what_waits_longest_comes_first():
    one = rounds("a", "b")
    one.take(0)
    one.done("b", 0, up=False)
    one.done("a", 1, up=False)
    one.set_keys(["a", "b", "c"], 9)
    assert one.take(9) == ["b", "a"]


def test_what_is_given_up_while_under_way_is_not_looked_at_again():
    one = rounds("a", "b")
    one.take(0)
    one.set_keys(["b"], 0)
    one.done("a", 0, up=True)
    one.done("b", 0, up=True)
    assert one.take(100) == ["b"]
    one.set_keys([], 100)
    one.done("b", 100, up=True)
    assert one.wake_s() is None


def test_what_comes_back_while_under_way_is_not_looked_at_twice_at_once():
    one = rounds("a")
    assert one.take(0) == ["a"]
    one.set_keys([], 0)
    one.set_keys(["a"], 0)
    assert one.take(0) == []
    one.done("a", 0, up=True)
    assert one.wake_s() == 5


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=100), st.floats(0, 1))
def test_nothing_is_forgotten_and_nothing_hurried(steps: list[tuple[float, bool]], chance: float):
    one = rounds(*"abcde", chance=chance)
    now_s, under_way = 0.0, []
    last: dict[str, float] = {}
    for passed_s, up in steps:
        now_s += passed_s
        taken = one.take(now_s)
        for key in taken:
            assert now_s - last.get(key, -1) >= 0.79  # 1 s while down, less a fifth
            last[key] = now_s
        under_way += taken
        assert len(under_way) <= 2
        if under_way:
            one.done(under_way.pop(0), now_s, up=up)
    for key in under_way:
        one.done(key, now_s, up=True)
    for _ in range(20):  # and in quiet times every one has its turn
        now_s += 6
        for key in one.take(now_s):
            last[key] = now_s
            one.done(key, now_s, up=True)
    assert set(last) == set("abcde")
    assert min(last.values()) >= now_s - 18


class World:
    """What probes find, and what was reported."""

    def __init__(self, **health: Health | type[Exception] | None) -> None:
        self.health = health
        self.reported: list[tuple[str, Health]] = []
        self.asked: list[str] = []
        self.latencies_s: list[float] = []

    async def probe(self, url: str) -> Health:
        self.asked.append(url)
        found = self.health[url]
        if found is None:
            await asyncio.sleep(60)
        if isinstance(found, type):
            raise found("refused")
        assert found is not None
        return found

    def report(self, url: str, health: Health, latency_s: float) -> None:
        self.reported.append((url, health))
        self.latencies_s.append(latency_s)


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


async def test_every_target_is_probed_and_reported_again_and_again():
    world = World(
        a=Health.READY, b=ConnectionRefusedError, c=None, d=Health.NOT_READY
    )  # fmt: skip
    prober = Prober(world.probe, world.report, QUICK)
    prober.set_targets("abcd")
    running = asyncio.create_task(prober.run())
    await until(lambda: all(world.asked.count(url) >= 2 for url in "abcd"))
    await until(lambda: len(set(world.reported)) == 4)
    assert set(world.reported) == {
        ("a", Health.READY),
        ("b", Health.DEAD),
        ("c", Health.SILENT),
        ("d", Health.NOT_READY),
    }
    silent = [
        s for (url, _), s in zip(world.reported, world.latencies_s, strict=True) if url == "c"
    ]
    assert min(silent) >= 0.04
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_silent_target_does_not_hold_up_the_others():
    world = World(a=Health.READY, silent=None)
    prober = Prober(
        world.probe, world.report, Pace(up_s=0.001, down_s=1, timeout_s=60, at_once_max=2)
    )
    prober.set_targets(["a", "silent"])
    running = asyncio.create_task(prober.run())
    await until(lambda: world.reported.count(("a", Health.READY)) > 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert world.asked.count("silent") == 1


async def test_a_new_target_is_probed_at_once_and_a_removed_one_no_more():
    world = World(a=Health.READY, b=Health.READY)
    pace = Pace(up_s=50, down_s=50, timeout_s=1, at_once_max=4)
    prober = Prober(world.probe, world.report, pace)
    running = asyncio.create_task(prober.run())
    await asyncio.sleep(0.01)
    assert world.asked == []
    prober.set_targets(["a"])
    await until(lambda: world.reported)
    prober.set_targets(["b"])
    await until(lambda: ("b", Health.READY) in world.reported)
    assert world.asked == ["a", "b"]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_what_is_found_about_a_removed_target_is_not_reported():
    gate = asyncio.Event()
    asked, reported = itertools.count(), []

    async def probe(_: str) -> Health:
        next(asked)
        await gate.wait()
        return Health.DEAD

    def report(url: str, health: Health, latency_s: float) -> None:
        reported.append(url)

    prober = Prober(probe, report, Pace(up_s=1, down_s=1, timeout_s=5, at_once_max=4))
    prober.set_targets(["a"])
    running = asyncio.create_task(prober.run())
    await until(lambda: repr(prober._rounds) == "<Rounds 1 kept, 1 under way>")
    prober.set_targets([])
    gate.set()
    await until(lambda: repr(prober._rounds) == "<Rounds 0 kept, 0 under way>")
    assert next(asked) == 1
    assert reported == []
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
