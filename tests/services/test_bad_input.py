"""What no service can use, in every way a page can come in: each answers its documented status in
its own shape, never HTML and never a stack trace, and answers the next good request.

How soon it does is the benchmark's to measure (`tests/bench/badinput.py`).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.samples import (
    CHAT_PATH,
    DOTS,
    MIB,
    PAGE,
    SERVICES,
    ask,
    b64,
    bomb,
    chat,
    data_url,
    http,
    huge_header,
    image_part,
    message_of,
    noisy,
    picture,
    png,
    truncated,
    upload,
)
from tests.serving import served

ANSWER_S_MAX = 10.0
JSON = {"content-type": "application/json"}


class Fleet:
    """Services by name, started when first asked for."""

    def __init__(self, stack: ExitStack, engine: str, **settings: Any) -> None:
        self._stack = stack
        self._engine = engine
        self._settings = settings
        self._bases: dict[str, str] = {}

    def base(self, service: str) -> str:
        if service not in self._bases:
            one = served(service, self._engine, **self._settings)
            self._bases[service] = self._stack.enter_context(one)
        return self._bases[service]

    def post(self, service: str, path: str, **request: Any) -> httpx.Response:
        return http.post(self.base(service) + path, **request)

    def answers(self, service: str) -> None:
        """It still answers a good request."""
        answer = ask(self.base(service), service)
        assert answer.status_code == 200, answer.text
        assert http.get(f"{self.base(service)}/health").status_code == 200


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """All services, with the fake engine."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("pages")
        yield Fleet(stack, "fake", OCR_FLEET_IMAGE_FOLDERS=str(folder))


@pytest.fixture(scope="module")
def reading_fleet() -> Iterator[Fleet]:
    """All services, with the engine that looks at pixels."""
    pytest.importorskip("rapidocr")
    with ExitStack() as stack:
        yield Fleet(stack, "embedded", OCR_FLEET_THREADS="1")


def refused(service: str, answer: httpx.Response, status: int = 400) -> str:
    assert answer.status_code == status, answer.text[:500]
    assert len(answer.content) < 10_000
    return message_of(service, answer)


# ---- bad pages, by every way in

Way = Callable[[bytes], dict[str, Any]]


def as_chat(**more: Any) -> Way:
    return lambda data: {"json": chat(image_part(data_url(data)), **more)}


def as_file(field: str = "file", **fields: str) -> Way:
    return lambda data: {"files": upload(data, field=field), "data": fields}


WAYS: dict[tuple[str, str], tuple[str, Way]] = {
    ("lighton", "whole"): (CHAT_PATH, as_chat()),
    ("lighton", "streamed"): (CHAT_PATH, as_chat(stream=True)),
    ("paddle", "whole"): (CHAT_PATH, as_chat()),
    ("dots", "whole"): ("/ocr", lambda data: {"json": {**DOTS, "image": b64(data)}}),
    ("dots", "streamed"): (
        "/ocr",
        lambda data: {"json": {**DOTS, "image": data_url(data), "stream": True}},
    ),
    ("deepseek", "base64"): ("/ocr", lambda data: {"json": {"image_base64": b64(data)}}),
    ("deepseek", "file"): ("/ocr/file", as_file()),
    ("deepseek", "streamed"): ("/ocr/stream", as_file()),
    ("chatvlm", "ocr"): ("/ocr", as_file()),
    ("chatvlm", "chat"): ("/chat", as_file(prompt="What?")),
}
BATCHES: dict[str, tuple[str, Way]] = {
    "deepseek": (
        "/ocr/batch",
        lambda data: {"json": {"requests": [{"image_base64": b64(data)}, {"image_base64": PAGE}]}},
    ),
    "chatvlm": (
        "/batch/ocr",
        lambda data: {"files": upload(data, field="files") + upload(field="files")},
    ),
}

PAGES: dict[str, tuple[Callable[[], bytes], bool]] = {
    "words": (lambda: b"only words\n" * 20, False),
    "pdf": (lambda: b"%PDF-1.7\n" + bytes(500), False),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", False),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", False),
    "empty": (lambda: b"", False),
    "one byte": (lambda: b"\x89", False),
    "a head alone": (lambda: png()[:20], False),
    "PNG bomb": (bomb, True),
    "a head of gigapixels": (huge_header, True),
    "11 MiB of rubbish": (lambda: bytes(11 * MIB), False),
}
"""What is wrong, the file, and whether it is wrong for its size."""

