"""The vLLM backend without a service: weights quantised as they load, and what cannot load."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from shared.engine.family import Question
from shared.engine.vllm import VllmBackend
from shared.errors import EngineFailed
from shared.loading import Dtype, Loading
from tests.vllm.conftest import drawn

pytestmark = pytest.mark.timeout(600)


async def test_int8_weights_answer(tiny) -> None:
    """Only that the two packages fit each other is shown here; quality needs a real model."""
    loading = Loading(quantization="int8", max_model_len=1024, max_num_seqs=2, enforce_eager=True)
    backend = VllmBackend(str(tiny("lightonocr")), loading)
    await backend.open()
    assert backend.state().ready
    async with aclosing(backend.generate(Question(image=drawn(), max_tokens=8))) as stream:
        pieces = [piece async for piece in stream]
    assert sum(piece.tokens for piece in pieces) == 8
    await backend.close()
    assert not backend.state().ready


async def test_weights_that_are_not_here_are_one_clear_error() -> None:
    backend = VllmBackend("lightonai/LightOnOCR-1B-1025", Loading(revision="abc"))
    with pytest.raises(EngineFailed) as caught:
        await backend.open()
    assert str(caught.value) == (
        "the weights of lightonai/LightOnOCR-1B-1025 are not on this machine; fetch them with:"
        " hf download lightonai/LightOnOCR-1B-1025 --revision abc"
    )
    await backend.close()


async def test_a_model_that_vllm_does_not_know_is_one_clear_error(tiny) -> None:
    backend = VllmBackend(str(tiny("gotocr")), Loading(dtype=Dtype.FLOAT32, enforce_eager=True))
    with pytest.raises(EngineFailed, match=r"vLLM cannot load .*gotocr"):
        await backend.open()
    assert not backend.state().ready
    await backend.close()
