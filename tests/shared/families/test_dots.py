"""dots.ocr's recipe: prompts to the letter, boxes there and back, layouts put right."""

from __future__ import annotations

import hashlib
import json

import pytest
from PIL import Image

from shared.engine.family import Question
from shared.errors import InvalidRequest
from shared.families import dots
from shared.families.cells import CellFilter, read_cell
from shared.families.dots import DotsFamily, dots_family
from shared.families.work import OneAnswer
from shared.ocr import Block, Category, Request, Sampling, Task
from tests.shared.families.feeding import every_way

A4 = (1654, 2339)
GROUNDING = (
    "Extract text from the given bounding box on the image (format: [x1, y1, x2, y2])."
    "\nBounding Box:\n"
)
CELLS = (
    '[{"bbox": [100, 200, 800, 260], "category": "Title", "text": "On \\"dots\\""}, '
    '{"bbox": [100, 300, 800, 900], "category": "Picture"}, '
    '{"bbox": [100, 950, 826, 1176], "category": "Text", "text": "a {b}\\n\\u00e9"}]'
)


def page(size=A4) -> Image.Image:
    return Image.new("RGB", size, "white")


def request(task: Task, **fields) -> Request:
    return Request(model="dots-ocr", task=task, **fields)


def ask(task: Task, size=A4, **fields):
    (question,) = DotsFamily().open_page(request(task, **fields), page(size)).questions
    return question


def test_the_layout_prompt_is_the_vendors() -> None:
    text = ask(Task.LAYOUT).text
    assert text.endswith("must be a single JSON object.\n")
    assert text.splitlines()[2] == "1. Bbox format: [x1, y1, x2, y2]"
    assert (
        "\n    - Picture: For the 'Picture' category, the text field should be omitted.\n" in text
    )
    assert len(text) == 888
    assert hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:8] == "773e92f7"


@pytest.mark.parametrize(
    ("task", "fields", "text"),
    [
        (Task.TEXT, {}, "Extract the text content from this image."),
        (Task.MARKDOWN, {}, "Extract the text content from this image."),
        (Task.CHAT, {"prompt": "Who signed?"}, "Who signed?"),
        (
            Task.REGION,
            {"box": (827, 0, 1654, 2339)},
            GROUNDING + "[826, 0, 1652, 2352]",
        ),
        (
            Task.REGION,
            {},
            GROUNDING + "[0, 0, 1652, 2352]",
        ),
    ],
)
def test_prompts(task, fields, text) -> None:
    question = ask(task, **fields)
    assert question.text == text
    assert question.image_text == "<|img|><|imgpad|><|endofimg|>"
    assert question.system is None


def test_only_mocr_has_a_system_message_and_only_for_questions() -> None:
    family = dots_family("rednote-hilab/dots.mocr")
    chat = family.open_page(request(Task.CHAT, prompt="Why?"), page()).questions[0]
    read = family.open_page(request(Task.TEXT), page()).questions[0]
    assert (chat.system, read.system) == ("You are a helpful assistant.", None)


def test_sampling_is_the_vendors_unless_the_client_says_otherwise() -> None:
    question = ask(Task.TEXT)
    assert (question.temperature, question.top_p, question.max_tokens) == (0.1, 1.0, 16_384)
    said = Sampling(temperature=0.0, top_p=0.5, max_tokens=-1, seed=7)
    question = ask(Task.TEXT, sampling=said)
    assert (question.temperature, question.top_p, question.max_tokens, question.seed) == (
        0.0,
        0.5,
        -1,
        7,
    )


@pytest.mark.parametrize(
    ("task", "size", "shown"),
    [
        (Task.LAYOUT, A4, A4),  # the processor resizes it
        (Task.REGION, A4, (1652, 2352)),  # the box is told in these pixels
        (Task.TEXT, (5000, 4000), (3752, 2996)),
        (Task.TEXT, (2000, 10), (1988, 28)),
        (Task.TEXT, (9000, 10), (9000, 45)),  # white is added below
    ],
)
def test_the_page_as_it_is_sent(task, size, shown) -> None:
    assert ask(task, size).image.size == shown


@pytest.mark.parametrize("task", [Task.TABLE, Task.LOCATE, Task.RECEIPT, Task.CHAT])
def test_what_it_has_no_prompt_for_is_refused(task) -> None:
    with pytest.raises(InvalidRequest, match=f"no prompt for the task {task}"):
        ask(task)


def test_words_alone_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="reads images"):
        DotsFamily().open_page(request(Task.CHAT, prompt="Hi"), None)


# ---- layouts


def layout(text: str, task: Task = Task.LAYOUT, size=A4) -> tuple[str, tuple[Block, ...]]:
    works = []
    image = page(size)

    def open_work():
        works.append(DotsFamily().open_page(request(task), image))
        return works[-1]

    told = every_way(open_work, text)
    return told, works[0].blocks()