HAS_413 = {"lighton", "chatvlm"}
"""Where a page that is too large has a status of its own."""


@pytest.mark.parametrize("what", PAGES)
@pytest.mark.parametrize(("service", "way"), WAYS)
def test_a_bad_page(fleet, service, way, what):
    make, too_large = PAGES[what]
    path, request = WAYS[service, way]
    if service == "lighton" and what.startswith("11 MiB"):
        too_large = True  # 10 MiB there
    answer = fleet.post(service, path, **request(make()))
    refused(service, answer, 413 if too_large and service in HAS_413 else 400)
    fleet.answers(service)


@pytest.mark.parametrize("what", PAGES)
@pytest.mark.parametrize("service", BATCHES)
def test_a_bad_page_in_a_batch_is_its_own_error(fleet, service, what):
    path, request = BATCHES[service]
    answer = fleet.post(service, path, **request(PAGES[what][0]()))
    assert answer.status_code == 200, answer.text
    bad, good = answer.json()["results"]
    assert bad["status"].startswith("error")
    assert good["status"] == "success"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(("service", "way"), WAYS)
def test_a_truncated_page(reading_fleet, service, way, kind):
    """Its head is fine: only an engine that decodes its pixels can tell."""
    path, request = WAYS[service, way]
    answer = reading_fleet.post(service, path, **request(truncated(kind)))
    message = refused(service, answer)
    assert "truncated" in message or service == "lighton"


@pytest.mark.parametrize("service", BATCHES)
def test_a_truncated_page_in_a_batch(reading_fleet, service):
    path, request = BATCHES[service]
    bad, good = reading_fleet.post(service, path, **request(truncated("PNG"))).json()["results"]
    assert "truncated" in bad["status"] + bad.get("error", "")
    assert good["status"] == "success"


def test_odd_but_whole_pages_are_read(reading_fleet):
    """One pixel, 16-bit grey, transparency, CMYK: strange, not broken."""
    path, request = WAYS["dots", "whole"]
    for page in (
        picture(1, 1),
        picture(50, 40, "PNG", "I;16"),
        picture(50, 40, "PNG", "LA"),
        picture(50, 40, "PNG", "1"),
        picture(50, 40, "JPEG", "CMYK"),
        noisy("GIF"),
    ):
        answer = reading_fleet.post("dots", path, **request(page))
        assert answer.status_code == 200, answer.text


# ---- bad bodies

JSON_ROUTES = [
    ("lighton", CHAT_PATH),
    ("paddle", CHAT_PATH),
    ("dots", "/ocr"),
    ("deepseek", "/ocr"),
    ("deepseek", "/ocr/batch"),
]
FORM_ROUTES = [
    ("deepseek", "/ocr/file"),
    ("deepseek", "/ocr/stream"),
    ("chatvlm", "/ocr"),
    ("chatvlm", "/chat"),
    ("chatvlm", "/batch/ocr"),
]
NESTED = b"[" * 10_000
NO_JSON: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n\t ",
    "Python": b"{'a': 1}",
    "cut": b'{"messages": [',
    "more after it": b"{} {}",
    "a list": b"[]",
    "a number": b"5",
    "a text": b'"text"',
    "null": b"null",
    "XML": b"<?xml version='1.0'?><a/>",
    "not UTF-8": b'{"prompt": "\xff\xfe"}',
    "a lone surrogate": b'{"image": "\\ud800", "image_base64": "\\ud800", "messages": "\\ud800"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "NUL": b"\0" * 100,
    "NaN": b'{"temperature": NaN, "requests": NaN}',
    "Infinity": b'{"temperature": -Infinity, "requests": Infinity}',
    "deep": NESTED,
    "deep and closed": NESTED + b"]" * 10_000,
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "deep in an unknown field": b'{"x":' + NESTED + b"]" * 10_000 + b"}",
    "deep in a known field": b"".join(
        b'%s"%s":%s' % (b"{" if not at else b",", name, NESTED + b"]" * 10_000)
        for at, name in enumerate((b"messages", b"image", b"image_base64", b"requests", b"tools"))
    )
    + b"}",
    "a number of a million digits": b'{"max_tokens": ' + b"9" * 1_000_000 + b"}",
    "many keys": json.dumps({f"key{number}": number for number in range(50_000)}).encode(),
}


