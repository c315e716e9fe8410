"""The recipes of chatvlm's models: the words each is asked in, its page sizes, its modes."""

from __future__ import annotations

import pytest
from PIL import Image

from services.chatvlm.model import CHECKPOINTS, FAMILIES, RECIPES, family_for, task_for
from shared.errors import InvalidRequest
from shared.families.dots import LAYOUT_ALL
from shared.ocr import Request, Sampling, Task
from tests.shared.families.feeding import every_way

A4 = Image.new("RGB", (1654, 2339), "white")
SMALL = Image.new("RGB", (640, 480), "white")
QWENS = [name for name in FAMILIES if name.startswith("qwen")]


def request(model: str, task: Task, **fields) -> Request:
    return Request(model=model, task=task, **fields)


def ask(model: str, task: Task = Task.TEXT, page: Image.Image | None = SMALL, **fields):
    (question,) = FAMILIES[model].open_page(request(model, task, **fields), page).questions
    return question


def test_every_model_has_a_recipe_and_weights() -> None:
    assert list(FAMILIES) == list(CHECKPOINTS) == list(RECIPES)


# ---- Qwen


@pytest.mark.parametrize(
    ("model", "language", "text"),
    [
        (
            "qwen3_vl_2b",
            None,
            "Extract all text from this image. Maintain the original structure and formatting.",
        ),
        (
            "qwen3_vl_8b",
            "Russian",
            (
                "Extract all text from this image. The text is in Russian. "
                "Maintain the original structure and formatting."
            ),
        ),
        ("qwen_vl_2b", None, "Extract all text from this document."),
        ("qwen_vl_7b", " ru\n", "Extract all text from this document. The text is in ru."),
    ],
)
def test_reading_prompts_are_the_documented_servers(model, language, text) -> None:
    question = ask(model, language=language)
    assert question.text == text
    drawn = question.temperature, question.top_p, question.top_k, question.max_tokens
    assert drawn == (0.0, 1.0, 0, 2048)


@pytest.mark.parametrize("model", QWENS)
def test_questions_are_asked_as_they_are(model) -> None:
    said = Sampling(temperature=0.4, max_tokens=512)
    question = ask(model, Task.CHAT, prompt="Describe {this} image", sampling=said)
    assert question.text == "Describe {this} image"
    drawn = question.temperature, question.top_p, question.top_k, question.max_tokens
    assert drawn == (0.4, 0.8, 20, 512)
    assert ask(model, Task.CHAT, None, prompt="Hello").image is None
    with pytest.raises(InvalidRequest, match="no prompt for the task locate"):
        ask(model, Task.LOCATE)


@pytest.mark.parametrize(
    ("model", "size", "shown"),
    [
        ("qwen3_vl_2b", (640, 480), (640, 480)),  # the processor rounds it
        ("qwen3_vl_2b", (1654, 2339), (1654, 2339)),
        ("qwen3_vl_2b", (4960, 7016), (1696, 2432)),
        ("qwen3_vl_2b", (100, 30), (960, 288)),
        ("qwen_vl_2b", (1654, 2339), (1484, 2128)),
        ("qwen_vl_2b", (5000, 20), (6356, 56)),  # 25 px high with white below
    ],
)
def test_pages_fit_the_budget(model, size, shown) -> None:
    image = ask(model, page=Image.new("RGB", size)).image
    assert image.size == shown
    factor = FAMILIES[model].factor  # type: ignore[attr-defined]
    assert image.size[0] * image.size[1] <= 4096 * factor**2


# ---- GOT


@pytest.mark.parametrize(
    ("task", "fields", "flags"),
    [
        (Task.TEXT, {}, {"format": True}),
        (Task.MARKDOWN, {}, {"format": True}),
        (Task.REGION, {"box": (10, 20, 300, 400)}, {"box": [10, 20, 300, 400]}),
        (Task.REGION, {}, {}),
        (Task.CHAT, {"prompt": "What is this?"}, {}),
        (Task.CHAT, {"prompt": "OCR:"}, {}),
        (Task.CHAT, {"prompt": "OCR with format: "}, {"format": True}),
        (Task.CHAT, {"prompt": "[100,100, 500,900] OCR"}, {"box": [100, 100, 500, 480]}),
        (Task.CHAT, {"prompt": "[Green]  OCR"}, {"color": "green"}),
        (
            Task.CHAT,
            {"prompt": "OCR with format upon the patch reference"},
            {"format": True, "crop_to_patches": True, "max_patches": 12},
        ),
        (
            Task.CHAT,
            {"prompt": "OCR with format across multi pages"},
            {"format": True, "multi_page": True},
        ),
    ],
)
def test_got_is_told_by_flags(task, fields, flags) -> None:
    question = ask("got_ocr", task, **fields)
    assert question.processor_kwargs == flags
    assert (question.text, question.system, question.stop) == ("", None, ("<|im_end|>",))


def test_got_sees_large_pages_reduced_and_the_box_with_them() -> None:
    large = Image.new("RGB", (8192, 4096))
    question = ask("got_ocr", Task.REGION, large, box=(100, 200, 4000, 4096))
    assert question.image.size == (4096, 2048)
    assert question.processor_kwargs == {"box": [50, 100, 2000, 2048]}
    patches = ask("got_ocr", Task.CHAT, large, prompt="OCR with format upon the patch reference")
    assert patches.image is large


def test_got_is_greedy() -> None:
    question = ask("got_ocr", sampling=Sampling(temperature=0.7, max_tokens=99))
    assert (question.temperature, question.max_tokens) == (0.0, 99)
    assert ask("got_ocr").max_tokens == 4096


def test_got_refuses_words_alone_and_other_tasks() -> None:
    with pytest.raises(InvalidRequest, match="reads images"):
        ask("got_ocr", Task.CHAT, None, prompt="Hello")
    with pytest.raises(InvalidRequest, match="no prompt for the task receipt"):
        ask("got_ocr", Task.RECEIPT)


# ---- dots


def test_dots_answers_ocr_with_its_layout() -> None:
    asked = task_for(request("dots_ocr", Task.TEXT))
    work = FAMILIES["dots_ocr"].open_page(asked, SMALL)
    assert work.questions[0].text == LAYOUT_ALL
    said = '[{"bbox": [0, 0, 644, 476], "category": "Text", "text": "a"}]'
    told = every_way(lambda: FAMILIES["dots_ocr"].open_page(asked, SMALL), said)
    assert told == '[{"bbox": [0, 0, 640, 480], "category": "Text", "text": "a"}]'


# ---- other weights


def test_newer_weights_bring_their_recipe() -> None:
    assert family_for("qwen_vl_2b") is FAMILIES["qwen_vl_2b"]
    assert family_for("qwen_vl_2b", "Qwen/Qwen3-VL-2B-Instruct-FP8") is FAMILIES["qwen3_vl_2b"]
    assert family_for("qwen3_vl_2b", "/models/mine") is FAMILIES["qwen3_vl_2b"]
    assert family_for("qwen_vl_2b", "/models/dots.ocr/qwen_vl_2b") is FAMILIES["qwen_vl_2b"]
    assert (
        family_for("got_ocr", "/cache/models--Qwen--Qwen2.5-VL-3B/a1b2") is FAMILIES["qwen_vl_2b"]
    )
    assert family_for("got_ocr", "/models/GOT-OCR-2.0-hf") is FAMILIES["got_ocr"]
    mocr = family_for("dots_ocr", "rednote-hilab/dots.mocr")
    question = mocr.open_page(request("dots_ocr", Task.CHAT, prompt="Why?"), SMALL).questions[0]
    assert question.system == "You are a helpful assistant."
