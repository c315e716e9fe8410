"""Picks the engine a setting asks for. The only place that knows every engine, and it imports one
only when that one is chosen: a machine needs no package of the others.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import structlog

from shared.engine.fake import FakeEngine
from shared.engine.family import Weights
from shared.engine.protocol import Engine, Recipe
from shared.errors import EngineFailed
from shared.settings import EngineKind, Settings

if TYPE_CHECKING:
    from shared.engine.generate import Backend

log = structlog.get_logger("ocr_fleet.engine")

PACKAGES: Final = {"vllm": ("vllm",), "transformers": ("torch", "transformers")}
"""What an engine cannot do without."""


def choose(settings: Settings, recipe: Recipe, weights: Weights | None = None) -> Engine:
    """The engine for a model, not opened yet.

    Raises:
        EngineFailed: the engine asked for cannot run here; the message says what is missing.
    """
    kind = settings.engine
    if kind is EngineKind.FAKE:
        return FakeEngine(recipe, settings.fake)
    if kind is EngineKind.AUTO:
        why = why_embedded(settings, weights)
        kind = EngineKind.EMBEDDED if why or weights is None else EngineKind(weights.engine)
        why = why or "there is a CUDA device, and the weights are here"
        log.info("engine_chosen", engine=kind.value, model=recipe.model, why=why)
    if kind is EngineKind.EMBEDDED:
        return _embedded(settings, recipe)
    if weights is None:
        raise EngineFailed(f"engine {kind.value} cannot serve {recipe.model}")
    checkpoint = settings.model_path or weights.checkpoint
    if kind is EngineKind.OPENAI:
        checkpoint = settings.model_path or settings.engine_model or weights.checkpoint
        backend = _openai(settings, weights)
    else:
        _check_installed(kind)
        make = _vllm if kind is EngineKind.VLLM else _transformers
        backend = make(settings, checkpoint, weights)
    from shared.engine.generate import GeneratingEngine  # noqa: PLC0415 - only where it is used

    return GeneratingEngine(backend, recipe, weights.family_for(checkpoint))


def why_embedded(settings: Settings, weights: Weights | None) -> str:
    """Why the model itself cannot be served here; empty when it can. The cheap questions come
    first: most machines have no engine's packages, and are asked nothing else."""
    if weights is None:
        return "nothing is known of the model's weights"
    missing = _missing(weights.engine)
    if missing:
        return f"{missing} is not installed; pages are read on the CPU"
    from shared.engine.cards import visible_cards  # noqa: PLC0415 - only where an engine might run
    from shared.engine.checkpoint import find_checkpoint  # noqa: PLC0415 - the same

    if not visible_cards():
        return "there is no CUDA device; pages are read on the CPU"
    try:
        find_checkpoint(settings.model_path or weights.checkpoint, settings.loading.revision)
    except EngineFailed as error:
        return f"{error}; until then pages are read on the CPU"
    return ""


def _missing(engine: str) -> str:
    return next((name for name in PACKAGES[engine] if find_spec(name) is None), "")


def _check_installed(kind: EngineKind) -> None:
    missing = _missing(kind.value)
    if missing:
        raise EngineFailed(
            f"engine {kind.value} needs the package {missing}; install ocr-fleet[{kind.value}]"
        )


def _vllm(settings: Settings, checkpoint: str, weights: Weights) -> Backend:
    from shared.engine.vllm import VllmBackend  # noqa: PLC0415 - needs its own packages

    return VllmBackend(
        checkpoint, settings.loading, slots=settings.limits.slots, at_once=weights.at_once
    )


def _transformers(settings: Settings, checkpoint: str, _: Weights) -> Backend:
    from shared.engine.transformers import TransformersBackend  # noqa: PLC0415 - the same

    return TransformersBackend(checkpoint, settings.loading)


def _openai(settings: Settings, weights: Weights) -> Backend:
    from shared.engine.openai import OpenAiBackend  # noqa: PLC0415 - aiohttp takes its time

    if settings.engine_url is None:
        raise EngineFailed("engine openai needs to know where: set engine_url")
    return OpenAiBackend(
        settings.engine_url,
        key=settings.engine_key.reveal(),
        model=settings.engine_model,
        first_s=settings.limits.timeout_s,
        silence_s=settings.limits.silence_s,
        at_once=weights.at_once,
    )


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