@pytest.mark.parametrize("what", NO_JSON)
@pytest.mark.parametrize(("service", "path"), JSON_ROUTES)
def test_a_body_that_is_not_the_documented_json(fleet, service, path, what):
    answer = fleet.post(service, path, content=NO_JSON[what], headers=JSON)
    refused(service, answer)
    fleet.answers(service)


@pytest.mark.parametrize(
    "more",
    [
        b'"temperature": NaN',
        b'"temperature": 1e999',
        b'"temperature": -1e-1',
        b'"temperature": "nan"',
        b'"temperature": "inf"',
        b'"temperature": [0.1]',
        b'"temperature": {"a": 1}',
        b'"TOKENS": 0',
        b'"TOKENS": -5',
        b'"TOKENS": 1e400',
        b'"TOKENS": 99999999999999999999999999',
        b'"TOKENS": "99999999999999999999999999"',
        b'"TOKENS": 1.5',
        b'"TOKENS": true',
        b'"TOKENS": "many"',
    ],
)
@pytest.mark.parametrize("service", ["lighton", "paddle", "dots", "deepseek"])
def test_values_that_are_no_numbers_or_out_of_range(fleet, service, more):
    path, body = {
        "lighton": (CHAT_PATH, chat()),
        "paddle": (CHAT_PATH, chat()),
        "dots": ("/ocr", DOTS),
        "deepseek": ("/ocr", {"image_base64": PAGE}),
    }[service]
    tokens = b"max_new_tokens" if service == "dots" else b"max_tokens"
    content = json.dumps(body).encode()[:-1] + b", " + more.replace(b"TOKENS", tokens) + b"}"
    refused(service, fleet.post(service, path, content=content, headers=JSON))


def test_numbers_that_only_look_dangerous_are_no_failure(fleet):
    """A seed of any size, an unknown field of any number."""
    for more in (b'"seed": 18446744073709551616', b'"seed": -1', b'"x": 1e400', b'"x": -0.0'):
        content = json.dumps(chat()).encode()[:-1] + b", " + more + b"}"
        answer = fleet.post("lighton", CHAT_PATH, content=content, headers=JSON)
        assert answer.status_code in {200, 400}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", "nan"),
        ("temperature", "inf"),
        ("temperature", "1e999"),
        ("temperature", "warm"),
        ("temperature", "[]"),
        ("max_tokens", "0"),
        ("max_tokens", "-1"),
        ("max_tokens", "9" * 30),
        ("max_tokens", "1.5"),
        ("max_tokens", "\x00"),
    ],
)
@pytest.mark.parametrize("where", ["data", "params"])
@pytest.mark.parametrize(("service", "path"), FORM_ROUTES)
def test_values_of_forms_and_queries(fleet, service, path, where, field, value):
    name = "files" if path == "/batch/ocr" else "file"
    said = {field: value, "prompt": "What?"}
    answer = fleet.post(service, path, files=upload(field=name), **{where: said})
    assert field in refused(service, answer)


FORM = "multipart/form-data; boundary=b"
HEAD = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
NO_FORM: dict[str, tuple[str | None, bytes]] = {
    "empty": (None, b""),
    "empty form": (FORM, b"--b--\r\n"),
    "no body": (FORM, b""),
    "no boundary": ("multipart/form-data", HEAD + png() + b"\r\n--b--\r\n"),
    "another boundary": ("multipart/form-data; boundary=c", HEAD + png() + b"\r\n--b--\r\n"),
    "cut": (FORM, HEAD + png()),
    "cut in a head": (FORM, HEAD[:30]),
    "no disposition": (FORM, b"--b\r\n\r\n" + png() + b"\r\n--b--\r\n"),
    "JSON": ("application/json", b'{"file": "x"}'),
    "text": ("text/plain", b"x"),
    "the file alone": ("image/png", png()),
    "urlencoded": ("application/x-www-form-urlencoded", b"file=x&prompt=y"),
    "text for the file": (
        FORM,
        b'--b\r\ncontent-disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n',
    ),
    "not UTF-8": (
        FORM,
        b'--b\r\ncontent-disposition: form-data; name="prompt"\r\n\r\n\xff\xfe\r\n--b--\r\n',
    ),
    "2,000 parts": (
        FORM,
        b'--b\r\ncontent-disposition: form-data; name="x"\r\n\r\n1\r\n' * 2000 + b"--b--\r\n",
    ),
    "a head of 100 KB": (FORM, b"--b\r\nx-long: " + b"x" * 100_000 + b"\r\n\r\n1\r\n--b--\r\n"),
}


