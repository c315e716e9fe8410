"""Layouts told again in another form: boxes stay within one unit of the coarser grid, it does not
matter where a stream is cut, and nothing that a model said is dropped, however it said it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.abilities import Asked, Form
from router.blocks import DotsBlocks, GroundingBlocks
from router.fleet import Service, Target, Wire
from router.matrix import TARGETS
from router.retell import retelling
from router.translate import make_turn, retell
from shared.errors import EngineFailed
from shared.layout import (
    GRID,
    read_dots,
    read_grounding,
    write_dots,
    write_grounded,
    write_grounding,
    write_tags,
)
from shared.ocr import Block, Box, Category, EncodedPage, Request, Size, Task

SIZE = (1240, 1754)

sides = st.integers(1, 10_000)
# No tags and no white space at the ends: those are the forms' own.
texts = (
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=40)
    .map(lambda text: text.replace("<|", "").strip())
    .filter(lambda text: not text.endswith("<"))
)


@st.composite
def pages(draw: st.DrawFn) -> tuple[Size, list[Block]]:
    size = draw(sides), draw(sides)

    def between(side: int) -> tuple[int, int]:
        first, second = sorted((draw(st.integers(0, side)), draw(st.integers(0, side))))
        return first, second

    blocks = []
    for category in draw(st.lists(st.sampled_from(Category), min_size=1, max_size=5)):
        (left, right), (top, bottom) = between(size[0]), between(size[1])
        text = "" if category is Category.PICTURE else draw(texts)
        blocks.append(Block(category, (left, top, right, bottom), text))
    return size, blocks


def told(
    text: str,
    form: Form,
    wanted: Form,
    size: Size | None = SIZE,
    *,
    task: Task = Task.LAYOUT,
    step: int = 7,
    box: Box | None = None,
    phrase: str | None = None,
    asked: Task = Task.LAYOUT,
) -> str:
    """The text told again, fed in pieces of `step` characters."""
    request = Request(model="m", task=task, box=box, phrase=phrase)
    telling = retelling(request, Asked(asked, form), wanted, size)
    pieces = [telling.feed(text[at : at + step]) for at in range(0, len(text), step)]
    return "".join(pieces) + telling.close()


def assert_same(found: Sequence[Block], blocks: Sequence[Block], size: Size) -> None:
    """The same blocks, each side of a box within one unit of the coarser grid."""
    assert [(one.category, one.text) for one in found] == [
        (one.category, one.text) for one in blocks
    ]
    for one, other in zip(found, blocks, strict=True):
        for place, (a, b) in enumerate(zip(one.box, other.box, strict=True)):
            assert abs(a - b) <= max(1.0, size[place % 2] / GRID), (one, other, size)


# ---- boxes


@given(pages())
def test_dots_to_grounding_and_back(page: tuple[Size, list[Block]]) -> None:
    size, blocks = page
    grounding = told(write_dots(blocks), Form.DOTS, Form.GROUNDING, size)
    assert_same(read_grounding(grounding, size), blocks, size)
    dots = told(grounding, Form.GROUNDING, Form.DOTS, size)
    assert_same(read_dots(dots), blocks, size)


@given(pages())
def test_grounding_to_dots_and_back(page: tuple[Size, list[Block]]) -> None:
    """Coordinates of the grid come back within one of its units, or one pixel's worth of them."""
    size, blocks = page
    grounding = write_grounding(blocks, size)
    again = told(told(grounding, Form.GROUNDING, Form.DOTS, size), Form.DOTS, Form.GROUNDING, size)
    assert_same(read_grounding(again, (GRID, GRID)), read_grounding(grounding, (GRID, GRID)), size)
    # A grid finer than the page's pixels is rounded to them.
    coarser = max(1.0, GRID / size[0], GRID / size[1])
    for one, other in zip(
        read_grounding(again, (GRID, GRID)), read_grounding(grounding, (GRID, GRID)), strict=True
    ):
        assert all(abs(a - b) <= coarser for a, b in zip(one.box, other.box, strict=True))


