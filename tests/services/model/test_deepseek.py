"""DeepSeek-OCR's recipe: prompts, modes, guards against repeats, and what its tags mean."""

from __future__ import annotations

import pytest
from PIL import Image

from services.deepseek.model import FAMILY, PROMPT, family_for
from shared.errors import InvalidRequest
from shared.ocr import Block, Category, Request, Sampling, Task
from shared.wire.deepseek import read_prompt
from tests.shared.families.feeding import every_way

PAGE = Image.new("RGB", (1998, 999), "white")
SMALL = Image.new("RGB", (640, 480), "white")


def request(task: Task = Task.TEXT, prompt: str = "", **fields) -> Request:
    return Request(model="deepseek-ocr", task=task, prompt=prompt, **fields)


def ask(task: Task = Task.TEXT, prompt: str = "", *, page=PAGE, family=FAMILY, **fields):
    (question,) = family.open_page(request(task, prompt, **fields), page).questions
    return question


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (PROMPT, "<|grounding|>Convert the document to markdown."),
        ("<image>\n<|grounding|>OCR this image.", "<|grounding|>OCR this image."),
        ("<image>\nFree OCR.", "Free OCR."),
        ("Convert the document to markdown.", "Convert the document to markdown."),
        ("<image>\nParse the figure.", "Parse the figure."),
        ("<image>\\nDescribe this image in detail.", "Describe this image in detail."),
        ("What is the total?", "What is the total?"),
        (
            "<image>\nLocate <|ref|>the stamp<|/ref|> in the image.",
            "Locate <|ref|>the stamp<|/ref|> in the image.",
        ),
    ],
)
def test_prompts_reach_the_model_without_the_image_mark(sent, text) -> None:
    task, words, phrase = read_prompt(sent)
    question = ask(task, words, phrase=phrase)
    assert question.text == text
    assert question.image_text == ""


@pytest.mark.parametrize("task", [Task.RECEIPT, Task.REGION, Task.LAYOUT_ONLY])
def test_what_it_has_no_prompt_for_is_refused(task) -> None:
    with pytest.raises(InvalidRequest, match=f"no prompt for the task {task}"):
        ask(task)


def test_words_alone_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="reads images"):
        FAMILY.open_page(request(Task.CHAT, "Hi"), None)


def test_sampling_and_the_guard_against_repeats() -> None:
    question = ask()
    assert (question.temperature, question.max_tokens) == (0.0, 8192)
    assert not question.skip_special_tokens
    assert question.extra_args == {
        "ngram_size": 30,
        "window_size": 90,
        "whitelist_token_ids": [128821, 128822],
    }
    said = Sampling(temperature=0.3, max_tokens=64, ngram_size=20, window_size=50)
    question = ask(sampling=said)
    assert (question.temperature, question.max_tokens) == (0.3, 64)
    assert (question.extra_args["ngram_size"], question.extra_args["window_size"]) == (20, 50)


# ---- modes

GUNDAM = Sampling(crop_mode=True, base_size=1024, image_size=640)


def sizes(crop: bool | None, base: int | None, image: int | None) -> Sampling:
    return Sampling(crop_mode=crop, base_size=base, image_size=image)


@pytest.mark.parametrize("sampling", [Sampling(), GUNDAM])
def test_gundam_is_what_every_engine_does(sampling) -> None:
    for name in ("deepseek-ai/DeepSeek-OCR", "deepseek-ai/DeepSeek-OCR-2"):
        assert ask(sampling=sampling, family=family_for(name)).processor_kwargs == {}


