"""The settings of one service's process: decoded once, at its start, from the environment, the
fleet file and the service's own defaults. Nothing else reads `os.environ`.

Who wins, first to last:

    OCR_FLEET_<SERVICE>_<NAME>     one service, for example OCR_FLEET_DOTS_SLOTS=4
    OCR_FLEET_<NAME>               every service, for example OCR_FLEET_ENGINE=embedded
    MODEL_PATH, PROMPT, ...        deepseek alone, the names its document gives
    [services.<service>]           in the fleet file
    the default                    of the service, or of this module

A setting that is wrong or unknown is an error that names it, says where it stands and what was
expected.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import msgspec
from msgspec import Meta

from shared.limits import DAY_S, Limits
from shared.script import FakeScript
from shared.values import Secret, ValueRefused, decode

PREFIX: Final = "OCR_FLEET_"

RESERVED: Final = frozenset({"OCR_FLEET_FILE"})
"""Names that are not a service's: where the fleet file is."""

DOCUMENTED_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "deepseek": {
        "MODEL_PATH": "model_path",
        "PROMPT": "prompt",
        "CROP_MODE": "crop_mode",
        "BASE_SIZE": "base_size",
        "IMAGE_SIZE": "image_size",
        "MAX_CONCURRENCY": "slots",
    }
}
"""Settings that a service's own document names."""

DRAIN_S: Final = 25.0
"""Kubernetes kills a pod 30 s after it asked it to stop."""


class SettingError(Exception):
    """A setting is wrong; the message is one line for the person who wrote it."""


class EngineKind(StrEnum):
    """What reads the pages."""

    AUTO = "auto"
    VLLM = "vllm"
    TRANSFORMERS = "transformers"
    OPENAI = "openai"
    EMBEDDED = "embedded"
    FAKE = "fake"


class LogLevel(StrEnum):
    """The least important message that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """`auto` is text on a terminal and JSON elsewhere."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that one service's process is told from outside."""

    service: str
    """Its name in the fleet file."""
    limits: Limits = Limits()
    """Each of its fields is a setting of its own name."""

    host: Annotated[
        str, Meta(min_length=1, description="address to listen on; containers want 0.0.0.0")
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0 takes any")] = 0
    engine: Annotated[
        EngineKind,
        Meta(description="what reads the pages; auto: vllm where it can run, else embedded"),
    ] = EngineKind.AUTO
    model_path: Annotated[
        str | None, Meta(description="folder or hub name of the weights; `none`: the service's own")
    ] = None
    engine_url: Annotated[
        str | None, Meta(description="engine openai: base URL, such as http://localhost:9000/v1")
    ] = None
    engine_key: Annotated[Secret, Meta(description="engine openai: its API key, never shown")] = (
        Secret()
    )
    engine_model: Annotated[
        str | None, Meta(description="engine openai: the model's name there; `none`: the first")
    ] = None
    fake: Annotated[FakeScript, Meta(description="engine fake: its script, a table or JSON")] = (
        FakeScript()
    )
    threads: Annotated[
        int, Meta(ge=0, description="threads that read pages; 0: as many as cores")
    ] = 0
    tessdata: Annotated[
        Path | None,
        Meta(description="folder of Tesseract's language data; `none`: where Debian has it"),
    ] = None
    image_folders: Annotated[
        tuple[Path, ...], Meta(description="folders that dots' `path` may read, joined by `:`")
    ] = ()
    allow_private_urls: Annotated[
        bool, Meta(description="fetch pages from private and loopback addresses too")
    ] = False
    cors_origins: Annotated[
        tuple[str, ...], Meta(description="origins that browsers may call from, joined by `,`")
    ] = ("*",)
    drain_s: Annotated[
        float, Meta(gt=0, le=DAY_S, description="how long SIGTERM lets running requests finish")
    ] = DRAIN_S
    log_level: Annotated[LogLevel, Meta(description="least important message written")] = (
        LogLevel.INFO
    )
    log_format: Annotated[LogFormat, Meta(description="auto: text on a terminal, else JSON")] = (
        LogFormat.AUTO
    )
    prompt: Annotated[
        str | None, Meta(description="deepseek: prompt of requests that bring none")
    ] = None
    crop_mode: Annotated[bool, Meta(description="deepseek: crop large pages dynamically")] = True
    base_size: Annotated[int, Meta(ge=1, description="deepseek: resolution of the global view")] = (
        1024
    )
    image_size: Annotated[int, Meta(ge=1, description="deepseek: resolution of each crop")] = 640


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet file: each service's entry as it stands there."""

    services: Mapping[str, Mapping[str, Any]]
    path: Path


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Settings, and for each name where its value came from."""

    settings: Settings
    sources: Mapping[str, str]


FLEET_KEYS: Final[Mapping[str, str]] = {
    "app": "import string of the function that builds the service",
    "model": "the model id it answers to",
    "example": "a command that shows the service at work; {url} and {sample} are filled in",
}
"""What an entry of the fleet file holds beside settings."""


def read_settings(
    service: str, environ: Mapping[str, str], fleet_file: Path | None, defaults: Limits
) -> Settings:
    """The settings of one service.

    Raises:
        SettingError: something is wrong, unknown or out of range; the message says what and where.
    """
    fleet = None if fleet_file is None else read_fleet(fleet_file)
    return find_settings(service, environ, fleet, defaults).settings


def read_fleet(path: Path) -> Fleet:
    """Read the fleet file and check its names, not yet its values."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"cannot read the fleet file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"the fleet file {path} is not TOML: {error}") from error
    for name in tables:
        _check_name(name, ["services"], f"table in {path}")
    services = tables.get("services", {})
    if not isinstance(services, dict) or not services:
        raise SettingError(f"{path} names no service; expected a table such as [services.lighton]")
    for service, entry in services.items():
        if not isinstance(entry, dict):
            raise SettingError(f"services.{service} in {path} is {entry!r}; expected a table")
        for name in entry:
            _check_name(name, [*FLEET_KEYS, *FIELDS], f"setting in [services.{service}] of {path}")
    return Fleet(services=services, path=path)


