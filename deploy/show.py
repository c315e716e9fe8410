"""Prints the settings in force, each with the place it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from deploy.load import AppMissing, find_router, load_app
from shared.settings import FIELDS, ROUTER, Fleet, find_settings, value_of
from shared.sources import SettingError
from shared.values import written


def show_settings(fleet: Fleet, environ: Mapping[str, str], names: Sequence[str]) -> None:
    """One service, or the router: all of its settings. Several: those that somebody set.

    Raises:
        SettingError: one is wrong.
    """
    ours = [name for name, entry in fleet.services.items() if "app" in entry]
    names = names or (*ours, *([ROUTER] if fleet.router is not None else []))
    for name in names:
        values, sources = _find(name, fleet, environ)
        rows = [
            (setting, written(value), sources[setting])
            for setting, value in values.items()
            if len(names) == 1 or sources[setting] != "default"
        ]
        click.echo(f"[{name}]")
        widths = [min(max((len(row[at]) for row in rows), default=0), 40) for at in range(2)]
        for setting, value, source in rows:
            click.echo(f"{setting:<{widths[0]}}  {value:<{widths[1]}}  {source}")
        click.echo()


def _find(
    name: str, fleet: Fleet, environ: Mapping[str, str]
) -> tuple[Mapping[str, object], Mapping[str, str]]:
    """The value and the source of each setting."""
    try:
        if name == ROUTER:
            router = find_router(environ, fleet)
            return router.values, router.sources
        _, defaults = load_app(name, fleet)
    except AppMissing as error:
        raise SettingError(f"{name}: {error}") from error
    found = find_settings(name, environ, fleet, defaults)
    return {setting: value_of(found.settings, setting) for setting in FIELDS}, found.sources
