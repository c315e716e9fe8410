"""`ocr-fleet up` for real: processes, ports and signals, with stand-ins for the services."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import tomllib

import pytest

from deploy.probe import read_answer
from deploy.supervisor import complaint
from tests.deploy.processes import Command, get, is_open, wait_until, write_fleet

LOADING_S = 0.3


def ports_of(fleet) -> dict[str, int]:
    services = tomllib.loads(fleet.read_text())["services"]
    return {name: entry["port"] for name, entry in services.items()}


@pytest.fixture
def fleet(tmp_path):
    return write_fleet(
        tmp_path / "fleet.toml",
        alpha={"model": "model-a", "example": "curl -F file=@{sample} {url}/pid"},
        beta={"fake": {"load_s": LOADING_S}, "example": "curl {url}/pid"},
    )


def up(fleet, *arguments: str, **environ: str) -> Command:
    return Command("--fleet", str(fleet), "up", *arguments, cwd=fleet.parent, **environ)


def test_starts_all_prints_one_table_and_a_curl_and_ctrl_c_ends_it_with_0(fleet) -> None:
    ports = ports_of(fleet)
    with up(fleet) as command:
        command.wait_for("2 of 2 ready in")
        table = [line.split() for line in command.seen]
        assert [
            "alpha",
            f"http://127.0.0.1:{ports['alpha']}",
            "model-a",
            "standin/1",
            "ready",
        ] in table
        assert ["beta", f"http://127.0.0.1:{ports['beta']}", "-", "standin/1", "ready"] in table
        assert command.text.count("service ") == 1
        assert f"    curl http://127.0.0.1:{ports['beta']}/pid\n" in command.seen
        assert get(ports["alpha"], "/pid")["folders"] == [str(fleet.parent)]
        command.press_ctrl_c()
        assert command.end() == 0
    assert "alpha | alpha shut\n" in command.seen
    assert "fleet | all stopped\n" in command.seen
    assert not is_open(ports["alpha"])
    assert not is_open(ports["beta"])


def test_starts_the_router_with_the_services_and_tells_it_where_they_are(tmp_path) -> None:
    fleet = write_fleet(
        tmp_path / "fleet.toml",
        router={"example": "curl -F file=@{sample} {url}/a-longer-example"},
        alpha={"port": 0, "example": "curl {url}/pid"},
        beta={"models": ["b1", "b2"]},
        elsewhere={"app": "", "models": ["far"], "replicas": ["http://gpu-1:8000"]},
    )
    fleet.write_text(fleet.read_text().replace('app = ""\n', ""))
    table = tomllib.loads(fleet.read_text())["router"]
    port, legacy_port = table["port"], table["legacy_port"]
    with up(fleet) as command:
        command.wait_for("3 of 3 ready in")
        row = next(line for line in command.seen if line.startswith(" router "))
        assert row.split() == [
            "router",
            f"http://127.0.0.1:{port}",
            "and",
            f":{legacy_port}",
            "4",
            "models",
            "standin/1",
            "ready",
        ]
        assert "fleet  | elsewhere has no app: it is for others to start\n" in command.seen
        assert any(f"http://127.0.0.1:{port}/a-longer-example" in line for line in command.seen)
        alpha = next(line for line in command.seen if line.startswith(" alpha "))
        told = get(legacy_port, "/port")
        assert isinstance(told["ports"], dict)
        assert alpha.split()[1].endswith(":" + told["ports"]["OCR_FLEET_ALPHA_PORT"])
        command.press_ctrl_c()
        assert command.end() == 0
    assert not is_open(port)
    assert not is_open(legacy_port)


def test_the_router_can_be_left_out_and_named(tmp_path) -> None:
    fleet = write_fleet(tmp_path / "fleet.toml", router={}, alpha={})
    with up(fleet, "--without", "router") as command:
        command.wait_for("1 of 1 ready in")
        assert "router" not in command.text
    with up(fleet, "router") as command:
        command.wait_for("1 of 1 ready in")
        assert not is_open(ports_of(fleet)["alpha"])


def test_a_router_whose_second_port_is_taken_leaves_the_services_running(tmp_path) -> None:
    fleet = write_fleet(tmp_path / "fleet.toml", router={}, alpha={})
    legacy_port = tomllib.loads(fleet.read_text())["router"]["legacy_port"]
    with socket.create_server(("127.0.0.1", legacy_port)), up(fleet) as command:
        command.wait_for("1 of 2 ready in")
        row = next(line for line in command.seen if line.startswith(" router "))
        assert f"failed: port {legacy_port} is taken by pid {os.getpid()}" in row


def test_a_wrong_setting_of_the_router_leaves_the_services_running(tmp_path) -> None:
    fleet = write_fleet(tmp_path / "fleet.toml", router={"portt": 1}, alpha={})
    with up(fleet) as command:
        command.wait_for("1 of 2 ready in")
        row = next(line for line in command.seen if line.startswith(" router "))
        assert "failed: portt is no setting in [router] of" in row
        assert "did you mean port?" in row


def test_waits_with_the_table_until_the_slowest_is_ready(fleet) -> None:
    with up(fleet) as command:
        began = time.monotonic()
        command.wait_for("2 of 2 ready in")
        assert time.monotonic() - began >= LOADING_S


def test_sigterm_lets_a_running_request_finish(fleet) -> None:
    ports = ports_of(fleet)
    answers: list[object] = []
    with up(fleet, "alpha") as command:
        command.wait_for("1 of 1 ready in")
        asking = threading.Thread(target=lambda: answers.append(get(ports["alpha"], "/until-shut")))
        asking.start()
        command.wait_for("alpha was asked")
        command.process.terminate()
        wait_until(lambda: not is_open(ports["alpha"]))
        asking.join()
        assert command.end() == 0
    assert answers == [{"open": False}], "it ends only once it was told to shut"


def test_a_hung_request_is_cut_at_the_drain_bound(fleet) -> None:
    ports = ports_of(fleet)
    environ = {"OCR_FLEET_FAKE": '{"first_delay_s": 60}', "OCR_FLEET_DRAIN_S": "1"}
    with up(fleet, "alpha", **environ) as command, socket.socket() as client:
        command.wait_for("1 of 1 ready in")
        client.connect(("127.0.0.1", ports["alpha"]))
        client.sendall(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        began = time.monotonic()
        command.process.terminate()
        assert command.end() == 0
        assert time.monotonic() - began < 4


def test_a_second_ctrl_c_kills_at_once(fleet) -> None:
    ports = ports_of(fleet)
    with (
        up(fleet, "alpha", OCR_FLEET_FAKE='{"first_delay_s": 60}') as command,
        socket.socket() as client,
    ):
        command.wait_for("1 of 1 ready in")
        client.connect(("127.0.0.1", ports["alpha"]))
        client.sendall(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        command.press_ctrl_c()
        command.wait_for("once more kills at once")
        command.wait_for("alpha shut")
        assert command.process.poll() is None
        command.press_ctrl_c()
        assert command.end(within_s=3) == 0
    assert not is_open(ports["alpha"])


def test_a_killed_service_is_started_again_and_that_is_said(fleet) -> None:
    ports = ports_of(fleet)
    with up(fleet) as command:
        command.wait_for("2 of 2 ready in")
        before = get(ports["alpha"], "/pid")["pid"]
        beta = get(ports["beta"], "/pid")["pid"]
        os.kill(int(str(before)), signal.SIGKILL)
        command.wait_for("alpha was ended by SIGKILL; starting it again in 1 s")
        command.wait_for("alpha is ready at")
        assert get(ports["alpha"], "/pid")["pid"] != before
        assert get(ports["beta"], "/pid")["pid"] == beta, "the others were left alone"
        command.press_ctrl_c()
        assert command.end() == 0


def test_no_orphan_when_the_supervisor_is_killed(fleet) -> None:
    ports = ports_of(fleet)
    with up(fleet) as command:
        command.wait_for("2 of 2 ready in")
        command.process.kill()
        wait_until(lambda: not is_open(ports["alpha"]) and not is_open(ports["beta"]))


def test_a_taken_port_is_named_with_its_holder_while_the_others_run(fleet) -> None:
    ports = ports_of(fleet)
    with socket.create_server(("127.0.0.1", ports["alpha"])), up(fleet) as command:
        command.wait_for("1 of 2 ready in")
        said = f"port {ports['alpha']} is taken by pid {os.getpid()}:"
        assert any(f"fleet | alpha cannot be started: {said}" in line for line in command.seen)
        row = next(line for line in command.seen if line.startswith(" alpha "))
        assert f"failed: {said}" in row
        assert get(ports["beta"], "/pid")


def test_a_wrong_setting_of_one_service_leaves_the_others_running(fleet) -> None:
    with up(fleet, OCR_FLEET_ALPHA_SLOTS="many") as command:
        command.wait_for("1 of 2 ready in")
        row = next(line for line in command.seen if line.startswith(" alpha "))
        wanted = "environment OCR_FLEET_ALPHA_SLOTS is 'many'; expected a whole number from 1"
        assert f"failed: {wanted}" in row


def test_a_service_that_refuses_its_settings_is_not_tried_again(fleet) -> None:
    with up(fleet, OCR_FLEET_ALPHA_FAKE='{"fail_load": "setting"}') as command:
        command.wait_for("1 of 2 ready in")
        assert command.text.count("the stand-in was told to find a setting wrong") == 3
        assert "starting it again" not in command.text


def test_a_wrong_name_is_one_line_and_status_2(fleet) -> None:
    with up(fleet, OCR_FLEET_SLOTZ="1") as command:
        assert command.end() == 2
        assert command.text == (
            "ocr-fleet: OCR_FLEET_SLOTZ is no setting in the environment;"
            " did you mean OCR_FLEET_SLOTS?\n"
        )


def test_ends_with_1_when_no_service_can_be_started(fleet) -> None:
    """A service that keeps dying before it was ever ready is given up after three tries."""
    with up(fleet, "alpha", OCR_FLEET_FAKE='{"fail_load": "out of paper"}') as command:
        assert command.end() == 1
    assert "starting it again in 2 s" in command.text
    assert "fleet | alpha cannot be started: RuntimeError: out of paper\n" in command.seen
    assert "fleet | no service could be started\n" in command.seen


def test_ends_when_its_terminal_is_closed(fleet) -> None:
    with up(fleet, "alpha") as command:
        command.wait_for("1 of 1 ready in")
        command.process.send_signal(signal.SIGHUP)
        assert command.end() == 0


def test_ends_when_nobody_reads_its_output_any_more(fleet) -> None:
    ports = ports_of(fleet)
    with up(fleet, "alpha") as command:
        command.wait_for("1 of 1 ready in")
        command.stop_reading()
        with pytest.raises(OSError, match=r"closed|reset"):
            get(ports["alpha"], "/die")
        assert command.process.wait(5) == 0
    assert not is_open(ports["alpha"])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"level":"info","message":"listening"}', ""),
        ('{"level":"error","message":"it broke"}', "it broke"),
        ('{"level":"error","message":"it broke","reason":"no paper"}', "no paper"),
        ("{not json", "{not json"),
        ("12:00:00 [info     ] listening", ""),
        ("RuntimeError: out of paper", "RuntimeError: out of paper"),
        ("", ""),
    ],
)
def test_a_line_of_output_is_a_complaint_or_not(line: str, reason: str) -> None:
    assert complaint(line) == reason


def test_readiness_is_read_from_any_answer() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-OCR-Engine: fake/script\r\n\r\n"
    ready = read_answer(head + b'{"status":"ready"}')
    assert (ready.ready, ready.engine, ready.reason) == (True, "fake/script", "")
    loading = read_answer(b'HTTP/1.1 503 Busy\r\n\r\n{"reason":"still loading"}')
    assert (loading.ready, loading.reason) == (False, "still loading")
    assert read_answer(b"HTTP/1.1 404 Not Found\r\n\r\n<html>").reason == "/readyz answers 404"
    assert not read_answer(b"SSH-2.0-OpenSSH\r\n").ready
    assert not read_answer(b"").ready
