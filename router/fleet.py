"""The fleet as the router sees it: services, their wires, replicas and models, and the aliases.

Read from the fleet file's tables as values; who watches the file is elsewhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from shared.errors import UnknownModel
from shared.sources import SettingError

ReplicaUrl = Annotated[str, Meta(pattern=r"^https?://[^/\s]+/?$")]


class Wire(StrEnum):
    """The format a service is asked in."""

    LIGHTON = "lighton"
    PADDLE = "paddle"
    DOTS = "dots"
    DEEPSEEK = "deepseek"
    CHATVLM = "chatvlm"


class Service(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service: replicas that are all alike."""

    name: str
    wire: Wire
    models: tuple[str, ...]
    """The ids it answers to; the first is the one it reads with when none is named."""
    replicas: tuple[ReplicaUrl, ...]
    """Base URLs. A host name stands for every address it has."""
    slots: Annotated[int, Meta(ge=1)] = 1
    """Requests that each replica works on at once."""
    timeout_s: Annotated[float, Meta(gt=0)] = 310.0
    """To a replica's first byte; a little over its own 300 s, so that its answer comes first."""
    silence_s: Annotated[float, Meta(gt=0)] = 70.0
    """Longest pause inside a stream; a little over the service's own 60 s."""
    connect_s: Annotated[float, Meta(gt=0)] = 5.0


SLOTS: Final[Mapping[Wire, int]] = {
    Wire.LIGHTON: 10,
    Wire.PADDLE: 1,
    Wire.DOTS: 1,
    Wire.DEEPSEEK: 100,
    Wire.CHATVLM: 4,
}
"""At work at once, as the services' own defaults are; chatvlm's are per model, its own queue holds
the rest."""

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

    def service(self, name: str) -> Service | None:
        return next((one for one in self.services if one.name == name), None)


def read_fleet(tables: Mapping[str, Any]) -> Fleet:
    """The fleet of a parsed fleet file.

    Raises:
        SettingError: an entry is wrong; the message names it.
    """
    services = tuple(_service(name, entry) for name, entry in tables.get("services", {}).items())
    fleet = Fleet(services, dict(tables.get("aliases", {})))
    _check(fleet)
    return fleet


def _service(name: str, entry: Mapping[str, Any]) -> Service:
    wire = str(entry.get("wire", name))
    if wire not in set(Wire):
        close = difflib.get_close_matches(wire, list(Wire), n=1)
        hint = f"; did you mean {close[0]}?" if close else f"; expected {', '.join(Wire)}"
        raise SettingError(f"services.{name}.wire is {wire!r}{hint}")
    kind = Wire(wire)
    replicas = entry.get("replicas", [f"http://127.0.0.1:{entry.get('port', 0)}"])
    values = {
        "name": name,
        "wire": wire,
        "models": entry.get("models", MODELS[kind]),
        "replicas": [replicas] if isinstance(replicas, str) else replicas,
        "slots": entry.get("slots", SLOTS[kind]),
        **{key: entry[key] for key in ("connect_s",) if key in entry},
    }
    for key, longer_s in (("timeout_s", 10.0), ("silence_s", 10.0)):
        if key in entry:
            values[key] = float(entry[key]) + longer_s
    try:
        service = msgspec.convert(values, Service)
    except msgspec.ValidationError as error:
        raise SettingError(f"services.{name}: {str(error).replace('$.', '')}") from error
    if not service.models or not service.replicas:
        raise SettingError(f"services.{name} needs at least one model and one replica")
    return service


def _check(fleet: Fleet) -> None:
    if not fleet.services:
        raise SettingError("the fleet file names no service")
    for model, count in _counts(fleet.models).items():
        if count > 1:
            raise SettingError(f"two services have the model {model!r}; an id belongs to one")
    names = {*fleet.models, *(service.name for service in fleet.services)}
    for alias, model in fleet.aliases.items():
        if model not in names:
            raise SettingError(f"the alias {alias!r} stands for {model!r}, which no service has")


def _counts(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts
