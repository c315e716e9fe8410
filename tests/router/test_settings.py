"""The router's settings and its view of the fleet file: who wins, what is refused, what ships."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.cli import FLEET_FILE
from router.fleet import Fleet, Wire, load_fleet
from router.guard import GuardSettings
from router.settings import FIELDS, SHARED, RouterSettings, find_router_settings
from shared import settings as service_settings
from shared.errors import UnknownModel
from shared.limits import MIB
from shared.settings import read_fleet
from shared.sources import SettingError
from shared.values import decode, described, expected, written


def found(tmp_path: Path, toml: str = "", **environ: str):
    path = tmp_path / "fleet.toml"
    path.write_text(f"[services.dots]\nport = 5000\n{toml}")
    return find_router_settings(environ, read_fleet(path))


def fleet_of(tmp_path: Path, toml: str, **environ: str) -> Fleet:
    path = tmp_path / "fleet.toml"
    path.write_text(toml)
    return load_fleet(path, environ)


# ---- the fleet file that ships


def test_the_fleet_that_ships_has_every_model_at_its_documented_port() -> None:
    fleet = load_fleet(FLEET_FILE, {})
    assert {one.name: (one.wire, one.replicas, one.slots) for one in fleet.services} == {
        "lighton": (Wire.LIGHTON, ("http://127.0.0.1:8080",), 10),
        "paddle": (Wire.PADDLE, ("http://127.0.0.1:8001",), 1),
        "dots": (Wire.DOTS, ("http://127.0.0.1:5000",), 1),
        "deepseek": (Wire.DEEPSEEK, ("http://127.0.0.1:8002",), 100),
        "chatvlm": (Wire.CHATVLM, ("http://127.0.0.1:8003",), 4),
    }
    assert len(fleet.models) == 11
    assert fleet.service("lighton").timeout_s == 130  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["mistral-ocr-latest", "azure-document", "vllm-model"])
def test_names_that_clients_insist_on_are_known(name) -> None:
    assert load_fleet(FLEET_FILE, {}).find(name).model


def test_the_defaults_that_ship_are_the_documented_ones() -> None:
    settings = find_router_settings({}, read_fleet(FLEET_FILE)).settings
    assert (settings.host, settings.port, settings.legacy_port) == ("127.0.0.1", 8100, 8000)
    assert settings.body_bytes_max == 64 * MIB
    assert settings.keys_file is None
    assert settings.guard == GuardSettings()


def test_what_the_fleet_file_shows_commented_out_are_the_defaults(tmp_path) -> None:
    plain = FLEET_FILE.read_text()
    shown = tmp_path / "shown.toml"
    shown.write_text(re.sub(r"^# (?=[a-z_]+ = )", "", plain, flags=re.MULTILINE))
    table = read_fleet(shown).router
    assert table is not None
    assert len(table) - len(read_fleet(FLEET_FILE).router or {}) >= 10
    was = find_router_settings({}, read_fleet(FLEET_FILE))
    now = find_router_settings({}, read_fleet(shown))
    assert now.values == was.values
    assert load_fleet(shown, {}) == load_fleet(FLEET_FILE, {})


# ---- who wins


def test_the_routers_own_word_wins_over_everybodys_over_the_file_over_the_default(tmp_path) -> None:
    toml = "[router]\ndrain_s = 2"
    everybodys = {"OCR_FLEET_DRAIN_S": "3"}
    own = {**everybodys, "OCR_FLEET_ROUTER_DRAIN_S": "4"}
    assert found(tmp_path, toml, **own).settings.drain_s == 4
    assert found(tmp_path, toml, **everybodys).settings.drain_s == 3
    assert found(tmp_path, toml).settings.drain_s == 2
    assert found(tmp_path).settings.drain_s == RouterSettings().drain_s
    sources = found(tmp_path, toml, **own).sources
    assert sources["drain_s"] == "environment OCR_FLEET_ROUTER_DRAIN_S"
    assert sources["patience_s"] == "default"
    assert set(sources) == set(FIELDS)


def test_what_both_have_but_mean_differently_is_not_shared(tmp_path) -> None:
    settings = found(tmp_path, OCR_FLEET_PORT="81", OCR_FLEET_QUEUE_MAX="1").settings
    assert settings.port == 8100
    assert settings.pool.queue_max > 1
    assert set(service_settings.FIELDS) >= SHARED
    assert set(FIELDS) >= SHARED


def test_the_parts_settings_are_the_routers_by_prefixed_names(tmp_path) -> None:
    settings = found(
        tmp_path,
        "[router]\nguard_repeats_min = 5\nprobe_up_s = 2.5\nbreaker_failures_max = 9",
        OCR_FLEET_ROUTER_QUEUE_MAX="7",
        OCR_FLEET_ROUTER_GUARD_ENABLED="no",
        OCR_FLEET_ROUTER_RETRY_SHARE="0.5",
    ).settings
    assert (settings.guard.repeats_min, settings.guard.enabled) == (5, False)
    assert (settings.probe.up_s, settings.probe.timeout_s) == (2.5, 2.0)
    assert settings.pool.breaker.failures_max == 9
    assert (settings.pool.queue_max, settings.pool.retries.share) == (7, 0.5)


# ---- what is refused


@pytest.mark.parametrize(
    ("toml", "environ", "said"),
    [
        ("[router]\nportt = 1", {}, r"portt is no setting in \[router\] of .*; did you mean port"),
        ("[router]\nport = 'x'", {}, r"port in \[router\] of .* is 'x'; expected a whole number"),
        ("", {"OCR_FLEET_ROUTER_PORT": "70000"}, "environment OCR_FLEET_ROUTER_PORT is '70000'"),
        ("", {"OCR_FLEET_ROUTER_PATIENCE": "1"}, "did you mean OCR_FLEET_ROUTER_PATIENCE_S"),
        ("", {"OCR_FLEET_ROUTER_SLOTS": "1"}, "is no setting in the environment"),
        (
            "[router]\nguard_window_chars = 2000",
            {},
            r"guard_window_chars in \[router\] of .*: window_chars 2000 is less than",
        ),
        (
            "[router]\ntrusted_proxies = ['10.0.0.1/8']",
            {},
            r"trusted_proxies in \[router\] .* has '10.0.0.1/8', which is no network",
        ),
        ("[router]\nport = 8000", {}, "port and legacy_port are both 8000"),
        ("wire = 'dotz'", {}, r"wire in \[services.dots\] .* is 'dotz'; expected one of lighton,"),
        ("models = []", {}, "is empty; expected at least one id"),
        ("replicas = []", {}, "is empty; expected at least one URL"),
        ("replicas = ['dots:5000']", {}, "has 'dots:5000'; expected base URLs such as"),
        ("replicas = 'http://u:p@dots'", {}, "expected base URLs such as"),
        ("replica_slots = 0", {}, "expected a whole number from 1"),
        ("[aliases]\nx = 'y'", {}, r"x in \[aliases\] of .* stands for 'y', which no service has"),
        ("[services.scans]\nport = 1", {}, r"\[services.scans\] of .* names no wire"),
        ("[services.paddle]", {}, "names neither replicas nor a port"),
        (
            "[services.paddle]\nport = 1\nmodels = ['dots-ocr']",
            {},
            "two services in .* have the model 'dots-ocr'",
        ),
    ],
)
def test_what_is_wrong_is_one_line_that_names_it(tmp_path, toml, environ, said) -> None:
    with pytest.raises(SettingError, match=said) as caught:
        found(tmp_path, toml, **environ)
    assert "\n" not in str(caught.value)


# ---- the fleet


def test_a_server_of_somebody_elses_is_a_service(tmp_path) -> None:
    fleet = fleet_of(
        tmp_path,
        """
        [services.scans]
        wire = "lighton"
        models = ["lightonai/LightOnOCR-2-1B"]
        replicas = ["http://gpu-1:8000/", "http://gpu-2:8000", "http://gpu-1:8000"]
        replica_slots = 32
        connect_s = 1
        key = "sk-theirs"
        timeout_s = 60
        """,
    )
    (service,) = fleet.services
    assert service.replicas == ("http://gpu-1:8000", "http://gpu-2:8000")
    assert (service.slots, service.connect_s, service.timeout_s) == (32, 1.0, 70.0)
    assert service.key.reveal() == "sk-theirs"
    assert "sk-theirs" not in repr(fleet)
    assert fleet.find("LightOnOCR-2-1B").service is service


def test_the_environment_moves_a_service_for_the_router_as_well(tmp_path) -> None:
    toml = "[services.dots]\nport = 5000\n[services.deepseek]\nport = 8002"
    moved = fleet_of(
        tmp_path,
        toml,
        OCR_FLEET_DOTS_PORT="5001",
        OCR_FLEET_DOTS_SLOTS="3",
        OCR_FLEET_DEEPSEEK_REPLICAS="http://a:8000,http://b:8000",
        MAX_CONCURRENCY="12",
    )
    dots, deepseek = moved.services
    assert (dots.replicas, dots.slots) == (("http://127.0.0.1:5001",), 3)
    assert (deepseek.replicas, deepseek.slots) == (("http://a:8000", "http://b:8000"), 12)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:5000"),
        ("::", "http://[::1]:5000"),
        ("192.0.2.4", "http://192.0.2.4:5000"),
    ],
)
def test_a_service_is_found_where_it_listens(tmp_path, host, url) -> None:
    fleet = fleet_of(tmp_path, "[services.dots]\nport = 5000", OCR_FLEET_HOST=host)
    assert fleet.services[0].replicas == (url,)


@pytest.mark.parametrize("name", ["dots-ocr", "DOTS-OCR", "dots", "house-reader"])
def test_a_model_is_found_by_id_service_and_alias(tmp_path, name) -> None:
    toml = "[services.dots]\nport = 1\n[aliases]\nhouse-reader = 'dots'"
    assert fleet_of(tmp_path, toml).find(name).model == "dots-ocr"


def test_an_unknown_model_lists_those_there_are(tmp_path) -> None:
    with pytest.raises(UnknownModel, match=r"Model 'x' not found\. Available: dots-ocr"):
        fleet_of(tmp_path, "[services.dots]\nport = 1").find("x")


# ---- words


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_says_what_it_is_for_and_survives_being_written(name, tmp_path) -> None:
    assert described(FIELDS[name])
    assert expected(FIELDS[name])
    value = found(tmp_path).values[name]
    if text := written(value):
        assert decode(text, FIELDS[name]) == value


def test_the_environment_shows_no_value(tmp_path) -> None:
    settings = found(tmp_path, OCR_FLEET_ENGINE_KEY="sk-very-secret").settings
    assert "sk-very-secret" not in repr(settings)
    assert settings.environ["OCR_FLEET_ENGINE_KEY"] == "sk-very-secret"
