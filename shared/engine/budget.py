"""How much of a card a model takes, and how long and how many its sequences are: pure arithmetic on
what the checkpoint, the card and the settings say. Asks no card and loads nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from shared.engine.checkpoint import Facts
from shared.errors import EngineFailed
from shared.loading import Loading

GIB: Final = 1024**3


class Habit(msgspec.Struct, frozen=True):
    """What serving an architecture well takes (models.md, sections 1 to 5 and 7)."""

    context: int
    """Tokens of the largest page and its longest answer."""
    page: int
    """Tokens of a usual page and its answer."""
    work_gib: float = 2.0
    """Besides weights and attention cache: the vision tower at work, CUDA graphs, CUDA itself."""


HABITS: Final[Mapping[str, Habit]] = {
    "LightOnOCRForConditionalGeneration": Habit(16384, 3700),
    "Qwen3_5ForConditionalGeneration": Habit(18000, 5700),
    "PaddleOCRVLForConditionalGeneration": Habit(16384, 1800, 1.5),
    "DotsOCRForCausalLM": Habit(32768, 8000, 4.0),
    "DeepseekOCRForCausalLM": Habit(8192, 3000),
    "DeepseekOCR2ForCausalLM": Habit(8192, 3200),
    "Qwen2VLForConditionalGeneration": Habit(32768, 5300, 3.0),
    "Qwen3VLForConditionalGeneration": Habit(32768, 5300, 3.0),
}
"""By the name in `config.json`."""

OTHER: Final = Habit(16384, 4000, 3.0)
"""For architectures that nobody has measured."""

SEQUENCES_MAX: Final = 256
"""vLLM's own default; more only wait in its queue."""

SHARE_MAX: Final = 0.92
"""The rest is for what a card's own processes and others' contexts take."""

WEIGHTS_SLACK: Final = 1.05
"""Loaded weights are padded and aligned."""

SHRINK: Final[Mapping[str, float]] = {"fp8": 0.55, "int8": 0.55, "int4": 0.35}
"""What quantised weights take of 16-bit ones; embeddings, vision and scales stay as they are."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine is started with."""

    max_model_len: int
    max_num_seqs: int
    share: float | None
    """Of the card's memory; `None` on a CPU."""


def make_budget(
    facts: Facts, loading: Loading, *, questions: int, card_bytes: int | None
) -> Budget:
    """What the settings leave open follows from model and card.

    Args:
        facts: the checkpoint.
        loading: the settings.
        questions: how many may be at work at once.
        card_bytes: the card's whole memory; `None` is a CPU.

    Raises:
        EngineFailed: the model cannot fit.
    """
    habit = HABITS.get(facts.architecture, OTHER)
    length = loading.max_model_len or min(habit.context, facts.context or habit.context)
    sequences = loading.max_num_seqs or max(1, min(SEQUENCES_MAX, questions))
    share = loading.gpu_memory_utilization
    if card_bytes is None:
        share = None
    elif share is None:
        share = _share(facts, loading, habit, card_bytes, length=length, sequences=sequences)
    return Budget(max_model_len=length, max_num_seqs=sequences, share=share)


def _share(
    facts: Facts, loading: Loading, habit: Habit, card_bytes: int, *, length: int, sequences: int
) -> float:
    """What the model needs, so that several on one card add up; never more than the card has. The
    attention cache holds at least one longest sequence, and as many usual ones as there may be."""
    shrink = SHRINK.get(loading.quantization or "", 1.0)
    weights = facts.weights_bytes * WEIGHTS_SLACK * shrink
    cache_scale = 0.5 if loading.kv_cache_dtype.startswith("fp8") else 1.0
    token = facts.kv_bytes * cache_scale
    least = weights + token * length + habit.work_gib * GIB
    if least > SHARE_MAX * card_bytes:
        raise EngineFailed(
            f"the model needs {least / GIB:.1f} GiB and the card has {card_bytes / GIB:.1f}; "
            "lower max_model_len, or set quantization or a larger card"
        )
    wanted = weights + token * max(length, habit.page * sequences) + habit.work_gib * GIB
    return min(SHARE_MAX, math.ceil(wanted / card_bytes * 100) / 100)
