"""A fleet that changes under load, dies in the middle of its work, or is one slow service that many
want: nobody loses a page."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.routing import Routed, routed
from tests.running import ROOT, free_port, started
from tests.samples import DOTS, b64, http
from tests.serving import served
from tests.stubs import Call, Stub, stub, wait_until

TEXT = "Ümlauts, 漢字 and 🦊 in one line"
OK = json.dumps({"model": "dots-ocr", "response": TEXT, "done": True}).encode()


async def _well(call: Call) -> None:
    await call.reply(body=OK)


def ask_dots(router: Routed, **more: object) -> httpx.Response:
    return http.post(router.url + "/ocr", json={**DOTS, **more})


def pool_of(router: Routed, service: str = "dots"):
    return router.app.state.pools[service].snapshot()


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
