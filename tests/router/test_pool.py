"""The pool in a running loop: waiting, waking, cancelling at any moment, changing the fleet."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from structlog.testing import capture_logs

from router.pool import Pool, Seat
from router.replica import BreakerSettings, Failure, Health
from router.retries import RetrySettings
from router.schedule import PoolSettings
from shared.errors import Busy


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def pool_of(slots_by_url: dict[str, int], clock: Clock | None = None, **values) -> Pool:
    pool = Pool("dots", PoolSettings(**values), clock=clock or Clock(), chance=lambda: 0.0)
    pool.set_replicas(slots_by_url)
    return pool


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Guest:
    """Somebody who takes a seat and keeps it until told to go."""

    def __init__(self, pool: Pool, client: str = "c", patience_s: float = 60, **values) -> None:
        self.seat: Seat | None = None
        self.go = asyncio.Event()
        self.task = asyncio.create_task(self._stay(pool, client, patience_s, values))

    async def _stay(self, pool, client, patience_s, values) -> None:
        async with pool.seat(client=client, patience_s=patience_s, **values) as seat:
            self.seat = seat
            await self.go.wait()
            seat.succeeded(0.1)

    async def leave(self) -> None:
        self.go.set()
        await self.task


async def arrive(pool: Pool, client: str = "c", patience_s: float = 60, **values) -> Guest:
    guest = Guest(pool, client, patience_s, **values)
    await settle()
    return guest


EMPTY = "<Pool dots [Requests: 0 at work, 0 waiting | Replicas: 1, 0 draining | Slots: 1]>"


async def test_who_waits_is_woken_when_a_seat_is_left():
    pool = pool_of({"a": 1})
    first, second = await arrive(pool), await arrive(pool)
    assert repr(pool) == (
        "<Pool dots [Requests: 1 at work, 1 waiting | Replicas: 1, 0 draining | Slots: 1]>"
    )
    assert second.seat is None
    await first.leave()
    await settle()
    assert second.seat is not None
    assert second.seat.url == "a"
    await second.leave()
    assert repr(pool) == EMPTY


@pytest.mark.parametrize("stage", ["waiting", "promised", "seated"])
async def test_cancelled_at_any_moment_the_place_is_free_at_once(stage: str):
    pool = pool_of({"a": 1})
    first = await arrive(pool)
    second, third = await arrive(pool), await arrive(pool)
    if stage == "promised":  # it has the slot already, and has not run since
        first.go.set()
        while pool._turns[_ticket(pool, second)].done() is False:
            await asyncio.sleep(0)
    elif stage == "seated":
        await first.leave()
        await settle()
        assert second.seat is not None
    second.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second.task
    assert pool.snapshot().waiting == (1 if stage == "waiting" else 0)
    if stage == "waiting":
        await first.leave()
    await settle()
    assert third.seat is not None
    await third.leave()
    assert repr(pool) == EMPTY


def _ticket(pool: Pool, guest: Guest):
    """The ticket of a guest who waits: the first one there is."""
    assert guest.seat is None
    return next(iter(pool._turns))


async def test_an_error_inside_the_block_gives_the_seat_back():
    pool = pool_of({"a": 1})
    with pytest.raises(ZeroDivisionError):
        async with pool.seat(client="c", patience_s=1):
            raise ZeroDivisionError
    assert repr(pool) == EMPTY


async def test_patience_ends_by_the_pools_own_timer():
    pool = Pool("dots")
    pool.set_replicas({"a": 1})
    guest = await arrive(pool)
    with pytest.raises(Busy, match="dots: no slot became free within 0 s") as caught:
        async with asyncio.timeout(5), pool.seat(client="c", patience_s=0.02):
            pytest.fail("there was no slot")
    assert caught.value.retry_after_s == 1
    await guest.leave()
    assert repr(pool) == EMPTY
    assert pool._timer is None


async def test_a_pause_ends_by_the_pools_own_timer():
    pool = Pool("dots")
    pool.set_replicas({"a": 1})
    async with pool.seat(client="c", patience_s=5) as seat:
        seat.busy(0.02)
    async with asyncio.timeout(5), pool.seat(client="c", patience_s=5, again=True) as seat:
        assert seat.url == "a"
        assert 0.01 < seat.waited_s < 1


async def test_a_later_and_more_impatient_request_is_not_forgotten_by_the_timer():
    clock = Clock()
    pool = pool_of({"a": 1}, clock)
    first = await arrive(pool)
    patient, hasty = await arrive(pool, patience_s=50), await arrive(pool, patience_s=5)
    clock.now_s += 5
    pool.tick()
    with pytest.raises(Busy, match="within 5 s"):
        await hasty.task
    assert patient.seat is None
    await first.leave()
    await patient.leave()


async def test_a_standing_clock_makes_no_busy_loop():
    pool = pool_of({"a": 1}, Clock())
    first, second = await arrive(pool), await arrive(pool, patience_s=0.001)
    await asyncio.sleep(0.02)
    assert second.seat is None
    await first.leave()
    await second.leave()


async def test_a_dead_service_fails_soon_and_says_when_to_come_back():
    clock = Clock()
    pool = pool_of({"a": 1}, clock, breaker=BreakerSettings(backoff_s=20), grace_s=2)
    with capture_logs() as logs:
        for _ in range(3):
            async with pool.seat(client="c", patience_s=60) as seat:
                seat.failed(Failure.CONNECT, "refused")
    assert [(line["event"], line["why"]) for line in logs] == [
        ("replica_left_alone", "connect: refused")
    ]
    guest = await arrive(pool)
    clock.now_s += 2
    pool.tick()
    with pytest.raises(Busy, match="dots: no replica answers") as caught:
        await guest.task
    assert caught.value.retry_after_s == 18
    assert not pool.snapshot().alive


async def test_a_recovered_replica_is_said_to_be_back():
    clock = Clock()
    pool = pool_of({"a": 1}, clock)
    for _ in range(3):
        pool.probed("a", Health.DEAD)
    pool.probed("a", Health.READY)
    with capture_logs() as logs:
        async with pool.seat(client="c", patience_s=60) as seat:
            seat.succeeded(0.2)
    assert [line["event"] for line in logs] == ["replica_back"]
    pool.probed("gone", Health.READY)


async def test_success_at_the_first_delta_lets_others_in_before_the_trial_ends():
    clock = Clock()
    pool = pool_of({"a": 2}, clock)
    for _ in range(3):
        pool.probed("a", Health.DEAD)
    clock.now_s += 1
    async with pool.seat(client="c", patience_s=60) as trial:
        other = await arrive(pool)
        assert other.seat is None
        trial.succeeded(0.5)
        await settle()
        assert other.seat is not None
        trial.failed(Failure.CUT)  # the rest was cut; that counts too
        assert pool.snapshot().replicas[0].failures == 1
    await other.leave()


async def test_a_replica_added_under_load_takes_waiting_work_and_a_removed_one_drains():
    pool = pool_of({"a": 1})
    on_a, waiting = await arrive(pool), await arrive(pool)
    pool.set_replicas({"b": 1})
    await settle()
    assert waiting.seat is not None
    assert waiting.seat.url == "b"
    assert {one.url: one.draining for one in pool.snapshot().replicas} == {"a": True, "b": False}
    await on_a.leave()
    await waiting.leave()
    assert repr(pool) == EMPTY


async def test_closing_refuses_who_waits():
    pool = pool_of({"a": 1})
    working, waiting = await arrive(pool), await arrive(pool)
    pool.close()
    with pytest.raises(Busy, match="shutting down"):
        await waiting.task
    await working.leave()


async def test_retries_are_budgeted_and_second_tries_are_no_new_requests():
    pool = pool_of({"a": 1}, retries=RetrySettings(share=0.5, floor_per_s=0, saved_max=1))
    assert pool.may_retry()
    async with pool.seat(client="c", patience_s=1, again=True):
        pass
    assert not pool.may_retry()
    for _ in range(2):
        async with pool.seat(client="c", patience_s=1):
            pass
    assert pool.may_retry()


async def test_two_hundred_clients_at_a_serial_replica_all_get_their_turn():
    pool = Pool("dots")
    pool.set_replicas({"a": 1})
    at_once = most = 0
    served: Counter[str] = Counter()

    async def page(client: str) -> None:
        nonlocal at_once, most
        async with pool.seat(client=client, size_bytes=100_000, patience_s=60) as seat:
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1
            seat.succeeded(0.001)
            served[client] += 1

    async with asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(page(f"c{number % 40}"))
    assert most == 1
    assert served == {f"c{number}": 5 for number in range(40)}
    assert repr(pool) == EMPTY


async def test_a_storm_of_everything_leaks_nothing():
    """Replicas fail, refuse, come and go; clients give up: at the end all is as before."""
    dice = random.Random(11)
    pool = Pool("dots", PoolSettings(queue_max=20, grace_s=0.05))
    pool.set_replicas({"a": 2, "b": 1})
    outcomes: Counter[str] = Counter()

    async def page(number: int) -> None:
        try:
            async with pool.seat(client=f"c{number % 5}", patience_s=0.5) as seat:
                await asyncio.sleep(dice.random() * 0.003)
                match dice.randrange(5):
                    case 0:
                        seat.failed(Failure.CONNECT)
                    case 1:
                        seat.busy(0.002)
                    case 2:
                        int("the client's own mistake")
                    case _:
                        seat.succeeded(0.001)
                outcomes["seated"] += 1
        except Busy:
            outcomes["busy"] += 1
        except ValueError:
            outcomes["broke"] += 1

    async def trouble() -> None:
        for at in range(60):
            await asyncio.sleep(0.002)
            pool.set_replicas([{"a": 2, "b": 1}, {"b": 3}, {"a": 1, "c": 2}][at % 3])
            pool.probed(dice.choice("abc"), dice.choice(list(Health)))

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(trouble())
        for number in range(400):
            task = group.create_task(page(number))
            if number % 7 == 0:
                asyncio.get_running_loop().call_later(dice.random() * 0.05, task.cancel)
            if number % 10 == 0:
                await asyncio.sleep(0.002)
    state = pool.snapshot()
    assert (state.outstanding, state.waiting, state.waiting_bytes) == (0, 0, 0)
    assert pool._turns == {}
    assert pool._timer is None
    assert outcomes["seated"] > 30
    assert not any(one.draining for one in state.replicas)
