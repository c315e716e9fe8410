"""The backend that is transformers: GOT-OCR 2.0, which vLLM does not know, and machines where vLLM
does not run. One model, one thread that alone touches it, one question at a time.

It loads weights that are on this machine and no others. Questions wait for each other; a model that
is to batch belongs on vLLM.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import msgspec

from shared.engine.cards import visible_cards
from shared.engine.checkpoint import Facts, find_checkpoint
from shared.engine.family import Question
from shared.engine.generate import Piece
from shared.engine.protocol import EngineState
from shared.errors import EngineFailed, InvalidRequest, OcrError
from shared.loading import Dtype, Loading
from shared.ocr import Stop
from shared.tokens import NO_LIMIT, StopFilter

log = logging.getLogger("ocr_fleet.engine")

CLASSES: Final[Mapping[str, str]] = {
    "LightOnOCRForConditionalGeneration": "LightOnOcrForConditionalGeneration"
}
"""Where the hub's configuration names no class of transformers'."""

MIB: Final = 1024 * 1024


class TransformersBackend:
    """See the module.

    Args:
        checkpoint: folder or hub name of the weights.
        loading: how they are loaded.
    """

    at_once = 1
    warms_up = True

    def __init__(self, checkpoint: str, loading: Loading) -> None:
        self.name = f"transformers/{_version()}"
        self.running = 0
        """Questions being answered or waiting for it."""
        self._checkpoint = checkpoint
        self._loading = loading
        self._thread: ThreadPoolExecutor | None = None
        self._model: _Model | None = None

    async def open(self) -> None:
        if self._thread is not None:
            return
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="transformers")
        loop = asyncio.get_running_loop()
        self._model = await loop.run_in_executor(
            self._thread, _load, self._checkpoint, self._loading
        )

    async def generate(self, question: Question) -> AsyncGenerator[Piece, None]:
        model, thread = self._model, self._thread
        if model is None or thread is None:
            raise EngineFailed("the model is not loaded")
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Piece | None] = asyncio.Queue()

        def tell(piece: Piece | None) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        left = threading.Event()
        work = loop.run_in_executor(thread, _answer, model, question, tell, left)
        self.running += 1
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            await work
        finally:
            left.set()
            if not work.cancel():
                await asyncio.gather(work, return_exceptions=True)
            self.running -= 1

    def state(self) -> EngineState:
        model = self._model
        if model is None:
            return EngineState(ready=False, why="the model is not loaded")
        return EngineState(
            ready=True,
            device=model.device,
            device_name=model.device_name,
            memory_used_mb=model.memory_mib(),
        )

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        model, self._model = self._model, None
        if thread is None:
            return
        if model is not None:
            await asyncio.get_running_loop().run_in_executor(thread, model.free)
        thread.shutdown(wait=False, cancel_futures=True)


class _Model:
    """The loaded model and what goes with it; for the backend's thread alone, but its facts."""

    def __init__(self, model: Any, processor: Any, *, device: str, length: int) -> None:
        self.model = model
        self.processor = processor
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.device = device
        self.length = length
        self.device_name: str | None = None
        if device == "cuda":
            import torch  # noqa: PLC0415 - takes seconds

            self.device_name = torch.cuda.get_device_name()

    def memory_mib(self) -> float | None:
        if self.device != "cuda":
            return None
        import torch  # noqa: PLC0415 - loaded by now

        return float(torch.cuda.memory_reserved()) / MIB

    def free(self) -> None:
        self.model = self.processor = self.tokenizer = None
        gc.collect()
        if self.device == "cuda":
            import torch  # noqa: PLC0415 - loaded by now

            torch.cuda.empty_cache()


def _load(checkpoint: str, loading: Loading) -> _Model:
    facts = find_checkpoint(checkpoint, loading.revision)
    device = "cuda" if visible_cards() else "cpu"
    try:
        import torch  # noqa: PLC0415 - takes seconds
        import transformers  # noqa: PLC0415

        with torch.device(device):
            model = _class_of(transformers, facts).from_pretrained(
                facts.folder,
                dtype="auto" if loading.dtype is Dtype.AUTO else getattr(torch, loading.dtype),
                trust_remote_code=loading.trust_remote_code,
            )
        processor = transformers.AutoProcessor.from_pretrained(
            facts.folder, trust_remote_code=loading.trust_remote_code
        )
    except ImportError as error:
        raise EngineFailed(
            "engine transformers cannot be imported; install ocr-fleet[transformers]",
            detail=repr(error),
        ) from error
    except Exception as error:
        raise EngineFailed(f"transformers cannot load {checkpoint}", detail=repr(error)) from error
    length = loading.max_model_len or facts.context or 8192
    return _Model(model.to(device).eval(), processor, device=device, length=length)


def _class_of(transformers: Any, facts: Facts) -> Any:
    name = CLASSES.get(facts.architecture, facts.architecture)
    found = getattr(transformers, name, None)
    return transformers.AutoModelForImageTextToText if found is None else found


def _answer(
    model: _Model, question: Question, tell: Callable[[Piece | None], None], left: threading.Event
) -> None:
    """Answer one question in the backend's thread; the last thing told is always `None`."""
    try:
        if not left.is_set():
            _generate(model, question, tell, left)
    except OcrError:
        raise
    except Exception as error:
        if "out of memory" in str(error):
            gc.collect()
            raise EngineFailed("the card's memory does not suffice", detail=str(error)) from error
        raise EngineFailed("the model failed", detail=repr(error)) from error
    finally:
        tell(None)