@given(pages(), st.integers(1, 50))
def test_hub_blocks_survive_both_forms(page: tuple[Size, list[Block]], step: int) -> None:
    size, blocks = page
    assert read_dots(told(write_dots(blocks), Form.DOTS, Form.DOTS, size, step=step)) == tuple(
        blocks
    )
    grounding = write_grounding(blocks, size)
    assert told(grounding, Form.GROUNDING, Form.GROUNDING, size, step=step) == grounding


# ---- streams

SAMPLE = (
    Block(Category.TITLE, (10, 20, 1200, 60), '# Über "uns" \\ {x}'),
    Block(Category.PICTURE, (10, 80, 300, 200)),
    Block(Category.TABLE, (10, 220, 300, 400), '<table><tr><td class="n">1</td></tr></table>'),
    Block(Category.TEXT, (10, 420, 300, 460), "two\nlines, a < b"),
    Block(Category.FORMULA, (10, 480, 300, 500), "$$\\frac{a}{b}$$"),
)
FORMS = {
    Form.DOTS: write_dots(SAMPLE),
    Form.GROUNDING: write_grounding(SAMPLE, SIZE),
}
DAMAGED = {
    Form.DOTS: [
        write_dots(SAMPLE)[:-12],
        (
            '[{"bbox":[1,2,3,4],"category":"Text","text":"say "hi" now"},'
            '{"bbox":[5,6,7,8],"category":"Title","text":"end"}]'
        ),
        (
            '[{"bbox":[1,2,3,4],"category":"Text","text":"one "quote"},'
            '{"bbox":[5,6,7,8],"category":"Title","text":"end"}]'
        ),
        (
            '[{"bbox":null,"category":"Text","text":"nowhere"},'
            '{"bbox":[5,6,7,8],"category":"Title","text":"end"}]'
        ),
        "no layout at all {but braces} and text",
        '```json\n[{"bbox":[1,2,3,4],"category":"Text","text":"fenced"}]\n```',
    ],
    Form.GROUNDING: [
        "A lead.\n" + write_grounding(SAMPLE, SIZE),
        (
            "<|ref|>text<|/ref|><|det|>nonsense<|/det|>\nkept\n\n"
            "<|ref|>title<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>\nend"
        ),
        "<|ref|>text<|/ref|><|det|>[[1, 2, 3, 4]]\nkept too",
        "plain words, no tag",
        write_grounding(SAMPLE, SIZE) + "\n\n<|ref|>te",
    ],
}
TEXTS = [(form, FORMS[form]) for form in FORMS] + [
    (form, text) for form, damaged in DAMAGED.items() for text in damaged
]


