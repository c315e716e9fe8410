"""Checkpoints of the real architectures, a megabyte each, with weights drawn by chance: the same
classes, templates and processors as the published models, and a greedy answer that repeats.

A tokenizer has one token for each byte, some words, and one for each of the model's own marks.
Matrices are drawn wide enough that the answer depends on the page and on the words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers


def _words(text: str) -> list[str]:
    return text.split()


SEED = 20
SPREAD = 3.0
"""Of a matrix's entries, times 1/sqrt(inputs): with the usual 0.02 the answer only repeats its
prompt's last token."""

LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())

WORDS = 200
"""Tokens besides bytes and marks, `{0}` and on: most of what a model says can be seen, and two
answers that look the same are the same."""

QWEN_MARKS = _words(
    "<|endoftext|> <|im_start|> <|im_end|> <|vision_start|> <|vision_end|> <|vision_pad|>"
    " <|image_pad|> <|video_pad|>"
)

CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
HALVES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
STEPS = {
    "do_convert_rgb": True,
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "rescale_factor": 1 / 255,
    "resample": 3,
}

TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,  # the least that vLLM's attention takes on a CPU
    "max_position_embeddings": 8192,
}

CHATML = """\
{%- for message in messages -%}<|im_start|>{{ message.role }}
{% if message.content is string -%}{{ message.content }}{%- else -%}
{%- for part in message.content -%}
{%- if part.type in ('image', 'image_url') -%}PICTURE
{%- elif part.type == 'text' -%}{{ part.text }}{%- endif -%}
{%- endfor -%}{%- endif -%}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}"""
QWEN_CHAT = CHATML.replace("PICTURE", "<|vision_start|><|image_pad|><|vision_end|>")


def build(name: str, folder: Path) -> Path:
    """The checkpoint of a family, in a folder of its name."""
    path = folder / name
    if not (path / "config.json").exists():
        path.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(SEED)
        FAMILIES[name](path)
    return path


# ---- what all have


def _write(path: Path, name: str, content: Mapping[str, Any]) -> None:
    (path / name).write_text(json.dumps(content, indent=1))


def _tokenizer(
    path: Path,
    marks: Sequence[str],
    *,
    plain: Sequence[str] = (),
    kind: str = "Qwen2Tokenizer",
    template: str = "",
    **more: Any,
) -> dict[str, int]:
    """The ids of the marks; `plain` ones stand in the text, the others are left out of it."""
    words = Tokenizer(models.BPE({letter: at for at, letter in enumerate(LETTERS)}, []))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    words.add_special_tokens([AddedToken(mark, normalized=False) for mark in marks])
    shown = [*plain, *(f"{{{number}}}" for number in range(WORDS))]
    words.add_tokens([AddedToken(mark, normalized=False, special=False) for mark in shown])
    words.save(str(path / "tokenizer.json"))
    ids = {mark: words.token_to_id(mark) for mark in (*marks, *shown)}
    added = {
        str(number): {
            "content": mark,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": mark in marks,
        }
        for mark, number in ids.items()
    }
    config = {"tokenizer_class": kind, "model_max_length": 16384, "added_tokens_decoder": added}
    _write(path, "tokenizer_config.json", {**config, **more})
    if template:
        (path / "chat_template.jinja").write_text(template)
    return ids


def _vocabulary(ids: Mapping[str, int]) -> int:
    """Rounded up, as real ones are."""
    return -(-(max(ids.values()) + 1) // 64) * 64


def _save(model: Any, path: Path, ids: Mapping[str, int]) -> None:
    state = {name: _drawn(name, value, ids) for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    model.to(torch.bfloat16).save_pretrained(path)


def _drawn(name: str, value: torch.Tensor, ids: Mapping[str, int]) -> torch.Tensor:
    """A matrix drawn anew. Tokens that cannot be seen alone have rows of 0: none is ever said."""
    if name.endswith(("embed_tokens.weight", "lm_head.weight")):
        seen = [at for at, letter in enumerate(LETTERS) if letter.isascii()]
        seen += [number for mark, number in ids.items() if mark.startswith("{")]
        rows = torch.zeros(value.shape)
        rows[seen] = torch.randn(len(seen), value.shape[1]) * 0.02
        return rows
    if value.dim() < 2 or "rel_pos" in name:
        return value
    inputs = value.numel() / value.shape[0]
    return torch.randn(value.shape) * SPREAD / inputs**0.5


def _ends(path: Path, *ends: int, pad: int, **more: Any) -> None:
    _write(path, "generation_config.json", {"eos_token_id": ends, "pad_token_id": pad, **more})


# ---- the families


def _qwen3vl(path: Path) -> None:
    ids = _tokenizer(path, QWEN_MARKS, template=QWEN_CHAT, **_QWEN_ENDS)
    config = transformers.Qwen3VLConfig(
        text_config={
            **TEXT,
            "vocab_size": _vocabulary(ids),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5e6,
                "mrope_interleaved": True,
                "mrope_section": [6, 5, 5],
            },
            "eos_token_id": ids["<|im_end|>"],
            "bos_token_id": ids["<|endoftext|>"],
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 2,
            "out_hidden_size": 64,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": [0, 1],
        },
        **_qwen_ids(ids),
    )
    _save(transformers.Qwen3VLForConditionalGeneration(config), path, ids)
    patches = {**STEPS, **HALVES, "patch_size": 16, "temporal_patch_size": 2, "merge_size": 2}
    sizes = {"shortest_edge": 64 * 32 * 32, "longest_edge": 256 * 32 * 32}
    _write(
        path,
        "preprocessor_config.json",
        {
            **patches,
            "size": sizes,
            "image_processor_type": "Qwen2VLImageProcessorFast",
            "processor_class": "Qwen3VLProcessor",
        },
    )
    video = {**patches, "size": sizes, "video_processor_type": "Qwen3VLVideoProcessor"}
    _write(path, "video_preprocessor_config.json", video)
    sampling = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20}
    _ends(path, ids["<|im_end|>"], ids["<|endoftext|>"], pad=ids["<|endoftext|>"], **sampling)


