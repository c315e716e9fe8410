"""What a model family knows and an engine that generates does not: how a page becomes questions to
the model, and how the model's words become the answer. `services/*/model.py` implements it, pure;
`vllm`, `transformers` and `openai` engines ask it. Imports no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec
from PIL.Image import Image

from shared.ocr import Block, Request


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One generation: a picture, words, and how to draw the answer."""

    text: str = ""
    """The user's words, as the family's chat template wants them; empty is the picture alone."""
    image_text: str = ""
    """How the picture stands in the words, before `text`, for templates that take a message as one
    string and leave that to the client (vLLM's content format `string`). Empty: the template, or
    the processor, writes it."""
    image: Image | None = None
    """RGB, resized as the family does it."""
    system: str | None = None
    """A system message; `None` is none at all, an empty one is sent as such."""
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    """0: no bound."""
    repetition_penalty: float = 1.0
    max_tokens: int = 4096
    """-1: as many as the context holds."""
    stop: tuple[str, ...] = ()
    seed: int | None = None
    skip_special_tokens: bool = True
    extra_args: Mapping[str, Any] = {}
    """For logits processors (vLLM's `extra_args`, `vllm_xargs` over the wire)."""
    processor_kwargs: Mapping[str, Any] = {}
    """For the image processor (`mm_processor_kwargs`)."""
    template_kwargs: Mapping[str, Any] = {}
    """For the chat template (`chat_template_kwargs`)."""


class PageWork(Protocol):
    """One page being read. Questions are asked in order; what comes back is fed in that order."""

    questions: Sequence[Question]

    def feed(self, number: int, text: str) -> str:
        """A further piece of the answer to a question; what can be told of it now."""

    def end(self, number: int) -> str:
        """The answer to a question is whole; what is left to tell of it."""

    def cut(self) -> str:
        """No further question will be asked, for want of tokens; what is left to tell then. A
        page's JSON is closed here."""

    def blocks(self) -> tuple[Block, ...]:
        """What the model said of the layout, in pixels of the page as it was sent."""


class Family(Protocol):
    """A model family's recipe."""

    def open_page(self, request: Request, page: Image | None) -> PageWork:
        """How to read one page (RGB, turned by EXIF, not resized), or answer words without one.

        Raises:
            InvalidRequest: the family cannot do what is asked.
        """


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """Which weights a model's are unless a setting names others, and what runs them."""

    checkpoint: str
    """Their hub name."""
    family_for: Callable[[str], Family]
    """The recipe of a checkpoint, by its hub name or folder."""
    engine: Literal["vllm", "transformers"] = "vllm"
    at_once: int = 1
    """Questions of one page that may run at the same time, where the engine batches."""