@pytest.mark.parametrize(
    ("sampling", "mode"),
    [
        (sizes(False, 512, 512), "Tiny mode"),
        (sizes(False, 640, 640), "Small mode"),
        (sizes(False, 1024, 640), "Small mode"),  # crop_mode alone was sent
        (sizes(False, 1024, 1024), "Base mode"),
        (sizes(False, 1280, 1280), "Large mode"),
        (sizes(True, 1280, 640), "no mode of DeepSeek-OCR"),
        (sizes(True, 1024, 700), "no mode of DeepSeek-OCR"),
    ],
)
def test_other_modes_are_refused_by_name(sampling, mode) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ask(sampling=sampling)
    assert f"({mode}) cannot be served" in str(caught.value)
    assert str(caught.value).endswith("crop_mode true, base_size 1024, image_size 640")


def test_base_mode_of_a_small_page_is_gundam_without_tiles() -> None:
    assert ask(page=SMALL, sampling=sizes(False, 1024, 1024)).processor_kwargs == {}


def test_transformers_can_leave_out_the_tiles_of_the_second_model() -> None:
    family = family_for("deepseek-community/DeepSeek-OCR-2")
    untiled = ask(family=family, sampling=sizes(False, 1024, 768)).processor_kwargs
    assert untiled == {"crop_to_patches": False}
    with pytest.raises(InvalidRequest, match="Large mode"):
        ask(family=family, sampling=sizes(False, 1280, 1280))
    with pytest.raises(InvalidRequest, match="image_size 768"):
        ask(family=family_for("deepseek-ai/DeepSeek-OCR-2"), sampling=sizes(False, 1024, 768))


def test_large_pages_are_reduced_and_their_boxes_are_not() -> None:
    large = Image.new("RGB", (9990, 1000))
    work = FAMILY.open_page(request(Task.LAYOUT), large)
    shown = work.questions[0].image
    assert shown is not None
    assert shown.size == (5120, 513)
    work.feed(0, "<|ref|>text<|/ref|><|det|>[[0, 0, 999, 999]]<|/det|>\na")
    work.end(0)
    assert work.blocks()[0].box == (0, 0, 9990, 1000)


def test_thin_pages_are_framed() -> None:
    assert ask(page=Image.new("RGB", (4000, 2))).image.size == (4000, 20)


# ---- answers


def read(task: Task, text: str) -> tuple[str, tuple[Block, ...]]:
    works = []

    def open_work():
        works.append(FAMILY.open_page(request(task), PAGE))
        return works[-1]

    return every_way(open_work, text), works[0].blocks()


def test_a_layout_keeps_its_tags_and_gives_blocks() -> None:
    text = (
        "<|ref|>title<|/ref|><|det|>[[100, 50, 900, 100]]<|/det|>\n# Report\n\n\n\n"
        "<|ref|>equation<|/ref|><|det|>[[0, 200, 999, 300]]<|/det|>\n\\[ a \\coloneqq b \\]\n\n"
        "<|ref|>image<|/ref|><|det|>[[0, 400, 500, 999]]<|/det|>\n<｜end▁of▁sentence｜>"
    )
    told, blocks = read(Task.LAYOUT, text)
    assert told == text.replace("\n\n\n\n", "\n\n").replace("\\coloneqq", ":=").replace(
        "<｜end▁of▁sentence｜>", ""
    )
    assert blocks == (
        Block(Category.TITLE, (200, 50, 1800, 100), "# Report"),
        Block(Category.FORMULA, (0, 200, 1998, 300), "\\[ a := b \\]"),
        Block(Category.PICTURE, (0, 400, 1000, 999), ""),
    )


def test_found_phrases_are_blocks() -> None:
    said = "<|ref|>the stamp<|/ref|><|det|>[[0, 0, 99, 99], [500, 500, 999, 999]]<|/det|>"
    _, blocks = read(Task.LOCATE, said)
    assert [block.box for block in blocks] == [(0, 0, 198, 99), (1000, 500, 1998, 999)]
    assert blocks[0].text == "the stamp"


def test_a_begun_mark_at_the_end_is_the_pages_own() -> None:
    assert read(Task.TEXT, "1 <｜end▁of")[0] == "1 <｜end▁of"
    assert read(Task.TEXT, "a \\eqqcolon b \\coloneq")[0] == "a =: b \\coloneq"
