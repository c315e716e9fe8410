"""API keys: the file that holds them, hashed, and the making of a new one. A key itself is never
stored or logged: what is stored is its SHA-256, which suffices for 256 random bits.
"""

from __future__ import annotations

import hmac
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from shared.sources import SettingError, check_name

KEY_BYTES: Final = 32
"""Of randomness: nobody guesses that, so a slow hash would protect nothing."""

MARK: Final = "ocr-"
"""What a key begins with, for people and secret scanners to know it by."""

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$"
"""What may stand in a log line and in a bare TOML key, nearly."""

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one key may do."""

    name: Name
    """Whose it is; stands in logs."""
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    requests_per_minute: Annotated[int, Meta(ge=1)] | None = None
    """None: what the router's own setting says."""
    share: Annotated[float, Meta(gt=0, le=1)] | None = None
    """The part of a service's slots it may hold at once; none: the router's `client_share`."""
    models: tuple[str, ...] = ()
    """The model ids it may use; none given: all."""


class KeyRing:
    """The keys of one file."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.sha256: key for key in keys}

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<KeyRing {', '.join(key.name for key in self._keys.values())}>"

    def find(self, shown: str) -> Key | None:
        """The key that was shown, if it is one. What is compared are hashes, in constant time:
        how long it takes tells nothing about any key."""
        digest = _digest(shown)
        key = self._keys.get(digest)
        return key if key is not None and hmac.compare_digest(key.sha256, digest) else None


def read_keys(path: Path) -> KeyRing:
    """Read the file of keys.

    Raises:
        SettingError: it is wrong; the message is one line that says what and where.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"cannot read the key file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"the key file {path} is not TOML: {error}") from error
    for name in tables:
        check_name(name, ["keys"], f"table in {path}")
    entries = tables.get("keys", {})
    if not isinstance(entries, dict) or not entries:
        raise SettingError(f"{path} holds no key; `ocr-fleet key NAME` makes one")
    keys = [_read_key(name, entry, path) for name, entry in entries.items()]
    if len({key.sha256 for key in keys}) < len(keys):
        raise SettingError(f"{path} has one key under two names; make one for each")
    return KeyRing(keys)


def make_key(name: str) -> tuple[str, str]:
    """A new key, and the lines that let it in.

    Raises:
        SettingError: the name cannot be one.
    """
    shown = MARK + secrets.token_urlsafe(KEY_BYTES)
    key = _convert({"name": name, "sha256": _digest(shown)}, "the name")
    quoted = key.name if key.name.replace("_", "").replace("-", "").isalnum() else f'"{key.name}"'
    return shown, f'[keys.{quoted}]\nsha256 = "{key.sha256}"\n'


def _read_key(name: str, entry: object, path: Path) -> Key:
    where = f"keys.{name} in {path}"
    if not isinstance(entry, dict):
        raise SettingError(f"{where} is no table; expected [keys.{name}]")
    for field in entry:
        known = [one for one in Key.__struct_fields__ if one != "name"]
        check_name(field, known, f"setting in {where}")
    return _convert({**entry, "name": name}, where)


def _convert(values: Mapping[str, object], where: str) -> Key:
    try:
        return msgspec.convert(values, Key)
    except msgspec.ValidationError as error:
        raise SettingError(f"{where}: {error}") from None


def _digest(shown: str) -> str:
    return sha256(shown.encode("utf-8", "surrogateescape")).hexdigest()
