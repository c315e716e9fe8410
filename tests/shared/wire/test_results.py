"""Results and requests of every format: written by one side, read by the other."""

from __future__ import annotations

import msgspec
import pytest

from shared.errors import EngineFailed, InvalidRequest, UnsupportedImage
from shared.http import Reply
from shared.ocr import (
    BytesPage,
    EncodedPage,
    Page,
    PathPage,
    Request,
    Result,
    Sampling,
    Stop,
    Task,
    UrlPage,
    Usage,
)
from shared.wire import chatvlm_batch, deepseek_batch, deepseek_stream, openai
from shared.wire.answers import Outcome
from tests.shared.wire.samples import (
    LIMITS,
    PNG,
    PNG_BASE64,
    PNG_URL,
    STAMP,
    WIRES,
    call_of,
    received,
)

RESULT = Result(
    text="# 제목\n“x” \\ \t end\n",
    stop=Stop.LENGTH,
    usage=Usage(10, 5),
    sizes=((640, 480),),
)

KEPT = {
    "openai": Result(text=RESULT.text, stop=Stop.LENGTH, usage=Usage(10, 5)),
    "lighton": Result(text=RESULT.text, stop=Stop.LENGTH, usage=Usage(10, 5)),
    "paddle": Result(text=RESULT.text, stop=Stop.LENGTH, usage=Usage(10, 5)),
    "dots": Result(text=RESULT.text),
    "deepseek": Result(text=RESULT.text),
    "chatvlm": Result(text=RESULT.text, sizes=((640, 480),)),
}
"""What each format has room for."""

READ_TASKS: dict[str, dict[Task, Task]] = {
    "openai": {task: Task.MARKDOWN for task in Task if task is not Task.CHAT},
    "lighton": {task: Task.MARKDOWN for task in Task if task is not Task.CHAT},
    "paddle": {
        Task.TEXT: Task.MARKDOWN,
        Task.MARKDOWN: Task.MARKDOWN,
        Task.RECEIPT: Task.RECEIPT,
        Task.INVOICE: Task.INVOICE,
        Task.TABLE: Task.TABLE,
        Task.FORM: Task.FORM,
    },
    "dots": {
        Task.TEXT: Task.TEXT,
        Task.MARKDOWN: Task.TEXT,
        Task.LAYOUT: Task.LAYOUT,
        Task.LAYOUT_ONLY: Task.LAYOUT_ONLY,
        Task.REGION: Task.REGION,
    },
    "deepseek": {
        Task.TEXT: Task.TEXT,
        Task.MARKDOWN: Task.MARKDOWN,
        Task.LAYOUT: Task.LAYOUT,
        Task.LOCATE: Task.LOCATE,
        Task.FIGURE: Task.FIGURE,
        Task.CHART: Task.FIGURE,
        Task.CHAT: Task.CHAT,
    },
    "chatvlm": {
        Task.TEXT: Task.TEXT,
        Task.MARKDOWN: Task.TEXT,
        Task.CHAT: Task.CHAT,
        Task.TABLE: Task.CHAT,
        Task.FORMULA: Task.CHAT,
        Task.CHART: Task.CHAT,
        Task.FIGURE: Task.CHAT,
        Task.RECEIPT: Task.CHAT,
        Task.INVOICE: Task.CHAT,
        Task.FORM: Task.CHAT,
    },
}
"""As what each task of the hub is read on the other side; others are refused."""

each_wire = pytest.mark.parametrize("wire", WIRES)


def ask(wire: str, request: Request) -> Request:
    """A request, sent and received."""
    module, limits = WIRES[wire], LIMITS[wire]
    outgoing = module.write_request(request)
    reads = {"/ocr/file": "read_file", "/ocr/stream": "read_stream", "/ocr": "read_ocr"}
    name = reads.get(outgoing.path, "read_chat")
    call = getattr(module, name)(received(outgoing), limits)
    read: Request = call.request
    return read


