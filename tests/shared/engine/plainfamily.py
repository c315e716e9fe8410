"""A family and a backend that do what a test says: real implementations of the two protocols."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL.Image import Image

from shared.engine.family import PageWork, Question
from shared.engine.generate import Piece
from shared.engine.protocol import EngineState
from shared.errors import InvalidRequest
from shared.ocr import Block, Category, Request, Stop


class PlainFamily:
    """Asks `texts` about every page, or the request's own prompt; tells answers as they come."""

    def __init__(self, *texts: str, **question: Any) -> None:
        self.texts = texts
        self.question = question
        self.sizes: list[tuple[int, int]] = []

    def open_page(self, request: Request, page: Image | None) -> PageWork:
        if request.phrase == "refuse":
            raise InvalidRequest("this family does not locate")
        if page is not None:
            self.sizes.append(page.size)
        most = request.sampling.max_tokens
        more = {"max_tokens": most or 4096, **self.question}
        texts = self.texts or (request.prompt,)
        return PlainWork([Question(text=text, image=page, **more) for text in texts])


class PlainWork:
    """Marks the end of each answer but the last, and every answer is a block."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self.questions: Sequence[Question] = questions
        self.answers = [""] * len(questions)

    def feed(self, number: int, text: str) -> str:
        self.answers[number] += text
        return text

    def end(self, number: int) -> str:
        return "" if number == len(self.questions) - 1 else "|"

    def cut(self) -> str:
        return "]"

    def blocks(self) -> tuple[Block, ...]:
        return tuple(Block(Category.TEXT, (0, 0, 1, 1), text) for text in self.answers if text)


@dataclass
class WordsBackend:
    """Answers each question with its own words, a token each, when the gate is open."""

    at_once: int = 1
    warms_up: bool = False
    name: str = "words/1"
    running: int = 0
    most_running: int = 0
    asked: list[Question] = field(default_factory=list)
    fails_at: int | None = None
    cut: bool = False
    loaded: bool = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def open(self) -> None:
        self.loaded = True

    async def generate(self, question: Question) -> AsyncGenerator[Piece, None]:
        self.asked.append(question)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            words = question.text.split(" ")
            stop = Stop.STOP if len(words) <= question.max_tokens else Stop.LENGTH
            for number, word in enumerate(words[: question.max_tokens]):
                if number == self.fails_at:
                    raise RuntimeError("a wire came loose")
                await self.gate.wait()
                yield Piece(text=word if not number else f" {word}", tokens=1)
                await asyncio.sleep(0)
            if not self.cut:
                yield Piece(prompt_tokens=len(words), stop=stop)
        finally:
            self.running -= 1

    def state(self) -> EngineState:
        return EngineState(ready=self.loaded, why="" if self.loaded else "not loaded")

    async def close(self) -> None:
        self.loaded = False