def _qwen2vl(path: Path) -> None:
    ids = _tokenizer(path, QWEN_MARKS, template=QWEN_CHAT, **_QWEN_ENDS)
    config = transformers.Qwen2VLConfig(
        text_config={
            **TEXT,
            "vocab_size": _vocabulary(ids),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [4, 6, 6],
            },
            "eos_token_id": ids["<|im_end|>"],
            "bos_token_id": ids["<|endoftext|>"],
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 2,
            "embed_dim": 64,
            "hidden_size": 64,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 14,
        },
        **_qwen_ids(ids),
    )
    _save(transformers.Qwen2VLForConditionalGeneration(config), path, ids)
    _write(
        path,
        "preprocessor_config.json",
        {
            **STEPS,
            **CLIP,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "min_pixels": 3136,
            "max_pixels": 200704,
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2VLProcessor",
        },
    )
    _ends(path, ids["<|im_end|>"], ids["<|endoftext|>"], pad=ids["<|endoftext|>"])


_QWEN_ENDS = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}


def _qwen_ids(ids: Mapping[str, int]) -> dict[str, Any]:
    return {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": True,
    }


def _lightonocr(path: Path) -> None:
    """In the shape of the hub, `mistral3`, which is what vLLM knows."""
    marks = {
        "image_token": "<|image_pad|>",
        "image_break_token": "<|vision_pad|>",
        "image_end_token": "<|vision_end|>",
    }
    template = (
        "{%- if messages[0].role != 'system' -%}<|im_start|>system<|im_end|>\n{% endif -%}"
        + CHATML.replace("PICTURE", "<|image_pad|>")
    )
    ids = _tokenizer(path, QWEN_MARKS, template=template, extra_special_tokens=marks, **_QWEN_ENDS)
    text = {
        **TEXT,
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "vocab_size": _vocabulary(ids),
        "rope_theta": 1e6,
        "eos_token_id": ids["<|im_end|>"],
        "tie_word_embeddings": True,
    }
    vision = {
        "model_type": "pixtral",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "head_dim": 32,
        "image_size": 280,
        "patch_size": 14,
        "hidden_act": "silu",
        "rope_theta": 10000.0,
    }
    image_id = ids["<|image_pad|>"]
    config = transformers.LightOnOcrConfig(
        text_config=dict(text),
        vision_config=dict(vision),
        spatial_merge_size=2,
        image_token_id=image_id,
        tie_word_embeddings=True,
    )
    _save(transformers.LightOnOcrForConditionalGeneration(config), path, ids)
    _write(
        path,
        "config.json",
        {
            "architectures": ["LightOnOCRForConditionalGeneration"],
            "model_type": "mistral3",
            "dtype": "bfloat16",
            "image_token_id": image_id,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "multimodal_projector_bias": False,
            "projector_hidden_act": "gelu",
            "spatial_merge_size": 2,
            "vision_feature_layer": -1,
            "text_config": text,
            "vision_config": vision,
        },
    )
    _write(
        path,
        "preprocessor_config.json",
        {
            **STEPS,
            **CLIP,
            "patch_size": 14,
            "size": {"longest_edge": 280},
            "image_processor_type": "PixtralImageProcessorFast",
            "processor_class": "LightOnOcrProcessor",
        },
    )
    _write(
        path,
        "processor_config.json",
        {"processor_class": "LightOnOcrProcessor", "patch_size": 14, "spatial_merge_size": 2}
        | marks,
    )
    sampling = {"do_sample": True, "temperature": 0.2, "top_p": 0.9, "top_k": 0}
    _ends(path, ids["<|im_end|>"], ids["<|endoftext|>"], pad=ids["<|endoftext|>"], **sampling)


