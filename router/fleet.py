"""The fleet as the router sees it: services, their wires, replicas and models, and the aliases.

Read from the fleet file's tables and the environment's words about them; who watches the file is
elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from shared import settings
from shared.errors import UnknownModel
from shared.limits import DAY_S
from shared.sources import SettingError, environment_name, find_values
from shared.values import Secret

URL: Final = re.compile(r"https?://[^/\s?#@]+/?")
"""A base URL: the paths are the wire's."""

SLACK_S: Final = 10.0
"""The router waits a little longer than the service itself does, so that its answer comes first."""


CONNECT_S: Final = 5.0
"""Two lost handshakes are sent again within three seconds; a host that is gone takes minutes."""


class Wire(StrEnum):
    """The format a service is asked in."""

    LIGHTON = "lighton"
    PADDLE = "paddle"
    DOTS = "dots"
    DEEPSEEK = "deepseek"
    CHATVLM = "chatvlm"


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One service: replicas that are all alike."""

    name: str
    wire: Wire
    models: tuple[str, ...]
    """The ids it answers to; the first is the one it reads with when none is named."""
    replicas: tuple[str, ...]
    """Base URLs without a slash at the end. A host name stands for every address it has."""
    slots: int = 1
    """Requests that each replica works on at once."""
    timeout_s: float = 300.0 + SLACK_S
    """To a replica's first byte."""
    silence_s: float = 60.0 + SLACK_S
    """Longest pause inside a stream."""
    connect_s: float = CONNECT_S
    key: Secret = Secret()
    """Shown to the replicas; when it is empty the caller's own is passed on."""


SLOTS: Final[Mapping[Wire, int]] = {
    Wire.LIGHTON: 10,
    Wire.PADDLE: 1,
    Wire.DOTS: 1,
    Wire.DEEPSEEK: 100,
    Wire.CHATVLM: 4,
}
"""At work at once, as the services' own defaults are; chatvlm's are per model, its own queue holds
the rest."""

TIMEOUT_S: Final[Mapping[Wire, float]] = {
    Wire.LIGHTON: 120.0,
    Wire.PADDLE: 300.0,
    Wire.DOTS: 300.0,
    Wire.DEEPSEEK: 300.0,
    Wire.CHATVLM: 300.0,
}
SILENCE_S: Final = 60.0
"""The services' own defaults (contract.md)."""

MODELS: Final[Mapping[Wire, tuple[str, ...]]] = {
    Wire.LIGHTON: ("LightOnOCR-1B-1025",),
    Wire.PADDLE: ("PaddlePaddle/PaddleOCR-VL",),
    Wire.DOTS: ("dots-ocr",),
    Wire.DEEPSEEK: ("deepseek-ocr",),
    Wire.CHATVLM: (
        "qwen3_vl_2b",
        "got_ocr",
        "qwen_vl_2b",
        "qwen_vl_7b",
        "qwen3_vl_4b",
        "qwen3_vl_8b",
        "dots_ocr",
    ),
}
"""The documented ids, for entries that name none."""

FIELDS: Final[Mapping[str, Any]] = {
    "wire": Wire,
    "models": tuple[str, ...],
    "replicas": tuple[str, ...],
    "replica_slots": Annotated[int, Meta(ge=1)],
    "connect_s": Annotated[float, Meta(gt=0, le=DAY_S)],
    "key": Secret,
    **{name: settings.FIELDS[name] for name in ("host", "port", "slots", "timeout_s", "silence_s")},
}
"""What is read of an entry: `shared.settings.ROUTED_KEYS`, and what the service reads as well."""


class Target(msgspec.Struct, frozen=True):
    """A model and the service that has it."""

    service: Service
    model: str


