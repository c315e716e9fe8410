"""Keeps the router up to date with its files: the fleet file and the file of keys. What a change
means for requests on their way is decided by whoever takes the new fleet.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from router.fleet import Fleet, load_fleet
from router.settings import RouterSettings
from shared.access import Access
from shared.door import make_door
from shared.forwarding import read_networks
from shared.keys import KeyRing
from shared.watch import FileWatch


def make_router_door(settings: RouterSettings) -> tuple[Access, list[FileWatch[KeyRing]]]:
    """Who may ask the router, and what must be watched for it.

    Raises:
        SettingError: the file of keys is wrong.
    """
    return make_door(
        settings.keys_file,
        requests_per_minute=settings.requests_per_minute,
        trusted=read_networks(settings.trusted_proxies),
    )


def watch_fleet(
    path: Path, settings: RouterSettings, apply: Callable[[Fleet], None]
) -> FileWatch[Fleet]:
    """Hand every new fleet to `apply`, which may refuse it with `SettingError`. [router] itself is
    not read again: it says what the process was started with."""
    return FileWatch(path, partial(_load, settings=settings), apply, name="fleet file")


def _load(path: Path, settings: RouterSettings) -> Fleet:
    return load_fleet(path, settings.environ)
