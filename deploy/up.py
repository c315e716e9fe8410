"""What `ocr-fleet up` does before it runs the supervisor: choose the services, read their settings,
give each its port, and tell the router of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deploy.load import AppMissing, find_router
from deploy.ports import PortTaken, free_port
from deploy.screen import Screen
from deploy.supervisor import Member, Place, Supervisor
from shared.settings import ROUTER, Fleet, LogFormat, find_settings
from shared.sources import SettingError, environment_name, nearest


def run_up(
    fleet: Fleet, environ: Mapping[str, str], only: Sequence[str], without: Sequence[str]
) -> int:
    """The exit status.

    Raises:
        SettingError: nothing can be started because of its settings.
    """
    names = choose(fleet, only, without)
    screen = Screen(names)
    for name in fleet.services:
        if name not in names and _is_elsewhere(name, fleet):
            screen.say(f"{name} has no app: it is for others to start")
    members: list[Member] = []
    failed: list[Member] = []
    errors: list[SettingError] = []
    for name in names:
        try:
            if name == ROUTER:
                members.append(_router(fleet, environ, members, screen))
            else:
                members.append(_service(name, environ, fleet, screen))
        except SettingError as error:
            errors.append(error)
            failed.append(Member(name, Place(), model=_model(name, fleet)))
            failed[-1].fail(str(error))
    if not members:
        raise errors[0]
    for one in failed:
        screen.say(f"{one.name} cannot be started: {one.reason}", bad=True)
    return asyncio.run(_supervise(members, failed, fleet, screen, environ))


def choose(fleet: Fleet, only: Sequence[str], without: Sequence[str]) -> list[str]:
    """The services to start, in the fleet file's order.

    Raises:
        SettingError: a name is unknown, or none is left.
    """
    there_are = [*fleet.services, *([ROUTER] if fleet.router is not None else [])]
    for name in (*only, *without):
        if name not in there_are:
            raise SettingError(
                f"no service is named {name!r} in {fleet.path}{nearest(name, there_are)};"
                f" it has {', '.join(there_are)}"
            )
    wanted = only or [name for name in there_are if not _is_elsewhere(name, fleet)]
    names = [name for name in there_are if name in wanted and name not in without]
    if not names:
        raise SettingError("no service is left to start")
    return names


async def _supervise(
    members: Sequence[Member],
    failed: Sequence[Member],
    fleet: Fleet,
    screen: Screen,
    environ: Mapping[str, str],
) -> int:
    return await Supervisor(members, fleet, screen, environ, failed).run()


def _service(name: str, environ: Mapping[str, str], fleet: Fleet, screen: Screen) -> Member:
    """A service, with what `up` decides where nobody else did."""
    found = find_settings(name, environ, fleet, None)
    chosen = found.settings
    own = _log_environ(name, chosen.log_format, screen)
    if found.sources["image_folders"] == "default":
        own[environment_name("image_folders", name)] = str(Path.cwd())
    entry = fleet.services[name]
    return Member(
        name,
        Place(host=chosen.host, port=_port(chosen.host, chosen.port), drain_s=chosen.drain_s),
        model=_model(name, fleet),
        example=str(entry.get("example", "")),
        environ=own,
    )


def _router(
    fleet: Fleet, environ: Mapping[str, str], services: Iterable[Member], screen: Screen
) -> Member:
    """The router, told where the services are that are started with it."""
    own = {environment_name("port", one.name): str(one.place.port) for one in services}
    try:
        found = find_router({**environ, **own}, fleet)
    except AppMissing as error:
        raise SettingError(str(error)) from error
    chosen = found.settings
    own |= _log_environ(ROUTER, chosen.log_format, screen)
    return Member(
        ROUTER,
        Place(
            host=chosen.host,
            port=_port(chosen.host, chosen.port),
            legacy_port=chosen.legacy_port,
            drain_s=chosen.drain_s,
        ),
        model=f"{len(found.models)} models",
        example=str((fleet.router or {}).get("example", "")),
        environ=own,
    )


def _is_elsewhere(name: str, fleet: Fleet) -> bool:
    """Whether the router alone knows a service, and somebody else runs it."""
    return name in fleet.services and "app" not in fleet.services[name]


def _model(name: str, fleet: Fleet) -> str:
    return "" if name == ROUTER else str(fleet.services[name].get("model", ""))


def _log_environ(name: str, log_format: LogFormat, screen: Screen) -> dict[str, str]:
    """The format of its log: what is a terminal to the supervisor is a pipe to its children."""
    if log_format is LogFormat.AUTO and screen.colored:
        log_format = LogFormat.TEXT
    return {environment_name("log_format", name): str(log_format)}


def _port(host: str, port: int) -> int:
    try:
        return port or free_port(host)
    except PortTaken as error:
        raise SettingError(str(error)) from error