class Fleet(msgspec.Struct, frozen=True):
    """All services, in the file's order, and other names for models."""

    services: tuple[Service, ...]
    aliases: Mapping[str, str] = {}

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(model for service in self.services for model in service.models)

    def find(self, name: str) -> Target:
        """The model of that id, alias or service name; ids differ from aliases only in case.

        Raises:
            UnknownModel: there is none; the message lists the models.
        """
        asked = self.aliases.get(name, name)
        for service in self.services:
            if asked in service.models:
                return Target(service, asked)
        for service in self.services:
            if asked == service.name:
                return Target(service, service.models[0])
        folded = asked.casefold()
        for service in self.services:
            for model in service.models:
                if folded in {model.casefold(), model.rpartition("/")[2].casefold()}:
                    return Target(service, model)
        raise UnknownModel(f"Model '{name}' not found. Available: {', '.join(self.models)}")

    def default(self, model: str, wire: Wire) -> Target:
        """Who answers when nobody is named: `model`, or where the fleet has none of that name, the
        first that speaks the wire, or the first there is.

        Raises:
            UnknownModel: the fleet is empty.
        """
        try:
            return self.find(model)
        except UnknownModel:
            speaking = [one for one in self.services if one.wire is wire] or self.services
            if not speaking:
                raise
            return Target(speaking[0], speaking[0].models[0])

    def service(self, name: str) -> Service | None:
        return next((one for one in self.services if one.name == name), None)


def load_fleet(path: Path, environ: Mapping[str, str]) -> Fleet:
    """Read the fleet file.

    Raises:
        SettingError: it is wrong; the message names what and where.
    """
    return read_fleet(settings.read_fleet(path), environ)


def read_fleet(file: settings.Fleet, environ: Mapping[str, str]) -> Fleet:
    """The fleet of a fleet file that has been read.

    Raises:
        SettingError: an entry is wrong; the message names it.
    """
    services = tuple(_service(name, file, environ) for name in file.services)
    fleet = Fleet(services, dict(file.aliases))
    _check(fleet, file.path)
    return fleet


def _service(name: str, file: settings.Fleet, environ: Mapping[str, str]) -> Service:
    where = f"[services.{name}] of {file.path}"
    values, sources = find_values(
        FIELDS,
        environ,
        lambda field: (
            settings.names_of(field, name)
            if field in settings.FIELDS
            # `OCR_FLEET_REPLICAS` would be every service's, which is never meant.
            else [environment_name(field, name)]
        ),
        file.services[name],
        where,
    )
    wire = values.get("wire") or _wire(name, where)
    models = values.get("models", MODELS[wire])
    if not models:
        raise SettingError(f"{sources['models']} is empty; expected at least one id")
    return Service(
        name=name,
        wire=wire,
        models=models,
        replicas=_replicas(values, sources, where),
        slots=values.get("replica_slots") or values.get("slots") or SLOTS[wire],
        timeout_s=values.get("timeout_s", TIMEOUT_S[wire]) + SLACK_S,
        silence_s=values.get("silence_s", SILENCE_S) + SLACK_S,
        connect_s=values.get("connect_s", CONNECT_S),
        key=values.get("key", Secret()),
    )


def _wire(name: str, where: str) -> Wire:
    if name not in set(Wire):
        raise SettingError(f"{where} names no wire; expected wire = one of {', '.join(Wire)}")
    return Wire(name)


def _replicas(values: Mapping[str, Any], sources: Mapping[str, str], where: str) -> tuple[str, ...]:
    if "replicas" not in values:
        if not values.get("port"):
            raise SettingError(f"{where} names neither replicas nor a port to find the service at")
        return (f"http://{_reachable(values.get('host', '127.0.0.1'))}:{values['port']}",)
    urls: tuple[str, ...] = values["replicas"]
    for url in urls:
        if not URL.fullmatch(url):
            raise SettingError(
                f"{sources['replicas']} has {url!r}; expected base URLs such as http://dots:5000"
            )
    if not urls:
        raise SettingError(f"{sources['replicas']} is empty; expected at least one URL")
    return tuple(dict.fromkeys(url.rstrip("/") for url in urls))


def _reachable(host: str) -> str:
    """The host under which a service that listens on `host` is reached from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not listened on
    return f"[{host}]" if ":" in host else host


def _check(fleet: Fleet, path: Path) -> None:
    for model, count in _counts(fleet.models).items():
        if count > 1:
            raise SettingError(
                f"two services in {path} have the model {model!r}; an id belongs to one"
            )
    names = {*fleet.models, *(service.name for service in fleet.services)}
    for alias, model in fleet.aliases.items():
        if model not in names:
            raise SettingError(
                f"{alias} in [aliases] of {path} stands for {model!r}, which no service has"
            )


def _counts(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts
