"""Settings: who wins, what is refused and in what words, and the fleet file that ships."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from deploy.cli import FLEET_FILE
from shared.limits import Limits
from shared.settings import (
    DOCUMENTED_NAMES,
    FIELDS,
    EngineKind,
    Settings,
    find_settings,
    read_fleet,
    read_settings,
    value_of,
)
from shared.sources import SettingError, environment_name
from shared.values import Secret, decode, described, expected, written

MIB = 1024 * 1024

CONTRACT = {
    "lighton": {
        "image_bytes_max": 10 * MIB,
        "slots": 10,
        "queue_max": 256,
        "timeout_s": 120.0,
        "temperature": 0.1,
        "temperature_max": 2.0,
        "max_tokens": 4096,
        "port": 8080,
    },
    "paddle": {
        "image_bytes_max": 32 * MIB,
        "slots": 1,
        "queue_max": 256,
        "timeout_s": 300.0,
        "temperature": 0.7,
        "temperature_max": 2.0,
        "max_tokens": 1024,
        "max_tokens_max": 4096,
        "port": 8001,
    },
    "dots": {
        "image_bytes_max": 32 * MIB,
        "slots": 1,
        "queue_max": 0,
        "timeout_s": 300.0,
        "silence_s": 60.0,
        "temperature": 0.1,
        "temperature_max": 2.0,
        "top_p": 1.0,
        "max_tokens": 12000,
        "port": 5000,
    },
    "deepseek": {
        "image_bytes_max": 32 * MIB,
        "batch_max": 100,
        "slots": 100,
        "queue_max": 256,
        "timeout_s": 300.0,
        "silence_s": 60.0,
        "temperature": 0.0,
        "temperature_max": 2.0,
        "max_tokens": 8192,
        "max_tokens_max": 8192,
        "port": 8002,
    },
    "chatvlm": {
        "image_bytes_max": 32 * MIB,
        "queue_max": 256,
        "timeout_s": 300.0,
        "temperature": 0.7,
        "temperature_max": 1.0,
        "max_tokens": 512,
        "port": 8003,
    },
}
"""The decision table: what a service does when nobody sets anything."""


def defaults_of(service: str) -> Limits:
    limits = importlib.import_module(f"services.{service}.app").LIMITS
    assert isinstance(limits, Limits)
    return limits


def read(environ=None, toml=None, service="dots", tmp_path=None, defaults=None):
    file = None
    if toml is not None:
        file = tmp_path / "fleet.toml"
        file.write_text(toml)
    return read_settings(service, environ or {}, file, defaults or Limits())


# ---- the fleet file that ships


@pytest.mark.parametrize("service", CONTRACT)
def test_defaults_are_the_contracts(service) -> None:
    settings = read_settings(service, {}, FLEET_FILE, defaults_of(service))
    assert {name: value_of(settings, name) for name in CONTRACT[service]} == CONTRACT[service]
    assert settings.limits.pixels_max == 100_000_000
    assert settings.engine is EngineKind.AUTO
    assert settings.cors_origins == ("*",)


def test_the_fleet_file_names_the_five_services() -> None:
    fleet = read_fleet(FLEET_FILE)
    assert list(fleet.services) == list(CONTRACT)
    for name, entry in fleet.services.items():
        assert entry["app"] == f"services.{name}.app:build"
        assert "{url}" in entry["example"]
        assert "{sample}" in entry["example"]


@pytest.mark.parametrize("service", CONTRACT)
def test_what_the_fleet_file_shows_commented_out_are_the_defaults(service, tmp_path) -> None:
    """Commented lines look like settings; with the mark taken away they change nothing."""
    plain = FLEET_FILE.read_text()
    shown = re.sub(r"^# (?=[a-z_]+ = )", "", plain, flags=re.MULTILINE)
    entries = tomllib.loads(shown)["services"][service]
    assert len(entries) - len(tomllib.loads(plain)["services"][service]) >= 5
    defaults = defaults_of(service)
    was = read(toml=plain, service=service, tmp_path=tmp_path, defaults=defaults)
    now = read(toml=shown, service=service, tmp_path=tmp_path, defaults=defaults)
    assert now == was


# ---- who wins


def test_one_service_wins_over_all_wins_over_the_file_wins_over_the_default(tmp_path) -> None:
    toml = "[services.dots]\nslots = 2\n[services.paddle]\n"
    both = {"OCR_FLEET_SLOTS": "3", "OCR_FLEET_DOTS_SLOTS": "4", "OCR_FLEET_PADDLE_SLOTS": "9"}
    all_of_them = {"OCR_FLEET_SLOTS": "3"}
    seven = Limits(slots=7)
    assert read(both, toml, tmp_path=tmp_path, defaults=seven).limits.slots == 4
    assert read(all_of_them, toml, tmp_path=tmp_path, defaults=seven).limits.slots == 3
    assert read({}, toml, tmp_path=tmp_path, defaults=seven).limits.slots == 2
    assert read({}, "[services.dots]", tmp_path=tmp_path, defaults=seven).limits.slots == 7
    assert read({}, defaults=seven).limits.slots == 7


def test_an_empty_variable_is_not_set() -> None:
    assert read({"OCR_FLEET_SLOTS": ""}, defaults=Limits(slots=7)).limits.slots == 7


def test_sources_say_where_each_value_stands(tmp_path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text("[services.dots]\nslots = 2")
    environ = {"OCR_FLEET_PORT": "81", "OCR_FLEET_DOTS_TOP_P": "0.5"}
    found = find_settings("dots", environ, read_fleet(path), Limits())
    assert found.sources["slots"] == f"slots in [services.dots] of {path}"
    assert found.sources["port"] == "environment OCR_FLEET_PORT"
    assert found.sources["top_p"] == "environment OCR_FLEET_DOTS_TOP_P"
    assert found.sources["host"] == "default"
    assert set(found.sources) == set(FIELDS)


def test_deepseek_takes_the_names_of_its_document() -> None:
    environ = {
        "MODEL_PATH": "/models/deepseek",
        "PROMPT": "<image>\nFree OCR.",
        "CROP_MODE": "False",
        "BASE_SIZE": "512",
        "IMAGE_SIZE": "448",
        "MAX_CONCURRENCY": "12",
    }
    settings = read(environ, service="deepseek")
    assert settings.model_path == "/models/deepseek"
    assert settings.prompt == "<image>\nFree OCR."
    assert settings.crop_mode is False
    assert (settings.base_size, settings.image_size, settings.limits.slots) == (512, 448, 12)
    assert set(environ) == set(DOCUMENTED_NAMES["deepseek"])
    ours = read({**environ, "OCR_FLEET_DEEPSEEK_BASE_SIZE": "640"}, service="deepseek")
    assert ours.base_size == 640
    assert read(environ, service="dots") == read(service="dots"), "nobody else reads them"


# ---- values


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("SLOTS", " 4 ", 4),
        ("TIMEOUT_S", "1.5", 1.5),
        ("ENGINE", "fake", EngineKind.FAKE),
        ("ALLOW_PRIVATE_URLS", "true", True),
        ("ALLOW_PRIVATE_URLS", "yes", True),
        ("ALLOW_PRIVATE_URLS", "0", False),
        ("MODEL_PATH", "/models/x", "/models/x"),
        ("MODEL_PATH", "none", None),
        ("MAX_TOKENS_MAX", "none", None),
        ("MAX_TOKENS_MAX", "9000", 9000),
        ("IMAGE_FOLDERS", "/a:/b", (Path("/a"), Path("/b"))),
        ("TESSDATA", "/t", Path("/t")),
        (
            "CORS_ORIGINS",
            "https://a.example, https://b.example",
            ("https://a.example", "https://b.example"),
        ),
    ],
)
def test_a_value_is_read_from_text(name, text, value) -> None:
    assert value_of(read({f"OCR_FLEET_{name}": text}), name.lower()) == value


def test_the_fake_engines_script_is_json_or_a_table(tmp_path) -> None:
    environ = {"OCR_FLEET_FAKE": '{"text": "hello", "delay_s": 0.5}'}
    toml = "[services.dots]\nfake = {text = 'hello', delay_s = 0.5}"
    assert read(environ).fake == read({}, toml, tmp_path=tmp_path).fake
    assert read(environ).fake.text == "hello"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("SLOTS", "many", "is 'many'; expected a whole number from 1"),
        ("SLOTS", "0", "is '0'; expected a whole number from 1"),
        ("QUEUE_MAX", "1.5", "is '1.5'; expected a whole number from 0"),
        ("PORT", "65536", "is '65536'; expected a whole number from 0 to 65535"),
        ("TIMEOUT_S", "nan", "is 'nan'; expected a number above 0 to 86400"),
        ("TIMEOUT_S", "inf", "is 'inf'; expected a number above 0 to 86400"),
        ("TOP_P", "2", "is '2'; expected a number above 0 to 1"),
        ("ALLOW_PRIVATE_URLS", "maybe", "is 'maybe'; expected true or false"),
        ("MAX_TOKENS_MAX", "x", "is 'x'; expected a whole number or none"),
        ("LOG_LEVEL", "loud", "is 'loud'; expected one of debug, info, warning, error"),
        ("FAKE", "{", "expected a JSON object with text, "),
        ("FAKE", '{"txt": 1}', "unknown field `txt`"),
    ],
)
def test_a_wrong_value_names_itself_its_place_and_what_was_expected(name, text, said) -> None:
    with pytest.raises(SettingError) as caught:
        read({f"OCR_FLEET_DOTS_{name}": text})
    assert str(caught.value).startswith(f"environment OCR_FLEET_DOTS_{name} is ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_value_in_the_file_names_the_file(tmp_path) -> None:
    with pytest.raises(SettingError) as caught:
        read({}, "[services.dots]\nslots = 'many'", tmp_path=tmp_path)
    place = f"slots in [services.dots] of {tmp_path / 'fleet.toml'}"
    assert str(caught.value) == f"{place} is 'many'; expected a whole number from 1"


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"MAX_TOKENS_MAX": "12"}, "max_tokens 4096 exceeds max_tokens_max 12"),
        ({"TEMPERATURE": "2.5"}, "temperature 2.5 exceeds temperature_max 2"),
        ({"ENGINE": "openai"}, "set OCR_FLEET_DOTS_ENGINE_URL, http://host:port/v1"),
    ],
)
def test_values_that_contradict_each_other_are_refused(environ, said) -> None:
    with pytest.raises(SettingError, match=re.escape(said)):
        read({environment_name(name): value for name, value in environ.items()})


# ---- names


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("OCR_FLEET_SLOTZ", "OCR_FLEET_SLOTS"),
        ("OCR_FLEET_DOTS_TIMEOUT", "OCR_FLEET_DOTS_TIMEOUT_S"),
        ("OCR_FLEET_DOST_TIMEOUT_S", "OCR_FLEET_DOTS_TIMEOUT_S"),
    ],
)
def test_an_unknown_variable_suggests_the_nearest(key, hint) -> None:
    with pytest.raises(SettingError, match=f"{key} is no setting .* did you mean {hint}?"):
        read_settings("dots", {key: "1"}, FLEET_FILE, Limits())


def test_a_variable_like_nothing_is_refused_as_well() -> None:
    with pytest.raises(SettingError, match="OCR_FLEET_XYZZY is no setting"):
        read({"OCR_FLEET_XYZZY": "1"})


def test_an_unknown_key_of_the_file_suggests_the_nearest(tmp_path) -> None:
    with pytest.raises(SettingError, match=r"slotz is no setting in \[services.dots\].*slots\?"):
        read({}, "[services.dots]\nslotz = 1", tmp_path=tmp_path)


def test_other_peoples_variables_are_left_alone() -> None:
    assert read({"PATH": "/bin", "PROMPT": "$", "OCR_FLEETING": "1"}) == read()


# ---- secrets and words


def test_a_secret_shows_nowhere() -> None:
    settings = read({"OCR_FLEET_ENGINE_KEY": "sk-very-secret"})
    assert settings.engine_key.reveal() == "sk-very-secret"
    assert "sk-very-secret" not in repr(settings)
    assert "sk-very-secret" not in written(settings.engine_key)
    assert written(Secret()) == ""
    with pytest.raises(ValueError, match=r"is \*\*\*; expected text"):
        decode(5, Secret)


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_says_what_it_is_for_and_what_it_takes(name) -> None:
    assert described(FIELDS[name])
    assert expected(FIELDS[name])


@pytest.mark.parametrize("name", FIELDS)
def test_a_value_survives_being_written(name) -> None:
    settings = Settings(service="dots")
    value = value_of(settings, name)
    text = written(value)
    if text:
        assert decode(text, FIELDS[name]) == value


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings(service="dots").port = 1  # type: ignore[misc]
    assert msgspec.structs.replace(Settings(service="dots"), port=1).port == 1