@pytest.mark.parametrize(("form", "text"), TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("wanted", Form)
def test_it_does_not_matter_where_a_stream_is_cut(form: Form, text: str, wanted: Form) -> None:
    for task in (Task.LAYOUT, Task.LAYOUT_ONLY, Task.TABLE, Task.REGION, Task.LOCATE):
        more: dict[str, Any] = {"task": task, "box": (0, 0, 1240, 450), "phrase": "two lines"}
        whole = told(text, form, wanted, step=len(text), **more)
        assert told(text, form, wanted, step=1, **more) == whole
        for cut in range(1, len(text)):
            request = Request(model="m", task=task, box=(0, 0, 1240, 450), phrase="two lines")
            telling = retelling(request, Asked(Task.LAYOUT, form), wanted, SIZE)
            assert telling.feed(text[:cut]) + telling.feed(text[cut:]) + telling.close() == whole


def test_blocks_are_told_as_they_come() -> None:
    """A stream is not held back until its end."""
    for form, text in FORMS.items():
        telling = retelling(
            Request(model="m", task=Task.MARKDOWN), Asked(Task.LAYOUT, form), Form.PLAIN, SIZE
        )
        assert "Über" in telling.feed(text[: len(text) // 2])


# ---- nothing is dropped


@pytest.mark.parametrize(
    ("form", "text", "words"),
    [
        *((form, text, [block.text for block in SAMPLE]) for form, text in FORMS.items()),
        (Form.DOTS, DAMAGED[Form.DOTS][0], ["two\nlines", "$$\\fr"]),
        (Form.DOTS, DAMAGED[Form.DOTS][1], ['say "hi" now', "end"]),
        (Form.DOTS, DAMAGED[Form.DOTS][2], ['one "quote', "end"]),
        (Form.DOTS, DAMAGED[Form.DOTS][3], ["nowhere", "end"]),
        (Form.DOTS, DAMAGED[Form.DOTS][4], [DAMAGED[Form.DOTS][4]]),
        (Form.DOTS, DAMAGED[Form.DOTS][5], ["fenced"]),
        (Form.GROUNDING, DAMAGED[Form.GROUNDING][0], ["A lead.", "two\nlines"]),
        (Form.GROUNDING, DAMAGED[Form.GROUNDING][1], ["kept", "end"]),
        (Form.GROUNDING, DAMAGED[Form.GROUNDING][2], ["kept too"]),
        (Form.GROUNDING, DAMAGED[Form.GROUNDING][3], ["plain words, no tag"]),
        (Form.GROUNDING, DAMAGED[Form.GROUNDING][4], ["two\nlines"]),
    ],
)
def test_nothing_is_dropped(form: Form, text: str, words: list[str]) -> None:
    plain = told(text, form, Form.PLAIN, task=Task.MARKDOWN)
    assert [word for word in words if word not in plain] == []
    if form is Form.DOTS:
        blocks = read_grounding(told(text, form, Form.GROUNDING), SIZE)
    else:
        blocks = read_dots(told(text, form, Form.DOTS))
    held = "\n".join(block.text for block in blocks)
    assert [word for word in words if word not in held] == []
    assert all(0 <= value <= max(SIZE) for block in blocks for value in block.box)


@given(st.text(max_size=200))
def test_any_text_at_all_is_told(text: str) -> None:
    """A model may leave its form wholly: then its words are the answer, whatever they are."""
    for form in (Form.DOTS, Form.GROUNDING):
        if "<|" in text or "{" in text:
            continue
        plain = told(text, form, Form.PLAIN, task=Task.MARKDOWN)
        assert plain == ("" if text.strip() in {"", "[]"} else text.strip())


@given(st.lists(st.sampled_from(['{"bbox":', "[1,2,3,4]", '"text":"a"', "}", "]", '"', "\\", "x"])))
def test_any_damage_is_survived(pieces: list[str]) -> None:
    text = "".join(pieces)
    for form in (Form.DOTS, Form.GROUNDING):
        for wanted in Form:
            assert isinstance(told(text, form, wanted), str)


def read(reader: DotsBlocks | GroundingBlocks, pieces: Iterable[str]) -> list[Block]:
    return [block for piece in pieces for block in reader.feed(piece)] + list(reader.close())


def test_cut_off_in_the_middle_of_an_escape() -> None:
    whole = '[{"bbox": [1, 2, 3, 4], "category": "Text", "text": "caf\\u00e9 au lait"}]'
    for end in range(whole.index("caf") + 1, len(whole)):
        (block,) = read(DotsBlocks(SIZE), [whole[:end]])
        assert "café au lait".startswith(block.text), whole[:end]
        assert block.box == (1, 2, 3, 4)


# ---- tasks


@pytest.mark.parametrize("form", [Form.DOTS, Form.GROUNDING])
def test_tables_and_formulas_alone(form: Form) -> None:
    assert told(FORMS[form], form, Form.PLAIN, task=Task.TABLE) == SAMPLE[2].text
    assert told(FORMS[form], form, Form.PLAIN, task=Task.FORMULA) == SAMPLE[4].text
    assert told("[]", form, Form.PLAIN, task=Task.TABLE) == ""


@pytest.mark.parametrize("form", [Form.DOTS, Form.GROUNDING])
def test_region_keeps_the_blocks_inside(form: Form) -> None:
    box = (0, 210, 400, 470)
    kept = told(FORMS[form], form, Form.PLAIN, task=Task.REGION, box=box)
    assert kept == f"{SAMPLE[2].text}\n\n{SAMPLE[3].text}"


@pytest.mark.parametrize("form", [Form.DOTS, Form.GROUNDING])
def test_layout_only_has_no_texts(form: Form) -> None:
    dots = told(FORMS[form], form, Form.DOTS, task=Task.LAYOUT_ONLY)
    assert [sorted(item) for item in json.loads(dots)] == [["bbox", "category"]] * len(SAMPLE)
    grounding = told(FORMS[form], form, Form.GROUNDING, task=Task.LAYOUT_ONLY)
    assert grounding.count("<|ref|>") == len(SAMPLE)
    assert "lines" not in grounding


@pytest.mark.parametrize("form", [Form.DOTS, Form.GROUNDING])
@pytest.mark.parametrize("wanted", [Form.DOTS, Form.GROUNDING])
def test_locate_gives_the_blocks_that_hold_the_phrase(form: Form, wanted: Form) -> None:
    """Case and line breaks do not matter."""
    found = told(FORMS[form], form, wanted, task=Task.LOCATE, phrase="TWO lines")
    blocks = read_dots(found) if wanted is Form.DOTS else read_grounding(found, SIZE)
    assert len(blocks) == 1
    assert all(abs(a - b) <= 2 for a, b in zip(blocks[0].box, SAMPLE[3].box, strict=True))
    nothing = told(FORMS[form], form, wanted, task=Task.LOCATE, phrase="nowhere")
    assert nothing == ("[]" if wanted is Form.DOTS else "")


def test_plain_text_as_a_layout() -> None:
    page = Block(Category.TEXT, (0, 0, *SIZE), "all\nof it")
    assert read_dots(told("all\nof it", Form.PLAIN, Form.DOTS)) == (page,)
    assert told("all\nof it", Form.PLAIN, Form.GROUNDING) == write_grounded(page, SIZE)
    located = told("all\nof it", Form.PLAIN, Form.GROUNDING, task=Task.LOCATE, phrase="of")
    assert located == write_tags("of", [page.box], SIZE)
    assert told("  ", Form.PLAIN, Form.DOTS) == "[]"
    only = told("all", Form.PLAIN, Form.DOTS, task=Task.LAYOUT_ONLY)
    assert json.loads(only) == [{"bbox": [0, 0, *SIZE], "category": "Text"}]


def test_a_size_that_nobody_told() -> None:
    """Boxes cannot be made or moved to another grid without it; all else can be told."""
    for form, wanted in [
        (Form.DOTS, Form.GROUNDING),
        (Form.GROUNDING, Form.DOTS),
        (Form.PLAIN, Form.DOTS),
    ]:
        with pytest.raises(EngineFailed):
            told(FORMS.get(form, "text"), form, wanted, None)
    for form, text in FORMS.items():
        assert "Über" in told(text, form, Form.PLAIN, None, task=Task.MARKDOWN)
        assert told(text, form, form, None) == text


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.model)
@pytest.mark.parametrize("dialect", ["openai", "dots", "deepseek", "chatvlm"])
def test_layout_of_every_model_is_one_the_caller_reads(target: Target, dialect: str) -> None:
    """dots and deepseek read their own form; the others get the model's, or dots'."""
    request = Request(model="m", task=Task.LAYOUT, pages=(EncodedPage("iVBORw0KGgo="),))
    turn = make_turn(request, target, dialect)
    telling = retell(turn, SIZE)
    text = telling.feed(FORMS.get(turn.asked.form, "plain words")) + telling.close()
    blocks = read_grounding(text, SIZE) if "<|ref|>" in text else read_dots(text)
    assert blocks, text
    if dialect in {"dots", "deepseek"}:
        assert ("<|ref|>" in text) == (dialect == "deepseek")


def test_boxes_of_one_model_are_no_others_business() -> None:
    """A layout_only answer that was asked as a layout loses its texts, though the form is right."""
    target = Target(
        Service(name="c", wire=Wire.CHATVLM, models=("dots_ocr",), replicas=()), "dots_ocr"
    )
    page = EncodedPage("iVBORw0KGgo=")
    turn = make_turn(Request(model="m", task=Task.LAYOUT_ONLY, pages=(page,)), target, "dots")
    telling = retell(turn, SIZE)
    assert "text" not in json.loads(telling.feed(FORMS[Form.DOTS]) + telling.close())[0]
