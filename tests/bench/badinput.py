"""How soon each service answers each bad input, and whether it answers as documented: status, error
shape, and health afterwards. The exit status is 1 when one does not; slowness is only marked."""

from __future__ import annotations

import argparse
import base64
import io
import json
import random
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import httpx
import msgspec
from PIL import Image
from rich.console import Console
from rich.table import Table

from tests.running import SERVICES, fleet

AIM_S = 1.0
"""The project's aim for any bad input."""
ANSWER_S_MAX = 60.0
BATCH_MAX = 100
MIB = 1024 * 1024


class Bad(msgspec.Struct, frozen=True, kw_only=True):
    """One bad request and the status that is documented for it."""

    what: str
    path: str
    status: int = 400
    content: bytes | None = None
    headers: dict[str, str] = {}
    files: list[tuple[str, tuple[str, bytes, str]]] | None = None
    data: dict[str, str] = {}
    inside: bool = False
    """True where the answer is a 200 that holds the error of one item."""


# ---- bad pages


@cache
def picture() -> bytes:
    """A small page of noise as PNG, for what is wrong elsewhere."""
    return saved(noise(200, 100), "PNG")


def noise(width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), random.Random(7).randbytes(width * height * 3))


def saved(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    image.save(out, format=kind)
    return out.getvalue()


@cache
def bomb() -> bytes:
    """A well-formed PNG of 50,000 x 50,000 white pixels in a few hundred kilobytes."""
    side = 50_000
    row = b"\0" + b"\xff" * (side // 8)
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(row * 1000) for _ in range(side // 1000)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", packed), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@cache
def bad_pages() -> Mapping[str, bytes]:
    """Files that are no page, or not a whole one."""
    png, jpeg = saved(noise(600, 400), "PNG"), saved(noise(600, 400), "JPEG")
    return {
        "not an image": b"these are only words\n" * 20,
        "0 bytes": b"",
        "truncated PNG": png[: len(png) // 2],
        "truncated JPEG": jpeg[: len(jpeg) // 2],
        "11 MiB of rubbish": random.Random(7).randbytes(11 * MIB),
        "33 MiB of rubbish": random.Random(7).randbytes(33 * MIB),
        "PNG bomb": bomb(),
    }


TOO_LARGE: Mapping[str, Mapping[str, int]] = {
    "lighton": {"11 MiB of rubbish": 413, "33 MiB of rubbish": 413, "PNG bomb": 413},
    "chatvlm": {"33 MiB of rubbish": 413, "PNG bomb": 413},
}
"""Where a page that is too large has a status of its own; everywhere else it is 400."""


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


# ---- bad requests


def json_bad(what: str, path: str, body: object, status: int = 400, *, inside: bool = False) -> Bad:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    return Bad(what=what, path=path, status=status, content=content, headers=headers, inside=inside)


def form_bad(what: str, path: str, data: bytes, status: int = 400, **fields: str) -> Bad:
    files = [("file", ("page.png", data, "image/png"))]
    return Bad(what=what, path=path, status=status, files=files, data=fields)


def chat(url: object, **more: Any) -> dict[str, Any]:
    image = {"type": "image_url", "image_url": {"url": url}}
    content = [{"type": "text", "text": "Extract text"}, image]
    return {
        "model": "PaddlePaddle/PaddleOCR-VL",
        "messages": [{"role": "user", "content": content}],
    } | more


def link(data: bytes) -> str:
    return "data:image/png;base64," + encoded(data)


def any_json(path: str) -> Iterator[Bad]:
    yield json_bad("empty body", path, b"")
    yield json_bad("not JSON", path, b"{'a': 1")
    yield json_bad("a JSON list", path, [])


def chat_bad(service: str) -> Iterator[Bad]:
    path = "/v1/chat/completions"
    yield from any_json(path)
    yield json_bad("missing fields", path, {"model": "x"})
    yield json_bad("wrong types", path, chat(link(picture()), max_tokens="many"))
    yield json_bad("out of range", path, chat(link(picture()), temperature=2.1))
    yield json_bad("bad base64", path, chat("data:image/png;base64,@@@@"))
    yield json_bad("private URL", path, chat("http://127.0.0.1:1/page.png"))
    yield json_bad("metadata URL", path, chat("http://169.254.169.254/latest"))
    yield json_bad("file URL", path, chat("file:///etc/passwd"))
    for what, data in bad_pages().items():
        status = TOO_LARGE.get(service, {}).get(what, 400)
        yield json_bad(what, path, chat(link(data)), status)


def dots_bad(service: str) -> Iterator[Bad]:
    path, good = "/ocr", {"image": encoded(picture()), "image_format": "base64"}
    yield from any_json(path)
    yield json_bad("missing fields", path, {"image_format": "base64"})
    yield json_bad("wrong types", path, good | {"max_new_tokens": "many"})
    yield json_bad("out of range", path, good | {"top_p": 7})
    yield json_bad("unknown prompt_type", path, good | {"prompt_type": "prompt_poem"})
    yield json_bad("bad base64", path, good | {"image": "@@@@"})
    yield json_bad("path outside", path, {"image": "/etc/passwd", "image_format": "path"})
    yield json_bad(
        "private URL", path, {"image": "http://127.0.0.1:1/a.png", "image_format": "url"}
    )
    yield json_bad(
        "metadata URL", path, {"image": "http://169.254.169.254/latest", "image_format": "url"}
    )
    yield json_bad("file URL", path, {"image": "file:///etc/passwd", "image_format": "path"})
    for what, data in bad_pages().items():
        yield json_bad(what, path, good | {"image": encoded(data)})


def deepseek_bad(service: str) -> Iterator[Bad]:
    path, good = "/ocr", {"image_base64": encoded(picture())}
    yield from any_json(path)
    yield json_bad("missing fields", path, {"prompt": "<image>"})
    yield json_bad("wrong types", path, good | {"max_tokens": "many"})
    yield json_bad("out of range", path, good | {"max_tokens": 8193})
    yield json_bad("bad base64", path, good | {"image_base64": "@@@@"})
    yield json_bad("101 items", "/ocr/batch", {"requests": [good] * (BATCH_MAX + 1)})
    yield json_bad("a bad item", "/ocr/batch", {"requests": [{}]}, 200, inside=True)
    for what, data in bad_pages().items():
        yield json_bad(what, path, {"image_base64": encoded(data)})
    for what, data in bad_pages().items():
        yield form_bad(f"{what}, as a form", "/ocr/file", data)
        yield form_bad(f"{what}, streamed", "/ocr/stream", data)


def chatvlm_bad(service: str) -> Iterator[Bad]:
    yield Bad(what="empty body", path="/ocr", content=b"")
    yield json_bad("not JSON", "/ocr", b"{'a': 1")
    yield form_bad("missing fields", "/chat", picture())
    yield form_bad("wrong types", "/chat", picture(), prompt="What?", max_tokens="many")
    yield form_bad("out of range", "/chat", picture(), prompt="What?", temperature="1.5")
    yield form_bad("unknown model", "/ocr", picture(), 404, model="gpt")
    item = ("files", ("page.png", picture(), "image/png"))
    yield Bad(what="101 items", path="/batch/ocr", files=[item] * (BATCH_MAX + 1))
    words = ("files", ("notes.txt", b"words", "text/plain"))
    yield Bad(what="a bad item", path="/batch/ocr", files=[words], status=200, inside=True)
    for what, data in bad_pages().items():
        status = TOO_LARGE.get(service, {}).get(what, 400)
        yield form_bad(what, "/ocr", data, status)


BAD: Mapping[str, Callable[[str], Iterator[Bad]]] = {
    "lighton": chat_bad,
    "paddle": chat_bad,
    "dots": dots_bad,
    "deepseek": deepseek_bad,
    "chatvlm": chatvlm_bad,
}


# ---- asking and judging


class Seen(msgspec.Struct, frozen=True):
    """What came back."""

    seconds: float
    status: int
    why: str
    """Empty when it is as documented."""


def see(client: httpx.Client, service: str, bad: Bad) -> Seen:
    request = client.build_request(
        "POST",
        bad.path,
        content=bad.content,
        headers=bad.headers,
        files=bad.files,
        data=bad.data or None,
    )
    started = time.perf_counter()
    try:
        answer = client.send(request)
    except httpx.HTTPError as error:
        return Seen(time.perf_counter() - started, 0, repr(error)[:200])
    seconds = time.perf_counter() - started
    why = judge(service, bad, answer)
    if not why and client.get("/health").status_code != 200:
        why = "/health does not answer 200 afterwards"
    return Seen(seconds, answer.status_code, why)


def judge(service: str, bad: Bad, answer: httpx.Response) -> str:
    """Empty when status and shape are documented."""
    said = answer.text[:200]
    if answer.status_code != bad.status:
        return f"{answer.status_code}, documented is {bad.status}: {said}"
    try:
        body = answer.json()
    except ValueError:
        return f"not JSON: {said}"
    if bad.inside:
        statuses = [str(item["status"]) for item in body["results"]]
        return "" if all(one.startswith("error") for one in statuses) else f"no error: {said}"
    return "" if shaped(service, body, answer.status_code) else f"not the error shape: {said}"


def shaped(service: str, body: Any, status: int) -> bool:
    """The service's own error body, no key more or less, with something said in it."""
    match service, body:
        case "lighton", {"error": {"message": str(said), "type": str(), "code": int(code)}}:
            return len(body) == 1 and len(body["error"]) == 3 and code == status and said != ""
        case "dots", {"error": str(said)}:
            return len(body) == 1 and said != ""
        case (("paddle" | "deepseek" | "chatvlm"), {"detail": str(said)}):
            return len(body) == 1 and said != ""
    return False


def run(engine: str, names: Sequence[str] = SERVICES) -> tuple[Table, list[str]]:
    """The table, and what is not as documented. Only an engine that looks at pixels can find that
    some are missing, so the fake one is not asked."""
    found: dict[str, dict[str, Seen]] = {}
    with fleet(names, engine=engine) as services:
        for name, service in services.items():
            with httpx.Client(
                base_url=service.url, timeout=ANSWER_S_MAX, trust_env=False
            ) as client:
                found[name] = {
                    bad.what: see(client, name, bad)
                    for bad in BAD[name](name)
                    if engine != "fake" or "truncated" not in bad.what
                }
    failures = [
        f"{name}, {what}: {seen.why}"
        for name, each in found.items()
        for what, seen in each.items()
        if seen.why
    ]
    return report(found), failures


def report(found: Mapping[str, Mapping[str, Seen]]) -> Table:
    table = Table(title="Bad input: status and milliseconds", title_justify="left")
    table.add_column("input")
    for name in found:
        table.add_column(name, justify="right")
    for what in dict.fromkeys(what for each in found.values() for what in each):
        cells = [cell(each.get(what)) for each in found.values()]
        table.add_row(what, *cells)
    table.caption = f"! is not as documented, slow is over {AIM_S:g} s"
    return table


def cell(seen: Seen | None) -> str:
    if seen is None:
        return ""
    marks = (" !" if seen.why else "") + (" slow" if seen.seconds > AIM_S else "")
    return f"{seen.status} {seen.seconds * 1000:.0f}{marks}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("tests.bench badinput", description=__doc__)
    parser.add_argument("services", nargs="*", default=SERVICES, help="which; all when none")
    parser.add_argument("--engine", choices=("embedded", "fake"), default="embedded")
    options = parser.parse_args(arguments)
    table, failures = run(options.engine, options.services)
    Console(width=None if sys.stdout.isatty() else 130).print(table)
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
