"""dots.ocr's service over a real socket: the numbered compatibility cases of its wire facts and the
contract's decisions. Where the two differ the contract wins, and the test says so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import aiohttp
import httpx
import pytest

from tests.samples import (
    DOTS,
    MIB,
    PAGE,
    TELL,
    b64,
    broken_lines,
    data_url,
    hosted,
    http,
    message_of,
    padded,
    picture,
    png,
)
from tests.serving import served

PROMPT_TYPES = [
    "prompt_layout_all_en",
    "prompt_layout_only_en",
    "prompt_ocr",
    "prompt_grounding_ocr",
]
TALK = '{"text": "einß zwei drei", "pieces": 3}'


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    """A service that says three words, one of them not ASCII."""
    with served("dots", OCR_FLEET_FAKE=TALK) as url:
        yield url


@pytest.fixture(scope="module")
def teller() -> Iterator[str]:
    """A service that says what its engine was asked."""
    with served("dots", OCR_FLEET_FAKE=TELL) as url:
        yield url


def post(base: str, body: object) -> httpx.Response:
    return http.post(f"{base}/ocr", json=body)


def told(base: str, **body: object) -> dict:
    """What the engine was asked."""
    answer = post(base, {**DOTS, **body})
    assert answer.status_code == 200, answer.text
    return json.loads(answer.json()["response"])


def refused(answer: httpx.Response, status: int = 400) -> str:
    assert answer.status_code == status, answer.text
    assert answer.content.endswith(b"}\n")
    return message_of("dots", answer)


# ---- the numbered cases


def test_case_01_health(base):
    answer = http.get(f"{base}/health")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.content == b'{"model_loaded":true,"status":"healthy"}\n'


def test_case_02_the_documents_base64_case(base):
    answer = post(base, {"image": PAGE, "image_format": "base64", "prompt_type": "prompt_ocr"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.content == (
        b'{"model":"dots-ocr","prompt_type":"prompt_ocr","response":"ein\\u00df zwei drei"}\n'
    )


@pytest.mark.parametrize("image_format", ["", "path", "url", "base64"])
def test_case_03_a_data_url_works_whatever_the_format_says(base, image_format):
    body = {"image": data_url(png(), "image/jpg"), "image_format": image_format}
    assert post(base, {k: v for k, v in body.items() if v}).status_code == 200


def test_case_04_paths_are_read_inside_the_folders_alone(tmp_path):
    """The original reads any file, and answers 500 where there is none; the contract has 400."""
    (tmp_path / "page.png").write_bytes(png())
    (tmp_path / "out").symlink_to("/etc")
    settings: dict[str, Any] = {"OCR_FLEET_FAKE": TALK, "OCR_FLEET_IMAGE_FOLDERS": str(tmp_path)}
    with served("dots", **settings) as base:
        page = str(tmp_path / "page.png")
        assert post(base, {"image": page, "image_format": "path"}).status_code == 200
        assert post(base, {"image": page}).status_code == 200
        assert post(base, {"image": f"file://{page}"}).status_code == 200
        missing = str(tmp_path / "none.jpg")
        assert refused(post(base, {"image": missing})) == (
            f"[Errno 2] No such file or directory: '{missing}'"
        )
        for outside in (
            "/etc/passwd",
            f"{tmp_path}/../x.png",
            f"{tmp_path}/out/passwd",
            "file:///etc/passwd",
            "page.png",
            "a\0b",
            PAGE,
        ):
            refused(post(base, {"image": outside}))
        refused(post(base, {"image": str(tmp_path)}))
        for path in (page, f"file://{page}"):
            refused(post(base, {"image": path, "image_format": "url"}))


@pytest.mark.parametrize("body", [b"{}", b"null", b"[]", b"0", b'""', b"false", b"", b" \n"])
def test_case_05_no_data(base, body):
    headers = {"content-type": "application/json"}
    answer = http.post(f"{base}/ocr", content=body, headers=headers)
    assert (answer.status_code, answer.content) == (400, b'{"error":"No JSON data provided"}\n')


@pytest.mark.parametrize("image", [{}, {"image": None}, {"image": ""}])
def test_case_06_no_image(base, image):
    answer = post(base, {"image_format": "base64", **image})
    assert (answer.status_code, answer.content) == (400, b'{"error":"No image data provided"}\n')


@pytest.mark.parametrize("prompt_type", ["prompt_poem", "", "PROMPT_OCR"])
def test_case_07_an_unknown_prompt_type(base, prompt_type):
    message = refused(post(base, {**DOTS, "prompt_type": prompt_type}))
    assert message == f"Invalid prompt_type. Must be one of: {PROMPT_TYPES}"


def test_case_08_a_stream_is_lines_of_json(base):
    whole = post(base, DOTS).json()["response"]
    answer = post(base, {**DOTS, "stream": True})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert answer.content.endswith(b"\n")
    assert answer.content.isascii()
    lines = answer.content.decode().splitlines()
    read = [json.loads(line) for line in lines]
    assert all(list(line) == ["model", "created_at", "response", "done"] for line in read)
    assert [line["done"] for line in read] == [False, False, False, True]
    assert read[-1]["response"] == ""
    assert "".join(line["response"] for line in read) == whole
    for raw, line in zip(lines, read, strict=True):
        made = datetime.strptime(line["created_at"], "%Y-%m-%dT%H:%M:%S.%f")  # noqa: DTZ007 - the format has no zone
        assert abs((datetime.now() - made).total_seconds()) < 60  # noqa: DTZ005 - local time
        assert raw == json.dumps(line)


async def test_case_09_a_second_request_while_one_runs_is_429():
    """Streams hold the slot too, other than in the original."""
    for stream in (False, True):
        with served("dots", OCR_FLEET_FAKE='{"text": "a b", "hang_after": 1}') as base:
            async with aiohttp.ClientSession() as session:
                body = {**DOTS, "stream": stream}
                first = asyncio.create_task(session.post(f"{base}/ocr", json=body))
                await until_busy(session, base)
                async with session.post(f"{base}/ocr", json=DOTS) as answer:
                    assert answer.status == 429
                    assert await answer.read() == (
                        b'{"error":"Server is busy processing another request"}\n'
                    )
                    assert int(answer.headers["retry-after"]) >= 1
                async with session.post(f"{base}/ocr", json={**DOTS, "stream": True}) as answer:
                    assert answer.status == 429
                async with session.post(f"{base}/ocr", json={**DOTS, "image": ""}) as answer:
                    assert answer.status == 400
                async with session.post(f"{base}/ocr", json={**DOTS, "image": "AAAA"}) as answer:
                    assert answer.status == 400
                if stream:
                    (await first).close()
                else:
                    first.cancel()
                    await asyncio.gather(first, return_exceptions=True)


async def until_busy(session: aiohttp.ClientSession, base: str) -> None:
    async with asyncio.timeout(5):
        while True:
            async with session.get(f"{base}/metrics") as answer:
                if 'in_flight{service="dots"} 1.0' in await answer.text():
                    return


@pytest.mark.parametrize("stream", [False, True])
def test_case_10_bad_base64_is_400_streamed_or_not(base, stream):
    """The original answers 500."""
    for image in ("@@@@", "ä", "data:image/png;base64", "data:image/png;base64,"):
        refused(post(base, {**DOTS, "image": image, "stream": stream}))


@pytest.mark.parametrize("stream", [False, True])
def test_case_11_not_an_image_is_400_streamed_or_not(base, stream):
    """The original answers 500, or 200 and an error line; before the first text the status is
    still free to tell."""
    for data in (b"words", b"%PDF-1.7", b"<svg/>"):
        refused(post(base, {**DOTS, "image": b64(data), "stream": stream}))


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_case_12_a_wrong_content_type_is_400_not_an_html_415(base, media_type):
    answer = http.post(
        f"{base}/ocr", content=json.dumps(DOTS), headers={"content-type": media_type}
    )
    assert "application/json" in refused(answer)
    answer = http.post(f"{base}/ocr", files={"file": png()})
    assert "application/json" in refused(answer)


def test_case_13_layout_is_an_array_of_blocks():
    """What the embedded engine writes is tested with it; here the wire hands it on untouched."""
    cells = '[{"bbox": [1, 2, 3, 4], "category": "Text", "text": "ä"}]'
    with served("dots", OCR_FLEET_FAKE=json.dumps({"text": cells})) as base:
        answer = post(base, {"image": PAGE, "image_format": "base64"})
        assert answer.json()["prompt_type"] == "prompt_layout_all_en"
        assert json.loads(answer.json()["response"]) == json.loads(cells)


def test_case_14_an_unknown_image_format_is_400(base):
    """The original answers 500; the document has 400 for parameters."""
    answer = post(base, {**DOTS, "image_format": "xyz"})
    assert refused(answer) == "Unsupported image format: xyz"


def test_case_15_a_small_max_new_tokens_cuts_the_answer(base):
    answer = post(base, {**DOTS, "max_new_tokens": 2})
    assert answer.json() == {
        "model": "dots-ocr",
        "prompt_type": "prompt_ocr",
        "response": "einß zwei",
    }


# ---- the contract


def test_defaults_and_what_the_client_says_reach_the_engine(teller):
    request = json.loads(post(teller, {"image": PAGE, "image_format": "base64"}).json()["response"])
    sampling = request["sampling"]
    assert request["task"] == "layout"
    assert (sampling["temperature"], sampling["top_p"]) == (0.1, 1.0)
    assert sampling["max_tokens"] == 12000
    more = {"temperature": 2, "top_p": 0.5, "max_new_tokens": 24000}
    sampling = told(teller, **more)["sampling"]
    assert (sampling["temperature"], sampling["top_p"], sampling["max_tokens"]) == (2, 0.5, 24000)
    sampling = told(teller, temperature=None, top_p=None, max_new_tokens=None)["sampling"]
    assert (sampling["temperature"], sampling["max_tokens"]) == (0.1, 12000)
    assert told(teller, max_new_tokens="77")["sampling"]["max_tokens"] == 77


@pytest.mark.parametrize(
    ("prompt_type", "task"),
    list(zip(PROMPT_TYPES, ["layout", "layout_only", "text", "region"], strict=True)),
)
def test_prompt_types(teller, prompt_type, task):
    assert told(teller, prompt_type=prompt_type)["task"] == task


def test_grounding_takes_an_optional_box(teller):
    grounding = {"prompt_type": "prompt_grounding_ocr"}
    assert told(teller, **grounding)["box"] is None
    assert told(teller, **grounding, bbox=[1, 2, 30, 18])["box"] == [1, 2, 30, 18]
    for bbox in ([1, 2, 3], [30, 2, 1, 18], [-1, 2, 30, 18], ["a", 2, 30, 18], "1,2,30,18"):
        refused(post(teller, {**DOTS, **grounding, "bbox": bbox}))


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": 2.1},
        {"temperature": -0.1},
        {"temperature": "warm"},
        {"top_p": 1.1},
        {"top_p": -0.1},
        {"max_new_tokens": 0},
        {"max_new_tokens": -1},
        {"max_new_tokens": "many"},
        {"stream": "perhaps"},
        {"image": 5},
        {"image": ["a"]},
        {"prompt_type": 5},
        {"image_format": 5},
    ],
)
def test_wrong_types_and_values_out_of_range(base, more):
    refused(post(base, {**DOTS, **more}))


@pytest.mark.parametrize("body", [b"[1]", b'"text"', b"5", b"{'a': 1}", b"{", b"true"])
def test_json_that_is_no_object(base, body):
    headers = {"content-type": "application/json"}
    refused(http.post(f"{base}/ocr", content=body, headers=headers))


def test_base64_with_line_breaks_and_no_content_type(base):
    raw = json.dumps({**DOTS, "image": "HERE"})
    body = raw.replace("HERE", broken_lines(picture(300, 200, "BMP"))).encode()
    assert body.count(b"\n") > 100
    for headers in ({}, {"content-type": "application/vnd.api+json"}):
        assert http.post(f"{base}/ocr", content=body, headers=headers).status_code == 200


def test_a_long_image_without_a_format_is_base64(base):
    assert post(base, {"image": b64(picture(300, 200, "BMP"))}).status_code == 200


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
def test_every_image_type_is_taken(base, kind):
    assert post(base, {**DOTS, "image": b64(picture(40, 20, kind))}).status_code == 200


def test_a_url_is_fetched_where_that_is_allowed():
    with hosted(png()) as site:
        body = {"image": f"{site}/page.png", "image_format": "url"}
        with served("dots", OCR_FLEET_FAKE=TALK) as base:
            assert "not a public address" in refused(post(base, body))
        settings: dict[str, Any] = {"OCR_FLEET_FAKE": TALK, "OCR_FLEET_ALLOW_PRIVATE_URLS": "true"}
        with served("dots", **settings) as base:
            assert post(base, body).status_code == 200
            assert post(base, {"image": body["image"]}).status_code == 200
            assert "404" in refused(post(base, {**body, "image": f"{site}/nope"}))


def test_32_mebibytes_are_read_and_one_byte_more_is_400(base):
    assert post(base, {**DOTS, "image": b64(padded(32 * MIB))}).status_code == 200
    refused(post(base, {**DOTS, "image": b64(padded(32 * MIB + 1))}))


def test_a_stream_that_breaks_ends_with_its_error():
    script = '{"text": "a b", "pieces": 2, "fail_after": 1}'
    with served("dots", OCR_FLEET_FAKE=script) as base:
        answer = post(base, {**DOTS, "stream": True})
        assert answer.status_code == 200
        first, last = answer.text.splitlines()
        assert json.loads(first)["response"] == "a"
        assert last == (
            '{"model": "dots-ocr", "error": "the script says to fail here", "done": true}'
        )
        whole = post(base, DOTS)
        assert (whole.status_code, whole.json()) == (
            500,
            {"error": "the script says to fail here"},
        )


def test_more_slots_are_a_setting():
    settings: dict[str, Any] = {"OCR_FLEET_FAKE": TALK, "OCR_FLEET_DOTS_SLOTS": "2"}
    with served("dots", **settings) as base:
        assert post(base, DOTS).status_code == 200


def test_unknown_route_and_wrong_method(base):
    answer = http.get(f"{base}/nope")
    assert (answer.status_code, answer.content) == (404, b'{"error":"Not Found"}\n')
    answer = http.get(f"{base}/ocr")
    assert (answer.status_code, answer.content) == (405, b'{"error":"Method Not Allowed"}\n')
    assert "POST" in answer.headers["allow"]
    assert http.head(f"{base}/health").status_code == 200


def test_a_model_that_is_still_loading_is_500_before_the_body_is_looked_at():
    with served("dots", ready=False, OCR_FLEET_FAKE='{"load_s": 30}') as base:
        assert http.get(f"{base}/health").json() == {"status": "healthy", "model_loaded": False}
        for body in (DOTS, {}):
            answer = post(base, body)
            assert (answer.status_code, answer.content) == (500, b'{"error":"Model not loaded"}\n')