def find_settings(
    service: str, environ: Mapping[str, str], fleet: Fleet | None, defaults: Limits | None
) -> Found:
    """As `read_settings`, with the sources; the fleet file has been read already.

    Without the service's own defaults (its code is not loaded) values are checked one by one only.
    """
    if fleet is not None and service not in fleet.services:
        raise SettingError(
            f"no service is named {service!r} in {fleet.path}"
            + _nearest(service, fleet.services)
            + f"; it has {', '.join(fleet.services)}"
        )
    _check_environ(environ, service, fleet)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, kind in FIELDS.items():
        raw = _look_up(name, service, environ, fleet)
        if raw is None:
            sources[name] = "default"
            continue
        value, sources[name] = raw
        try:
            values[name] = decode(value, kind)
        except ValueRefused as error:
            raise SettingError(f"{sources[name]} {error}") from None
    limits = {name: values.pop(name) for name in LIMIT_NAMES if name in values}
    merged = msgspec.structs.replace(defaults or Limits(), **limits)
    settings = Settings(service=service, limits=merged, **values)
    if defaults is not None:
        _check_together(settings, sources)
    return Found(settings=settings, sources=sources)


def value_of(settings: Settings, name: str) -> object:
    """The value of a setting by its name, whether it is a limit or not."""
    return getattr(settings.limits if name in LIMIT_NAMES else settings, name)


def environment_name(name: str, service: str | None = None) -> str:
    middle = "" if service is None else service.upper().replace("-", "_") + "_"
    return f"{PREFIX}{middle}{name.upper()}"


# ---- looking up


def _look_up(
    name: str, service: str, environ: Mapping[str, str], fleet: Fleet | None
) -> tuple[Any, str] | None:
    """A setting's raw value and where it stands, from the source that wins."""
    names = [environment_name(name, service), environment_name(name)]
    names += [key for key, of in DOCUMENTED_NAMES.get(service, {}).items() if of == name]
    for key in names:
        if environ.get(key):  # empty is how compose files write "not set"
            return environ[key], f"environment {key}"
    entry = fleet.services[service] if fleet is not None else {}
    if fleet is not None and name in entry:
        return entry[name], f"{name} in [services.{service}] of {fleet.path}"
    return None


def _check_environ(environ: Mapping[str, str], service: str, fleet: Fleet | None) -> None:
    """Refuse names of ours that stand for nothing: they are typing errors."""
    if fleet is None:  # which other services there are is not known
        endings = tuple(f"_{name.upper()}" for name in FIELDS)
        environ = {key: "" for key in environ if not key.endswith(endings)}
    services = [service] if fleet is None else list(fleet.services)
    known = {environment_name(name) for name in FIELDS} | RESERVED
    known |= {environment_name(name, one) for name in FIELDS for one in services}
    for key in environ:
        if key.startswith(PREFIX):
            _check_name(key, known, "setting in the environment")


def _check_name(name: str, known: Iterable[str], what: str) -> None:
    names = list(known)
    if name not in names:
        hint = _nearest(name, names)
        if not hint and len(names) < 4:
            hint = f"; expected {' or '.join(names)}"
        raise SettingError(f"{name} is no {what}{hint}")


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _check_together(settings: Settings, sources: Mapping[str, str]) -> None:
    """What no single value can show."""
    limits = settings.limits
    most = limits.max_tokens_max
    if most is not None and limits.max_tokens is not None and most < limits.max_tokens:
        where = sources[
            "max_tokens" if sources["max_tokens_max"] == "default" else "max_tokens_max"
        ]
        raise SettingError(f"{where}: max_tokens {limits.max_tokens} exceeds max_tokens_max {most}")
    if limits.temperature is not None and limits.temperature > limits.temperature_max:
        where = sources[
            "temperature" if sources["temperature_max"] == "default" else "temperature_max"
        ]
        raise SettingError(
            f"{where}: temperature {limits.temperature:g} exceeds"
            f" temperature_max {limits.temperature_max:g}"
        )
    if settings.engine is EngineKind.OPENAI and settings.engine_url is None:
        key = environment_name("engine_url", settings.service)
        raise SettingError(f"engine openai needs to know where: set {key}, http://host:port/v1")


LIMIT_NAMES: Final = frozenset(Limits.__struct_fields__)

FIELDS: Final[Mapping[str, Any]] = {
    name: kind
    for struct in (Settings, Limits)
    for name, kind in get_type_hints(struct, include_extras=True).items()
    if name not in {"service", "limits"} and not name.startswith("_")
}
"""Every setting's name and type."""