def test_boxes_come_back_to_the_page_as_sent() -> None:
    told, blocks = layout(CELLS)
    assert json.loads(told) == [
        {"bbox": [100, 199, 801, 259], "category": "Title", "text": 'On "dots"'},
        {"bbox": [100, 298, 801, 895], "category": "Picture"},
        {"bbox": [100, 945, 827, 1170], "category": "Text", "text": "a {b}\né"},
    ]
    assert [block.category for block in blocks] == [
        Category.TITLE,
        Category.PICTURE,
        Category.TEXT,
    ]
    assert blocks[2].box == (100, 945, 827, 1170)


@pytest.mark.parametrize("size", [A4, (640, 480), (33, 900), (5000, 7000), (9000, 10)])
def test_a_box_there_and_back_stays_within_a_pixel(size) -> None:
    wide, high = dots.input_size(size)
    box = (size[0] // 5, size[1] // 5, size[0] * 4 // 5, size[1])
    asked = dots._asked(box, size)
    back = dots._place(asked, seen=(wide, high), sent=size)
    step = max(1.0, size[0] / wide, size[1] / high)
    assert all(abs(a - b) <= step for a, b in zip(back, box, strict=True))


def test_a_layout_that_is_cut_is_closed() -> None:
    work = DotsFamily().open_page(request(Task.LAYOUT), page((644, 476)))
    said = work.feed(0, '[{"bbox": [0, 0, 9, 9], "category": "Text", "text": "a"}, {"bbox": [0, 9')
    assert json.loads(said + work.cut()) == [
        {"bbox": [0, 0, 9, 9], "category": "Text", "text": "a"}
    ]
    assert work.cut() == ""


def test_layout_only_has_no_texts() -> None:
    told, blocks = layout('[{"bbox": [0, 0, 826, 1176], "category": "Table"}]', Task.LAYOUT_ONLY)
    assert json.loads(told) == [{"bbox": [0, 0, 827, 1170], "category": "Table"}]
    assert blocks == (Block(Category.TABLE, (0, 0, 827, 1170)),)


def cells(text: str, **how) -> list[dict]:
    told = every_way(lambda: only(**how), text)
    return json.loads(told)


def only(**how) -> OneAnswer:
    return OneAnswer(Question(), CellFilter(lambda box: box, **how))


def cell(text: str, top: int = 0) -> str:
    return json.dumps({"bbox": [0, top, 9, top + 9], "category": "Text", "text": text})


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        (f"[{cell('a')}{cell('b', 10)}]", ["a", "b"]),  # a comma is missing
        (f"```json\n[{cell('a')}]\n```", ["a"]),
        (f'{{"layout": [{cell("a")}, {cell("b", 10)}]}}', ["a", "b"]),
        (f"[{cell('a')}, {cell('a')}, {cell('a', 10)}]", ["a", "a"]),  # said twice
        (f"[{cell('a')}, {cell('cut off')[:-6]}", ["a", "cut"]),
        (f'[{cell("a")}, {{"bbox": [0, 5, 9, 9], "category": "Text", "text": "x\\u00', ["a", "x"]),
        (f'[{cell("a")}, {{"bbox": [0, 5, 9], "category": "Text", "text": "x"}}]', ["a"]),
        (f'[{cell("a")}, {{"bbox": [0, 5, ', ["a"]),
        ('[{"bbox": [0, 0, 9, 9], "category": "Formula", "text": "\\alpha \\frac{1}{2}"}]', None),
        ('[{"bbox": [0, 0, 9, 9], "category": "Text", "text": "so "called" it"}]', None),
        ("[]", []),
        (" {} ", []),
    ],
)
def test_damaged_layouts_are_mended(text, texts) -> None:
    found = [item["text"] for item in cells(text)]
    if texts is not None:
        assert found == texts
    elif "alpha" in text:
        assert found == ["\\alpha \\frac{1}{2}"]
    else:
        assert found == ['so "called" it']


def test_a_model_that_loops_is_told_once_more_than_enough() -> None:
    lines = ", ".join(cell("the same long line", 10 * at) for at in range(40))
    zeros = ", ".join(cell("0", 10 * at + 900) for at in range(12))
    found = cells(f"[{lines}, {zeros}]")
    assert [item["text"] for item in found] == ["the same long line"] * 4 + ["0"] * 12


def test_words_instead_of_a_layout_are_kept() -> None:
    said = "I see no document. {sorry}"
    assert every_way(only, said) == said
    cut = '[{"bbox": [1'
    assert every_way(only, cut) == cut


def test_a_quote_too_many_costs_one_cell_at_most() -> None:
    text = f'[{cell("a")}, {{"bbox": [0, 5, 9, 9], "category": "Text", "text": "5" wide"}}, '
    found = cells(text + cell("b", 20) + "]")
    assert [item["text"] for item in found] == ["a", '5" wide', "b"]


def test_no_object_is_no_cell() -> None:
    assert read_cell('{"category": "Text"}') == ()
    assert read_cell("") == ()
