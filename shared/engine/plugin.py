"""What vLLM is taught in each of its processes: dots.ocr's configuration class, which vLLM has and
does not list, so that the model needs no `trust_remote_code`. Imports nothing until it is called.
"""

from __future__ import annotations


def register() -> None:
    """Called by vLLM through its plug-in group; calling it twice is harmless."""
    from transformers import AutoConfig  # noqa: PLC0415 - only where vLLM runs
    from vllm.transformers_utils.configs.dotsocr import DotsOCRConfig  # noqa: PLC0415

    AutoConfig.register("dots_ocr", DotsOCRConfig, exist_ok=True)
