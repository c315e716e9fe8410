"""ChatVLMLLM's format: seven models, values in query and form, batches."""

from __future__ import annotations

import msgspec
import pytest

from shared.errors import InvalidRequest, ModelNotLoaded, NoSuchRoute, UnknownModel
from shared.http import Incoming, Reply, Upload
from shared.ocr import BytesPage, Result, Task
from shared.wire import chatvlm, chatvlm_batch
from shared.wire.answers import Outcome
from tests.shared.wire.samples import LIMITS, PNG, STAMP, form_request, json_request

LIMIT = LIMITS["chatvlm"]

IDS = [
    "got_ocr",
    "qwen_vl_2b",
    "qwen_vl_7b",
    "qwen3_vl_2b",
    "qwen3_vl_4b",
    "qwen3_vl_8b",
    "dots_ocr",
]

LISTED = f"Available: {', '.join(IDS)}"


def test_reading_a_file_needs_nothing_else():
    """Case 4."""
    call = chatvlm.read_ocr(form_request(), LIMIT)

    assert (call.model, call.language) == ("qwen3_vl_2b", None)
    assert call.request.task is Task.TEXT
    assert call.request.pages == (BytesPage(PNG, "page.png"),)
    # Nothing is documented for reading, so the model's own recipe counts.
    assert call.request.sampling.temperature is None
    assert call.request.sampling.max_tokens is None


@pytest.mark.parametrize("model", IDS)
def test_a_model_in_the_query_or_in_the_form(model: str):
    """Case 6."""
    for incoming in (
        form_request(query={"model": model}),
        form_request({"model": model}),
        form_request({"model": "got_ocr"}, query={"model": model}),
        form_request({"model": model}, query={"model": ""}),
    ):
        assert chatvlm.read_ocr(incoming, LIMIT).model == model


def test_the_language_is_a_hint_and_is_echoed():
    """Case 5."""
    call = chatvlm.read_ocr(form_request(query={"language": "Russian"}), LIMIT)
    body = msgspec.json.decode(
        chatvlm.write_result(call, Result(text="x", sizes=((4, 3),)), STAMP).body
    )

    assert call.request.language == "Russian"
    assert body["language"] == "Russian"
    assert body["image_size"] == [4, 3]
    assert list(body) == ["text", "model", "processing_time", "image_size", "language"]


def test_a_question_repeats_its_prompt_and_model():
    """Case 7: all of it in the form, as documented."""
    fields = {"prompt": " What? ", "model": "qwen3_vl_4b", "temperature": "0.2", "max_tokens": "9"}
    for incoming in (form_request(fields), form_request(query=fields)):
        call = chatvlm.read_chat(incoming, LIMIT)
        body = msgspec.json.decode(chatvlm.write_result(call, Result(text="x"), STAMP).body)

        assert call.request.task is Task.CHAT
        sampling = call.request.sampling
        assert (sampling.temperature, sampling.max_tokens) == (0.2, 9)
        assert body == {
            "response": "x",
            "model": "qwen3_vl_4b",
            "processing_time": 1.25,
            "prompt": " What? ",
        }


def test_a_question_has_the_documents_defaults():
    sampling = chatvlm.read_chat(form_request({"prompt": "x"}), LIMIT).request.sampling

    assert (sampling.temperature, sampling.max_tokens) == (0.7, 512)


@pytest.mark.parametrize("fields", [{}, {"prompt": ""}, {"prompt": "  "}])
def test_a_question_without_words_is_refused(fields: dict[str, str]):
    """Case 8, as the contract decides it."""
    with pytest.raises(InvalidRequest, match="prompt is required"):
        chatvlm.read_chat(form_request(fields), LIMIT)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", "1.1"),
        ("temperature", "-0.1"),
        ("temperature", "nan"),
        ("temperature", "hot"),
        ("max_tokens", "0"),
        ("max_tokens", "-1"),
        ("max_tokens", "1.5"),
    ],
)
def test_values_out_of_range_are_400(name: str, value: str):
    """Case 18."""
    for incoming in (
        form_request({"prompt": "x"}, query={name: value}),
        form_request({"prompt": "x", name: value}),
    ):
        for read in (chatvlm.read_chat, chatvlm.read_ocr):
            with pytest.raises(InvalidRequest, match=name):
                read(incoming, LIMIT)


