"""A replica's breaker, its marks, and the budget of retries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.replica import Breaker, BreakerSettings, BreakerState, Failure, Health, Replica
from router.retries import RetryBudget, RetrySettings

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def breaker(chance: float = 0.0, **values) -> Breaker:
    return Breaker(BreakerSettings(**values), lambda: chance)


def until_s(one: Breaker) -> float:
    assert one.until_s is not None
    return one.until_s


def replica(slots: int = 1) -> Replica:
    return Replica("http://a", slots, BreakerSettings(), lambda: 0.0)


def test_three_failures_in_a_row_open_it_and_two_do_not():
    one = breaker()
    one.failed(0)
    one.failed(0)
    assert one.state(0) is CLOSED
    one.succeeded()
    one.failed(0)
    one.failed(0)
    assert one.state(0) is CLOSED
    one.failed(0)
    assert one.state(0.99) is OPEN
    assert not one.allows(0.99)


def test_after_the_back_off_one_may_try():
    one = breaker(failures_max=1)
    one.failed(10)
    assert one.state(11) is HALF_OPEN
    assert one.allows(11)
    one.trial = "somebody"
    assert not one.allows(11)
    one.succeeded()
    assert one.trial is None
    assert (one.state(11), one.allows(11)) == (CLOSED, True)


def test_the_back_off_doubles_up_to_its_bound_and_begins_anew_after_a_success():
    one = breaker(failures_max=1, backoff_s=1, backoff_s_max=6)
    now_s, waits_s = 0.0, []
    for _ in range(6):
        one.failed(now_s)
        waits_s.append(until_s(one) - now_s)
        now_s += waits_s[-1]
    assert waits_s == [1, 2, 4, 6, 6, 6]
    one.succeeded()
    one.failed(now_s)
    assert until_s(one) - now_s == 1


def test_the_back_off_is_jittered():
    one = breaker(chance=1.0, failures_max=1)
    one.failed(0)
    assert one.until_s == 1.25


def test_a_late_failure_of_an_earlier_request_does_not_prolong_the_pause():
    one = breaker(failures_max=1)
    one.failed(0)
    one.failed(0.5)
    assert one.until_s == 1


def test_a_year_of_failures_does_not_overflow():
    one = breaker(failures_max=1)
    now_s = 0.0
    for _ in range(5000):
        one.failed(now_s)
        now_s = until_s(one)
    assert until_s(one) - now_s <= 30


def test_a_probe_that_is_answered_allows_a_trial_at_once_but_no_more():
    one = breaker(failures_max=1)
    one.failed(0)
    one.found_ready(0.1)
    assert one.state(0.1) is HALF_OPEN


def test_probes_that_succeed_do_not_make_failed_requests_forgotten():
    one = replica()
    for _ in range(3):
        one.failed(Failure.GARBAGE, "", 0)
        one.probed(Health.READY, 0)
    assert one.breaker.until_s == 0  # opened, and the last probe allows a trial
    assert one.breaker.state(-1) is OPEN


def test_probes_that_fail_open_it():
    one = replica()
    for _ in range(3):
        one.probed(Health.DEAD, 5)
    assert one.breaker.state(5) is OPEN
    assert one.why == "probe: dead"


def test_a_busy_serial_server_that_does_not_answer_probes_is_not_dead():
    one = replica()
    one.outstanding = 1
    for _ in range(50):
        one.probed(Health.SILENT, 0)
    assert one.usable(0)
    one.outstanding = 0
    for _ in range(3):
        one.probed(Health.SILENT, 0)
    assert not one.usable(0)


def test_a_silent_server_stays_open_to_a_trial():
    """It may be at work for somebody who asks it directly."""
    one = replica()
    for now_s in range(100):
        one.probed(Health.SILENT, now_s)
    assert one.breaker.state(99) is HALF_OPEN
    one.probed(Health.DEAD, 99)
    assert one.breaker.state(99) is OPEN


def test_a_busy_answer_pauses_and_is_no_failure():
    one = replica(slots=2)
    for now_s in range(50):
        one.busy(now_s + 2)
    assert (one.free(50), one.usable(50), one.free(51)) == (False, True, True)
    assert one.snapshot(50).paused_s == 1


def test_a_trial_that_is_told_to_wait_has_shown_life():
    one = replica()
    for _ in range(3):
        one.failed(Failure.CONNECT, "refused", 0)
    assert one.why == "connect: refused"
    one.busy(5)
    assert one.breaker.state(0) is CLOSED


def test_a_busy_answer_does_not_make_failures_forgotten():
    """A proxy in front of a dead server answers 503 now and then."""
    one = replica()
    for _ in range(3):
        one.failed(Failure.CONNECT, "", 0)
        if one.breaker.until_s is None:
            one.busy(0)
    assert one.breaker.state(0) is OPEN


def test_a_replica_that_loads_its_model_is_not_used_until_it_is_ready():
    one = replica()
    one.probed(Health.NOT_READY, 0)
    assert not one.usable(0)
    one.probed(Health.SILENT, 0)
    assert not one.usable(0)
    one.probed(Health.READY, 0)
    assert one.free(0)


def test_latency_is_a_running_mean():
    one = replica()
    assert one.snapshot(0).latency_s is None
    one.succeeded(1.0)
    one.succeeded(2.0)
    assert one.snapshot(0).latency_s == pytest.approx(1.2)


def test_a_snapshot_says_everything():
    one = replica(slots=3)
    one.outstanding = 2
    one.failed(Failure.TIMEOUT, "no first byte in 310 s", 0)
    state = one.snapshot(0)
    assert (state.url, state.slots, state.outstanding, state.failures) == ("http://a", 3, 2, 1)
    assert state.why == "timeout: no first byte in 310 s"
    assert (state.breaker, state.usable, state.ready, state.draining) == (CLOSED, True, True, False)
    assert repr(one) == "<Replica http://a 2/3>"


def test_retries_are_a_part_of_the_requests():
    budget = RetryBudget(RetrySettings(share=0.25, floor_per_s=0, saved_max=10), 0)
    assert [budget.retry(0) for _ in range(11)] == [True] * 10 + [False]
    for _ in range(8):
        budget.request(0)
    assert [budget.retry(0) for _ in range(3)] == [True, True, False]


def test_a_few_retries_are_always_allowed():
    budget = RetryBudget(RetrySettings(share=0, floor_per_s=2, saved_max=1), 0)
    assert budget.retry(0)
    assert not budget.retry(0.4)
    assert budget.retry(0.5)
    assert repr(budget) == "<RetryBudget 0.0/1>"


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=300))
def test_retries_never_exceed_their_budget(events: list[tuple[bool, float]]):
    rules = RetrySettings(share=0.2, floor_per_s=1, saved_max=5)
    budget = RetryBudget(rules, 0)
    now_s, requests, retries = 0.0, 0, 0
    for is_request, passed_s in events:
        now_s += passed_s
        if is_request:
            requests += 1
            budget.request(now_s)
        else:
            retries += budget.retry(now_s)
    assert retries <= 5 + 0.2 * requests + now_s + 1e-6
