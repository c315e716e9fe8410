"""What each wire writes, by the name of the file in `tests/golden` that holds its exact bytes.

`python -m tests.shared.wire.goldens` writes the files anew; the difference is then to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from shared.errors import EngineFailed, OcrError, UnsupportedImage
from shared.http import Outgoing, Reply, Upload
from shared.ocr import (
    BytesPage,
    EncodedPage,
    Request,
    Result,
    Sampling,
    Size,
    Stop,
    Task,
    Text,
    Usage,
)
from shared.wire import (
    chatvlm,
    chatvlm_batch,
    deepseek,
    deepseek_batch,
    dots,
    lighton,
    paddle,
)
from shared.wire.answers import Outcome
from shared.wire.kinds import name_of
from tests.shared.wire.samples import (
    DELTAS,
    DONE_RICH,
    ERRORS,
    LIMITS,
    PNG,
    PNG_BASE64,
    STAMP,
    STREAMS,
    WIRES,
    call_of,
    chat_body,
    form_request,
    json_request,
    stream_writer,
)

GOLDEN = Path(__file__).parents[2] / "golden"

SIZE: Size = (1920, 1080)

RESULT = Result(
    text="# 제목\n\nText “quoted” & <b>", stop=Stop.STOP, usage=Usage(150, 200), sizes=(SIZE,)
)

SUFFIXES = {
    "openai": "sse",
    "lighton": "sse",
    "deepseek": "sse",
    "dots": "ndjson",
    "fleet": "ndjson",
}


def cases() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Every golden file's name, and what writes its bytes."""
    yield from _errors()
    yield from _streams()
    yield from _answers()
    yield from _bodies()
    yield from _requests_received()
    yield from _requests_sent()


def _errors() -> Iterator[tuple[str, Callable[[], bytes]]]:
    for name, wire in WIRES.items():
        for error in ERRORS:
            kind = name_of(error).replace("_", "-")
            yield f"{name}/error-{kind}.http", partial(_error, wire, error)
    file = deepseek.read_file(form_request(), LIMITS["deepseek"])
    bad = UnsupportedImage("the image is cut short")
    yield "deepseek/error-unsupported-file.http", lambda: http(deepseek.write_error(bad, file))


def _streams() -> Iterator[tuple[str, Callable[[], bytes]]]:
    for name in STREAMS:
        deltas = (*DELTAS[:-1], DONE_RICH) if name == "fleet" else DELTAS
        yield f"{name}/stream.{SUFFIXES[name]}", partial(stream, name, deltas)
        yield f"{name}/stream-failed.{SUFFIXES[name]}", partial(failed, name)


def _answers() -> Iterator[tuple[str, Callable[[], bytes]]]:
    for name in WIRES:
        yield f"{name}/answer.http", partial(_answer, name)
    cut = Result(text="cut", stop=Stop.LENGTH, usage=Usage(9, 1))
    logprobs = call_of("lighton", logprobs=True)
    yield "lighton/answer-cut.http", lambda: http(lighton.write_result(logprobs, cut, STAMP))
    chat = chatvlm.read_chat(form_request({"prompt": "What is it?"}), LIMITS["chatvlm"])
    yield "chatvlm/answer-chat.http", lambda: http(chatvlm.write_result(chat, RESULT, STAMP))
    outcomes = [
        Outcome(answer=RESULT, stamp=STAMP, filename="doc1.jpg"),
        Outcome(answer=UnsupportedImage("not an image"), stamp=STAMP, filename="doc2.txt"),
    ]
    yield "chatvlm/answer-batch.http", lambda: http(chatvlm_batch.write_batch(outcomes, 3.5))
    yield "deepseek/answer-batch.http", lambda: http(deepseek_batch.write_batch(outcomes, 3.5))


def _bodies() -> Iterator[tuple[str, Callable[[], bytes]]]:
    yield "lighton/health.http", lambda: http(lighton.write_health())
    yield "lighton/models.http", lambda: http(lighton.write_models(created=1234567890))
    yield (
        "paddle/health.http",
        lambda: http(paddle.write_health(model_loaded=True, device="cuda", memory_used_mb=2048.5)),
    )
    yield (
        "paddle/health-cpu.http",
        lambda: http(paddle.write_health(model_loaded=True, device="cpu", memory_used_mb=None)),
    )
    yield "paddle/models.http", lambda: http(paddle.write_models())
    yield "dots/health.http", lambda: http(dots.write_health(model_loaded=True))
    yield (
        "deepseek/health.http",
        lambda: http(
            deepseek.write_health(model_loaded=True, gpu_available=False, timestamp=1757784482.5)
        ),
    )
    yield "chatvlm/root.http", lambda: http(chatvlm.write_root())
    yield (
        "chatvlm/health.http",
        lambda: http(
            chatvlm.write_health(gpu_available=False, gpu_name=None, loaded=["qwen3_vl_2b"])
        ),
    )
    yield "chatvlm/models.http", lambda: http(chatvlm.write_models(loaded=["qwen3_vl_2b"]))
    yield "chatvlm/unloaded.http", lambda: http(chatvlm.write_unloaded("qwen3_vl_8b"))


def _requests_received() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The documents' own requests, as the hub understands them."""
    for path, request in received_requests():
        yield f"{path}.hub.json", partial(pretty, request)


