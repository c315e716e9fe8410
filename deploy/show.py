"""Prints the settings in force, each with the place it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from deploy.serve import AppMissing, load_app
from shared.settings import FIELDS, Fleet, find_settings, value_of
from shared.sources import SettingError
from shared.values import written


def show_settings(fleet: Fleet, environ: Mapping[str, str], services: Sequence[str]) -> None:
    """One service: all of its settings. Several: those that somebody set.

    Raises:
        SettingError: one is wrong.
    """
    names = services or tuple(fleet.services)
    for name in names:
        try:
            _, defaults = load_app(name, fleet)
        except AppMissing as error:
            raise SettingError(f"{name}: {error}") from error
        found = find_settings(name, environ, fleet, defaults)
        rows = [
            (setting, written(value_of(found.settings, setting)), found.sources[setting])
            for setting in FIELDS
            if len(names) == 1 or found.sources[setting] != "default"
        ]
        click.echo(f"[{name}]")
        widths = [min(max((len(row[at]) for row in rows), default=0), 40) for at in range(2)]
        for setting, value, source in rows:
            click.echo(f"{setting:<{widths[0]}}  {value:<{widths[1]}}  {source}")
        click.echo()
