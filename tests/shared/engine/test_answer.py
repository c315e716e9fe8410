"""Answers of every task: the pieces put together, and what a page without the thing says."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from shared.engine.embedded.answer import find_phrase, needs_layout, open_answer
from shared.engine.embedded.lines import Line
from shared.engine.protocol import Recipe
from shared.layout import read_dots, read_grounding
from shared.ocr import Block, Category, Request, Task
from tests.shared.engine.handwritten import Paper

SIZE = (1000, 800)
DOTS = Recipe(model="m")
GROUNDING = Recipe(model="m", tables="html", layout="grounding")

BLOCKS = (
    Block(Category.PAGE_HEADER, (0, 0, 100, 20), "Running head"),
    Block(Category.TITLE, (0, 40, 100, 60), "# Foxes"),
    Block(Category.PICTURE, (0, 80, 100, 200)),
    Block(Category.TEXT, (0, 220, 100, 300), "A fox is no hound."),
    Block(Category.TABLE, (0, 320, 100, 400), "| a |\n| --- |\n| b |"),
    Block(Category.TABLE, (0, 420, 100, 500), "| c |\n| --- |\n| d |"),
)


def answer(
    task: Task,
    blocks: Sequence[Block] = BLOCKS,
    lines: Sequence[Line] = (),
    *,
    recipe: Recipe = DOTS,
    phrase: str | None = None,
) -> str:
    opened = open_answer(Request(model="m", task=task, phrase=phrase), recipe, SIZE)
    text = "".join(map(opened.feed, blocks)) + opened.finish(blocks, lines)
    assert text == text.rstrip()
    return text


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("recipe", [DOTS, GROUNDING])
def test_an_empty_page_is_answered(task: Task, recipe: Recipe) -> None:
    text = answer(task, (), (), recipe=recipe, phrase="fox")
    match task:
        case Task.LAYOUT | Task.LAYOUT_ONLY:
            assert text == ("[]" if recipe is DOTS else "")
        case Task.LOCATE:
            assert text == (
                "[]" if recipe is DOTS else "The text 'fox' was not found in the image."
            )
        case Task.CHAT:
            assert text.startswith("The image is 1000 x 800 pixels.")
        case Task.RECEIPT | Task.INVOICE | Task.FORM:
            assert json.loads(text)
        case _:
            assert text == ""


def test_markdown_leaves_running_heads_out() -> None:
    assert answer(Task.MARKDOWN) == (
        "# Foxes\n\nA fox is no hound.\n\n| a |\n| --- |\n| b |\n\n| c |\n| --- |\n| d |"
    )


def test_markdown_of_nothing_but_margins_shows_them() -> None:
    assert answer(Task.MARKDOWN, BLOCKS[:1]) == "Running head"


@pytest.mark.parametrize("task", [Task.TEXT, Task.REGION, Task.FIGURE, Task.FORMULA, Task.CHART])
def test_plain_tasks_have_everything(task: Task) -> None:
    opened = open_answer(Request(model="m", task=task), DOTS, SIZE)
    assert opened.plain
    assert answer(task).startswith("Running head\n\n")


def test_pieces_come_block_by_block() -> None:
    opened = open_answer(Request(model="m", task=Task.MARKDOWN), DOTS, SIZE)
    assert [opened.feed(block) for block in BLOCKS[:4]] == [
        "",
        "# Foxes",
        "",
        "\n\nA fox is no hound.",
    ]
    assert opened.finish(BLOCKS[:4], ()) == ""


def test_table_mode_has_the_tables_alone() -> None:
    assert answer(Task.TABLE) == "| a |\n| --- |\n| b |\n\n| c |\n| --- |\n| d |"
    assert answer(Task.TABLE, BLOCKS[:4]) == ""


def test_layouts() -> None:
    found = read_dots(answer(Task.LAYOUT))
    assert found == BLOCKS
    bare = json.loads(answer(Task.LAYOUT_ONLY))
    assert [set(item) for item in bare] == [{"bbox", "category"}] * 6
    grounded = read_grounding(answer(Task.LAYOUT, recipe=GROUNDING), SIZE)
    assert [block.text for block in grounded] == [block.text for block in BLOCKS]
    text = answer(Task.LAYOUT_ONLY, recipe=GROUNDING)
    assert "fox" not in text
    assert len(read_grounding(text, SIZE)) == 6


@pytest.mark.parametrize(
    ("task", "recipe", "tables"),
    [
        (Task.LAYOUT, DOTS, "html"),
        (Task.MARKDOWN, DOTS, "markdown"),
        (Task.MARKDOWN, GROUNDING, "html"),
        (Task.TABLE, DOTS, "markdown"),
    ],
)
def test_how_tables_are_to_be_written(task: Task, recipe: Recipe, tables: str) -> None:
    assert open_answer(Request(model="m", task=task), recipe, SIZE).tables == tables


def test_only_some_tasks_need_the_layout_model() -> None:
    needing = {Task.MARKDOWN, Task.LAYOUT, Task.LAYOUT_ONLY, Task.TABLE, Task.CHAT}
    assert {task for task in Task if needs_layout(task)} == needing


# ---- locate


def page() -> Paper:
    paper = Paper()
    paper.write("The quick brown", 100, 100)
    paper.write("FOX  jumps over", 100, 200)
    paper.write("a fox jumps", 100, 300)
    return paper


def test_a_phrase_is_found_whatever_its_case_and_spaces() -> None:
    found = [line.text for line in find_phrase("fox jumps", page().lines)]
    assert found == ["FOX  jumps over", "a fox jumps"]


def test_a_phrase_over_two_lines() -> None:
    found = [line.text for line in find_phrase("brown fox", page().lines)]
    assert found == ["The quick brown", "FOX  jumps over"]


@pytest.mark.parametrize("phrase", ["hound", "", "  "])
def test_a_phrase_that_is_not_there(phrase: str) -> None:
    assert find_phrase(phrase, page().lines) == []


def test_located_boxes() -> None:
    text = answer(Task.LOCATE, (), page().lines, recipe=GROUNDING, phrase="fox jumps")
    assert text == (
        "<|ref|>fox jumps<|/ref|><|det|>[[100, 250, 250, 275], [100, 375, 210, 400]]<|/det|>"
    )
    assert read_dots(answer(Task.LOCATE, (), page().lines, phrase="a fox")) == (
        Block(Category.TEXT, (100, 300, 210, 320), "a fox jumps"),
    )


# ---- chat


def test_a_description_says_what_is_there() -> None:
    assert answer(Task.CHAT, BLOCKS[1:5]).startswith(
        "The image is 1000 x 800 pixels. It shows a title, a picture, a block of text and a table. "
        "The text in it reads:\n\n# Foxes\n\nA fox"
    )


def test_a_description_of_a_picture_without_a_word() -> None:
    assert answer(Task.CHAT, BLOCKS[2:3]) == (
        "The image is 1000 x 800 pixels. It shows a picture. No text was found in it."
    )
