"""The door of a process: who may ask, by the keys of a file that is read again when it changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.access import Access
from shared.forwarding import Network
from shared.keys import KeyRing, read_keys
from shared.watch import FileWatch


def make_door(
    keys_file: Path | None,
    *,
    requests_per_minute: int | None = None,
    trusted: Sequence[Network] = (),
    counts: bool = True,
) -> tuple[Access, list[FileWatch[KeyRing]]]:
    """The access, and what must be watched for it.

    Raises:
        SettingError: the file is wrong.
    """
    access = Access(requests_per_minute=requests_per_minute, trusted=trusted, counts=counts)
    if keys_file is None:
        return access, []

    def take(keys: KeyRing) -> None:
        access.keys = keys

    watch = FileWatch(keys_file, read_keys, take, name="key file")
    take(read_keys(keys_file))
    return access, [watch]