@pytest.mark.parametrize("what", NO_FORM)
@pytest.mark.parametrize(("service", "path"), FORM_ROUTES)
def test_a_body_that_is_not_the_documented_form(fleet, service, path, what):
    media_type, body = NO_FORM[what]
    headers = {} if media_type is None else {"content-type": media_type}
    refused(service, fleet.post(service, path, content=body, headers=headers))
    fleet.answers(service)


def test_of_two_files_the_last_is_read(fleet):
    """As every form library has it for a field that takes one."""
    for service, path in (("deepseek", "/ocr/file"), ("chatvlm", "/ocr")):
        bad, good = upload(b"words", "a.txt"), upload()
        assert fleet.post(service, path, files=bad + good).status_code == 200
        refused(service, fleet.post(service, path, files=good + bad))


@pytest.mark.parametrize(("service", "path"), JSON_ROUTES)
@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "image/png", "json"])
def test_a_wrong_content_type(fleet, service, path, media_type):
    body = b'{"requests": []}'
    answer = fleet.post(service, path, content=body, headers={"content-type": media_type})
    assert "Content-Type" in refused(service, answer)


def test_batches_of_101(fleet):
    item = {"image_base64": PAGE}
    answer = fleet.post("deepseek", "/ocr/batch", json={"requests": [item] * 101})
    assert refused("deepseek", answer) == "Maximum 100 requests per batch"
    files = upload(field="files") * 101
    assert "100" in refused("chatvlm", fleet.post("chatvlm", "/batch/ocr", files=files))
    images = [image_part()] * 101
    assert "100" in refused("lighton", fleet.post("lighton", CHAT_PATH, json=chat(*images)))


# ---- places that are not for clients

PRIVATE = [
    "http://127.0.0.1:1/a.png",
    "http://0x7f000001/a.png",
    "http://localhost:1/a.png",
    "http://[::1]/a.png",
    "http://[::ffff:127.0.0.1]/a.png",
    "http://0.0.0.0/a.png",
    "http://10.0.0.1/a.png",
    "http://192.168.1.1/a.png",
    "http://172.16.0.1/a.png",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.64.0.1/a.png",
    "http://[fe80::1]/a.png",
    "http://[fc00::1]/a.png",
    "http://user:secret@127.0.0.1/a.png",
]
BROKEN_URLS = [
    "http://127.1/a.png",
    "http://2130706433/a.png",
    "http://",
    "http://[",
    "http://a b/c",
    "https://:443/a",
    "http://127.0.0.1:99999/a",
    "http://127.0.0.1:x/a",
    "http://" + "a" * 5000 + "/",
    "http://a\0b/",
]


@pytest.mark.parametrize("url", PRIVATE + BROKEN_URLS)
@pytest.mark.parametrize("service", ["lighton", "paddle", "dots"])
def test_urls_that_are_not_fetched(fleet, service, url):
    if service == "dots":
        answer = fleet.post(service, "/ocr", json={**DOTS, "image": url, "image_format": "url"})
    else:
        answer = fleet.post(service, CHAT_PATH, json=chat(image_part(url)))
    message = refused(service, answer)
    assert "secret" not in message
    if url in PRIVATE:
        assert "not a public address" in message


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../etc/passwd", "/proc/self/environ", "/dev/zero", "~/x", "\0", "."]
)
def test_paths_outside_the_folders(fleet, path):
    for image in (path, f"file://{path}"):
        refused("dots", fleet.post("dots", "/ocr", json={"image": image, "image_format": "path"}))


@pytest.mark.parametrize("service", ["lighton", "paddle", "deepseek"])
def test_no_other_service_reads_files(fleet, service):
    for name in ("file:///etc/passwd", "/etc/passwd", "/etc/hostname"):
        body = {"image_base64": name} if service == "deepseek" else chat(image_part(name))
        path = "/ocr" if service == "deepseek" else CHAT_PATH
        assert "root:" not in refused(service, fleet.post(service, path, json=body))


# ---- routes and the protocol


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "path", ["/nope", "/%00", "/%ff", "/..%2f..%2fetc/passwd", "/v1/nope", "/docs/x"]
)
def test_an_unknown_route(fleet, service, path):
    for method in ("GET", "POST"):
        answer = http.request(method, fleet.base(service) + path)
        refused(service, answer, 404)


