"""What `ocr-fleet up` does before it runs the supervisor: choose the services, read their settings,
give each its port.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from deploy.ports import PortTaken, free_port
from deploy.screen import Screen
from deploy.supervisor import Member, Supervisor
from shared.settings import Fleet, LogFormat, Settings, find_settings
from shared.sources import SettingError


def run_up(
    fleet: Fleet, environ: Mapping[str, str], only: Sequence[str], without: Sequence[str]
) -> int:
    """The exit status.

    Raises:
        SettingError: no service can be started because of its settings.
    """
    names = choose(fleet, only, without)
    screen = Screen(names)
    members: list[Member] = []
    failed: list[Member] = []
    errors: list[SettingError] = []
    for name in names:
        entry = fleet.services[name]
        try:
            members.append(Member(_settings(name, environ, fleet, screen), entry))
        except SettingError as error:
            errors.append(error)
            failed.append(Member(Settings(service=name), entry))
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
    for name in (*only, *without):
        if name not in fleet.services:
            find_settings(name, {}, fleet, None)  # says so, and what there is
    wanted = only or tuple(fleet.services)
    names = [name for name in fleet.services if name in wanted and name not in without]
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


def _settings(name: str, environ: Mapping[str, str], fleet: Fleet, screen: Screen) -> Settings:
    """A service's settings, with what `up` decides where nobody else did."""
    found = find_settings(name, environ, fleet, None)
    chosen = found.settings
    if found.sources["image_folders"] == "default":
        chosen = msgspec.structs.replace(chosen, image_folders=(Path.cwd(),))
    if chosen.log_format is LogFormat.AUTO and screen.colored:
        chosen = msgspec.structs.replace(chosen, log_format=LogFormat.TEXT)
    if chosen.port == 0:
        try:
            chosen = msgspec.structs.replace(chosen, port=free_port(chosen.host))
        except PortTaken as error:
            raise SettingError(str(error)) from error
    return chosen
