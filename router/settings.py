"""The router's settings: decoded once, at its start, from the environment and the fleet file.

Who wins, first to last:

    OCR_FLEET_ROUTER_<NAME>     for example OCR_FLEET_ROUTER_PORT=80
    OCR_FLEET_<NAME>            what the services have too, see `SHARED`
    [router]                    in the fleet file
    the default                 of this module

The settings of its parts (`GuardSettings` and the like) are settings of the router's own, by their
name behind a prefix: `guard_letters_min`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import msgspec
from msgspec import Meta

from router.addresses import RESOLVE_PACE
from router.fleet import read_fleet
from router.guard import GuardSettings
from router.probes import PROBE_PACE
from router.rounds import Pace
from router.schedule import PoolSettings
from shared.limits import DAY_S, MIB
from shared.settings import DRAIN_S, ROUTER, Fleet, LogFormat, LogLevel, check_environ
from shared.sources import SettingError, check_name, environment_name, find_values

SHARED: Final = frozenset(
    {"host", "keys_file", "cors_origins", "drain_s", "log_level", "log_format"}
)
"""What OCR_FLEET_<NAME> says to the router too. Ports and queues are each process's own."""


class Environ(dict[str, str]):
    """The environment, which may hold keys: it shows its names alone."""

    def __repr__(self) -> str:
        return f"Environ({sorted(self)})"


class RouterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All that the router's process is told from outside."""

    host: Annotated[
        str, Meta(min_length=1, description="address to listen on; containers want 0.0.0.0")
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="port of all dialects; 0 takes any")] = (
        8100
    )
    legacy_port: Annotated[
        int,
        Meta(
            ge=0,
            le=65535,
            description="port that deepseek's and chatvlm's documents share; 0: none",
        ),
    ] = 8000
    body_bytes_max: Annotated[
        int, Meta(ge=1, description="largest request body with one page, in bytes")
    ] = 64 * MIB
    """A page of 32 MiB in base64 is 43 MiB; several pages of a chat request fit as well."""
    batch_bytes_max: Annotated[
        int, Meta(ge=1, description="largest request body of a batch, in bytes")
    ] = 256 * MIB
    """The services' own bound: a hundred pages of the usual 2.5 MB."""
    buffer_bytes_max: Annotated[
        int, Meta(ge=1, description="bodies held at once, of all requests together, in bytes")
    ] = 1024 * MIB
    """A hundred of the usual 10 MB; what comes beyond waits outside."""
    buffer_wait_s: Annotated[
        float, Meta(ge=0, le=DAY_S, description="how long an upload waits for room, then 503")
    ] = 30.0
    """Docling, the least patient of the known clients, gives up after 20 to 60 s."""
    patience_s: Annotated[
        float, Meta(gt=0, le=DAY_S, description="how long a request may wait for a slot")
    ] = 300.0
    """As long as dots' and Mistral's clients wait for their whole answer."""
    keys_file: Annotated[
        Path | None,
        Meta(description="file of API keys, one of which a request must bring; `none`: no keys"),
    ] = None
    requests_per_minute: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="of each key that sets none, of each address without keys; `none`: any"),
    ] = None
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(description="addresses and networks whose forwarding headers are believed"),
    ] = ()
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
    pool: PoolSettings = PoolSettings()
    probe: Pace = PROBE_PACE
    resolve: Pace = RESOLVE_PACE
    guard: GuardSettings = GuardSettings()
    environ: Mapping[str, str] = Environ()
    """It has a word about the services too, so the fleet file is read with it, each time anew."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Settings, where each one's value comes from, and what the router will answer to."""

    settings: RouterSettings
    values: Mapping[str, object]
    """Every setting's value by its name, those of the parts too."""
    sources: Mapping[str, str]
    models: tuple[str, ...]


OWN_KEYS: Final[Mapping[str, str]] = {
    "app": "import string of the function that builds the router",
    "example": "a command that shows the router at work; {url} and {sample} are filled in",
}
"""What [router] holds beside settings."""


def find_router_settings(environ: Mapping[str, str], fleet: Fleet) -> Found:
    """The router's settings, and whether it can make sense of the fleet.

    Raises:
        SettingError: something is wrong, unknown or out of range; the message says what and where.
    """
    table = fleet.router or {}
    where = f"[{ROUTER}] of {fleet.path}"
    for name in table:
        check_name(name, [*OWN_KEYS, *FIELDS], f"setting in {where}")
    check_environ(environ, fleet.services, router=tuple(FIELDS))
    values, sources = find_values(FIELDS, environ, _names, table, where)
    settings = _assemble(values, sources)
    settings = msgspec.structs.replace(settings, environ=Environ(environ))
    _check(settings, sources)
    return Found(
        settings=settings,
        values=dict(_values(settings)),
        sources=sources,
        models=read_fleet(fleet, environ).models,
    )


def _names(name: str) -> list[str]:
    own = environment_name(name, ROUTER)
    return [own, environment_name(name)] if name in SHARED else [own]


def _check(settings: RouterSettings, sources: Mapping[str, str]) -> None:
    """What no single value's type can show."""
    for network in settings.trusted_proxies:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            where = sources["trusted_proxies"]
            raise SettingError(f"{where} has {network!r}, which is no network: {error}") from None
    if settings.port == settings.legacy_port != 0:
        where = sources["port" if sources["legacy_port"] == "default" else "legacy_port"]
        raise SettingError(f"{where}: port and legacy_port are both {settings.port}")


# ---- the parts, flattened


PREFIXES: Final[Mapping[str, str]] = {"pool": "", "retries": "retry_"}
"""What stands before the names of a part's own settings, where it is not the part's name."""


def _fields(struct: type[msgspec.Struct]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, kind in get_type_hints(struct, include_extras=True).items():
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            fields |= {f"{_prefix(name)}{inner}": of for inner, of in _fields(kind).items()}
        elif name != "environ":
            fields[name] = kind
    return fields


def _values(struct: msgspec.Struct, prefix: str = "") -> dict[str, object]:
    values: dict[str, object] = {}
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, msgspec.Struct):
            values |= _values(value, prefix + _prefix(name))
        elif name != "environ":
            values[prefix + name] = value
    return values


def _prefix(name: str) -> str:
    return PREFIXES.get(name, f"{name}_")


def _assemble(values: Mapping[str, Any], sources: Mapping[str, str]) -> RouterSettings:
    made = _replace(RouterSettings(), values, sources)
    assert isinstance(made, RouterSettings)
    return made


def _replace(
    struct: msgspec.Struct,
    values: Mapping[str, Any],
    sources: Mapping[str, str],
    prefix: str = "",
) -> msgspec.Struct:
    """The struct with the values of its flattened names put in."""
    changes: dict[str, Any] = {}
    for name in struct.__struct_fields__:
        part = getattr(struct, name)
        if isinstance(part, msgspec.Struct):
            changes[name] = _replace(part, values, sources, prefix + _prefix(name))
        elif prefix + name in values:
            changes[name] = values[prefix + name]
    try:
        return msgspec.structs.replace(struct, **changes)
    except ValueError as error:  # a struct's own check of what goes together
        where = next(sources[prefix + name] for name in changes if prefix + name in values)
        raise SettingError(f"{where}: {error}") from None


FIELDS: Final[Mapping[str, Any]] = _fields(RouterSettings)
"""Every setting's name and type."""
