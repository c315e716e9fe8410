"""Who gets a slot, when, and who is refused: decisions alone, on a clock that the test moves."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from router.lines import Lines, Ticket
from router.replica import BreakerSettings, BreakerState, Failure, Health
from router.schedule import PoolSettings, Schedule


class Bench:
    """A schedule, its clock, and what it settled."""

    def __init__(self, slots_by_url: dict[str, int], **values) -> None:
        self.now_s = 0.0
        self.schedule = Schedule("dots", PoolSettings(**values), lambda: 0.0)
        self.schedule.set_replicas(slots_by_url, 0)

    def ticket(self, client: str = "c", patience_s: float = 60, **values) -> Ticket:
        return Ticket(
            **{
                "client": client,
                "size_bytes": 1,
                "since_s": self.now_s,
                "deadline_s": self.now_s + patience_s,
                **values,
            }
        )

    def ask(self, client: str = "c", patience_s: float = 60, **values) -> Ticket:
        ticket = self.ticket(client, patience_s, **values)
        self.schedule.ask(ticket, self.now_s)
        return ticket

    def leave(self, ticket: Ticket) -> list[Ticket]:
        return self.schedule.leave(ticket, self.now_s)

    def serve(self, ticket: Ticket, lasts_s: float = 0.0) -> list[Ticket]:
        self.now_s += lasts_s
        settled = self.schedule.succeeded(ticket, lasts_s, self.now_s)
        return settled + self.leave(ticket)

    def fail(self, ticket: Ticket, kind: Failure = Failure.CONNECT) -> list[Ticket]:
        return self.schedule.failed(ticket, kind, "", self.now_s) + self.leave(ticket)

    def kill(self, url: str) -> None:
        for _ in range(3):
            self.schedule.probed(url, Health.DEAD, self.now_s)

    def later(self, seconds: float) -> list[Ticket]:
        self.now_s += seconds
        return self.schedule.advance(self.now_s)


def url_of(ticket: Ticket) -> str | None:
    return None if ticket.replica is None else ticket.replica.url


def retry_after_s_of(ticket: Ticket) -> int | None:
    return None if ticket.refusal is None else ticket.refusal.retry_after_s


# ---- choosing a replica


def test_the_replica_with_the_least_work_for_its_slots_is_chosen():
    bench = Bench({"small": 1, "large": 3})
    assert Counter(url_of(bench.ask()) for _ in range(4)) == {"small": 1, "large": 3}
    waiting = bench.ask()
    assert waiting.waits
    assert repr(bench.schedule) == (
        "<Schedule dots [Requests: 4 at work, 1 waiting | Replicas: 2, 0 draining | Slots: 4]>"
    )


def test_replicas_that_are_equally_free_take_turns():
    bench = Bench({"a": 1, "b": 1, "c": 1})
    seen = []
    for _ in range(6):
        ticket = bench.ask()
        seen.append(url_of(ticket))
        bench.leave(ticket)
    assert seen == ["a", "b", "c"] * 2


def test_what_the_request_has_tried_is_avoided():
    bench = Bench({"a": 1, "b": 1})
    assert [url_of(bench.ask(tried=frozenset({"a"}))) for _ in range(1)] == ["b"]
    waiting = bench.ask(tried=frozenset({"a"}))  # a is free, but b will be again
    assert waiting.waits
    assert url_of(bench.ask()) == "a"  # nobody else stands behind it


def test_what_was_tried_is_taken_again_when_nothing_else_lives():
    bench = Bench({"a": 1, "b": 1})
    bench.kill("b")
    assert url_of(bench.ask(tried=frozenset({"a"}))) == "a"
    assert url_of(Bench({"a": 1}).ask(tried=frozenset({"a"}))) == "a"


def test_a_paused_replica_is_left_alone_for_as_long_as_it_asked():
    bench = Bench({"a": 2})
    first = bench.ask()
    bench.schedule.busy(first, 2, bench.now_s)
    bench.leave(first)
    second = bench.ask()
    assert second.waits
    assert bench.schedule.wake_s(0) == 2
    assert bench.later(1.9) == []
    assert bench.later(0.1) == [second]
    assert url_of(second) == "a"


def test_an_absurd_retry_after_is_not_believed():
    bench = Bench({"a": 1})
    first = bench.ask()
    bench.schedule.busy(first, 86_400, 0)
    bench.leave(first)
    assert bench.schedule.snapshot(0).replicas[0].paused_s == 30


# ---- the breaker


def test_a_dead_replica_gets_nothing_and_then_one_trial():
    bench = Bench({"a": 4, "b": 4})
    bench.kill("a")
    assert {url_of(bench.ask()) for _ in range(4)} == {"b"}
    bench.later(1.0)
    trial = bench.ask()
    assert url_of(trial) == "a"
    waiting = bench.ask()
    assert waiting.waits  # a may have one only, b is full
    assert bench.serve(trial, 0.1) == [waiting]
    assert url_of(waiting) == "a"


def test_a_trial_given_up_by_its_client_leaves_the_next_one_to_try():
    bench = Bench({"a": 1})
    bench.kill("a")
    bench.later(1.0)
    trial, waiting = bench.ask(), bench.ask()
    assert bench.leave(trial) == [waiting]
    assert url_of(waiting) == "a"


def test_a_failed_trial_doubles_the_pause():
    bench = Bench({"a": 1})
    bench.kill("a")
    bench.later(1.0)
    bench.fail(bench.ask())
    (state,) = bench.schedule.snapshot(bench.now_s).replicas
    assert state.breaker is BreakerState.OPEN
    assert bench.schedule.replicas["a"].breaker.until_s == 3.0


def test_failures_of_requests_open_the_breaker_and_busy_answers_never_do():
    bench = Bench({"a": 8})
    for _ in range(20):
        ticket = bench.ask()
        bench.schedule.busy(ticket, 0, bench.now_s)
        bench.leave(ticket)
    assert bench.schedule.snapshot(0).alive
    for _ in range(3):
        bench.fail(bench.ask())
    assert not bench.schedule.snapshot(0).alive


# ---- nothing lives


def test_while_nothing_lives_requests_wait_a_moment_and_then_fail_soon():
    bench = Bench({"a": 1}, grace_s=3, breaker=BreakerSettings(backoff_s=10, backoff_s_max=20))
    bench.kill("a")
    early = bench.ask()
    assert early.waits
    assert bench.schedule.wake_s(0) == 3
    assert bench.later(2.9) == []
    assert bench.later(0.1) == [early]
    assert str(early.refusal) == "dots: no replica answers"
    assert retry_after_s_of(early) == 7  # when the first trial comes
    late = bench.ask()
    assert late.refusal is not None  # dead for long enough already


def test_a_request_that_waits_is_the_trial_and_the_others_wait_for_its_end():
    bench = Bench({"a": 2})
    bench.kill("a")
    first, second = bench.ask(), bench.ask()
    assert bench.later(1.0) == [first]
    bench.later(20.0)
    assert second.waits
    assert bench.serve(first, 1.0) == [second]


def test_a_replica_that_comes_back_takes_who_waits():
    bench = Bench({"a": 1})
    bench.kill("a")
    ticket = bench.ask()
    assert bench.schedule.probed("a", Health.READY, 0.5) == [ticket]
    assert url_of(ticket) == "a"


def test_a_model_that_loads_is_named_so():
    bench = Bench({"a": 1})
    bench.schedule.probed("a", Health.NOT_READY, 0)
    ticket = bench.ask()
    assert bench.later(3.0) == [ticket]
    assert str(ticket.refusal) == "dots: no replica is ready"


def test_a_service_without_replicas_refuses_soon():
    bench = Bench({})
    ticket = bench.ask()
    assert bench.later(3.0) == [ticket]
    assert ticket.refusal is not None


# ---- the queue


def test_clients_take_turns_and_each_is_served_in_its_own_order():
    bench = Bench({"a": 1})
    busy: Ticket | None = bench.ask("x")
    names = {bench.ask(client): name for client, name in [
        ("x", "x1"), ("x", "x2"), ("x", "x3"), ("y", "y1"), ("y", "y2"), ("z", "z1"),
    ]}  # fmt: skip
    order = []
    while busy is not None:
        settled = bench.leave(busy)
        busy = settled[0] if settled else None
        order += [names[ticket] for ticket in settled]
    assert order == ["x1", "y1", "z1", "x2", "y2", "x3"]


def test_a_newcomer_waits_at_most_one_turn_of_each_other_client():
    bench = Bench({"a": 1})
    busy = bench.ask("flood")
    for _ in range(500):
        bench.ask("flood")
    newcomer = bench.ask("quiet")
    (busy,) = bench.leave(busy)
    assert busy.client == "flood"
    assert bench.leave(busy) == [newcomer]


def test_a_second_try_stands_first_in_its_own_line():
    bench = Bench({"a": 1})
    first = bench.ask("x")
    other, second = bench.ask("y"), bench.ask("x")
    again = bench.ask("x", again=True)
    order = []
    for _ in range(3):
        (first,) = bench.leave(first)
        order.append(first)
    assert order == [other, again, second]


def test_a_full_queue_refuses_and_says_when_to_come_back():
    bench = Bench({"a": 2}, queue_max=3)
    for _ in range(10):  # measure: 4 s each
        bench.serve(bench.ask(), 4.0)
    for _ in range(5):
        assert bench.ask(patience_s=300).refusal is None
    refused = bench.ask(patience_s=300)
    assert str(refused.refusal) == "dots: the queue is full"
    assert retry_after_s_of(refused) == 6  # three before it, two slots, 4 s each


def test_a_full_queue_takes_a_place_from_whoever_fills_it():
    bench = Bench({"a": 1}, queue_max=3)
    bench.ask("flood")
    flood = [bench.ask("flood") for _ in range(3)]
    quiet = bench.ask("quiet")
    assert quiet.waits
    assert [ticket.refusal is not None for ticket in flood] == [False, False, True]
    second = bench.ask("quiet")  # two against one: the flood has one place too many no longer
    assert second.refusal is not None


def test_the_queue_is_bounded_in_bytes():
    bench = Bench({"a": 1}, queue_bytes_max=100)
    bench.ask()
    first, second = bench.ask(size_bytes=60), bench.ask(size_bytes=40)
    third = bench.ask(size_bytes=1)
    assert (first.waits, second.waits, third.waits) == (True, True, False)
    assert bench.schedule.snapshot(0).waiting_bytes == 100
    other = bench.ask("other", size_bytes=30)
    assert other.waits
    assert second.refusal is not None  # it fills the queue most


def test_a_body_larger_than_the_bound_may_wait_alone():
    bench = Bench({"a": 1}, queue_bytes_max=100)
    bench.ask()
    large = bench.ask(size_bytes=500)
    assert large.waits
    assert bench.ask(size_bytes=1).refusal is not None


def test_patience_ends():
    bench = Bench({"a": 1})
    bench.ask()
    short, long = bench.ask(patience_s=5), bench.ask(patience_s=50)
    assert bench.later(5) == [short]
    assert str(short.refusal) == "dots: no slot became free within 5 s"
    assert long.waits


def test_a_wait_far_beyond_the_clients_patience_is_refused_at_once():
    bench = Bench({"a": 1})
    for _ in range(10):
        bench.serve(bench.ask(), 10.0)
    for _ in range(20):
        bench.ask("x", patience_s=300)
    hopeless = bench.ask("x", patience_s=60)
    assert str(hopeless.refusal) == "dots: the queue is longer than 60 s"
    assert retry_after_s_of(hopeless) == 190  # nineteen wait, 10 s each
    # Its turn comes after one of the flood's: fairness counts.
    assert bench.ask("y", patience_s=60).waits


def test_before_anything_was_measured_no_wait_is_predicted():
    bench = Bench({"a": 1})
    tickets = [bench.ask(patience_s=1) for _ in range(500)]
    assert all(ticket.refusal is None for ticket in tickets)


def test_one_client_holds_at_most_its_share_of_the_slots():
    bench = Bench({"a": 4}, client_share=0.5)
    tickets = [bench.ask("key", share=0.5) for _ in range(4)]
    assert [ticket.waits for ticket in tickets] == [False, False, True, True]
    assert url_of(bench.ask("other", share=0.5)) == "a"
    assert bench.leave(tickets[0]) == [tickets[2]]


def test_a_share_is_never_less_than_one_slot():
    assert url_of(Bench({"a": 1}).ask(share=0.01)) == "a"


def test_leaving_the_line_gives_the_place_back():
    bench = Bench({"a": 1}, queue_max=1)
    first, second = bench.ask(), bench.ask()
    bench.leave(second)
    bench.leave(second)  # twice is once
    third = bench.ask()
    assert third.waits
    assert bench.leave(first) == [third]


def test_closing_refuses_who_waits_and_who_comes():
    bench = Bench({"a": 1})
    working, waiting = bench.ask(), bench.ask()
    assert bench.schedule.close(0) == [waiting]
    assert str(bench.ask().refusal) == "the router is shutting down"
    assert bench.serve(working) == []


# ---- the fleet changes


def test_a_new_replica_takes_waiting_work_at_once():
    bench = Bench({"a": 1})
    bench.ask()
    waiting = [bench.ask() for _ in range(3)]
    assert bench.schedule.set_replicas({"a": 1, "b": 2}, 0) == waiting[:2]
    assert [url_of(ticket) for ticket in waiting] == ["b", "b", None]


def test_a_removed_replica_finishes_what_it_has_and_gets_no_more():
    bench = Bench({"a": 1, "b": 1})
    on_a = bench.ask()
    bench.schedule.set_replicas({"b": 1}, 0)
    assert [(one.url, one.draining) for one in bench.schedule.snapshot(0).replicas] == [
        ("b", False),
        ("a", True),
    ]
    assert url_of(bench.ask()) == "b"
    waiting = bench.ask()
    assert bench.serve(on_a) == []
    assert waiting.waits
    assert [one.url for one in bench.schedule.snapshot(0).replicas] == ["b"]


def test_a_replica_that_comes_back_while_it_drains_keeps_its_requests():
    bench = Bench({"a": 1})
    working = bench.ask()
    bench.schedule.set_replicas({}, 0)
    bench.schedule.set_replicas({"a": 1}, 0)
    waiting = bench.ask()
    assert waiting.waits
    assert bench.serve(working) == [waiting]


def test_slots_may_shrink_below_the_work_at_hand():
    bench = Bench({"a": 3})
    tickets = [bench.ask() for _ in range(3)]
    bench.schedule.set_replicas({"a": 1}, 0)
    waiting = bench.ask()
    assert bench.leave(tickets[0]) == bench.leave(tickets[1]) == []
    assert bench.leave(tickets[2]) == [waiting]


def test_the_last_word_of_a_probe_about_a_removed_replica_is_nothing():
    assert Bench({"a": 1}).schedule.probed("gone", Health.DEAD, 0) == []


def test_a_snapshot_tells_how_long_the_first_has_waited():
    bench = Bench({"a": 1})
    bench.ask()
    bench.ask(size_bytes=7)
    bench.now_s = 4
    bench.ask(size_bytes=8)
    state = bench.schedule.snapshot(10)
    assert (state.name, state.alive, state.slots, state.outstanding) == ("dots", True, 1, 1)
    assert (state.waiting, state.waiting_bytes, state.oldest_s) == (2, 15, 10)


def test_old_deadlines_are_swept():
    lines = Lines()
    bench = Bench({})
    stays = bench.ticket()
    lines.append(stays)
    for _ in range(10_000):
        passing = bench.ticket()
        lines.append(passing)
        lines.remove(passing)
        passing.is_left = True
    assert len(lines._deadlines) < 200
    assert lines.expired(60) == [stays]


# ---- whatever happens


class AnyOrder(RuleBasedStateMachine):
    """Any order of events: no slot is leaked or lent twice, and nobody is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench({"a": 1, "b": 2}, queue_max=6, queue_bytes_max=40)
        self.live: list[Ticket] = []
        self.shrunk = False

    def settled(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            assert (ticket.replica is None) != (ticket.refusal is None)
        assert len(set(tickets)) == len(tickets)

    def pick(self, data, seated: bool) -> Ticket | None:
        choices = [one for one in self.live if (one.replica is not None) == seated]
        return data.draw(st.sampled_from(choices)) if choices else None

    @rule(
        client=st.sampled_from("xyz"),
        size=st.integers(0, 30),
        patience_s=st.floats(0.1, 20),
        tried=st.frozensets(st.sampled_from("abc")),
        share=st.sampled_from([0.3, 1.0]),
    )
    def ask(self, client, size, patience_s, tried, share):
        ticket = self.bench.ticket(
            client, patience_s, size_bytes=size, tried=tried, share=share
        )  # fmt: skip
        settled = self.bench.schedule.ask(ticket, self.bench.now_s)
        self.settled(settled)
        assert ticket.waits or ticket in settled
        self.live.append(ticket)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), how=st.sampled_from(["leave", "serve", "fail", "busy"]))
    def end(self, data, how):
        ticket = self.pick(data, seated=True)
        if ticket is None:
            return
        match how:
            case "busy":
                self.bench.schedule.busy(ticket, data.draw(st.floats(0, 5)), self.bench.now_s)
                self.settled(self.bench.leave(ticket))
            case "serve":
                self.settled(self.bench.serve(ticket))
            case "fail":
                self.bench.schedule.failed(ticket, Failure.CUT, "", self.bench.now_s)
                self.settled(self.bench.leave(ticket))
            case _:
                self.settled(self.bench.leave(ticket))
        self.live.remove(ticket)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def withdraw(self, data):
        ticket = self.pick(data, seated=False)
        if ticket is not None:
            self.settled(self.bench.leave(ticket))
            self.live.remove(ticket)

    @rule(seconds=st.floats(0.01, 10))
    def wait(self, seconds):
        self.settled(self.bench.later(seconds))

    @rule(url=st.sampled_from("abc"), health=st.sampled_from(list(Health)))
    def probe(self, url, health):
        self.settled(self.bench.schedule.probed(url, health, self.bench.now_s))

    @rule(fleet=st.dictionaries(st.sampled_from("abc"), st.integers(1, 3), max_size=3))
    def change(self, fleet):
        self.shrunk = True
        self.settled(self.bench.schedule.set_replicas(fleet, self.bench.now_s))

    @invariant()
    def every_slot_is_accounted_for(self):
        state = self.bench.schedule.snapshot(self.bench.now_s)
        seated = [ticket for ticket in self.live if ticket.replica is not None]
        waiting = [ticket for ticket in self.live if ticket.waits]
        assert state.outstanding == len(seated)
        assert state.waiting == len(waiting) <= 6
        assert state.waiting_bytes == sum(ticket.size_bytes for ticket in waiting)
        by_url = Counter(url_of(ticket) for ticket in seated)
        assert {one.url: one.outstanding for one in state.replicas if one.outstanding} == by_url
        if not self.shrunk:
            assert all(one.outstanding <= one.slots for one in state.replicas)

    @invariant()
    def nobody_waits_beside_a_slot_they_could_have(self):
        now_s = self.bench.now_s
        free = [one for one in self.bench.schedule.replicas.values() if one.free(now_s)]
        held = Counter(one.client for one in self.live if one.replica is not None)
        slots = sum(one.slots for one in self.bench.schedule.replicas.values())
        for ticket in self.live:
            if ticket.waits:
                first = next(t for t in self.live if t.waits and t.client == ticket.client)
                most = max(1, int(first.share * slots)) if first.share < 1 else slots + 99
                capped = held[ticket.client] >= most
                assert capped or all(one.url in ticket.tried for one in free)

    @invariant()
    def a_half_open_replica_has_one_trial_at_most(self):
        for one in self.bench.schedule.replicas.values():
            if one.breaker.trial is not None:
                assert one.breaker.trial in self.live

    def teardown(self):
        for ticket in self.live:
            self.bench.leave(ticket)
        state = self.bench.schedule.snapshot(self.bench.now_s)
        assert (state.outstanding, state.waiting, state.waiting_bytes) == (0, 0, 0)
        assert self.bench.schedule._at_work == {}
        assert self.bench.schedule.wake_s(self.bench.now_s) is None


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase


@pytest.mark.parametrize("clients", [2, 5])
def test_whoever_sends_more_is_not_served_more(clients: int):
    """One client sends ten times as much; in any stretch of time all get alike."""
    bench = Bench({"a": 2, "b": 1})
    at_work = [bench.ask("c0") for _ in range(3)]
    for number in range(clients):
        for _ in range(200 if number == 0 else 20):
            bench.ask(f"c{number}")
    served: list[str] = []
    while len(served) < 20 * clients:
        settled = bench.leave(at_work.pop(0))
        at_work += settled
        served += [ticket.client for ticket in settled]
    for at in range(0, len(served) - clients, clients):
        assert set(Counter(served[at : at + clients]).values()) == {1}
