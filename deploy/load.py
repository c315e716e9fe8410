"""Loads what the fleet file names by import string: the functions that build services and router,
and how the router's settings are read. Knows nothing else about either.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from shared.limits import Limits
from shared.settings import ROUTER, Fleet, LogFormat, LogLevel, Settings, find_settings
from shared.sources import SettingError

Application = Any
"""An ASGI application. It may have `shut()`, called when the process is told to stop, and
`failure`, a reason why it stopped by itself."""

ROUTER_APP: Final = "router.app:build"
"""Unless [router] names another."""

ROUTER_SETTINGS: Final = "router.settings:find_router_settings"
ROUTER_FIELDS: Final = "router.settings:FIELDS"


class AppMissing(Exception):
    """The import string leads nowhere."""


class RouterSettings(Protocol):
    """What is known here of the router's settings."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def legacy_port(self) -> int: ...
    @property
    def keys_file(self) -> Path | None: ...
    @property
    def drain_s(self) -> float: ...
    @property
    def log_level(self) -> LogLevel: ...
    @property
    def log_format(self) -> LogFormat: ...


class FoundRouter(Protocol):
    """The router's settings, each one's value and source by name, and the models it answers to."""

    @property
    def settings(self) -> RouterSettings: ...
    @property
    def values(self) -> Mapping[str, object]: ...
    @property
    def sources(self) -> Mapping[str, str]: ...
    @property
    def models(self) -> tuple[str, ...]: ...


def load_app(service: str, fleet: Fleet) -> tuple[Callable[[Settings], Application], Limits]:
    """The function that builds the service, and its own `LIMITS`.

    Raises:
        SettingError: the fleet file does not name a function.
        AppMissing: it names one that is not there, or needs a package that is not.
    """
    if service not in fleet.services:
        find_settings(service, {}, fleet, None)  # says so, and what there is
    where = f"app in [services.{service}] of {fleet.path}"
    path = _checked(fleet.services[service].get("app"), where)
    build = _load(path)
    module = importlib.import_module(path.partition(":")[0])
    return build, getattr(module, "LIMITS", Limits())


def load_router(fleet: Fleet) -> Callable[[RouterSettings, Path], Application]:
    """The function that builds the router. Raises as `load_app`."""
    where = f"app in [{ROUTER}] of {fleet.path}"
    build: Callable[[RouterSettings, Path], Application] = _load(
        _checked((fleet.router or {}).get("app", ROUTER_APP), where)
    )
    return build


def find_router(environ: Mapping[str, str], fleet: Fleet) -> FoundRouter:
    """The router's settings.

    Raises:
        SettingError: one is wrong.
    """
    found: FoundRouter = _load(ROUTER_SETTINGS)(environ, fleet)
    return found


def router_fields() -> Mapping[str, Any]:
    """The name and type of each of the router's settings."""
    fields: Mapping[str, Any] = _load(ROUTER_FIELDS)
    return fields


def _checked(path: object, where: str) -> str:
    if not isinstance(path, str) or path.count(":") != 1:
        raise SettingError(
            f"{where} is {path!r}; expected an import string, package.module:function"
        )
    return path


def _load(path: str) -> Any:
    module_name, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module_name), name)
    except ModuleNotFoundError as error:
        hint = "" if module_name.startswith(str(error.name)) else f", which {path} needs"
        raise AppMissing(f"there is no module {error.name}{hint}") from error
    except AttributeError as error:
        raise AppMissing(f"{module_name} has no {name}") from error
