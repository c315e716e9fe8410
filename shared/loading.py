"""How a model's weights are loaded, as far as somebody may want it another way: settings of the
engines `vllm` and `transformers`. What is left at `none` follows from the card and the model."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta


class Dtype(StrEnum):
    """In what numbers a model computes; `auto` is what its weights are stored in."""

    AUTO = "auto"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


class Loading(msgspec.Struct, frozen=True, kw_only=True):
    """Each field is a setting of its own name."""

    revision: Annotated[
        str | None, Meta(description="branch, tag or commit of the weights; `none`: the latest")
    ] = None
    trust_remote_code: Annotated[
        bool, Meta(description="run Python code that comes with the weights")
    ] = False
    dtype: Annotated[Dtype, Meta(description="numbers to compute in; auto: as stored")] = Dtype.AUTO
    quantization: Annotated[
        str | None,
        Meta(description="engine vllm: fp8, int8, int4 or any of its names; `none`: as stored"),
    ] = None
    kv_cache_dtype: Annotated[
        str, Meta(description="engine vllm: numbers of the attention cache, such as fp8")
    ] = "auto"
    gpu_memory_utilization: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(description="engine vllm: its share of the card; `none`: what the model needs"),
    ] = None
    max_model_len: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="most tokens of a page and its answer; `none`: the model's own"),
    ] = None
    max_num_seqs: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="engine vllm: questions at once; `none`: follows from `slots`"),
    ] = None
    enforce_eager: Annotated[
        bool, Meta(description="engine vllm: no CUDA graphs; starts sooner, runs slower")
    ] = False
