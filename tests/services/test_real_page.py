"""What only an engine that reads can show over the wire: compatibility cases about the text itself,
on the repository's own sample page. How well pages are read is tested in `tests/reading`."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from PIL import Image

from tests.running import ROOT
from tests.samples import (
    CHAT_PATH,
    b64,
    chat,
    data_url,
    http,
    image_part,
    png,
    text_part,
    upload,
)
from tests.serving import served

pytest.importorskip("rapidocr", reason="needs the extra `embedded`")

SIZE = (1000, 330)
WORDS = ("Harbour Library", "Quay Street, Port Ellis", "Dear Ms Okafor")


def top_of_the_sample() -> Image.Image:
    """Enough of it: the whole page takes thrice as long to read."""
    with Image.open(ROOT / "deploy" / "sample.png") as sample:
        return sample.convert("RGB").crop((0, 0, *SIZE))


def saved(page: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    file = io.BytesIO()
    page.save(file, kind, **more)
    return file.getvalue()


PAGE = saved(top_of_the_sample())
RECEIPT = {
    "merchant": str,
    "date": str,
    "currency": str,
    "subtotal": (int, float),
    "tax": (int, float),
    "total": (int, float),
    "items": list,
}
INVOICE = {
    "invoice_number": str,
    "date": str,
    "due_date": str,
    "vendor": str,
    "customer": str,
    "currency": str,
    "subtotal": (int, float),
    "tax": (int, float),
    "total": (int, float),
    "line_items": list,
}


class Readers:
    """Services that read, started when first asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._bases: dict[str, str] = {}

    def __getitem__(self, service: str) -> str:
        if service not in self._bases:
            one = served(service, "embedded")
            self._bases[service] = self._stack.enter_context(one)
        return self._bases[service]


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    with ExitStack() as stack:
        yield Readers(stack)