@pytest.mark.parametrize(
    ("incoming", "message"),
    [
        (form_request(files=()), "file is required"),
        (form_request({"file": "text"}, files=()), "file must be an uploaded file, not text"),
        (json_request({"file": "x"}), "multipart/form-data"),
        (Incoming(), "multipart/form-data"),
    ],
)
def test_no_file_is_400(incoming: Incoming, message: str):
    """Case 16."""
    for read in (chatvlm.read_ocr, chatvlm.read_chat):
        with pytest.raises(InvalidRequest, match=message) as caught:
            read(incoming, LIMIT)
        assert chatvlm.write_error(caught.value).status == 400


def test_a_file_without_a_name_is_a_file():
    call = chatvlm.read_ocr(form_request(files=(("file", Upload(PNG)),)), LIMIT)

    assert call.request.pages == (BytesPage(PNG, ""),)


def test_an_unknown_model_is_404_and_lists_the_models():
    """Case 14, as the contract decides it."""
    for read in (chatvlm.read_ocr, chatvlm.read_chat):
        with pytest.raises(UnknownModel) as caught:
            read(form_request({"prompt": "x", "model": "gpt"}), LIMIT)
        reply = chatvlm.write_error(caught.value)

        assert reply.status == 404
        assert reply.body == f'{{"detail":"Model \'gpt\' not found. {LISTED}"}}'.encode()


# ---- batches


FILES = tuple(("files", Upload(PNG, f"doc{i}.jpg", "image/jpeg")) for i in (1, 2, 3))


def test_a_batch_keeps_order_and_names():
    """Case 9."""
    calls = chatvlm_batch.read_batch(form_request(query={"model": "got_ocr"}, files=FILES), LIMIT)

    assert [(call.filename, call.model) for call in calls] == [
        ("doc1.jpg", "got_ocr"),
        ("doc2.jpg", "got_ocr"),
        ("doc3.jpg", "got_ocr"),
    ]


def test_a_bad_file_has_an_error_and_no_text():
    """Case 10."""
    outcomes = [
        Outcome(answer=Result(text="x"), stamp=STAMP, filename="a.jpg"),
        Outcome(answer=InvalidRequest("bad"), stamp=STAMP, filename="b.txt"),
    ]
    body = msgspec.json.decode(chatvlm_batch.write_batch(outcomes).body)

    assert body == {
        "results": [
            {"filename": "a.jpg", "text": "x", "processing_time": 1.25, "status": "success"},
            {"filename": "b.txt", "error": "bad", "status": "error"},
        ],
        "total": 2,
        "successful": 1,
        "failed": 1,
    }


def test_a_batch_under_another_name_is_400():
    """Case 11."""
    with pytest.raises(InvalidRequest, match="files is required"):
        chatvlm_batch.read_batch(form_request(), LIMIT)
    with pytest.raises(InvalidRequest, match="files is required"):
        chatvlm_batch.read_batch(form_request(files=()), LIMIT)


def test_a_batch_has_a_bound():
    with pytest.raises(InvalidRequest, match="Maximum 100 files"):
        chatvlm_batch.read_batch(form_request(files=FILES[:1] * 101), LIMIT)


def test_a_batch_of_an_unknown_model_is_refused_as_a_whole():
    with pytest.raises(UnknownModel):
        chatvlm_batch.read_batch(form_request(query={"model": "x"}, files=FILES), LIMIT)


# ---- models


def test_the_seven_models_in_their_order():
    """Case 3."""
    body = msgspec.json.decode(chatvlm.write_models(loaded=["got_ocr"]).body)

    assert [row["id"] for row in body["available"]] == IDS
    assert all(list(row) == ["id", "name", "params"] for row in body["available"])
    assert body["loaded"] == ["got_ocr"]


def test_a_model_that_is_not_loaded_cannot_be_unloaded():
    """Cases 12 and 13."""
    reply = chatvlm.write_error(chatvlm.not_loaded("x"))

    assert (reply.status, reply.body) == (404, b'{"detail":"Model x not loaded"}')
    assert chatvlm.read_model("got_ocr") == "got_ocr"
    assert chatvlm.read_model(None) == "qwen3_vl_2b"


@pytest.mark.parametrize(
    ("detail", "kind"),
    [
        ("Not Found", NoSuchRoute),
        ("Model x not loaded", ModelNotLoaded),
        (f"Model 'x' not found. {LISTED}", UnknownModel),
    ],
)
def test_404_has_three_meanings(detail: str, kind: type[Exception]):
    body = msgspec.json.encode({"detail": detail})

    assert type(chatvlm.read_error(Reply(status=404, body=body))) is kind


def test_an_image_without_a_size_is_zero_by_zero():
    call = chatvlm.read_ocr(form_request(), LIMIT)

    assert b'"image_size":[0,0]' in chatvlm.write_result(call, Result(text=""), STAMP).body
