"""The settings of one service's process: decoded once, at its start, from the environment, the
fleet file and the service's own defaults. Nothing else reads `os.environ`. The router's own are in
`router/settings.py`, found by the same means.

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

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import msgspec
from msgspec import Meta

from shared.limits import DAY_S, Limits
from shared.loading import Loading
from shared.script import FakeScript
from shared.sources import (
    PREFIX,
    RESERVED,
    SettingError,
    check_name,
    environment_name,
    find_values,
    nearest,
)
from shared.values import Secret

ROUTER: Final = "router"
"""The name that is no service's: OCR_FLEET_ROUTER_<NAME> and [router] are the router's own."""

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
    loading: Loading = Loading()
    """Each of their fields is a setting of its own name."""

    host: Annotated[
        str, Meta(min_length=1, description="address to listen on; containers want 0.0.0.0")
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0 takes any")] = 0
    engine: Annotated[
        EngineKind,
        Meta(description="what reads the pages; auto: vllm where it can run, else embedded"),
    ] = EngineKind.AUTO
    model_path: Annotated[
        str | None,
        Meta(
            description="folder or hub name of the weights; `none`: the service's own; chatvlm:"
            " folder of folders named after its models"
        ),
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
    keys_file: Annotated[
        Path | None,
        Meta(description="file of API keys, one of which a request must bring; `none`: no keys"),
    ] = None
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
    """The fleet file: each table as it stands there."""

    services: Mapping[str, Mapping[str, Any]]
    router: Mapping[str, Any] | None = None
    """The router's settings; none: the fleet has no router."""
    aliases: Mapping[str, str] = {}
    """Other names for models and services."""
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

ROUTED_KEYS: Final[Mapping[str, str]] = {
    "wire": "the format the service is asked in; without it, the service's name",
    "models": "the ids it answers to, the first is the default; without it, the documented ones",
    "replicas": "base URLs; a host name stands for every address it has; without it, the service's"
    " own host and port",
    "replica_slots": "requests each replica works on at once; without it, `slots`",
    "connect_s": "how long a connection to a replica may take to open",
    "key": "API key the router shows to the replicas; without it, the caller's own is passed on",
}
"""What an entry holds for the router alone; also OCR_FLEET_<SERVICE>_<NAME>. `router/fleet.py`
reads the values."""


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
        check_name(name, ["services", ROUTER, "aliases"], f"table in {path}")
    services = tables.get("services", {})
    if not isinstance(services, dict) or not services:
        raise SettingError(f"{path} names no service; expected a table such as [services.lighton]")
    for service, entry in services.items():
        _check_entry(service, entry, path)
    router = tables.get(ROUTER)
    if router is not None and not isinstance(router, dict):
        raise SettingError(f"router in {path} is {router!r}; expected a table")
    return Fleet(services=services, router=router, aliases=_read_aliases(tables, path), path=path)


def _check_entry(service: str, entry: object, path: Path) -> None:
    if service == ROUTER:
        raise SettingError(
            f"services.{ROUTER} in {path}: that name is taken; the router is [router]"
        )
    if not isinstance(entry, dict):
        raise SettingError(f"services.{service} in {path} is {entry!r}; expected a table")
    for name in entry:
        known = [*FLEET_KEYS, *ROUTED_KEYS, *FIELDS]
        check_name(name, known, f"setting in [services.{service}] of {path}")


def _read_aliases(tables: Mapping[str, Any], path: Path) -> dict[str, str]:
    aliases = tables.get("aliases", {})
    if not isinstance(aliases, dict):
        raise SettingError(f"aliases in {path} is {aliases!r}; expected a table")
    for alias, model in aliases.items():
        if not isinstance(model, str):
            raise SettingError(
                f"{alias} in [aliases] of {path} is {model!r}; expected a model or a service"
            )
    return dict(aliases)


def find_settings(
    service: str, environ: Mapping[str, str], fleet: Fleet | None, defaults: Limits | None
) -> Found:
    """As `read_settings`, with the sources; the fleet file has been read already.

    Without the service's own defaults (its code is not loaded) values are checked one by one only.
    """
    if fleet is not None and service not in fleet.services:
        raise SettingError(
            f"no service is named {service!r} in {fleet.path}"
            + nearest(service, fleet.services)
            + f"; it has {', '.join(fleet.services)}"
        )
    check_environ(environ, None if fleet is None else fleet.services, one=service)
    values, sources = find_values(
        FIELDS,
        environ,
        lambda name: names_of(name, service),
        {} if fleet is None else fleet.services[service],
        "" if fleet is None else f"[services.{service}] of {fleet.path}",
    )
    limits = {name: values.pop(name) for name in LIMIT_NAMES if name in values}
    loading = {name: values.pop(name) for name in LOADING_NAMES if name in values}
    settings = Settings(
        service=service,
        limits=msgspec.structs.replace(defaults or Limits(), **limits),
        loading=Loading(**loading),
        **values,
    )
    if defaults is not None:
        _check_together(settings, sources)
    return Found(settings=settings, sources=sources)


def value_of(settings: Settings, name: str) -> object:
    """The value of a setting by its name, wherever it stands."""
    if name in LIMIT_NAMES:
        return getattr(settings.limits, name)
    return getattr(settings.loading if name in LOADING_NAMES else settings, name)


def check_environ(
    environ: Mapping[str, str],
    services: Iterable[str] | None,
    *,
    one: str = "",
    router: Sequence[str] | None = None,
) -> None:
    """Refuse names of ours that stand for nothing: they are typing errors.

    `services` are all there are, where that is known, else there is `one`. `router` are the names
    of the router's settings; without them those are left to the router itself.

    Raises:
        SettingError: there is such a name.
    """
    if services is None:  # which other services there are is not known
        endings = tuple(f"_{name.upper()}" for name in (*FIELDS, *ROUTED_KEYS))
        environ = {key: "" for key in environ if not key.endswith(endings)}
    if router is None:
        own = environment_name("", ROUTER)
        environ = {key: "" for key in environ if not key.startswith(own)}
    known = {environment_name(name) for name in FIELDS} | RESERVED
    known |= {environment_name(name, ROUTER) for name in router or ()}
    for service in [one] if services is None else services:
        known |= {environment_name(name, service) for name in (*FIELDS, *ROUTED_KEYS)}
    for key in environ:
        if key.startswith(PREFIX):
            check_name(key, known, "setting in the environment")


# ---- looking up


def names_of(name: str, service: str) -> list[str]:
    """A setting's names in the environment, the one that wins first."""
    documented = DOCUMENTED_NAMES.get(service, {})
    return [
        environment_name(name, service),
        environment_name(name),
        *(key for key, of in documented.items() if of == name),
    ]


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
LOADING_NAMES: Final = frozenset(Loading.__struct_fields__)

FIELDS: Final[Mapping[str, Any]] = {
    name: kind
    for struct in (Settings, Limits, Loading)
    for name, kind in get_type_hints(struct, include_extras=True).items()
    if name not in {"service", "limits", "loading"} and not name.startswith("_")
}
"""Every setting's name and type."""