PADDLE_CHAT = """\
<|begin_of_sentence|>{%- for message in messages -%}
{%- if message.role == 'user' -%}User: {% if message.content is string -%}{{ message.content }}
{%- else -%}
{%- for part in message.content if part.type == 'image' -%}
<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>{%- endfor -%}
{%- for part in message.content if part.type == 'text' -%}{{ part.text }}{%- endfor -%}
{%- endif %}
{% else -%}Assistant:
{{ message.content }}</s>{%- endif -%}{%- endfor -%}
{%- if add_generation_prompt is not defined or add_generation_prompt -%}Assistant:
{% endif -%}"""

PADDLE_MARKS = _words(
    "<unk> <s> </s> <|begin_of_sentence|> <|end_of_sentence|> <|IMAGE_PLACEHOLDER|>"
    " <|IMAGE_START|> <|IMAGE_END|> <|video_pad|> <|LOC_BEGIN|> <|LOC_END|> <|TEXT_START|>"
    " <|TEXT_END|> <|LOC_0|> <|LOC_500|> <|LOC_1000|>"
)


def _paddleocrvl(path: Path) -> None:
    ids = _tokenizer(
        path,
        PADDLE_MARKS,
        plain=_words("<fcel> <ecel> <nl> <lcel> <ucel> <xcel>"),
        kind="PreTrainedTokenizerFast",
        template=PADDLE_CHAT,
        extra_special_tokens={"image_token": "<|IMAGE_PLACEHOLDER|>"},
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<unk>",
    )
    config = transformers.PaddleOCRVLConfig(
        text_config={
            **TEXT,
            "vocab_size": _vocabulary(ids),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 500000.0,
                "mrope_section": [4, 6, 6],
            },
            "bos_token_id": ids["<s>"],
            "eos_token_id": ids["</s>"],
            "pad_token_id": ids["<unk>"],
            "use_bias": False,
            "tie_word_embeddings": False,
        },
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 448,
            "patch_size": 14,
            "spatial_merge_size": 2,
        },
        image_token_id=ids["<|IMAGE_PLACEHOLDER|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|IMAGE_START|>"],
        vision_end_token_id=ids["<|IMAGE_END|>"],
        tie_word_embeddings=False,
    )
    _save(transformers.PaddleOCRVLForConditionalGeneration(config), path, ids)
    _write(
        path,
        "preprocessor_config.json",
        {
            **STEPS,
            **HALVES,
            "patch_size": 14,
            "merge_size": 2,
            "temporal_patch_size": 1,
            "min_pixels": 28 * 28 * 16,
            "max_pixels": 28 * 28 * 128,
            "image_processor_type": "PaddleOCRVLImageProcessor",
            "processor_class": "PaddleOCRVLProcessor",
        },
    )
    _ends(path, ids["</s>"], pad=ids["<unk>"])


DOTS_CHAT = """\
{%- for message in messages -%}
{%- if message.role == 'system' -%}<|system|>{{ message.content }}<|endofsystem|>
{% elif message.role == 'user' -%}{%- if message.content is string -%}
<|user|>{{ message.content }}<|endofuser|>{%- else -%}{%- for part in message.content -%}
{%- if part.type in ('image', 'image_url') -%}<|img|><|imgpad|><|endofimg|>
{%- else -%}{{ part.text }}{%- endif -%}{%- endfor -%}{%- endif -%}
{%- else -%}<|assistant|>{{ message.content }}<|endofassistant|>{%- endif -%}
{%- endfor -%}{%- if messages[-1].role != 'assistant' -%}<|assistant|>{%- endif -%}"""
"""As the vendor's: lists of parts get no turn markers."""

DOTS_MARKS = _words(
    "<|endoftext|> <|imgpad|> <|img|> <|endofimg|> <|user|> <|endofuser|> <|assistant|>"
    " <|endofassistant|> <|video_pad|>"
)


