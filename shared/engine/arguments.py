"""What vLLM is told of a checkpoint before it loads it: pure, but for the words in which torchao
wants its own settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.engine.budget import Budget
from shared.engine.checkpoint import Facts
from shared.errors import EngineFailed
from shared.loading import Loading

NGRAMS: Final = "vllm.model_executor.models.deepseek_ocr:NGramPerReqLogitsProcessor"

PROCESSORS: Final[Mapping[str, Sequence[str]]] = {
    "DeepseekOCRForCausalLM": (NGRAMS,),
    "DeepseekOCR2ForCausalLM": (NGRAMS,),
}
"""Against loops; inert unless a question's `extra_args` ask for it."""

WITH_VIDEO: Final = frozenset(
    {
        "Qwen2VLForConditionalGeneration",
        "Qwen3VLForConditionalGeneration",
        "Qwen3_5ForConditionalGeneration",
    }
)
"""Profiling leaves room for a video unless told that there is none."""

BATCHED_TOKENS: Final[Mapping[str, int]] = {"PaddleOCRVLForConditionalGeneration": 16384}
"""Many small crops: vLLM's own recipe."""


def engine_arguments(facts: Facts, loading: Loading, budget: Budget) -> dict[str, Any]:
    """The arguments vLLM loads a checkpoint with."""
    limits = {"image": 1}
    if facts.architecture in WITH_VIDEO:
        limits["video"] = 0
    arguments: dict[str, Any] = {
        "model": str(facts.folder),
        "trust_remote_code": loading.trust_remote_code,
        "dtype": loading.dtype.value,
        "max_model_len": budget.max_model_len,
        "max_num_seqs": budget.max_num_seqs,
        "enforce_eager": loading.enforce_eager,
        "kv_cache_dtype": loading.kv_cache_dtype,
        "limit_mm_per_prompt": limits,
        # No page comes twice: caches of images and prompts would only take memory, and DeepSeek-OCR
        # answers from the wrong page with them (its issue 250).
        "enable_prefix_caching": False,
        "mm_processor_cache_gb": 0,
        "disable_log_stats": True,
    }
    if budget.share is not None:
        arguments["gpu_memory_utilization"] = budget.share
    if loading.quantization is not None:
        arguments |= quantised(loading.quantization)
    if facts.architecture in PROCESSORS:
        arguments["logits_processors"] = list(PROCESSORS[facts.architecture])
    if facts.architecture in BATCHED_TOKENS:
        arguments["max_num_batched_tokens"] = BATCHED_TOKENS[facts.architecture]
    return arguments


def quantised(name: str) -> dict[str, Any]:
    """Arguments that quantise weights as they load. int8 and int4 are weights alone, by torchao,
    since vLLM has neither for plain layers; other names are vLLM's own.

    Raises:
        EngineFailed: torchao is not installed.
    """
    if name not in {"int8", "int4"}:
        return {"quantization": name}
    try:
        from torchao.core.config import config_to_dict  # noqa: PLC0415 - wanted here alone
        from torchao.quantization import Int4WeightOnlyConfig, Int8WeightOnlyConfig  # noqa: PLC0415
    except ImportError as error:
        raise EngineFailed(f"quantization {name} needs the package torchao") from error
    # Packed in tiles is what torch's own kernels read; the default packing wants another package.
    config = (
        Int8WeightOnlyConfig()
        if name == "int8"
        else Int4WeightOnlyConfig(group_size=128, int4_packing_format="tile_packed_to_4d")
    )
    written = json.dumps(config_to_dict(config))
    return {"quantization": "torchao", "hf_overrides": {"quantization_config_dict_json": written}}
