"""`router/MATRIX.md` says what the router does: it is what the table's own program writes, and a
router in front of documented servers does so for every dialect, model and task."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from router.matrix import DIALECTS, FILE, TARGETS, find_cell, write_matrix
from shared.ocr import Task
from tests.router.originals import WORD, original
from tests.routing import Routed, routed
from tests.running import SERVICES
from tests.samples import PAGE, chat, image_part, text_part, upload

AROUND_TABLE = (1, 5, 39, 13)

TEXTLESS = {Task.LAYOUT_ONLY, Task.LOCATE}
"""Answers that hold boxes; the page's words need not be in them."""


def test_file_is_up_to_date() -> None:
    assert FILE.read_text() == write_matrix(), "run python -m router.matrix"


@pytest.fixture(scope="module")
def router() -> Iterator[Routed]:
    with ExitStack() as stack:
        urls = {name: stack.enter_context(original(name)).url for name in SERVICES}
        yield stack.enter_context(routed({name: _entry(url) for name, url in urls.items()}))


def _entry(url: str) -> dict[str, object]:
    return {"replicas": [url], "slots": 8}


def send(http: httpx.Client, dialect: str, model: str, task: Task) -> httpx.Response:
    """A page in the dialect, its task named by the header."""
    headers = {"x-ocr-model": model, "x-ocr-task": task}
    match dialect:
        case "openai":
            body = chat(text_part(WORD), image_part())
            return http.post("/v1/chat/completions", json=body, headers=headers)
        case "dots":
            boxed = {"prompt_type": "prompt_grounding_ocr", "bbox": AROUND_TABLE}
            body = {"image": PAGE, "image_format": "base64"}
            body |= boxed if task is Task.REGION else {}
            return http.post("/ocr", json=body, headers=headers)
        case "deepseek":
            body = {"image_base64": PAGE, "prompt": WORD}
            return http.post("/ocr", json=body, headers=headers)
        case _:
            return http.post("/chat", files=upload(), data={"prompt": WORD}, headers=headers)


def text_of(dialect: str, answer: httpx.Response) -> str:
    body = answer.json()
    match dialect:
        case "openai":
            return body["choices"][0]["message"]["content"]
        case "deepseek":
            return body["text"]
        case _:
            return body["response"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_router_does_what_it_says(router: Routed, dialect: str) -> None:
    cells = [(target, task) for target in TARGETS for task in Task]
    with httpx.Client(base_url=router.url) as http, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda cell: send(http, dialect, cell[0].model, cell[1]), cells))
    wrong: list[object] = []
    for (target, task), answer in zip(cells, answers, strict=True):
        cell = find_cell(dialect, target, task)
        told = (answer.status_code, answer.headers.get("x-ocr-loss", ""))
        if told != (cell.status, cell.loss):
            wrong.append((target.model, task, told, cell))
        elif cell.status == 200 and task not in TEXTLESS and WORD not in text_of(dialect, answer):
            wrong.append((target.model, task, "the page's text", answer.text[:200]))
    assert not wrong, wrong
    assert {answer.headers["x-ocr-model"] for answer in answers} == {
        target.model for target in TARGETS
    }