def received_requests() -> Iterator[tuple[str, Request]]:
    """Requests as the documents write them, read."""
    documented: dict[str, Any] = {
        "temperature": 0.1,
        "max_tokens": 4096,
        "stream": False,
        "model": "LightOnOCR-1B-1025",
    }
    yield (
        "lighton/documented",
        lighton.read_chat(json_request(chat_body(**documented)), LIMITS["lighton"]).request,
    )
    yield (
        "paddle/documented",
        paddle.read_chat(
            json_request(
                chat_body("Extract text as markdown", model=paddle.MODEL, max_tokens=1024)
            ),
            LIMITS["paddle"],
        ).request,
    )
    yield (
        "dots/documented",
        dots.read_ocr(
            json_request(
                {"image": PNG_BASE64, "image_format": "base64", "prompt_type": "prompt_ocr"}
            ),
            LIMITS["dots"],
        ).request,
    )
    yield (
        "deepseek/documented",
        deepseek.read_ocr(
            json_request(
                {
                    "image_base64": PNG_BASE64,
                    "prompt": "<image>\nFree OCR.",
                    "temperature": 0.0,
                    "max_tokens": 8192,
                }
            ),
            LIMITS["deepseek"],
        ).request,
    )
    yield (
        "chatvlm/documented-ocr",
        chatvlm.read_ocr(form_request(query={"model": "qwen3_vl_2b"}), LIMITS["chatvlm"]).request,
    )
    yield (
        "chatvlm/documented-chat",
        chatvlm.read_chat(
            form_request(
                {"prompt": "What's in this image?", "model": "qwen3_vl_4b", "temperature": "0.7"}
            ),
            LIMITS["chatvlm"],
        ).request,
    )


def _requests_sent() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """What our client side sends."""
    plain = Request(model="m", task=Task.TEXT, pages=(EncodedPage(PNG_BASE64),))
    full = Request(
        model="qwen3_vl_4b",
        task=Task.CHAT,
        pages=(BytesPage(PNG, "page.png"),),
        prompt="What is it?",
        sampling=Sampling(temperature=0.5, top_p=0.9, max_tokens=64, stop=("###",), seed=7),
        stream=True,
    )
    markdown = msgspec.structs.replace(full, task=Task.MARKDOWN)
    layout = msgspec.structs.replace(full, task=Task.LAYOUT)
    yield "openai/request.txt", lambda: sent(WIRES["openai"].write_request(full))
    yield "lighton/request.txt", lambda: sent(lighton.write_request(plain))
    yield "lighton/request-full.txt", lambda: sent(lighton.write_request(markdown))
    yield "paddle/request.txt", lambda: sent(paddle.write_request(markdown))
    yield "dots/request.txt", lambda: sent(dots.write_request(plain))
    yield "dots/request-full.txt", lambda: sent(dots.write_request(layout))
    yield "deepseek/request.txt", lambda: sent(deepseek.write_request(plain))
    yield "deepseek/request-full.txt", lambda: sent(deepseek.write_request(layout))
    yield "deepseek/request-batch.txt", lambda: sent(deepseek_batch.write_request([plain, layout]))
    yield "chatvlm/request-ocr.txt", lambda: sent(chatvlm.write_request(plain))
    yield "chatvlm/request-chat.txt", lambda: sent(chatvlm.write_request(full))


def _error(wire: Any, error: OcrError) -> bytes:
    return http(wire.write_error(error))


def _answer(name: str) -> bytes:
    return http(WIRES[name].write_result(call_of(name), RESULT, STAMP))


def stream(wire: str, deltas: tuple[object, ...]) -> bytes:
    """A whole stream."""
    writer = stream_writer(wire)
    return b"".join([writer.start(), *(writer.write(delta, STAMP.at) for delta in deltas)])


def failed(wire: str) -> bytes:
    """A stream that broke after its first text."""
    writer = stream_writer(wire)
    error = EngineFailed("the engine broke", detail="private")
    return b"".join([writer.start(), writer.write(Text("half"), STAMP.at), writer.fail(error)])


def http(reply: Reply) -> bytes:
    """A reply as one file: status, headers by name, a blank line, the exact body."""
    lines = [str(reply.status), f"content-type: {reply.media_type}"]
    lines += [f"{name}: {value}" for name, value in sorted(reply.headers.items())]
    return "\n".join(lines).encode() + b"\n\n" + reply.body


def sent(outgoing: Outgoing) -> bytes:
    """A request as one file: line, query and headers, then the exact body or the form's parts."""
    lines = [f"{outgoing.method} {outgoing.path}"]
    lines += [f"?{name}={value}" for name, value in outgoing.query.items()]
    lines += [f"{name}: {value}" for name, value in outgoing.headers.items()]
    if outgoing.form is not None:
        lines += [f"field {name}={value}" for name, value in outgoing.form.fields.items()]
        lines += [_file(name, upload) for name, upload in outgoing.form.files]
    return "\n".join(lines).encode() + b"\n\n" + outgoing.body


def pretty(request: Request) -> bytes:
    return msgspec.json.format(msgspec.json.encode(request), indent=2) + b"\n"


def _file(name: str, upload: Upload) -> str:
    return f"file {name}={upload.filename} {upload.content_type} {len(upload.data)} bytes"


def main() -> None:
    for name, write in cases():
        path = GOLDEN / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(write())


if __name__ == "__main__":
    main()
