"""What a model says by transformers' own processor and `generate`, greedily, in 32-bit numbers: the
other way to the same tokens. Knows nothing of our recipes and engines; prompts are written out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL.Image import Image

CLASSES = {
    "lightonocr": "LightOnOcrForConditionalGeneration",
    "qwen2vl": "Qwen2VLForConditionalGeneration",
    "qwen3vl": "Qwen3VLForConditionalGeneration",
    "paddleocrvl": "PaddleOCRVLForConditionalGeneration",
    "gotocr": "GotOcr2ForConditionalGeneration",
}


@dataclass
class Said:
    text: str
    prompt_tokens: int


def say(name: str, checkpoint: Path, page: Image, words: str, *, tokens: int, **flags: Any) -> str:
    """The first tokens of the answer to a page and its words."""
    return said_tokens(name, checkpoint, page, words, tokens=tokens, **flags).text


def said_tokens(
    name: str, checkpoint: Path, page: Image, words: str, *, tokens: int, **flags: Any
) -> Said:
    """The same, with the prompt's length."""
    processor = transformers.AutoProcessor.from_pretrained(checkpoint)
    kind = getattr(transformers, CLASSES[name])
    model = kind.from_pretrained(checkpoint, dtype=torch.float32).eval()
    if name == "gotocr":
        inputs = processor(page, return_tensors="pt", **flags)
    else:
        content: list[dict[str, Any]] = [{"type": "image", "image": page}]
        content += [{"type": "text", "text": words}] if words else []
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs=flags,
        )
    with torch.inference_mode():
        output = model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
    prompt_tokens = inputs["input_ids"].shape[1]
    text = processor.tokenizer.decode(output[0, prompt_tokens:], skip_special_tokens=True)
    return Said(text, prompt_tokens)