def _generate(
    model: _Model, question: Question, tell: Callable[[Piece | None], None], left: threading.Event
) -> None:
    import torch  # noqa: PLC0415 - loaded by now
    from transformers import StoppingCriteriaList  # noqa: PLC0415

    inputs = _inputs(model, question)
    prompt_tokens = int(inputs["input_ids"].shape[1])
    most = _most(model, question, prompt_tokens)
    stops = StopFilter(question.stop)
    told = _Told(prompt_tokens)
    if question.seed is not None:
        torch.manual_seed(question.seed)
    with torch.inference_mode():
        output = model.model.generate(
            **inputs,
            **_sampling(question),
            max_new_tokens=most,
            streamer=_streamer(model, question, told, lambda text: tell(told.piece(text)), stops),
            stopping_criteria=StoppingCriteriaList([_leaving(left, stops)]),
            **({"stop_strings": list(question.stop)} if question.stop else {}),
            tokenizer=model.tokenizer,
        )
    full = int(output.shape[1]) - prompt_tokens >= most and not stops.stopped
    ended = full and int(output[0, -1]) not in _ends(model)
    tell(told.piece("", Stop.LENGTH if ended else Stop.STOP))


def _streamer(
    model: _Model,
    question: Question,
    told: _Told,
    tell: Callable[[str], None],
    stops: StopFilter,
) -> Any:
    """Tells text as it comes, up to the first stop string."""
    from transformers import TextStreamer  # noqa: PLC0415 - loaded by now

    class Streamer(TextStreamer):  # type: ignore[misc]
        """Transformers calls it with the prompt first."""

        def put(self, value: Any) -> None:
            told.tokens += 0 if self.next_tokens_are_prompt else int(value.numel())
            super().put(value)

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            tell(stops.feed(text) + (stops.close() if stream_end else ""))

    skip = question.skip_special_tokens
    return Streamer(model.tokenizer, skip_prompt=True, skip_special_tokens=skip)


def _leaving(left: threading.Event, stops: StopFilter) -> Any:
    """Ends the answer at the next step when nobody wants it, or a stop string came."""
    import torch  # noqa: PLC0415 - loaded by now
    from transformers import StoppingCriteria  # noqa: PLC0415

    class Leaving(StoppingCriteria):  # type: ignore[misc]
        """One answer for the whole batch, which is one question."""

        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ARG002
            ended = left.is_set() or stops.stopped
            return torch.full((input_ids.shape[0],), ended, device=input_ids.device)

    return Leaving()


class _Told(msgspec.Struct):
    """Tokens that came and were told."""

    prompt_tokens: int
    tokens: int = 0
    told: int = 0

    def piece(self, text: str, stop: Stop | None = None) -> Piece:
        new, self.told = self.tokens - self.told, self.tokens
        prompt, self.prompt_tokens = self.prompt_tokens, 0
        return Piece(text=text, tokens=new, prompt_tokens=prompt, stop=stop)


def _inputs(model: _Model, question: Question) -> Any:
    """The question as the family's processor writes it: through its chat template, or, where it has
    none (GOT-OCR), by the processor itself."""
    processor, extras = model.processor, dict(question.processor_kwargs)
    if getattr(processor, "chat_template", None) is None:
        if question.image is None:
            raise InvalidRequest("This model reads pages; it answers no words without one")
        inputs = processor(question.image, return_tensors="pt", **extras)
    else:
        inputs = processor.apply_chat_template(
            _messages(question),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            **({"processor_kwargs": extras} if extras else {}),
            **question.template_kwargs,
        )
    # Pixels come as 32-bit numbers, the model may compute in others.
    inputs = inputs.to(model.model.device)
    return {
        name: value.to(model.model.dtype)
        if hasattr(value, "is_floating_point") and value.is_floating_point()
        else value
        for name, value in inputs.items()
    }


def _messages(question: Question) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if question.system is not None:
        messages.append({"role": "system", "content": question.system})
    content: list[dict[str, Any]] = []
    if question.image is not None:
        content.append({"type": "image", "image": question.image})
    if question.text:
        content.append({"type": "text", "text": question.text})
    messages.append({"role": "user", "content": content})
    return messages


def _most(model: _Model, question: Question, prompt_tokens: int) -> int:
    left = model.length - prompt_tokens
    if left < 1:
        raise InvalidRequest(
            f"The page and its prompt take {prompt_tokens} tokens;"
            f" the model holds {model.length} with their answer"
        )
    return left if question.max_tokens == NO_LIMIT else min(left, question.max_tokens)


def _sampling(question: Question) -> dict[str, Any]:
    """What overrules the repository's own defaults."""
    penalty = {"repetition_penalty": question.repetition_penalty}
    if question.temperature <= 0:
        return {**penalty, "do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {
        **penalty,
        "do_sample": True,
        "temperature": question.temperature,
        "top_p": question.top_p,
        "top_k": question.top_k,
    }


def _ends(model: _Model) -> frozenset[int]:
    ends = model.model.generation_config.eos_token_id
    return frozenset(ends if isinstance(ends, list) else () if ends is None else (ends,))


def _version() -> str:
    try:
        return ".".join(version("transformers").split(".")[:2])
    except PackageNotFoundError:
        return "absent"
