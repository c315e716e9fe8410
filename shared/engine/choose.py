"""Picks the engine a setting asks for. The only place that knows every engine, and it imports one
only when that one is chosen: a machine needs no package of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog

from shared.engine.fake import FakeEngine
from shared.engine.protocol import Engine, Recipe
from shared.errors import EngineFailed
from shared.settings import EngineKind, Settings

log = structlog.get_logger("ocr_fleet.engine")

ABSENT: Final[Mapping[EngineKind, str]] = {
    EngineKind.VLLM: "needs a CUDA device and is not part of this version",
    EngineKind.TRANSFORMERS: "is not part of this version",
    EngineKind.OPENAI: "is not part of this version",
}
"""Engines that have a name but no module yet."""


def choose(settings: Settings, recipe: Recipe) -> Engine:
    """The engine for a model, not opened yet.

    Raises:
        EngineFailed: the engine asked for cannot run here; the message says what is missing.
    """
    kind = settings.engine
    if kind is EngineKind.FAKE:
        return FakeEngine(recipe, settings.fake)
    if kind is EngineKind.AUTO:
        log.info(
            "engine_chosen",
            engine="embedded",
            model=recipe.model,
            why="no GPU engine is part of this version; pages are read on the CPU",
        )
    elif kind is not EngineKind.EMBEDDED:
        raise EngineFailed(f"engine {kind.value} {ABSENT[kind]}; use embedded or fake")
    return _embedded(settings, recipe)


def _embedded(settings: Settings, recipe: Recipe) -> Engine:
    try:
        from shared.engine.embedded import EmbeddedEngine  # noqa: PLC0415 - needs its own packages
    except ImportError as error:
        raise EngineFailed(
            f"engine embedded needs the package {error.name}; install ocr-fleet[embedded]",
            detail=str(error),
        ) from error
    tessdata = None if settings.tessdata is None else str(settings.tessdata)
    return EmbeddedEngine(recipe, threads=settings.threads or None, tessdata=tessdata)