@pytest.mark.parametrize("service", SERVICES)
def test_a_wrong_method(fleet, service):
    path = CHAT_PATH if service in {"lighton", "paddle"} else "/ocr"
    for method in ("GET", "PUT", "PATCH", "DELETE", "TRACE", "BREW"):
        answer = http.request(method, fleet.base(service) + path)
        if method == "BREW":  # the parser knows no such method and answers by itself
            assert answer.status_code in {400, 405}
            continue
        refused(service, answer, 405)
        assert "POST" in answer.headers["allow"]
    for path in ("/health", "/livez", "/metrics"):
        answer = fleet.post(service, path)
        refused(service, answer, 405)
        assert "GET" in answer.headers["allow"]


def raw(base: str, data: bytes, *, close: bool = False) -> bytes:
    """Send bytes as they are, perhaps no more after them; all that comes back."""
    parts = urlsplit(base)
    with socket.create_connection((parts.hostname, parts.port), timeout=ANSWER_S_MAX) as sock:
        sock.sendall(data)
        if close:
            sock.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
        return answer


@pytest.mark.parametrize("service", SERVICES)
def test_a_content_length_that_lies(fleet, service):
    """Too short cuts the body; too long waits until the client is gone."""
    path, body = (CHAT_PATH, chat()) if service in {"lighton", "paddle"} else ("/ocr", DOTS)
    content = json.dumps(body).encode()

    def head(length: int) -> bytes:
        lines = [
            f"POST {path} HTTP/1.1",
            "host: x",
            "connection: close",
            "content-type: application/json",
            f"content-length: {length}",
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    base = fleet.base(service)
    short = raw(base, head(10) + content[:10])
    assert short.startswith(b"HTTP/1.1 400 ")
    assert b"application/json" in short
    assert raw(base, head(len(content) + 100) + content, close=True) == b""
    for bad in (b"-5", b"abc", b"5, 6"):
        answer = raw(base, head(10).replace(b"length: 10", b"length: " + bad) + b"{}", close=True)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    fleet.answers(service)


@pytest.mark.parametrize("service", SERVICES)
def test_many_and_long_headers(fleet, service):
    headers = {f"x-{number}": "v" * 50 for number in range(300)}
    headers |= {"x-request-id": "i" * 5000, "cookie": "c" * 20_000, "accept": "text/html"}
    base = fleet.base(service)
    answer = http.get(f"{base}/health", headers=headers)
    assert answer.status_code == 200
    assert len(answer.headers["x-request-id"]) == 32
    refused(service, http.get(f"{base}/nope", headers=headers), 404)
    junk = raw(base, b"\x16\x03\x01\x02\x00\x01\x00" * 10, close=True)
    assert b"<html" not in junk.lower()
    assert b"Traceback" not in junk
    fleet.answers(service)


def pour(sock: socket.socket, piece: bytes) -> None:
    for _ in range(100_000):
        sock.sendall(piece)


@pytest.mark.parametrize("piece", [b"x: " + b"v" * 1000 + b"\r\n", b"v" * 1000])
def test_a_head_without_end(fleet, piece):
    """Many headers, or one: what is gathered is bounded, and the connection closed."""
    base = fleet.base("dots")
    parts = urlsplit(base)
    with socket.create_connection((parts.hostname, parts.port), timeout=ANSWER_S_MAX) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\ny: ")
        with pytest.raises(ConnectionError):  # once it has been refused
            pour(sock, piece)
    fleet.answers("dots")
    whole = b"GET /health HTTP/1.1\r\nhost: x\r\n" + b"y: " + b"v" * 300_000 + b"\r\n\r\n"
    answer = raw(base, whole[:290_000])
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"<" not in answer


def test_queries_and_names_that_are_not_ascii(fleet):
    said = {"language": "Русский"}
    answer = fleet.post("chatvlm", "/ocr", params=said, files=upload(name="стр.png"))
    assert answer.json()["language"] == "Русский"
    for query in ("language=%ff", "temperature=%ff", "%ff=%00", "=&&=", "a" * 5000):
        answer = fleet.post("chatvlm", f"/ocr?{query}", files=upload())
        assert answer.status_code == (400 if query.startswith("temperature") else 200)
    for path in ("/models/%ff", "/models/%00", "/models/" + "x" * 3000):
        refused("chatvlm", http.delete(fleet.base("chatvlm") + path), 404)
    answer = fleet.post("chatvlm", "/ocr", params={"model": "\0"}, files=upload(name="\0'\"<b>"))
    refused("chatvlm", answer, 404)
