"""DotsOCR's format: where images come from, the order of checks, Flask's bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import InvalidRequest
from shared.http import Incoming
from shared.ocr import EncodedPage, Page, PathPage, Request, Task, UrlPage
from shared.wire import dots
from tests.shared.wire.samples import LIMITS, PNG_BASE64, PNG_URL, json_request

BAD_TYPE = (
    "Invalid prompt_type. Must be one of: ['prompt_layout_all_en', 'prompt_layout_only_en', "
    "'prompt_ocr', 'prompt_grounding_ocr']"
)


def read(body: object) -> dots.Call:
    return dots.read_ocr(json_request(body), LIMITS["dots"])


def ask(**fields: Any) -> Request:
    return read({"image": PNG_URL, **fields}).request


def error_of(incoming: Incoming) -> tuple[int, str]:
    with pytest.raises(InvalidRequest) as caught:
        dots.read_ocr(incoming, LIMITS["dots"])
    reply = dots.write_error(caught.value)
    return reply.status, json.loads(reply.body)["error"]


def test_the_defaults_are_the_documents():
    call = read({"image": "/path/to/image.jpg"})

    assert call.prompt_type == "prompt_layout_all_en"
    assert call.request.task is Task.LAYOUT
    assert call.request.pages == (PathPage("/path/to/image.jpg"),)
    sampling = call.request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0.1, 1.0, 12000)
    assert not call.request.stream


def test_null_is_the_default():
    names = ("image_format", "prompt_type", "temperature", "top_p", "max_new_tokens", "stream")

    assert read({"image": "a", **dict.fromkeys(names)}) == read({"image": "a"})


@pytest.mark.parametrize(
    ("image", "image_format", "page"),
    [
        (PNG_BASE64, "base64", EncodedPage(PNG_BASE64)),
        (PNG_URL, "base64", EncodedPage(PNG_URL)),
        (PNG_URL, None, EncodedPage(PNG_URL)),
        (PNG_URL, "path", EncodedPage(PNG_URL)),
        (PNG_URL, "url", EncodedPage(PNG_URL)),
        ("data:image/jpg;base64,AAAA", None, EncodedPage("data:image/jpg;base64,AAAA")),
        ("https://example.com/a.jpg", "url", UrlPage("https://example.com/a.jpg")),
        ("https://example.com/a.jpg", "path", UrlPage("https://example.com/a.jpg")),
        ("http://example.com/a.jpg", None, UrlPage("http://example.com/a.jpg")),
        ("page.png", None, PathPage("page.png")),
        ("file:///a/page.png", "path", PathPage("/a/page.png")),
        ("A" * 5000, None, EncodedPage("A" * 5000)),
    ],
)
def test_where_the_image_is(image: str, image_format: str | None, page: Page):
    """Cases 2, 3 and 4; a data URL works whatever `image_format` says."""
    assert ask(image=image, image_format=image_format).pages == (page,)


@pytest.mark.parametrize(
    ("prompt_type", "task"),
    [
        ("prompt_layout_all_en", Task.LAYOUT),
        ("prompt_layout_only_en", Task.LAYOUT_ONLY),
        ("prompt_ocr", Task.TEXT),
        ("prompt_grounding_ocr", Task.REGION),
    ],
)
def test_the_prompt_type_is_the_task(prompt_type: str, task: Task):
    assert ask(prompt_type=prompt_type).task is task


@pytest.mark.parametrize(
    ("bbox", "box"),
    [
        (None, None),
        ([1, 2, 30, 40], (1, 2, 30, 40)),
        ([1.4, 2.6, 30.0, 40.5], (1, 3, 30, 40)),
        (["1", "2", "30", "40"], (1, 2, 30, 40)),
    ],
)
def test_a_region_is_a_box_or_the_whole_page(bbox: object, box: object):
    assert ask(prompt_type="prompt_grounding_ocr", bbox=bbox).box == box


def test_a_box_is_for_a_region_alone():
    assert ask(prompt_type="prompt_ocr", bbox=[1, 2, 3, 4]).box is None


@pytest.mark.parametrize("stream", [True, 1, "true", "1"], ids=repr)
def test_a_stream_is_wanted(stream: object):
    assert ask(stream=stream).stream


@pytest.mark.parametrize(
    "body", [b"", b" ", b"{}", b" { } ", b"null", b"[]", b"0", b'""', b"false"]
)
def test_no_data(body: bytes):
    """Case 5, and row 4 of the original's checks."""
    assert error_of(json_request(body)) == (400, "No JSON data provided")


