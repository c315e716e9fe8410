"""The budget of buffered bytes: who waits, who may overdraw, and that all of it comes back."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from router.budget import Budget, Hold, Ledger, Wish
from shared.errors import Busy


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Upload:
    """A body that arrives in pieces and is held until told to go."""

    def __init__(self, budget: Budget, pieces: list[int], expected_bytes: int = 0) -> None:
        self.arrived = 0
        self.go = asyncio.Event()
        self.task = asyncio.create_task(self._arrive(budget, pieces, expected_bytes))

    async def _arrive(self, budget: Budget, pieces: list[int], expected_bytes: int) -> None:
        async with budget.hold(expected_bytes) as hold:
            for piece in pieces:
                await hold.add(piece)
                self.arrived += piece
            hold.complete()
            await self.go.wait()

    async def leave(self) -> None:
        self.go.set()
        await self.task


async def upload(budget: Budget, pieces: list[int], expected_bytes: int = 0) -> Upload:
    one = Upload(budget, pieces, expected_bytes)
    await settle()
    return one


async def test_a_known_length_is_reserved_before_the_first_byte():
    budget = Budget(100, 5)
    async with budget.hold(60) as hold:
        assert repr(budget) == "<Budget 60/100 bytes, 0 waiting>"
        await hold.add(60)
        assert budget.held_bytes == 60
    assert repr(budget) == "<Budget 0/100 bytes, 0 waiting>"


async def test_past_the_budget_uploads_wait_in_their_order():
    budget = Budget(100, 5)
    first = await upload(budget, [80], 80)
    large, small = await upload(budget, [90], 90), await upload(budget, [10], 10)
    assert (large.arrived, small.arrived, budget.waiting) == (0, 0, 2)  # small would have fitted
    await first.leave()
    await settle()
    assert (large.arrived, small.arrived) == (90, 10)
    await large.leave()
    await small.leave()
    assert budget.held_bytes == 0


async def test_after_its_patience_a_waiting_upload_is_told_when_to_come_back():
    budget = Budget(100, 0.02)
    first = await upload(budget, [80], 80)
    with pytest.raises(Busy, match="The server holds as many uploads as it can") as caught:
        async with budget.hold(90):
            pytest.fail("there was no room")
    assert caught.value.retry_after_s == 1
    assert caught.value.detail == "<Budget 80/100 bytes, 1 waiting>"
    await first.leave()
    assert repr(budget) == "<Budget 0/100 bytes, 0 waiting>"


async def test_when_to_come_back_follows_from_how_long_bodies_are_held():
    now_s = 0.0
    budget = Budget(100, 0.001, clock=lambda: now_s)
    for _ in range(40):
        async with budget.hold(10):
            now_s += 30
    first = await upload(budget, [100], 100)
    with pytest.raises(Busy) as caught:
        async with budget.hold(100):
            pytest.fail("there was no room")
    assert caught.value.retry_after_s == 30
    await first.leave()


async def test_too_many_waiting_uploads_are_refused_at_once():
    budget = Budget(100, 5, waiting_max=1)
    first, second = await upload(budget, [100], 100), await upload(budget, [1], 1)
    with pytest.raises(Busy, match="Too many uploads are waiting"):
        async with budget.hold(1):
            pytest.fail("there was no room")
    await first.leave()
    await second.leave()


async def test_a_body_of_unknown_length_grows_in_steps():
    budget = Budget(100, 5, step_bytes=10)
    async with budget.hold() as hold:
        seen = []
        for _ in range(4):
            await hold.add(7)
            seen.append(budget.held_bytes)
        assert seen == [10, 20, 30, 30]
        hold.complete()
        assert budget.held_bytes == 28
        hold.drop(20)
        assert budget.held_bytes == 8
    assert budget.held_bytes == 0


async def test_uploads_that_wait_for_each_other_all_come_to_their_end():
    """Ten bodies of 50 in a budget of 100, all begun: none could ever end without an overdraft."""
    budget = Budget(100, 5, step_bytes=10)
    uploads = [Upload(budget, [10] * 5) for _ in range(10)]
    most = 0
    while not all(one.task.done() for one in uploads):
        await asyncio.sleep(0)
        most = max(most, budget.held_bytes)
        for one in uploads:
            if one.arrived == 50:
                one.go.set()
    assert all(one.arrived == 50 for one in uploads)
    assert 100 < most <= 150
    assert repr(budget) == "<Budget 0/100 bytes, 0 waiting>"


async def test_only_one_overdraws_and_then_the_fullest():
    ledger, budget = Ledger(100), Budget(100, 5)
    small, large, first = Hold(budget), Hold(budget), Hold(budget)
    for hold, count in ((small, 10), (large, 50), (first, 40)):
        assert ledger.ask(hold, count) is None
    assert ledger.ask(first, 10) is None  # overdraws
    assert ledger.ask(small, 45) is not None
    assert ledger.ask(large, 45) is not None
    assert ledger.ask(first, 10) is None  # goes on, to its end
    assert ledger.held_bytes == 120
    ledger.release(first, 60)
    assert (small.reserved_bytes, large.reserved_bytes, ledger.waiting) == (10, 95, 1)
    ledger.release(large, 95)
    assert (small.reserved_bytes, ledger.held_bytes) == (55, 55)


async def test_newcomers_wait_until_those_that_have_begun_can_go_on():
    ledger, budget = Ledger(100), Budget(100, 5)
    first, second, newcomer = Hold(budget), Hold(budget), Hold(budget)
    assert ledger.ask(first, 50) is None
    assert ledger.ask(second, 50) is None
    assert ledger.ask(first, 30) is None  # overdraws
    assert ledger.ask(second, 30) is not None
    assert ledger.ask(newcomer, 5) is not None
    ledger.release(first, 40)
    assert (second.reserved_bytes, newcomer.reserved_bytes) == (80, 0)  # overdraws in its turn
    ledger.release(first, 40)
    assert (second.reserved_bytes, newcomer.reserved_bytes) == (80, 5)


async def test_a_body_larger_than_the_budget_may_overdraw_it_alone():
    budget = Budget(100, 5)
    first, second = await upload(budget, [300], 300), await upload(budget, [300], 300)
    assert (first.arrived, second.arrived) == (300, 0)
    await first.leave()
    await settle()
    assert second.arrived == 300
    await second.leave()
    assert budget.held_bytes == 0


@pytest.mark.parametrize("stage", ["waiting", "granted", "growing"])
async def test_whoever_hangs_up_while_uploading_leaves_nothing_behind(stage: str):
    budget = Budget(100, 5, step_bytes=10)
    first = await upload(budget, [60])
    other = await upload(budget, [60])  # overdraws
    match stage:
        case "waiting":
            gone = await upload(budget, [10], 10)
        case "granted":
            gone = await upload(budget, [10], 10)
            first.go.set()
            while not first.task.done():
                await asyncio.sleep(0)
        case _:
            gone = await upload(budget, [10])
    gone.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone.task
    if not first.task.done():
        await first.leave()
    await other.leave()
    assert repr(budget) == "<Budget 0/100 bytes, 0 waiting>"


async def test_whoever_stood_behind_one_that_hung_up_goes_on():
    budget = Budget(100, 5)
    first = await upload(budget, [50], 50)
    large, small = await upload(budget, [80], 80), await upload(budget, [20], 20)
    large.task.cancel()
    await settle()
    assert small.arrived == 20
    await first.leave()
    await small.leave()


async def test_more_than_has_come_cannot_be_dropped():
    budget = Budget(100, 5)
    async with budget.hold(50) as hold:
        await hold.add(10)
        with pytest.raises(AssertionError):
            hold.drop(11)


async def test_a_storm_of_uploads_is_bounded_and_leaves_nothing_behind():
    dice = random.Random(5)
    budget = Budget(1000, 0.2, step_bytes=16)
    body_max, most, ended = 400, 0, 0

    async def one(number: int) -> None:
        nonlocal most, ended
        length = dice.randrange(1, body_max)
        async with budget.hold(length if number % 2 else 0) as hold:
            left = length
            while left:
                piece = min(left, dice.randrange(1, 60))
                await hold.add(piece)
                most = max(most, budget.held_bytes)
                left -= piece
                await asyncio.sleep(0)
            hold.complete()
            await asyncio.sleep(0.001)
            ended += 1

    tasks = [asyncio.create_task(one(number)) for number in range(300)]
    for task in tasks[::9]:
        asyncio.get_running_loop().call_later(dice.random() * 0.02, task.cancel)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} <= {type(None), asyncio.CancelledError, Busy}
    assert ended > 100
    assert 900 < most <= 1000 + body_max + 16
    assert repr(budget) == "<Budget 0/1000 bytes, 0 waiting>"


class AnyOrder(RuleBasedStateMachine):
    """Any order of uploads: at most the budget and one body, and somebody can always go on."""

    BUDGET = 100
    BODY_MAX = 60

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(self.BUDGET)
        self.budget = Budget(self.BUDGET, 1)
        self.budget._ledger = self.ledger
        self.holds: list[Hold] = []
        self.wishes: dict[Hold, Wish] = {}

    def granted(self, hold: Hold) -> bool:
        wish = self.wishes.get(hold)
        if wish is None:
            return True
        return all(wish not in queue for queue in (self.ledger._growing, self.ledger._coming))

    @rule(count=st.integers(1, BODY_MAX))
    def come(self, count):
        hold = Hold(self.budget)
        self.holds.append(hold)
        wish = self.ledger.ask(hold, count)
        if wish is not None:
            self.wishes[hold] = wish

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), count=st.integers(1, 20))
    def grow(self, data, count):
        hold = data.draw(st.sampled_from(self.holds))
        if self.granted(hold) and hold.reserved_bytes + count <= self.BODY_MAX:
            wish = self.ledger.ask(hold, count)
            if wish is not None:
                self.wishes[hold] = wish

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def go(self, data):
        hold = data.draw(st.sampled_from(self.holds))
        self.end(hold)

    def end(self, hold: Hold) -> None:
        if hold in self.wishes:
            self.ledger.withdraw(self.wishes.pop(hold))
        self.ledger.release(hold, hold.reserved_bytes)
        self.holds.remove(hold)

    @invariant()
    def the_bound_holds(self):
        assert self.ledger.held_bytes == sum(hold.reserved_bytes for hold in self.holds)
        assert self.ledger.held_bytes <= self.BUDGET + self.BODY_MAX

    @invariant()
    def somebody_can_go_on(self):
        if self.holds:
            assert any(self.granted(hold) for hold in self.holds)

    def teardown(self):
        while self.holds:  # whoever can go on comes to its end, and then so do all
            self.end(next(hold for hold in self.holds if self.granted(hold)))
        assert (self.ledger.held_bytes, self.ledger.waiting) == (0, 0)


AnyOrder.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
