"""`ocr-fleet serve`, `settings` and the help: what they print and end with."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

import deploy
from deploy.cli import command as ocr_fleet
from deploy.load import router_fields
from deploy.ports import check_port, free_port, reachable
from shared.keys import read_keys
from shared.settings import FIELDS
from tests.deploy.processes import ROOT, Command, get, is_open, unused_port, wait_until, write_fleet

IMPORT_MS_MAX = 400
"""`ocr-fleet up` on two cores has eight seconds for five services; its start may take a tenth."""


@pytest.fixture
def fleet(tmp_path) -> Path:
    return write_fleet(tmp_path / "fleet.toml", alpha={"slots": 5, "engine_key": "sk-secret"})


def port_of(fleet: Path) -> int:
    return int(tomllib.loads(fleet.read_text())["services"]["alpha"]["port"])


def serve(fleet: Path, *arguments: str, **environ: str) -> Command:
    return Command("--fleet", str(fleet), "serve", "alpha", *arguments, cwd=ROOT, **environ)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_with_0_when_it_is_told_to_stop(fleet, number) -> None:
    with serve(fleet) as command:
        command.wait_for('"listening"')
        assert get(port_of(fleet), "/pid")["pid"] == command.process.pid
        command.process.send_signal(number)
        assert command.end() == 0
    assert "alpha shut\n" in command.seen


def test_serve_can_be_stopped_before_it_serves(fleet) -> None:
    with serve(fleet) as command:
        wait_until(lambda: b"serve" in Path(f"/proc/{command.process.pid}/cmdline").read_bytes())
        time.sleep(0.25)  # Python itself must be up; any moment after that is right
        command.process.terminate()
        assert command.end() in {0, -signal.SIGTERM}


def test_serve_listens_where_it_is_told(fleet) -> None:
    port = unused_port()
    with serve(fleet, "--host", "127.0.0.1", "--port", str(port)) as command:
        command.wait_for(f'"url": "http://127.0.0.1:{port}"')
        wait_until(lambda: is_open(port))
        assert not is_open(port_of(fleet))


def test_a_taken_port_names_its_holder_and_the_way_out(fleet) -> None:
    port = port_of(fleet)
    with socket.create_server(("127.0.0.1", port)), serve(fleet) as command:
        assert command.end() == 1
    assert command.text.startswith(f"alpha: port {port} is taken by pid {os.getpid()}: ")
    assert command.text.endswith("; choose another: --port or OCR_FLEET_ALPHA_PORT\n")
    assert command.text.count("\n") == 1


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (
            {"OCR_FLEET_ALPHA_PORT": "http"},
            (
                "alpha: environment OCR_FLEET_ALPHA_PORT is 'http';"
                " expected a whole number from 0 to 65535\n"
            ),
        ),
        (
            {"OCR_FLEET_ENGINE": "vlm"},
            (
                "alpha: environment OCR_FLEET_ENGINE is 'vlm'; expected one of"
                " auto, vllm, transformers, openai, embedded, fake\n"
            ),
        ),
        (
            {"OCR_FLEET_ALHPA_PORT": "1"},
            (
                "alpha: OCR_FLEET_ALHPA_PORT is no setting in the environment;"
                " did you mean OCR_FLEET_ALPHA_PORT?\n"
            ),
        ),
        (
            {"OCR_FLEET_FAKE": '{"fail_load": "setting"}'},
            "alpha: the stand-in was told to find a setting wrong\n",
        ),
    ],
)
def test_a_wrong_setting_is_one_line_and_status_2(fleet, environ, said) -> None:
    with serve(fleet, **environ) as command:
        assert command.end() == 2
    assert command.text == said


@pytest.mark.parametrize(
    ("app", "status", "said"),
    [
        ("tests.deploy.standing:build", 1, "there is no module tests.deploy.standing"),
        ("tests.deploy.standin:built", 1, "tests.deploy.standin has no built"),
        ("tests.deploy.standin", 2, "expected an import string, package.module:function"),
    ],
)
def test_an_app_that_is_not_there_is_one_line(tmp_path, app, status, said) -> None:
    fleet = write_fleet(tmp_path / "fleet.toml", alpha={"app": app})
    with serve(fleet) as command:
        assert command.end() == status
    assert said in command.text
    assert command.text.count("\n") == 1


def test_a_bug_while_building_is_logged_with_its_traceback(fleet) -> None:
    with serve(fleet, OCR_FLEET_FAKE='{"fail_load": "out of paper"}') as command:
        assert command.end() == 1
    assert '"reason": "RuntimeError: out of paper"' in command.text
    assert "Traceback" in command.text


# ---- the router


@pytest.fixture
def routed(tmp_path) -> Path:
    return write_fleet(tmp_path / "fleet.toml", router={}, alpha={})


def router_ports(fleet: Path) -> tuple[int, int]:
    table = tomllib.loads(fleet.read_text())["router"]
    return table["port"], table["legacy_port"]


def serve_router(fleet: Path, *arguments: str, **environ: str) -> Command:
    return Command("--fleet", str(fleet), "serve", "router", *arguments, cwd=ROOT, **environ)


def test_the_router_is_one_application_on_two_ports(routed) -> None:
    port, legacy_port = router_ports(routed)
    with serve_router(routed) as command:
        for one in (port, legacy_port):
            line = command.wait_for(f'"url": "http://127.0.0.1:{one}"')
            assert '"keys": false' in line
        assert get(port, "/port") == {"port": port, "fleet": str(routed), "ports": {}}
        assert get(legacy_port, "/port")["port"] == legacy_port
        command.process.terminate()
        assert command.end() == 0
    assert "router shut\n" in command.seen
    assert "without API keys" not in command.text, "nobody else can reach it"


def test_the_router_can_do_without_its_second_port(routed) -> None:
    _, legacy_port = router_ports(routed)
    port = unused_port()
    arguments = ("--port", str(port), "--legacy-port", "0")
    with serve_router(routed, *arguments, OCR_FLEET_ALPHA_PORT="5999") as command:
        command.wait_for(f'"url": "http://127.0.0.1:{port}"')
        wait_until(lambda: is_open(port))
        assert get(port, "/port")["ports"] == {
            "OCR_FLEET_ALPHA_PORT": "5999",
            "OCR_FLEET_ROUTER_PORT": str(port),
            "OCR_FLEET_ROUTER_LEGACY_PORT": "0",
        }
        assert not is_open(legacy_port)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_open_router_without_keys_says_so(routed, host) -> None:
    with serve_router(routed, "--host", host) as command:
        line = command.wait_for("listens without API keys where others may reach it")
        assert "set OCR_FLEET_ROUTER_KEYS_FILE" in line


def test_an_open_router_with_keys_does_not(routed, tmp_path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text("")
    with serve_router(routed, "--host", "0.0.0.0", OCR_FLEET_KEYS_FILE=str(keys)) as command:
        command.wait_for('"keys": true')
        command.process.terminate()
        command.end()
    assert "without API keys" not in command.text


def test_a_taken_second_port_names_the_way_out(routed) -> None:
    _, legacy_port = router_ports(routed)
    with socket.create_server(("127.0.0.1", legacy_port)), serve_router(routed) as command:
        assert command.end() == 1
    assert command.text.startswith(f"router: port {legacy_port} is taken by pid {os.getpid()}: ")
    assert command.text.endswith(
        "; choose another: --legacy-port or OCR_FLEET_ROUTER_LEGACY_PORT, 0 for none\n"
    )


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (
            {"OCR_FLEET_ROUTER_PATIENCE_S": "long"},
            (
                "router: environment OCR_FLEET_ROUTER_PATIENCE_S is 'long';"
                " expected a number above 0 to 86400\n"
            ),
        ),
        (
            {"OCR_FLEET_ROUTER_PATIENCE": "1"},
            (
                "router: OCR_FLEET_ROUTER_PATIENCE is no setting in the environment;"
                " did you mean OCR_FLEET_ROUTER_PATIENCE_S?\n"
            ),
        ),
        (
            {"OCR_FLEET_ALPHA_REPLICAS": "alpha:5000"},
            (
                "router: environment OCR_FLEET_ALPHA_REPLICAS has 'alpha:5000';"
                " expected base URLs such as http://dots:5000\n"
            ),
        ),
    ],
)
def test_a_wrong_setting_of_the_router_is_one_line_and_status_2(routed, environ, said) -> None:
    with serve_router(routed, **environ) as command:
        assert command.end() == 2
    assert command.text == said


def test_a_service_does_not_mind_what_the_router_is_told(routed) -> None:
    environ = {"OCR_FLEET_ROUTER_PATIENCE": "1", "OCR_FLEET_ALPHA_REPLICAS": "http://a,http://b"}
    with serve(routed, **environ) as command:
        command.wait_for('"listening"')


# ---- in this process


def run(*arguments: str, **environ: str):
    return CliRunner().invoke(ocr_fleet, arguments, env=environ)


def test_settings_show_each_value_and_its_source(fleet) -> None:
    result = run("--fleet", str(fleet), "settings", "alpha", OCR_FLEET_ALPHA_QUEUE_MAX="9")
    assert result.exit_code == 0
    rows = [line.split(maxsplit=2) for line in result.output.splitlines() if line]
    assert ["slots", "5", f"slots in [services.alpha] of {fleet}"] in rows
    assert ["queue_max", "9", "environment OCR_FLEET_ALPHA_QUEUE_MAX"] in rows
    assert ["temperature", "0.5", "default"] in rows, "the service's own default"
    assert {row[0] for row in rows} >= set(FIELDS)
    assert "sk-secret" not in result.output


def test_settings_of_the_whole_fleet_are_those_that_somebody_set() -> None:
    result = run("settings")
    assert result.exit_code == 0
    for name, port in {"lighton": 8080, "paddle": 8001, "dots": 5000}.items():
        assert f"[{name}]" in result.output
        assert str(port) in result.output
    assert "default" not in result.output


def test_help_lists_every_setting_with_what_it_takes() -> None:
    result = run("settings", "--help")
    assert result.exit_code == 0
    for name in (*FIELDS, *router_fields()):
        assert f" {name.upper()}\n" in result.output
    assert " GUARD_REPEATS_MIN\n" in result.output
    assert "one of auto, vllm, transformers, openai, embedded, fake" in result.output


def test_a_key_is_printed_once_with_the_lines_that_let_it_in(tmp_path) -> None:
    result = run("key", "alice")
    assert result.exit_code == 0
    shown = next(line.strip() for line in result.output.splitlines() if "    ocr-" in line)
    lines = result.output[result.output.index("[keys.alice]") :]
    path = tmp_path / "keys.toml"
    path.write_text(lines)
    key = read_keys(path).find(shown)
    assert key is not None
    assert (key.name, key.models) == ("alice", ())
    path.write_text(re.sub(r"^# ", "", lines, flags=re.MULTILINE))
    key = read_keys(path).find(shown)
    assert key is not None
    assert (key.requests_per_minute, key.share, key.models) == (60, 0.5, ("dots-ocr",))


def test_a_key_needs_a_name_that_can_be_one() -> None:
    result = run("key", "two words")
    assert result.exit_code == 2
    assert "ocr-fleet: the name: " in result.output


def test_settings_show_the_router_too(routed) -> None:
    result = run("--fleet", str(routed), "settings", "router", OCR_FLEET_DRAIN_S="3")
    assert result.exit_code == 0
    rows = [line.split(maxsplit=2) for line in result.output.splitlines() if line]
    port, _ = router_ports(routed)
    assert ["port", str(port), f"port in [router] of {routed}"] in rows
    assert ["drain_s", "3", "environment OCR_FLEET_DRAIN_S"] in rows
    assert ["guard_repeats_min", "10", "default"] in rows
    several = run("--fleet", str(routed), "settings")
    assert "[alpha]" in several.output
    assert "[router]" in several.output


def test_a_second_port_is_the_routers_alone(fleet) -> None:
    result = run("--fleet", str(fleet), "serve", "alpha", "--legacy-port", "8000")
    assert result.exit_code == 2
    assert "--legacy-port is the router's alone" in result.output


@pytest.mark.parametrize("arguments", [(), ("up",), ("serve",), ("settings",), ("key",)])
def test_help_has_examples(arguments) -> None:
    result = run(*arguments, "--help")
    assert result.exit_code == 0
    assert "    ocr-fleet " in result.output


def test_an_unknown_service_is_told_which_there_are(fleet) -> None:
    result = run("up", "lightn")
    assert result.exit_code == 2
    assert "no service is named 'lightn'" in result.output
    assert (
        "did you mean lighton?; it has lighton, paddle, dots, deepseek, chatvlm, router"
        in result.output
    )


def test_no_service_left_is_said() -> None:
    result = run("up", "dots", "router", "--without", "dots", "--without", "router")
    assert result.exit_code == 2
    assert "no service is left to start" in result.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot read the fleet file"),
        ("x =", "is not TOML"),
        ("", "names no service; expected a table such as [services.lighton]"),
        ("[service.dots]", "service is no table in"),
        ("[services]\ndots = 1", "services.dots in"),
        ("[services.router]", "that name is taken; the router is [router]"),
        ("router = 1\n[services.dots]", "expected a table"),
        ("aliases = 1\n[services.dots]", "expected a table"),
        ("[services.dots]\n[aliases]\na = 1", "a in [aliases] of"),
        ("[services.dots]\n[routers]", "did you mean router?"),
        ("[services.dots]\nslotz = 1", "did you mean slots?"),
    ],
)
def test_a_broken_fleet_file_is_one_line(tmp_path, text, said) -> None:
    path = tmp_path / "fleet.toml"
    if text is not None:
        path.write_text(text)
    result = run("--fleet", str(path), "up")
    assert result.exit_code == 2
    assert said in result.output
    assert result.output.count("\n") == 1


def test_the_command_line_is_quick_to_import() -> None:
    """Measured as the interpreter's own time, so that other work on the machine counts little."""
    code = (
        "import time; began = time.process_time(); import deploy.cli, deploy.up;"
        "print((time.process_time() - began) * 1000)"
    )
    took = [subprocess.check_output([sys.executable, "-c", code], cwd=ROOT) for _ in range(2)]
    assert min(float(one) for one in took) < IMPORT_MS_MAX


def test_heavy_packages_stay_out_of_the_command_line() -> None:
    code = "import sys, deploy.cli, deploy.up; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split())
    assert not loaded & {"PIL", "aiohttp", "litestar", "numpy", "onnxruntime", "rich", "uvicorn"}


def test_ports() -> None:
    port = free_port("127.0.0.1")
    assert check_port("127.0.0.1", port) == ""
    assert check_port("no.such.host.invalid", port).startswith("no.such.host.invalid is no address")
    assert "is not an address of this machine" in check_port("192.0.2.1", port)
    assert reachable("0.0.0.0") == "127.0.0.1"
    assert reachable("::1") == "[::1]"


def test_package_data_is_where_the_code_looks_for_it() -> None:
    folder = Path(deploy.__file__).parent
    assert (folder / "fleet.toml").is_file()
    assert (folder / "sample.png").read_bytes().startswith(b"\x89PNG")
