"""The recipes on the engine that asks them: what a request comes to when the model has answered."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from io import BytesIO

import pytest
from PIL import Image

from services.chatvlm.model import FAMILIES
from services.deepseek import model as deepseek
from services.dots import model as dots
from services.lighton import model as lighton
from services.paddle import model as paddle
from shared.engine.embedded.lines import Region
from shared.engine.family import Family, Question
from shared.engine.generate import GeneratingEngine, Piece
from shared.engine.protocol import EngineState, Recipe
from shared.ocr import Block, BytesPage, Category, Request, Result, Sampling, Stop, Task, fold

REGIONS = (
    Region("title", (100, 60, 900, 110), 0.9),
    Region("text", (100, 150, 900, 550), 0.9),
)


class Scripted:
    """Answers the questions with these texts, letter by letter, a token each."""

    name = "scripted/1"
    at_once = 2
    warms_up = True

    def __init__(self, *answers: str) -> None:
        self.answers: dict[str, list[str]] = {}
        self.said = answers
        self.asked: list[Question] = []

    async def open(self) -> None:
        """Nothing to load."""

    async def generate(self, question: Question) -> AsyncGenerator[Piece, None]:
        self.asked.append(question)
        answer = self.said[(len(self.asked) - 1) % len(self.said)] if self.said else ""
        kept = answer if question.max_tokens < 0 else answer[: question.max_tokens]
        for letter in kept:
            yield Piece(text=letter, tokens=1)
        yield Piece(prompt_tokens=7, stop=Stop.STOP if kept == answer else Stop.LENGTH)

    def state(self) -> EngineState:
        return EngineState(ready=True)

    async def close(self) -> None:
        """Nothing to free."""


async def read(family: Family, request: Request, answers: Sequence[str]) -> Result:
    backend = Scripted()
    engine = GeneratingEngine(backend, Recipe(model="test"), family)
    await engine.open()
    assert backend.asked, "a first page is read"
    backend.asked, backend.said = [], tuple(answers)
    try:
        return await fold(engine.read(request))
    finally:
        await engine.close()


def asking(task: Task, size=(1000, 1400), **fields) -> Request:
    file = BytesIO()
    Image.new("RGB", size, "white").save(file, "PNG")
    return Request(model="test", task=task, pages=(BytesPage(file.getvalue()),), **fields)


async def test_lighton() -> None:
    request = asking(Task.MARKDOWN, prompt="Extract everything")
    result = await read(lighton.FAMILY, request, [r"# A \$x\$"])
    assert (result.text, result.stop) == ("# A $x$", Stop.STOP)
    assert result.sizes == ((1000, 1400),)


@pytest.mark.parametrize("size", [(1000, 1400), (2000, 2800)])
async def test_dots(size) -> None:
    seen = (1008, 1400) if size[0] == 1000 else (1988, 2800)
    said = f'[{{"bbox": [0, 0, {seen[0]}, {seen[1]}], "category": "Text", "text": "a"}}]'
    result = await read(dots.FAMILY, asking(Task.LAYOUT, size), [said])
    assert json.loads(result.text) == [{"bbox": [0, 0, *size], "category": "Text", "text": "a"}]
    assert result.blocks == (Block(Category.TEXT, (0, 0, *size), "a"),)


async def test_dots_cut_by_the_clients_bound() -> None:
    request = asking(Task.LAYOUT, sampling=Sampling(max_tokens=60))
    said = '[{"bbox": [0, 0, 9, 9], "category": "Text", "text": "' + "word " * 40
    result = await read(dots.FAMILY, request, [said])
    assert result.stop is Stop.LENGTH
    assert json.loads(result.text)[0]["text"] == said[:60].partition('"text": "')[2]


async def test_deepseek() -> None:
    said = "<|ref|>text<|/ref|><|det|>[[0, 0, 999, 999]]<|/det|>\na<｜end▁of▁sentence｜>"
    result = await read(deepseek.FAMILY, asking(Task.LAYOUT), [said])
    assert result.text == said.removesuffix("<｜end▁of▁sentence｜>")
    assert result.blocks == (Block(Category.TEXT, (0, 0, 1000, 1400), "a"),)


async def test_paddle() -> None:
    family = paddle.family_for(paddle.CHECKPOINT, lambda _page: REGIONS)
    result = await read(family, asking(Task.MARKDOWN), ["Report", "All is well."])
    assert result.text == "# Report\n\nAll is well."
    assert [block.category for block in result.blocks] == [Category.TITLE, Category.TEXT]


@pytest.mark.parametrize("most", [4, 9, 14, 1000])
async def test_paddles_fields_are_json_however_few_tokens_there_are(most) -> None:
    pytest.importorskip("price_parser", reason="the field readers need ocr-fleet[embedded]")
    family = paddle.family_for(paddle.CHECKPOINT, lambda _page: REGIONS)
    request = asking(Task.FORM, sampling=Sampling(max_tokens=most))
    result = await read(family, request, ["Name: Jane", "Born: 1990"])
    assert result.stop is (Stop.STOP if most == 1000 else Stop.LENGTH)
    labels = [field["label"] for field in json.loads(result.text)["fields"]]
    assert labels == {4: [], 9: ["Name"], 14: ["Name"], 1000: ["Name", "Born"]}[most]


@pytest.mark.parametrize("model", list(FAMILIES))
async def test_chatvlms_models(model) -> None:
    request = asking(Task.CHAT, prompt="What is it?", sampling=Sampling(max_tokens=5))
    result = await read(FAMILIES[model], request, ["A page."])
    assert (result.text, result.stop) == ("A pag", Stop.LENGTH)
