"""Weights on this machine: where a checkpoint lies, and what its files tell of the model in it.
Never downloads anything: one that is not here is an error with the command that fetches it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from shared.errors import EngineFailed

CONFIG: Final = "config.json"
INDEX: Final = "model.safetensors.index.json"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine has to know before it loads a checkpoint."""

    folder: Path
    architecture: str
    """As its configuration spells it; empty where that names none."""
    weights_bytes: int
    kv_bytes: int
    """Of the attention cache for one token, in 16-bit numbers."""
    context: int
    """Most tokens the model was made for; 0 where that is not said."""


def find_checkpoint(name: str, revision: str | None = None) -> Facts:
    """The checkpoint of a folder, or of a hub name in the local cache.

    Raises:
        EngineFailed: it is not on this machine, or not whole.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        why = _what_is_missing(folder)
        if why:
            raise EngineFailed(f"{name} holds no model: {why}")
        return _read_facts(folder)
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise EngineFailed(f"the weights' folder {name} does not exist")
    return _read_facts(_find_cached(name, revision))


def _find_cached(name: str, revision: str | None) -> Path:
    fetch = f"hf download {name}" + (f" --revision {revision}" if revision else "")
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - an engine's own package
        from huggingface_hub.errors import (  # noqa: PLC0415
            HFValidationError,
            LocalEntryNotFoundError,
        )
    except ImportError as error:
        extras = "ocr-fleet[vllm] or ocr-fleet[transformers]"
        raise EngineFailed(f"the package {error.name} is missing; install {extras}") from error
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except HFValidationError as error:
        raise EngineFailed(f"{name} is neither a folder nor a hub name") from error
    except LocalEntryNotFoundError as error:
        raise EngineFailed(
            f"the weights of {name} are not on this machine; fetch them with: {fetch}"
        ) from error
    why = _what_is_missing(folder)
    if why:
        raise EngineFailed(f"the weights of {name} are not whole ({why}); fetch them with: {fetch}")
    return folder


def _what_is_missing(folder: Path) -> str:
    if not (folder / CONFIG).is_file():
        return f"{CONFIG} is missing"
    if (folder / INDEX).is_file():
        files = _read_json(folder / INDEX).get("weight_map", {}).values()
        missing = sorted(name for name in set(files) if not (folder / name).is_file())
        return f"{missing[0]} is missing" if missing else ""
    return "" if _weights(folder) else "there are no weights in it"


def _weights(folder: Path) -> list[Path]:
    """The weights' files; a checkpoint that has them in two formats is read in the safe one."""
    return list(folder.glob("*.safetensors")) or list(folder.glob("*.bin"))


def _read_facts(folder: Path) -> Facts:
    config = _read_json(folder / CONFIG)
    return Facts(
        folder=folder,
        architecture=next(iter(config.get("architectures") or ()), ""),
        weights_bytes=sum(path.stat().st_size for path in _weights(folder)),
        kv_bytes=kv_bytes(config),
        context=int(_text_config(config).get("max_position_embeddings") or 0),
    )


def kv_bytes(config: Mapping[str, Any]) -> int:
    """Bytes of the attention cache for one token: keys and values of every layer that attends to
    all tokens, in 16-bit numbers."""
    text = _text_config(config)
    kinds = text.get("layer_types")
    layers = int(text.get("num_hidden_layers") or 0)
    if kinds:
        layers = sum(kind == "full_attention" for kind in kinds) or layers
    heads = int(text.get("num_attention_heads") or 1)
    key_heads = int(text.get("num_key_value_heads") or heads)
    size = int(text.get("head_dim") or int(text.get("hidden_size") or 0) // heads)
    return 2 * 2 * layers * key_heads * size


def _text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's part, under whichever name the family has for it."""
    for name in ("text_config", "language_config"):
        if isinstance(part := config.get(name), Mapping):
            return part
    return config


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise EngineFailed(f"{path} cannot be read", detail=str(error)) from error
