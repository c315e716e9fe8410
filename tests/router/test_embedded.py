"""The same page read by the embedded engine through every dialect and every service, streamed and
not: its text is in every answer, its boxes where the dialect has them."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from PIL import Image

from shared.layout import read_dots, read_grounding
from tests.router.speaking import BY_NAME, OF_SERVICE
from tests.routing import Routed, routed_fleet
from tests.running import ROOT, SERVICES
from tests.samples import message_of, truncated

pytestmark = pytest.mark.slow

pytest.importorskip("rapidocr", reason="needs the extra `embedded`")

SIZE = (1000, 120)
WORDS = "Harbour Library"
SPOKEN = ("openai", "openai stream", "dots", "dots stream", "deepseek", "deepseek stream")


def head_of_the_sample() -> bytes:
    file = io.BytesIO()
    with Image.open(ROOT / "deploy" / "sample.png") as sample:
        sample.convert("RGB").crop((0, 0, *SIZE)).save(file, "PNG")
    return file.getvalue()


PAGE = head_of_the_sample()


@pytest.fixture(scope="module")
def router() -> Iterator[Routed]:
    with routed_fleet(SERVICES, "embedded", OCR_FLEET_THREADS="1") as one:
        yield one


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("name", SPOKEN)
def test_the_pages_text(router: Routed, name: str, service: str) -> None:
    headers = {"x-ocr-model": OF_SERVICE[service]}
    answer = BY_NAME[name].send(router.url, page=PAGE, headers=headers)
    assert answer.status_code == 200, answer.text
    assert WORDS in BY_NAME[name].text(answer)
    assert answer.headers["x-ocr-engine"].startswith("embedded/")


@pytest.mark.parametrize("service", SERVICES)
def test_chatvlm_tells_the_pages_size(router: Routed, service: str) -> None:
    headers = {"x-ocr-model": OF_SERVICE[service]}
    body = BY_NAME["chatvlm"].send(router.url, page=PAGE, headers=headers).json()
    assert WORDS in body["text"]
    assert tuple(body["image_size"]) == SIZE


@pytest.mark.parametrize("service", ["dots", "deepseek"])
def test_both_layouts_have_the_same_boxes(router: Routed, service: str) -> None:
    headers = {"x-ocr-model": OF_SERVICE[service], "x-ocr-task": "layout"}
    dots = BY_NAME["dots"].send(router.url, page=PAGE, headers=headers)
    deepseek = BY_NAME["deepseek"].send(router.url, page=PAGE, headers=headers)
    ours = read_dots(BY_NAME["dots"].text(dots))
    theirs = read_grounding(BY_NAME["deepseek"].text(deepseek), SIZE)
    assert ours
    assert [one.text for one in ours] == [one.text for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert all(abs(a - b) <= 2 for a, b in zip(one.box, other.box, strict=True))


@pytest.mark.parametrize("service", ["lighton", "dots"])
@pytest.mark.parametrize("name", ["openai stream", "dots", "deepseek stream", "chatvlm"])
def test_truncated_image(router: Routed, name: str, service: str) -> None:
    """Found out when its pixels are looked at, and still told by its status."""
    speech = BY_NAME[name]
    headers = {"x-ocr-model": OF_SERVICE[service]}
    answer = speech.send(router.url, page=truncated("PNG"), headers=headers)
    assert answer.status_code == 400, answer.text
    message = message_of(speech.service, answer)
    if speech.service == "lighton":
        assert message == "Failed to load image or audio file"