@pytest.mark.parametrize("body", [{"image_format": "base64"}, {"image": ""}, {"image": None}])
def test_no_image(body: object):
    """Case 6."""
    assert error_of(json_request(body)) == (400, "No image data provided")


@pytest.mark.parametrize("prompt_type", ["", "ocr", "prompt_OCR"])
def test_an_unknown_prompt_type(prompt_type: str):
    """Case 7: the exact words."""
    body = {"image": "a", "prompt_type": prompt_type, "image_format": "xyz"}

    assert error_of(json_request(body)) == (400, BAD_TYPE)


def test_checks_come_in_the_originals_order():
    assert error_of(json_request({"prompt_type": "x"})) == (400, "No image data provided")
    assert error_of(json_request({"image": "a", "prompt_type": "x"})) == (400, BAD_TYPE)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_format": "xyz"}, "Unsupported image format: xyz"),
        ({"image": "a.png", "image_format": "url"}, "A url must begin with http:// or https://"),
        ({"image": 5}, "`$.image`"),
        ({"image": ["a"]}, "`$.image`"),
        ({"temperature": "hot"}, "`$.temperature`"),
        ({"temperature": 2.5}, "temperature must be between 0 and 2"),
        ({"top_p": 1.1}, "top_p must be between 0 and 1"),
        ({"max_new_tokens": 0}, "max_new_tokens must be between 1"),
        ({"max_new_tokens": 1.5}, "`$.max_new_tokens`"),
        ({"stream": "maybe"}, "`$.stream`"),
        ({"prompt_type": 5}, "`$.prompt_type`"),
        ({"bbox": [1, 2, 3]}, "`$.bbox`"),
        ({"bbox": "1,2,3,4"}, "`$.bbox`"),
        ({"prompt_type": "prompt_grounding_ocr", "bbox": [5, 2, 3, 4]}, "x1 < x2"),
        ({"prompt_type": "prompt_grounding_ocr", "bbox": [1, 4, 3, 4]}, "y1 < y2"),
        ({"prompt_type": "prompt_grounding_ocr", "bbox": [-1, 2, 3, 4]}, "bbox must be between"),
        ({"prompt_type": "prompt_grounding_ocr", "bbox": [0, 0, 1e300, 4]}, "bbox must be between"),
    ],
)
def test_bad_input_is_400_and_says_why(fields: dict[str, Any], message: str):
    """Case 14 among others."""
    status, error = error_of(json_request({"image": PNG_URL, **fields}))

    assert status == 400
    assert message in error


def test_broken_json_lists_and_other_types_are_400_in_the_formats_shape():
    """Case 12, and rows 2, 3 and 5: the original answered HTML there."""
    plain = Incoming(headers={"content-type": "text/plain"}, body=b'{"image":"a"}')

    assert error_of(plain)[0] == 400
    assert error_of(json_request(b"{nope"))[0] == 400
    assert error_of(json_request(b"nope"))[0] == 400
    assert error_of(json_request([1]))[0] == 400
    assert error_of(json_request("text longer than sixteen bytes"))[0] == 400


def test_json_without_a_type_is_read():
    incoming = Incoming(body=b'{"image":"a"}')

    assert dots.read_ocr(incoming, LIMITS["dots"]).request.pages == (PathPage("a"),)