def request_for(task: Task, *pages: Page, **fields: object) -> Request:
    phrase = "Total" if task is Task.LOCATE else None
    box = (1, 2, 30, 40) if task is Task.REGION else None
    prompt = "What is it?" if task is Task.CHAT else ""
    plain = Request(
        model="qwen3_vl_2b",
        task=task,
        pages=pages or (EncodedPage(PNG_BASE64),),
        prompt=prompt,
        phrase=phrase,
        box=box,
    )
    return msgspec.structs.replace(plain, **fields)


def bytes_of(page: Page) -> bytes:
    match page:
        case EncodedPage(data):
            assert data in {PNG_BASE64, PNG_URL}
            return PNG
        case BytesPage(data):
            return data
        case _:
            raise AssertionError(page)


@each_wire
def test_a_result_survives_as_far_as_the_format_carries_it(wire: str):
    reply = WIRES[wire].write_result(call_of(wire), RESULT, STAMP)

    assert WIRES[wire].read_result(reply) == KEPT[wire]


@each_wire
def test_an_empty_text_survives(wire: str):
    reply = WIRES[wire].write_result(call_of(wire), Result(text=""), STAMP)

    assert WIRES[wire].read_result(reply).text == ""


@each_wire
def test_reading_a_result_raises_what_went_wrong(wire: str):
    with pytest.raises(UnsupportedImage):
        WIRES[wire].read_result(WIRES[wire].write_error(UnsupportedImage("bad")))


@each_wire
@pytest.mark.parametrize(
    "body", [b"", b"nope", b"[]", b'{"choices":5,"text":5,"response":5}', b"\xff"]
)
def test_an_answer_that_is_none_is_the_engines_failure(wire: str, body: bytes):
    with pytest.raises(EngineFailed):
        WIRES[wire].read_result(Reply(body=body))


@each_wire
def test_an_answer_cut_anywhere_is_the_engines_failure(wire: str):
    reply = WIRES[wire].write_result(call_of(wire), RESULT, STAMP)
    body = reply.body.rstrip()

    for cut in range(len(body)):
        with pytest.raises(EngineFailed):
            WIRES[wire].read_result(Reply(body=body[:cut]))


def test_no_choices_are_the_engines_failure():
    with pytest.raises(EngineFailed):
        openai.read_result(Reply(body=b'{"choices":[]}'))


def test_a_failure_with_status_200_is_a_failure():
    with pytest.raises(EngineFailed, match="broke"):
        WIRES["dots"].read_result(Reply(body=b'{"error":"broke"}'))


@each_wire
@pytest.mark.parametrize("task", Task)
def test_a_task_survives_or_is_refused(wire: str, task: Task):
    request = request_for(task)
    expected = READ_TASKS[wire].get(task)
    if expected is None and wire in {"openai", "lighton"}:
        expected = Task.MARKDOWN  # a chat about a page is read as Markdown there
    if expected is None:
        with pytest.raises(InvalidRequest):
            WIRES[wire].write_request(request)
        return

    read = ask(wire, request)

    assert read.task is expected
    assert [bytes_of(page) for page in read.pages] == [PNG]
    assert read.phrase == request.phrase or wire in {"openai", "lighton"}
    assert read.box == request.box or wire in {"openai", "lighton"}
    assert request.prompt in read.prompt


@each_wire
@pytest.mark.parametrize(
    "page", [EncodedPage(PNG_BASE64), EncodedPage(PNG_URL), BytesPage(PNG, "a.png")], ids=repr
)
def test_a_page_survives_however_it_came(wire: str, page: Page):
    read = ask(wire, request_for(Task.TEXT, page))

    assert [bytes_of(page) for page in read.pages] == [PNG]


@pytest.mark.parametrize(
    ("wire", "page"),
    [
        ("openai", UrlPage("https://example.com/a.png")),
        ("lighton", UrlPage("http://example.com/a.png")),
        ("paddle", UrlPage("https://example.com/a.png")),
        ("dots", UrlPage("https://example.com/a.png")),
        ("dots", PathPage("/images/a.png")),
    ],
)
def test_an_address_survives_where_the_format_has_one(wire: str, page: Page):
    assert ask(wire, request_for(Task.TEXT, page)).pages == (page,)


