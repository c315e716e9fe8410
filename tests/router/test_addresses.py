"""Replicas behind a name: what is resolved, what is kept, what is told."""

from __future__ import annotations

import asyncio
import socket

import pytest
from structlog.testing import capture_logs

from router.addresses import Addresses, Resolver, name_in, replicas_at
from router.rounds import Pace

QUICK = Pace(up_s=0.005, down_s=0.005, timeout_s=0.05, at_once_max=4)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://dots:5000", "dots"),
        ("http://Dots.ocr.svc.cluster.local:5000/", "dots.ocr.svc.cluster.local"),
        ("http://127.0.0.1:5000", None),
        ("http://[::1]:5000", None),
        ("http://localhost:5000", None),
        ("https://dots.example", None),
    ],
)
def test_which_urls_hold_a_name_to_resolve(url: str, name: str | None):
    assert name_in(url) == name


def test_every_address_is_a_replica_and_their_order_is_fixed():
    expected = ("http://10.0.0.2:5000", "http://10.0.0.10:5000")
    assert replicas_at("http://dots:5000", ["10.0.0.10", "10.0.0.2", "10.0.0.2"]) == expected
    assert replicas_at("http://dots:5000", ["10.0.0.2", "10.0.0.10"]) == expected


def test_a_machine_with_two_families_is_one_replica():
    assert replicas_at("http://dots:5000", ["fd00::7", "10.0.0.7"]) == ("http://10.0.0.7:5000",)


def test_ipv6_addresses_stand_in_brackets():
    assert replicas_at("http://dots:5000", ["fe80::7%eth0"]) == ("http://[fe80::7]:5000",)
    assert replicas_at("http://dots", ["fd00::7"]) == ("http://[fd00::7]",)


def test_a_name_that_was_never_resolved_stands_for_itself():
    known = Addresses()
    known.set_entries({"dots": ["http://dots:5000", "http://10.0.0.1:5000"]})
    assert known.urls("dots") == ("http://dots:5000", "http://10.0.0.1:5000")
    assert known.urls("none") == ()


def test_a_change_names_the_services_it_concerns():
    known = Addresses()
    known.set_entries({"dots": ["http://gpu:5000"], "paddle": ["http://gpu:8001"], "x": []})
    assert known.resolved("gpu", ["10.0.0.1"]) == ["dots", "paddle"]
    assert known.resolved("gpu", ["10.0.0.1"]) == []
    assert known.resolved("gpu", ["10.0.0.1", "10.0.0.2"]) == ["dots", "paddle"]
    assert known.urls("paddle") == ("http://10.0.0.1:8001", "http://10.0.0.2:8001")


def test_a_name_that_has_no_address_any_more_keeps_those_it_had():
    known = Addresses()
    known.set_entries({"dots": ["http://gpu:5000"]})
    known.resolved("gpu", ["10.0.0.1"])
    assert known.resolved("gpu", []) == []
    assert known.urls("dots") == ("http://10.0.0.1:5000",)


def test_a_name_that_is_gone_from_the_fleet_is_forgotten():
    known = Addresses()
    known.set_entries({"dots": ["http://gpu:5000"]})
    known.resolved("gpu", ["10.0.0.1"])
    known.set_entries({"dots": []})
    assert known.resolved("gpu", ["10.0.0.2"]) == []
    known.set_entries({"dots": ["http://gpu:5000"]})
    assert known.urls("dots") == ("http://gpu:5000",)


def test_an_address_named_twice_is_one_replica():
    known = Addresses()
    known.set_entries({"dots": ["http://gpu:5000", "http://10.0.0.1:5000"]})
    known.resolved("gpu", ["10.0.0.1"])
    assert known.urls("dots") == ("http://10.0.0.1:5000",)


async def test_names_are_resolved_again_and_again_and_trouble_is_said_once():
    answers: list[object] = [
        ["10.0.0.1"],
        ["10.0.0.1"],
        socket.gaierror("Name or service not known"),
        TimeoutError(),
        [],
        ["10.0.0.1", "10.0.0.2"],
    ]
    told: list[tuple[str, tuple[str, ...]]] = []

    async def resolve(name: str) -> list[str]:
        assert name == "gpu"
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, list)
        return answer

    def changed(service: str, urls: tuple[str, ...]) -> None:
        told.append((service, urls))

    resolver = Resolver(resolve, changed, QUICK)
    with capture_logs() as logs:
        resolver.set_entries({"dots": ["http://gpu:5000"]})
        running = asyncio.create_task(resolver.run())
        async with asyncio.timeout(5):
            while len(told) < 3:
                await asyncio.sleep(0.002)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert told == [
        ("dots", ("http://gpu:5000",)),
        ("dots", ("http://10.0.0.1:5000",)),
        ("dots", ("http://10.0.0.1:5000", "http://10.0.0.2:5000")),
    ]
    assert [line["event"] for line in logs] == [
        "replicas_found",
        "name_not_resolved",
        "name_resolved_again",
        "replicas_found",
    ]
    assert logs[1]["why"] == "Name or service not known"


async def test_a_fleet_of_addresses_is_told_at_once_and_never_resolved():
    told = []

    async def resolve(name: str) -> list[str]:
        pytest.fail(f"{name} needs no resolving")

    resolver = Resolver(resolve, lambda *what: told.append(what), QUICK)
    running = asyncio.create_task(resolver.run())
    resolver.set_entries({"dots": ["http://127.0.0.1:5000"], "x": ["http://localhost:1"]})
    await asyncio.sleep(0.02)
    assert told == [("dots", ("http://127.0.0.1:5000",)), ("x", ("http://localhost:1",))]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
