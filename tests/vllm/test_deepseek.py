"""DeepSeek-OCR on vLLM itself. Its vision towers have one size, so the weights are dummies of
vLLM's, and such a model repeats itself at once: which its logits processor is there to stop.
"""

from __future__ import annotations

from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.deepseek.model import FAMILY
from shared.engine.family import Question
from shared.engine.vllm import VllmBackend
from shared.loading import Dtype, Loading
from shared.ocr import Request, Sampling, Stop, Task
from tests.vllm.conftest import drawn

pytestmark = pytest.mark.timeout(900)

TOKENS = 24
SIZE = (320, 240)
"""One view and no tiles: 273 tokens."""

BEGIN, END, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"


def build(path: Path) -> Path:
    """The hub's shape with a small language model."""
    from tests.vllm import tiny

    path.mkdir()
    marks = [BEGIN, END, PAD, "<image>", "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>"]
    ends = {"bos_token": BEGIN, "eos_token": END, "pad_token": PAD}
    ids = tiny._tokenizer(path, [*marks, "<|grounding|>"], kind="LlamaTokenizerFast", **ends)
    text = {
        "architectures": ["DeepseekV2ForCausalLM"],
        "vocab_size": tiny._vocabulary(ids),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "first_k_dense_replace": 1,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "n_group": 1,
        "topk_group": 1,
        "topk_method": "greedy",
        "kv_lora_rank": None,
        "q_lora_rank": None,
        "qk_nope_head_dim": 0,
        "qk_rope_head_dim": 0,
        "v_head_dim": 0,
        "use_mla": False,
        "max_position_embeddings": 8192,
        "bos_token_id": ids[BEGIN],
        "eos_token_id": ids[END],
        "torch_dtype": "bfloat16",
    }
    sam = {"downsample_channels": [512, 1024], "heads": 12, "layers": 12, "width": 768}
    clip = {"heads": 16, "image_size": 224, "layers": 24, "patch_size": 14, "width": 1024}
    towers = {
        "clip-l-14-224": clip,
        "sam_vit_b": {**sam, "global_attn_indexes": [2, 5, 8, 11]},
    }
    config = {
        "architectures": ["DeepseekOCRForCausalLM"],
        "model_type": "deepseek_vl_v2",
        "torch_dtype": "bfloat16",
        "tile_tag": "2D",
        "global_view_pos": "head",
        "candidate_resolutions": [[1024, 1024]],
        "language_config": text,
        "projector_config": {
            "model_type": "mlp_projector",
            "projector_type": "linear",
            "input_dim": 2048,
            "n_embed": 64,
        },
        "vision_config": {
            "image_size": 1024,
            "mlp_ratio": 3.7362,
            "model_name": "deeplip_b_l",
            "model_type": "vision",
            "width": towers,
        },
        "bos_token_id": ids[BEGIN],
        "eos_token_id": ids[END],
    }
    tiny._write(path, "config.json", config)
    processor = {"processor_class": "DeepseekVLV2Processor", "image_token": "<image>"}
    tiny._write(path, "processor_config.json", processor)
    tiny._ends(path, ids[END], pad=ids[PAD])
    (path / "model.safetensors").touch()  # vLLM is told not to read it
    return path


async def official(engine: Any, prompt: str) -> list[int]:
    """The vendor's prompt given to vLLM as one string; it loops, and nothing stops it."""
    from vllm import SamplingParams

    given = {"prompt": prompt, "multi_modal_data": {"image": drawn(size=SIZE)}}
    params = SamplingParams(temperature=0, max_tokens=TOKENS, skip_special_tokens=False)
    tokens: list[int] = []
    length = 0
    async for output in engine.generate(given, params, "official"):
        tokens = list(output.outputs[0].token_ids)
        length = len(output.prompt_token_ids)
    assert length == 1 + 273 + len("\nFree OCR.")
    return tokens


async def ask(backend: VllmBackend, question: Question) -> tuple[str, int]:
    text, tokens = "", 0
    async with aclosing(backend.generate(question)) as stream:
        async for piece in stream:
            text, tokens = text + piece.text, tokens + piece.prompt_tokens
            if piece.stop is not None:
                assert piece.stop is Stop.LENGTH
    return text, tokens


async def test_the_prompt_is_the_vendors_and_loops_are_stopped(tmp_path) -> None:
    loading = Loading(dtype=Dtype.FLOAT32, max_model_len=2048, max_num_seqs=2, enforce_eager=True)
    checkpoint = build(tmp_path / "deepseek")
    backend = VllmBackend(str(checkpoint), loading, arguments={"load_format": "dummy"})
    await backend.open()
    request = Request(
        model="m", task=Task.TEXT, sampling=Sampling(temperature=0.0, max_tokens=TOKENS)
    )
    (question,) = FAMILY.open_page(request, drawn(size=SIZE)).questions
    assert question.extra_args["ngram_size"] == 30

    wanted = await official(backend.engine, f"{BEGIN}<image>\nFree OCR.")
    tokenizer = backend.engine.get_tokenizer()
    plain = msgspec.structs.replace(question, extra_args={})
    said, prompt_tokens = await ask(backend, plain)
    assert said == tokenizer.decode(wanted)
    assert prompt_tokens == 1 + 273 + len("\nFree OCR.")

    # A model without weights says one thing for ever. With pairs forbidden to come twice it cannot.
    strict = {**question.extra_args, "ngram_size": 2, "window_size": 20}
    unlooped, _ = await ask(backend, msgspec.structs.replace(question, extra_args=strict))
    assert len(set(wanted)) < TOKENS / 4
    assert unlooped != said
    again = tokenizer(unlooped, add_special_tokens=False).input_ids
    pairs = list(pairwise(again))
    assert len(set(pairs)) == len(pairs)
    await backend.close()