def _dots(path: Path) -> None:
    """Transformers has no class for it; the vision tower's tensors are named as the vendor's are.
    The configuration names code of the repository that is not there: nobody may ask for it."""
    ends = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    ids = _tokenizer(path, DOTS_MARKS, template=DOTS_CHAT, **ends)
    vision = {
        "embed_dim": 64,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_channels": 3,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 1,
        "rms_norm_eps": 1e-5,
        "use_bias": False,
        "post_norm": True,
    }
    text = {key: value for key, value in TEXT.items() if key != "head_dim"}
    text |= {"vocab_size": _vocabulary(ids), "rope_theta": 1e6, "tie_word_embeddings": False}
    words = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**text))
    shapes = {name: value.shape for name, value in words.state_dict().items()}
    tensors = {
        name: torch.ones(shape) if name.endswith("norm.weight") else torch.zeros(shape)
        for name, shape in {**shapes, **_dots_vision(vision)}.items()
    }
    drawn = {name: _drawn(name, value, ids).bfloat16() for name, value in tensors.items()}
    save_file(drawn, path / "model.safetensors", metadata={"format": "pt"})
    _write(
        path,
        "config.json",
        {
            **text,
            "architectures": ["DotsOCRForCausalLM"],
            "model_type": "dots_ocr",
            "auto_map": {
                "AutoConfig": "configuration_dots.DotsOCRConfig",
                "AutoModelForCausalLM": "modeling_dots_ocr.DotsOCRForCausalLM",
            },
            "dtype": "bfloat16",
            "rms_norm_eps": 1e-6,
            "hidden_act": "silu",
            "attention_bias": True,
            "image_token_id": ids["<|imgpad|>"],
            "video_token_id": ids["<|video_pad|>"],
            "eos_token_id": ids["<|endofassistant|>"],
            "vision_config": vision,
        },
    )
    _write(
        path,
        "preprocessor_config.json",
        {
            **CLIP,
            "min_pixels": 3136,
            "max_pixels": 28 * 28 * 256,
            "patch_size": 14,
            "temporal_patch_size": 1,
            "merge_size": 2,
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2_5_VLProcessor",
        },
    )
    _ends(path, ids["<|endoftext|>"], ids["<|endofassistant|>"], pad=ids["<|endoftext|>"])


def _dots_vision(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    wide, inner, patch = config["embed_dim"], config["intermediate_size"], config["patch_size"]
    merged = wide * config["spatial_merge_size"] ** 2
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.patchifier.proj.weight": (wide, 3, patch, patch),
        "patch_embed.patchifier.proj.bias": (wide,),
        "patch_embed.patchifier.norm.weight": (wide,),
        "post_trunk_norm.weight": (wide,),
        "merger.ln_q.weight": (wide,),
        "merger.ln_q.bias": (wide,),
        "merger.mlp.0.weight": (merged, merged),
        "merger.mlp.0.bias": (merged,),
        "merger.mlp.2.weight": (TEXT["hidden_size"], merged),
        "merger.mlp.2.bias": (TEXT["hidden_size"],),
    }
    for number in range(config["num_hidden_layers"]):
        shapes |= {
            f"blocks.{number}.norm1.weight": (wide,),
            f"blocks.{number}.norm2.weight": (wide,),
            f"blocks.{number}.attn.qkv.weight": (3 * wide, wide),
            f"blocks.{number}.attn.proj.weight": (wide, wide),
            f"blocks.{number}.mlp.fc1.weight": (inner, wide),
            f"blocks.{number}.mlp.fc2.weight": (wide, inner),
            f"blocks.{number}.mlp.fc3.weight": (inner, wide),
        }
    return {f"vision_tower.{name}": shape for name, shape in shapes.items()}


GOT_MARKS = _words(
    "<|endoftext|> <|im_start|> <|im_end|> <ref> </ref> <box> </box> <quad> </quad>"
    " <img> </img> <imgpad>"
)


def _gotocr(path: Path) -> None:
    ids = _tokenizer(path, GOT_MARKS, kind="PreTrainedTokenizerFast", **_QWEN_ENDS)
    text = {key: value for key, value in TEXT.items() if key != "head_dim"}
    config = transformers.GotOcr2Config(
        text_config={
            **text,
            "model_type": "qwen2",
            "num_key_value_heads": 2,
            "vocab_size": _vocabulary(ids),
            "tie_word_embeddings": True,
        },
        vision_config={
            "hidden_size": 32,
            "output_channels": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 1024,
            "patch_size": 16,
            "global_attn_indexes": [1],
            "mlp_dim": 64,
        },
        image_token_index=ids["<imgpad>"],
        image_seq_length=256,
        tie_word_embeddings=True,
    )
    _save(transformers.GotOcr2ForConditionalGeneration(config), path, ids)
    _write(
        path,
        "preprocessor_config.json",
        {
            **STEPS,
            **CLIP,
            "size": {"height": 1024, "width": 1024},
            "crop_to_patches": False,
            "min_patches": 1,
            "max_patches": 12,
            "image_processor_type": "GotOcr2ImageProcessorFast",
            "processor_class": "GotOcr2Processor",
        },
    )
    _ends(path, ids["<|im_end|>"], ids["<|endoftext|>"], pad=ids["<|endoftext|>"])


FAMILIES: dict[str, Callable[[Path], None]] = {
    "qwen3vl": _qwen3vl,
    "qwen2vl": _qwen2vl,
    "lightonocr": _lightonocr,
    "paddleocrvl": _paddleocrvl,
    "dotsocr": _dots,
    "gotocr": _gotocr,
}
