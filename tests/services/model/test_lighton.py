"""LightOnOCR's recipe: what each checkpoint is sent, and what its answers mean."""

from __future__ import annotations

import time

import pytest
from PIL import Image

from services.lighton.dollars import line_repaired
from services.lighton.model import FAMILY, family_for
from shared.ocr import Block, Category, Request, Sampling, Task
from tests.shared.families.feeding import every_way

PAGE = Image.new("RGB", (1654, 2339), "white")
V3 = "lightonai/LightOnOCR-3-0.8B"


def request(prompt: str = "", task: Task = Task.MARKDOWN, **fields) -> Request:
    return Request(model="lighton", task=task, prompt=prompt, **fields)


def ask(checkpoint: str, prompt: str = "", page: Image.Image | None = PAGE, **fields):
    (question,) = family_for(checkpoint).open_page(request(prompt, **fields), page).questions
    return question


@pytest.mark.parametrize(
    ("checkpoint", "size", "top_p", "template"),
    [
        ("lightonai/LightOnOCR-1B-1025", (1089, 1540), 0.9, {}),
        ("lightonai/LightOnOCR-0.9B-32k-1025", (1089, 1540), 0.9, {}),
        ("lightonai/LightOnOCR-2-1B-bbox", (1089, 1540), 0.9, {}),
        ("lightonai/LightOnOCR-3-1B", (1089, 1540), 1.0, {}),
        ("lightonai/LightOnOCR-3-0.8B", (1448, 2048), 1.0, {"enable_thinking": False}),
        ("/models/LightOnOCR-3-4B", (1448, 2048), 1.0, {"enable_thinking": False}),
        ("/models/mine", (1089, 1540), 0.9, {}),
    ],
)
def test_each_checkpoint_is_sent_its_own(checkpoint, size, top_p, template) -> None:
    question = ask(checkpoint)
    assert question.image is not None
    assert question.image.size == size
    assert (question.temperature, question.top_p, question.max_tokens) == (0.2, top_p, 4096)
    assert (question.text, question.image_text, question.system) == ("", "", None)
    assert question.template_kwargs == template


def test_small_pages_are_not_enlarged() -> None:
    page = Image.new("RGB", (800, 600))
    assert ask(V3, page=page).image is page


@pytest.mark.parametrize(
    ("checkpoint", "prompt", "text"),
    [
        (V3, "Extract the text, please", ""),
        (V3, "grounding please", ""),
        (V3, " grounding\n", "grounding"),
        ("lightonai/LightOnOCR-3-1B", "grounding", "grounding"),
        ("lightonai/LightOnOCR-1B-1025", "grounding", ""),
        ("lightonai/LightOnOCR-2-1B", "grounding", ""),
    ],
)
def test_instructions_are_left_out_but_for_grounding(checkpoint, prompt, text) -> None:
    assert ask(checkpoint, prompt).text == text


def test_the_client_draws_as_it_likes() -> None:
    said = Sampling(temperature=0.7, top_p=0.3, max_tokens=9, seed=1)
    question = ask(V3, sampling=said)
    drawn = question.temperature, question.top_p, question.max_tokens, question.seed
    assert drawn == (0.7, 0.3, 9, 1)


def test_words_alone_are_asked() -> None:
    question = ask(V3, "What is OCR?", page=None, task=Task.CHAT)
    assert (question.text, question.image) == ("What is OCR?", None)
    assert FAMILY.open_page(request("Hi", Task.CHAT), None).blocks() == ()


# ---- answers


def read(text: str, size=(2000, 1000)) -> tuple[str, tuple[Block, ...]]:
    works = []
    page = Image.new("RGB", size)

    def open_work():
        works.append(family_for(V3).open_page(request("grounding"), page))
        return works[-1]

    return every_way(open_work, text), works[0].blocks()


def test_grounded_blocks() -> None:
    text = (
        "![title](100,50,900,100) A report\n\n"
        "![text](100,120,480,900) It begins here and\n\n"
        "![text+](520,120,900,300) goes on there.\n\n"
        "![table](520,320,900,500)\n<table><tr><td>1</td></tr></table>\n\n"
        "![image](0,510,1000,700)+ A dog\n\n"
        "![page_number](480,950,520,990) 7"
    )
    told, blocks = read(text)
    assert told == text
    assert blocks == (
        Block(Category.TITLE, (200, 50, 1800, 100), "A report"),
        Block(Category.TEXT, (200, 120, 960, 900), "It begins here and"),
        Block(Category.TEXT, (1040, 120, 1800, 300), "goes on there."),
        Block(Category.TABLE, (1040, 320, 1800, 500), "<table><tr><td>1</td></tr></table>"),
        Block(Category.PICTURE, (0, 510, 2000, 700)),
        Block(Category.PAGE_FOOTER, (960, 950, 1040, 990), "7"),
    )


def test_pictures_of_version_2_and_images_that_are_none() -> None:
    told, blocks = read("# A\n\n![image](image_1.png) 0,250,500,750\n\nText ![a](b.png) 12 cats")
    assert told.startswith("# A")
    assert blocks == (Block(Category.PICTURE, (0, 250, 1000, 750)),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"so \$x^2 + y\$ and \$\alpha\$.", r"so $x^2 + y$ and $\alpha$."),
        (r"\$\frac{a}{b}\$", r"$\frac{a}{b}$"),
        (r"\$5 and \$6", r"\$5 and \$6"),
        (r"it costs \$5 or more; then \$x\$", r"it costs \$5 or more; then $x$"),
        (r"US\$5, HK\$7", r"US\$5, HK\$7"),
        (r"\$total\$", r"\$total\$"),
        (r"\$the price is low\$", r"\$the price is low\$"),
        (r"a \\$x\\$ b", r"a \\$x\\$ b"),
        (r"<td>\$5</td><td>\$6</td>", r"<td>\$5</td><td>\$6</td>"),
        (r"\$ a { b \$", r"\$ a { b \$"),
    ],
)
def test_escaped_dollars(text, expected) -> None:
    assert line_repaired(text) == expected
    assert read(f"{text}\n\n{text}")[0] == f"{expected}\n\n{expected}"


def test_hopeless_text_takes_no_time() -> None:
    started = time.perf_counter()
    page = Image.new("RGB", (100, 100))
    for text in ("![" * 20_000, "![a](" * 10_000, "\\$5 " * 10_000, "`\\$" * 10_000):
        work = family_for(V3).open_page(request(), page)
        assert work.feed(0, text) + work.end(0) == text
        assert work.blocks() == ()
    assert time.perf_counter() - started < 5


def test_code_keeps_its_dollars() -> None:
    code = "Run `a \\$x\\$`:\n\n```sh\necho \\$x\\$\n```\n\nand "
    assert read(code + r"\$x\$ ends")[0] == code + "$x$ ends"