@pytest.mark.parametrize(
    ("wire", "page"),
    [
        ("openai", PathPage("/a.png")),
        ("paddle", PathPage("/a.png")),
        ("deepseek", PathPage("/a.png")),
        ("deepseek", UrlPage("https://example.com/a.png")),
        ("chatvlm", UrlPage("https://example.com/a.png")),
        ("chatvlm", EncodedPage("!!")),
    ],
)
def test_a_page_the_format_cannot_carry_is_refused(wire: str, page: Page):
    with pytest.raises(InvalidRequest):
        WIRES[wire].write_request(request_for(Task.TEXT, page))


@pytest.mark.parametrize("wire", ["paddle", "dots", "deepseek", "chatvlm"])
def test_a_request_without_a_page_is_refused(wire: str):
    with pytest.raises(InvalidRequest):
        WIRES[wire].write_request(msgspec.structs.replace(request_for(Task.TEXT), pages=()))


def test_words_without_a_page_are_a_chat():
    for wire in ("openai", "lighton"):
        read = ask(wire, Request(model="m", task=Task.CHAT, prompt="hello"))
        assert (read.task, read.pages, read.prompt) == (Task.CHAT, (), "hello")


SAMPLED = {
    "openai": {"temperature", "top_p", "max_tokens", "stop", "seed"},
    "lighton": {"temperature", "top_p", "max_tokens", "stop", "seed"},
    "paddle": {"temperature", "top_p", "max_tokens", "stop", "seed"},
    "dots": {"temperature", "top_p", "max_tokens"},
    "deepseek": {
        "temperature",
        "max_tokens",
        "ngram_size",
        "window_size",
        "crop_mode",
        "base_size",
        "image_size",
    },
    "chatvlm": {"temperature", "max_tokens"},
}


@each_wire
@pytest.mark.parametrize("stream", [False, True])
def test_sampling_survives_as_far_as_the_format_carries_it(wire: str, stream: bool):
    sampling = Sampling(
        temperature=0.5,
        top_p=0.25,
        max_tokens=64,
        stop=("###", "end"),
        seed=7,
        ngram_size=20,
        window_size=50,
        crop_mode=False,
        base_size=1024,
        image_size=640,
    )
    task = Task.CHAT if wire == "chatvlm" else Task.MARKDOWN
    read = ask(wire, request_for(task, sampling=sampling, stream=stream)).sampling

    kept = {name: getattr(read, name) for name in SAMPLED[wire]}
    assert kept == {name: getattr(sampling, name) for name in SAMPLED[wire]}


@each_wire
def test_absent_sampling_stays_absent(wire: str):
    outgoing = WIRES[wire].write_request(request_for(Task.TEXT))
    sent = outgoing.body.decode() + str(outgoing.query) + str(outgoing.form)

    for name in ("temperature", "max_tokens", "max_new_tokens", "top_p", "stop", "seed", "ngram"):
        assert f'"{name}' not in sent
        assert f"'{name}" not in sent


@each_wire
def test_no_limit_of_tokens_is_said_by_saying_nothing(wire: str):
    task = Task.CHAT if wire == "chatvlm" else Task.MARKDOWN
    outgoing = WIRES[wire].write_request(request_for(task, sampling=Sampling(max_tokens=-1)))

    assert "-1" not in outgoing.body.decode() + str(outgoing.query)


@pytest.mark.parametrize("wire", ["openai", "lighton", "dots", "deepseek"])
def test_a_stream_is_asked_for(wire: str):
    assert ask(wire, request_for(Task.TEXT, stream=True)).stream


@pytest.mark.parametrize("wire", ["paddle", "chatvlm"])
def test_no_stream_is_asked_for_where_there_is_none(wire: str):
    assert not ask(wire, request_for(Task.TEXT, stream=True)).stream


def test_the_language_survives_where_there_is_one():
    assert ask("chatvlm", request_for(Task.TEXT, language="Russian")).language == "Russian"


def test_a_long_question_stands_in_the_form_alone():
    prompt = "word " * 1000
    outgoing = WIRES["chatvlm"].write_request(request_for(Task.CHAT, prompt=prompt))

    assert "prompt" not in outgoing.query
    assert ask("chatvlm", request_for(Task.CHAT, prompt=prompt)).prompt == prompt