def asked(base: str, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = http.post(base + CHAT_PATH, json=chat(*parts, **more))
    assert answer.status_code == 200, answer.text
    [choice] = answer.json()["choices"]
    return {**choice["message"], **answer.json()["usage"], "why": choice["finish_reason"]}


def has_words(text: str) -> None:
    plain = " ".join(text.split())
    assert [words for words in WORDS if words not in plain] == []


def sample() -> dict[str, Any]:
    return image_part(data_url(PAGE, "image/jpeg"))


def test_lighton_04_streamed_text_is_the_whole_text(readers):
    whole = asked(readers["lighton"], sample(), temperature=0)["content"]
    has_words(whole)
    body = chat(sample(), temperature=0, stream=True)
    answer = http.post(readers["lighton"] + CHAT_PATH, json=body)
    frames = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert frames[-1] == "[DONE]"
    chunks = [json.loads(frame)["choices"][0]["delta"] for frame in frames[:-1]]
    assert "".join(chunk.get("content", "") for chunk in chunks) == whole


def test_lighton_06_words_without_an_image_get_one_plain_sentence(readers):
    for parts in ((text_part("Extract text"),), (text_part(""),)):
        answer = asked(readers["lighton"], *parts)
        assert "image" in answer["content"].lower()
        assert answer["content"].count(".") == 1
        assert answer["why"] == "stop"


def test_lighton_10_several_images_are_joined_by_a_blank_line(readers):
    base = readers["lighton"]
    one = asked(base, sample())
    two = asked(base, sample(), text_part("both"), sample())
    assert two["content"] == f"{one['content']}\n\n{one['content']}"


def test_lighton_14_max_tokens_cuts_and_counts(readers):
    answer = asked(readers["lighton"], sample(), max_tokens=8)
    assert (answer["why"], answer["completion_tokens"]) == ("length", 8)
    assert asked(readers["lighton"], sample(), max_tokens=-1)["why"] == "stop"


def test_lighton_honours_stop(readers):
    answer = asked(readers["lighton"], sample(), stop=["Okafor"])
    assert answer["content"].endswith("Dear Ms ")
    assert answer["why"] == "stop"


def test_a_page_without_words_is_an_answer_without_text(readers):
    assert asked(readers["lighton"], image_part(data_url(png(400, 300))))["content"].strip() == ""


def test_paddle_09_receipt_invoice_and_form_are_json_with_their_keys(readers):
    """Of a letter, too: what is absent is "" or 0."""
    base = readers["paddle"]
    receipt = read_json(base, "Extract receipt information as JSON")
    check_keys(receipt, RECEIPT)
    assert receipt["total"] == 0
    invoice = read_json(base, "Extract invoice data")
    check_keys(invoice, INVOICE)
    form = read_json(base, "fill-in form")
    assert list(form) == ["fields"]
    assert all(list(field) == ["label", "value"] for field in form["fields"])


def read_json(base: str, words: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(asked(base, text_part(words), sample())["content"])
    return read


def check_keys(read: dict[str, Any], keys: dict[str, Any]) -> None:
    assert list(read) == list(keys)
    for name, kind in keys.items():
        assert isinstance(read[name], kind), (name, read[name])


def test_paddle_reads_markdown_by_default_and_only_tables_where_asked(readers):
    has_words(asked(readers["paddle"], sample())["content"])
    tables = asked(readers["paddle"], text_part("Extract all tables"), sample())["content"]
    assert "Okafor" not in tables


def test_dots_13_layout_parses_to_an_array_of_blocks(readers):
    answer = http.post(f"{readers['dots']}/ocr", json={"image": data_url(PAGE)})
    assert answer.status_code == 200
    blocks = json.loads(answer.json()["response"])
    assert len(blocks) >= 3
    for block in blocks:
        left, top, right, bottom = block["bbox"]
        assert 0 <= left < right <= SIZE[0]
        assert 0 <= top < bottom <= SIZE[1]
        assert ("text" in block) is (block["category"] != "Picture")
    has_words(" ".join(block.get("text", "") for block in blocks))
    only = http.post(
        f"{readers['dots']}/ocr",
        json={"image": data_url(PAGE), "prompt_type": "prompt_layout_only_en"},
    )
    assert all(set(block) == {"bbox", "category"} for block in json.loads(only.json()["response"]))


def test_dots_reads_the_box_it_is_given(readers):
    body = {
        "image": b64(PAGE),
        "image_format": "base64",
        "prompt_type": "prompt_grounding_ocr",
    }
    boxed = http.post(f"{readers['dots']}/ocr", json={**body, "bbox": [40, 40, 500, 120]}).json()
    assert boxed["response"].strip().lstrip("# ") == "Harbour Library"
    has_words(http.post(f"{readers['dots']}/ocr", json=body).json()["response"])


def test_deepseek_prompts_read_text_boxes_and_places(readers):
    base = readers["deepseek"]

    def read(prompt: str) -> str:
        body = {"image_base64": b64(PAGE), "prompt": prompt}
        answer = http.post(f"{base}/ocr", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["text"])

    free = read("<image>\nFree OCR.")
    has_words(free)
    assert "<|det|>" not in free
    boxes = read("")
    has_words(boxes)
    found = re.findall(r"<\|ref\|>\w+<\|/ref\|><\|det\|>\[\[(.*?)\]\]<\|/det\|>", boxes)
    assert len(found) >= 3
    assert all(0 <= int(side) <= 999 for box in found for side in box.split(","))
    place = read("<image>\nLocate <|ref|>Port Ellis<|/ref|> in the image.")
    assert "<|det|>[[" in place
    streamed = http.post(
        f"{base}/ocr/stream", files=upload(PAGE), data={"prompt": "<image>\nFree OCR."}
    )
    events = streamed.text.removesuffix("\n\n").split("\n\n")
    assert events[-1] == "data: [DONE]"
    pieces = ["\n".join(line[6:] for line in event.split("\n")) for event in events[:-1]]
    assert "".join(pieces) == free


def test_chatvlm_tells_the_size_after_the_exif_turn(readers):
    exif = Image.Exif()
    exif[0x0112] = 6  # a camera held upright: turn it by 90 degrees
    turned = saved(top_of_the_sample().rotate(90, expand=True), "JPEG", quality=90, exif=exif)
    answer = http.post(f"{readers['chatvlm']}/ocr", files=upload(turned)).json()
    assert answer["image_size"] == list(SIZE)
    has_words(answer["text"])


def test_chatvlm_batch_reads_good_files_beside_bad_ones(readers):
    files = upload(PAGE, field="files") + upload(b"words", "notes.txt", field="files")
    body = http.post(f"{readers['chatvlm']}/batch/ocr", files=files).json()
    assert (body["successful"], body["failed"]) == (1, 1)
    has_words(body["results"][0]["text"])
