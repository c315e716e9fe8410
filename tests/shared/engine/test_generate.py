"""The engine for models that write keeps the promises of the protocol, whatever runs the model."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from shared.engine.generate import WARM_TOKENS, GeneratingEngine
from shared.engine.protocol import Recipe
from shared.errors import EngineFailed, InvalidRequest, UnsupportedImage
from shared.ocr import (
    BytesPage,
    Delta,
    Done,
    EncodedPage,
    Request,
    Result,
    Sampling,
    Stop,
    Task,
    Text,
    Usage,
    fold,
)
from tests.samples import png
from tests.shared.engine.plainfamily import PlainFamily, WordsBackend

RECIPE = Recipe(model="test")


def asking(prompt: str = "one two three", *, pages: int = 1, **more: Any) -> Request:
    sampling = {
        name: more.pop(name) for name in ("max_tokens", "stop", "temperature") if name in more
    }
    return Request(
        model="test",
        task=Task.TEXT,
        pages=tuple(BytesPage(png(40 + number, 20)) for number in range(pages)),
        prompt=prompt,
        sampling=Sampling(**sampling),
        **more,
    )


async def opened(backend: WordsBackend, *texts: str, **question: Any) -> GeneratingEngine:
    engine = GeneratingEngine(backend, RECIPE, PlainFamily(*texts, **question))
    await engine.open()
    return engine


async def read(engine: GeneratingEngine, request: Request) -> Result:
    return await fold(engine.read(request))


async def all_of(engine: GeneratingEngine, request: Request) -> list[Delta]:
    return [delta async for delta in engine.read(request)]


async def test_one_page_streams_and_ends_with_one_done() -> None:
    engine = await opened(WordsBackend())
    deltas = await all_of(engine, asking())
    assert deltas[:-1] == [Text("one"), Text(" two"), Text(" three")]
    done = deltas[-1]
    assert isinstance(done, Done)
    assert done.stop is Stop.STOP
    assert done.usage == Usage(3, 3)
    assert done.sizes == ((40, 20),)
    assert [block.text for block in done.blocks] == ["one two three"]
    assert engine.at_work == 0


async def test_words_without_a_page_are_answered() -> None:
    engine = await opened(WordsBackend())
    result = await read(engine, asking("hello there", pages=0))
    assert (result.text, result.sizes) == ("hello there", ())


async def test_pages_stand_apart_and_blocks_name_their_page() -> None:
    engine = await opened(WordsBackend())
    result = await read(engine, asking("a b", pages=2))
    assert result.text == "a b\n\na b"
    assert result.sizes == ((40, 20), (41, 20))
    assert [block.page for block in result.blocks] == [0, 1]
    assert result.usage == Usage(4, 4)


async def test_questions_are_told_in_order_whichever_answers_first() -> None:
    """The first has the most words, so all others are done before it."""
    backend = WordsBackend(at_once=3)
    texts = ("a b c d e f g h", "i j", "k", "l m n", "o")
    engine = await opened(backend, *texts)
    result = await read(engine, asking())
    assert result.text == "a b c d e f g h|i j|k|l m n|o"
    assert backend.most_running == 3
    assert backend.running == 0
    assert result.usage == Usage(15, 15)


async def test_a_backend_that_cannot_batch_is_asked_one_by_one() -> None:
    backend = WordsBackend(at_once=1)
    engine = await opened(backend, "a b", "c d")
    assert (await read(engine, asking())).text == "a b|c d"
    assert backend.most_running == 1


async def test_a_page_with_nothing_to_ask_says_nothing() -> None:
    backend = WordsBackend()
    engine = await opened(backend)
    engine._family = EmptyFamily()
    result = await read(engine, asking())
    assert (result.text, result.stop, result.sizes) == ("", Stop.STOP, ((40, 20),))


class EmptyFamily(PlainFamily):
    def open_page(self, request, page):
        work = super().open_page(request, page)
        work.questions = []
        return work


@pytest.mark.parametrize("at_once", [1, 4])
async def test_the_bound_on_tokens_counts_over_all_questions(at_once: int) -> None:
    engine = await opened(WordsBackend(at_once=at_once), "a b c", "d e f", "g h i")
    result = await read(engine, asking(max_tokens=4))
    assert result.text == "a b c|d]"
    assert result.stop is Stop.LENGTH
    assert result.usage.completion_tokens == 4


async def test_an_answer_that_just_fits_ends_of_itself() -> None:
    engine = await opened(WordsBackend(at_once=4), "a b", "c")
    assert (await read(engine, asking(max_tokens=3))).stop is Stop.STOP


async def test_pages_behind_the_bound_are_not_read() -> None:
    backend = WordsBackend()
    engine = await opened(backend)
    result = await read(engine, asking("a b", pages=3, max_tokens=3))
    assert result.text == "a b\n\na]"
    assert result.stop is Stop.LENGTH
    assert len(result.sizes) == 2


async def test_one_cut_answer_among_many_says_length_and_the_rest_is_read() -> None:
    engine = await opened(WordsBackend(), "a b c", "d", max_tokens=2)
    result = await read(engine, asking())
    assert (result.text, result.stop) == ("a b|d", Stop.LENGTH)


async def test_stop_strings_end_the_answer_and_the_work() -> None:
    backend = WordsBackend(at_once=2)
    engine = await opened(backend, "a b STOP c d e", "f g h i j k l m", "never asked")
    result = await read(engine, asking(stop=(" ST",)))
    assert (result.text, result.stop) == ("a b", Stop.STOP)
    assert backend.running == 0
    assert len(backend.asked) == 2


@pytest.mark.parametrize("texts", [("a b c",), ("a b c", "d e f")])
async def test_closing_stops_every_question(texts: tuple[str, ...]) -> None:
    backend = WordsBackend(at_once=2)
    engine = await opened(backend, *texts)
    async with aclosing(engine.read(asking())) as deltas:
        assert await anext(deltas) == Text("a")
        backend.gate.clear()
        assert backend.running == len(texts)
    assert backend.running == 0
    assert engine.at_work == 0


@pytest.mark.parametrize("texts", [("a b c",), ("a b c", "d e f")])
async def test_cancelling_stops_every_question(texts: tuple[str, ...]) -> None:
    backend = WordsBackend(at_once=2)
    backend.gate.clear()
    engine = await opened(backend, *texts)
    task = asyncio.create_task(read(engine, asking()))
    while backend.running < len(texts):
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert backend.running == 0


async def test_requests_do_not_mix() -> None:
    engine = await opened(WordsBackend())
    alone = await read(engine, asking("a b c"))
    results = await asyncio.gather(*(read(engine, asking(f"a b {n}")) for n in range(20)))
    assert [result.text for result in results] == [f"a b {n}" for n in range(20)]
    assert await read(engine, asking("a b c")) == alone


@pytest.mark.parametrize("texts", [("a b",), ("a b", "c d")])
async def test_a_broken_backend_is_the_engines_failure(texts: tuple[str, ...]) -> None:
    engine = await opened(WordsBackend(at_once=2, fails_at=1), *texts)
    with pytest.raises(EngineFailed, match="could not be read") as caught:
        await read(engine, asking())
    assert "a wire came loose" in caught.value.detail


@pytest.mark.parametrize("texts", [("a b",), ("a b", "c d")])
async def test_an_answer_without_its_end_is_no_short_answer(texts: tuple[str, ...]) -> None:
    engine = await opened(WordsBackend(at_once=2, cut=True), *texts)
    with pytest.raises(EngineFailed, match="ended early"):
        await read(engine, asking())


async def test_what_the_family_refuses_is_refused() -> None:
    engine = await opened(WordsBackend())
    with pytest.raises(InvalidRequest, match="does not locate"):
        await read(engine, asking(phrase="refuse"))


async def test_bad_pages_are_told_apart() -> None:
    engine = await opened(WordsBackend())
    bad = Request(model="test", task=Task.TEXT, pages=(BytesPage(b"no image"),))
    with pytest.raises(UnsupportedImage):
        await read(engine, bad)
    unfetched = Request(model="test", task=Task.TEXT, pages=(EncodedPage("aaaa"),))
    with pytest.raises(EngineFailed, match="not fetched"):
        await read(engine, unfetched)


async def test_a_first_page_is_read_before_it_is_ready() -> None:
    backend = WordsBackend(warms_up=True)
    backend.gate.clear()
    engine = GeneratingEngine(backend, RECIPE, PlainFamily("warm"))
    opening = asyncio.create_task(engine.open())
    while not backend.running:
        await asyncio.sleep(0.001)
    assert not engine.state().ready
    assert engine.state().why == "reading a first page"
    backend.gate.set()
    await opening
    assert engine.state().ready
    assert backend.asked[0].max_tokens == WARM_TOKENS


async def test_a_first_page_that_fails_fails_the_opening() -> None:
    backend = WordsBackend(warms_up=True, fails_at=0)
    engine = GeneratingEngine(backend, RECIPE, PlainFamily("warm"))
    with pytest.raises(EngineFailed):
        await engine.open()
    assert not backend.loaded
    with pytest.raises(EngineFailed, match="not open"):
        await read(engine, asking())


async def test_closing_twice_is_harmless_and_frees_the_backend() -> None:
    backend = WordsBackend()
    engine = await opened(backend)
    await engine.close()
    await engine.close()
    assert not engine.state().ready