@pytest.mark.parametrize(
    ("wire", "task", "prompt", "kept"),
    [
        ("lighton", Task.MARKDOWN, "Read the left column.", True),
        ("paddle", Task.TABLE, "Only the second table, please", True),
        ("paddle", Task.MARKDOWN, "Read the receipt", False),
        ("deepseek", Task.CHAT, "How many people?", True),
        ("deepseek", Task.MARKDOWN, "How many people?", False),
        ("deepseek", Task.LAYOUT, "OCR this image.", True),
        ("chatvlm", Task.RECEIPT, "What was bought?", True),
    ],
)
def test_the_clients_words_are_kept_where_they_mean_the_task(
    wire: str, task: Task, prompt: str, kept: bool
):
    assert (ask(wire, request_for(task, prompt=prompt)).prompt == prompt) is kept


def test_a_deepseek_stream_is_written_by_the_call_it_belongs_to():
    call = call_of("deepseek")
    writer = deepseek_stream.DeltaWriter(call, STAMP)

    assert writer.fail(UnsupportedImage("x")) == b"data: ERROR: Invalid base64 image: x\n\n"


def test_a_deepseek_batch_survives():
    outcomes = [
        Outcome(answer=Result(text="one"), stamp=STAMP),
        Outcome(answer=UnsupportedImage("no"), stamp=STAMP),
    ]

    good, bad = deepseek_batch.read_results(deepseek_batch.write_batch(outcomes, 2.0))

    assert good == Result(text="one")
    assert isinstance(bad, EngineFailed)
    assert str(bad) == "Invalid base64 image: no"


def test_a_chatvlm_batch_survives():
    outcomes = [
        Outcome(answer=Result(text="one"), stamp=STAMP, filename="a"),
        Outcome(answer=UnsupportedImage("no"), stamp=STAMP, filename="b"),
    ]

    good, bad = chatvlm_batch.read_results(chatvlm_batch.write_batch(outcomes))

    assert good == Result(text="one")
    assert isinstance(bad, InvalidRequest)
    assert str(bad) == "no"


@pytest.mark.parametrize(
    ("module", "wire"), [(deepseek_batch, "deepseek"), (chatvlm_batch, "chatvlm")]
)
def test_a_refused_batch_raises(module: object, wire: str):
    reply = WIRES[wire].write_error(InvalidRequest("too many"))

    with pytest.raises(InvalidRequest, match="too many"):
        module.read_results(reply)  # type: ignore[attr-defined]


def test_batches_are_asked_for():
    pages = (EncodedPage(PNG_BASE64), BytesPage(PNG, "a.png"))

    calls = deepseek_batch.read_batch(
        received(deepseek_batch.write_request([request_for(Task.TEXT, page) for page in pages])),
        LIMITS["deepseek"],
    )
    assert [call.request.task for call in calls if not isinstance(call, InvalidRequest)] == [
        Task.TEXT,
        Task.TEXT,
    ]

    read = chatvlm_batch.read_batch(
        received(chatvlm_batch.write_request("got_ocr", pages)), LIMITS["chatvlm"]
    )
    assert [(call.model, call.filename) for call in read] == [
        ("got_ocr", "page"),
        ("got_ocr", "a.png"),
    ]
    with pytest.raises(InvalidRequest):
        deepseek_batch.write_request([request_for(Task.TEXT, PathPage("/a"))])


def test_an_answer_without_usage_and_finish_reason_is_read():
    body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":null}}]}'

    assert openai.read_result(Reply(body=body)) == Result(text="")


def test_what_another_server_adds_to_an_answer_is_passed_over():
    body = (
        b'{"choices":[{"finish_reason":"stop","index":0,"logprobs":{"content":[{"token":"a"}]},'
        b'"message":{"role":"assistant","content":"a","refusal":null,"tool_calls":[]}}],'
        b'"usage":{"prompt_tokens":9,"completion_tokens":null,"prompt_tokens_details":{}},'
        b'"timings":{"prompt_n":1},"system_fingerprint":"b7050"}'
    )

    assert openai.read_result(Reply(body=body)) == Result(text="a", usage=Usage(9, 0))
