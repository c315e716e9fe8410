"""The embedded engine keeps the promises of the protocol, on small pages drawn here."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import aclosing
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

pytest.importorskip("rapidocr", reason="needs the extra `embedded`")

from shared.engine.embedded import EmbeddedEngine
from shared.engine.protocol import Recipe
from shared.errors import EngineFailed, InvalidRequest, UnsupportedImage
from shared.ocr import (
    Box,
    BytesPage,
    Delta,
    Done,
    EncodedPage,
    Request,
    Sampling,
    Stop,
    Task,
    Text,
    fold,
)
from tests.pages.fonts import Face, FontMissing, font

RECIPE = Recipe(model="test")
WORDS = ("harbour", "lantern", "meadow", "quarry", "saddle", "thicket", "umbrella", "walnut")


def drawn(lines: list[str], size: tuple[int, int] = (640, 400), turn: int = 0) -> bytes:
    """Lines of text on white, far enough apart to be blocks of their own."""
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    try:
        face = font(Face.DEJAVU, 24)
    except FontMissing as missing:
        pytest.skip(str(missing))
    for number, line in enumerate(lines):
        pen.text((40, 30 + 90 * number), line, "black", font=face)
    file = BytesIO()
    image.rotate(-turn, expand=True).save(file, "PNG")
    return file.getvalue()


def lines_of(number: int) -> list[str]:
    return [f"The {WORDS[(number + n) % len(WORDS)]} number {number * 7 + n}" for n in range(4)]


def asking(*pages: bytes, task: Task = Task.TEXT, **options) -> Request:
    return Request(model="test", task=task, pages=tuple(map(BytesPage, pages)), **options)


def tall(count: int) -> bytes:
    """A page with enough lines to be read in many steps."""
    lines = [f"Line {n} of the {WORDS[n % len(WORDS)]} report is here" for n in range(count)]
    return drawn(lines, (640, 60 + 90 * count))


async def test_an_answer_is_texts_and_one_done_at_its_end(engine: EmbeddedEngine) -> None:
    deltas = [delta async for delta in engine.read(asking(drawn(lines_of(1)), prompt="Read it."))]
    *texts, done = deltas
    assert len(texts) > 1
    pieces = [delta.text for delta in texts if isinstance(delta, Text)]
    assert len(pieces) == len(texts)
    assert isinstance(done, Done)
    assert "".join(pieces).split("\n\n") == lines_of(1)
    assert (done.stop, done.sizes, done.notes) == (Stop.STOP, ((640, 400),), ())
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (3, 16)
    assert [block.text for block in done.blocks] == lines_of(1)


async def test_blocks_come_as_they_are_read(engine: EmbeddedEngine) -> None:
    """The first text is there long before the last line is read."""
    started = time.monotonic()
    came = [time.monotonic() - started async for _ in engine.read(asking(tall(24)))]
    assert len(came) > 20
    assert came[0] < 0.8 * came[-1]


async def test_a_page_alone_reads_as_in_company(engine: EmbeddedEngine) -> None:
    pages = [drawn(lines_of(number)) for number in range(3)]
    alone = [(await fold(engine.read(asking(page)))).text for page in pages]
    company = await asyncio.gather(*(fold(engine.read(asking(page))) for page in pages * 2))
    assert alone == ["\n\n".join(lines_of(number)) for number in range(3)]
    assert [result.text for result in company] == alone * 2


async def test_more_pages_than_may_be_at_work_wait_their_turn(engine: EmbeddedEngine) -> None:
    page = drawn(lines_of(2)[:1], (400, 80))
    results = await asyncio.gather(*(fold(engine.read(asking(page))) for _ in range(10)))
    assert {result.text for result in results} == {lines_of(2)[0]}
    assert engine.at_work == 0


async def test_closing_the_stream_stops_the_work_within_a_step(engine: EmbeddedEngine) -> None:
    page = tall(40)
    async with aclosing(engine.read(asking(page))) as deltas:
        assert isinstance(await anext(deltas), Text)
    assert engine.at_work == 0
    await idle(engine)


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.2])
async def test_cancelling_stops_the_work_within_a_step(
    engine: EmbeddedEngine, after_s: float
) -> None:
    task = asyncio.ensure_future(fold(engine.read(asking(tall(40)))))
    await asyncio.sleep(after_s)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.at_work == 0
    await idle(engine)


async def idle(engine: EmbeddedEngine) -> None:
    """Both threads can be had at once, soon: nothing of the page is still queued."""
    tools = engine._tools
    assert tools is not None
    meeting = threading.Barrier(2)
    both = [tools.crew.submit(meeting.wait, 10.0) for _ in range(2)]
    started = time.monotonic()
    await asyncio.gather(*both)
    # The running step ends first: detection of this page, at most.
    assert time.monotonic() - started < 5.0
    assert tools.crew._pool._work_queue.qsize() <= 2


async def test_a_freed_slot_serves_the_next(engine: EmbeddedEngine) -> None:
    for _ in range(3):
        async with aclosing(engine.read(asking(tall(8)))) as deltas:
            await anext(deltas)
    assert (await fold(engine.read(asking(drawn(lines_of(3)))))).text.startswith("The quarry")


async def test_several_pages_are_joined_by_a_blank_line(engine: EmbeddedEngine) -> None:
    blank = drawn([])
    pages = [drawn(lines_of(4)[:1]), blank, drawn(lines_of(5)[:1])]
    result = await fold(engine.read(asking(*pages)))
    assert result.text == f"{lines_of(4)[0]}\n\n{lines_of(5)[0]}"
    assert [block.page for block in result.blocks] == [0, 2]
    assert result.sizes == ((640, 400),) * 3


async def test_tokens_are_limited(engine: EmbeddedEngine) -> None:
    request = asking(drawn(lines_of(1)), sampling=Sampling(max_tokens=6))
    result = await fold(engine.read(request))
    assert result.text == "The lantern number 7\n\nThe meadow"
    assert (result.stop, result.usage.completion_tokens) == (Stop.LENGTH, 6)
    unlimited = asking(drawn(lines_of(1)), sampling=Sampling(max_tokens=-1))
    assert (await fold(engine.read(unlimited))).stop is Stop.STOP


async def test_stop_strings_end_the_answer(engine: EmbeddedEngine) -> None:
    request = asking(drawn(lines_of(1)), sampling=Sampling(stop=("number 8",)))
    result = await fold(engine.read(request))
    assert (result.text, result.stop) == ("The lantern number 7\n\nThe meadow ", Stop.STOP)


async def test_without_a_page_it_says_so(engine: EmbeddedEngine) -> None:
    result = await fold(engine.read(asking(task=Task.CHAT, prompt="Hello there")))
    assert result.text == "No image was sent, so there is nothing to read."
    assert (result.blocks, result.sizes, result.usage.prompt_tokens) == ((), (), 2)


async def test_a_page_without_text_answers_nothing_or_a_sentence(engine: EmbeddedEngine) -> None:
    blank = drawn([])
    assert (await fold(engine.read(asking(blank)))).text == ""
    assert (await fold(engine.read(asking(blank, task=Task.CHAT)))).text.strip() != ""


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (4000, 3), (3000, 15), (31, 29)])
async def test_tiny_and_odd_pages_are_answered(
    engine: EmbeddedEngine, size: tuple[int, int]
) -> None:
    for shade in ("white", "black"):
        file = BytesIO()
        image = Image.new("RGB", size, shade)
        image.putpixel((0, 0), (128, 0, 0))
        image.save(file, "PNG")
        result = await fold(engine.read(asking(file.getvalue(), task=Task.LAYOUT)))
        assert result.sizes == (size,)


async def test_a_region_is_read_alone(engine: EmbeddedEngine) -> None:
    page = drawn(lines_of(1))
    result = await fold(engine.read(asking(page, task=Task.REGION, box=(20, 110, 640, 160))))
    assert result.text.strip() == lines_of(1)[1]
    assert inside(result.blocks[0].box, (20, 105, 640, 165))
    with pytest.raises(InvalidRequest, match="outside of the page"):
        await fold(engine.read(asking(page, task=Task.REGION, box=(700, 10, 800, 20))))


@pytest.mark.parametrize("turn", [90, 180])
async def test_turned_pages_are_read_and_boxes_lie_on_the_page_as_sent(
    engine: EmbeddedEngine, turn: int
) -> None:
    upright = (30, 20, 420, 66)
    width, height = 640, 400
    left, top, right, bottom = upright
    expected: dict[int, Box] = {
        90: (height - bottom, left, height - top, right),
        180: (width - right, height - bottom, width - left, height - top),
        270: (top, width - right, bottom, width - left),
    }
    result = await fold(engine.read(asking(drawn(lines_of(1), turn=turn))))
    assert result.text == "\n\n".join(lines_of(1))
    assert result.sizes == ((400, 640) if turn in {90, 270} else (640, 400),)
    assert inside(result.blocks[0].box, expected[turn])


def inside(box: Box, bounds: Box) -> bool:
    return all(
        low <= value <= high
        for value, low, high in zip(box, (bounds[:2] * 2), (bounds[2:] * 2), strict=True)
    )


async def test_a_phrase_is_located_on_the_page_as_sent(engine: EmbeddedEngine) -> None:
    grounding = EmbeddedEngine(Recipe(model="test", layout="grounding"), threads=1)
    await grounding.open()
    try:
        request = asking(drawn(lines_of(1), turn=180), task=Task.LOCATE, phrase="meadow")
        answer = (await fold(grounding.read(request))).text
    finally:
        await grounding.close()
    assert answer.startswith("<|ref|>")
    [[left, top, right, bottom]] = json.loads(
        answer.partition("<|det|>")[2].partition("<|/det|>")[0]
    )
    # Upright the line stands at 120 of 400 pixels; on its head at 250 to 280, of 999 parts.
    assert 580 < top < bottom < 720
    assert left < right < 999


async def test_a_damaged_page_is_the_clients_mistake(engine: EmbeddedEngine) -> None:
    page = drawn(lines_of(1))
    with pytest.raises(UnsupportedImage):
        await fold(engine.read(asking(page[: len(page) // 2])))
    with pytest.raises(UnsupportedImage, match="cannot identify image file"):
        await fold(engine.read(asking(b"not an image")))
    assert (await fold(engine.read(asking(page)))).text.startswith("The lantern")


async def test_only_fetched_pages_are_read(engine: EmbeddedEngine) -> None:
    request = Request(model="test", task=Task.TEXT, pages=(EncodedPage("aGk="),))
    with pytest.raises(EngineFailed):
        await fold(engine.read(request))


async def test_the_loop_stays_free_while_pages_are_read(engine: EmbeddedEngine) -> None:
    lags: list[float] = []

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.002)
            lags.append(time.perf_counter() - before - 0.002)

    watcher = asyncio.ensure_future(watch())
    await asyncio.gather(*(fold(engine.read(asking(tall(3)))) for _ in range(8)))
    watcher.cancel()
    assert len(lags) > 20
    lags.sort()
    # The median: single waits are the machine's, which runs other things too.
    assert lags[len(lags) // 2] < 0.02


async def test_state_open_and_close() -> None:
    engine = EmbeddedEngine(RECIPE, threads=1)
    assert (engine.name, engine.state().ready) == ("embedded/pp-ocrv6", False)
    with pytest.raises(EngineFailed, match="not open"):
        await fold(engine.read(asking(drawn(lines_of(1)))))
    await asyncio.gather(engine.open(), engine.open())
    assert engine.state().ready
    assert (engine.state().device, engine.state().memory_used_mb) == ("cpu", None)
    await engine.close()
    await engine.close()
    assert not engine.state().ready
    await engine.open()
    assert (await fold(engine.read(asking(drawn(lines_of(1)))))).text != ""
    await engine.close()


async def test_closing_while_a_page_is_read_fails_that_page_in_clear_words() -> None:
    engine = EmbeddedEngine(RECIPE, threads=1)
    await engine.open()

    async def everything() -> list[Delta]:
        return [delta async for delta in engine.read(asking(tall(40)))]

    reading = asyncio.ensure_future(everything())
    await asyncio.sleep(0.1)
    await engine.close()
    with pytest.raises(EngineFailed, match="closed"):
        await reading


OFFLINE = """
    import asyncio, socket, sys

    def refuse(*args, **kwargs):
        raise AssertionError("a socket was opened")

    loop = asyncio.new_event_loop()  # it owns a pair of sockets to wake itself
    socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse
    socket.getaddrinfo = socket.create_connection = refuse

    from shared.engine.embedded import EmbeddedEngine
    from shared.engine.protocol import Recipe
    from shared.ocr import BytesPage, Request, Task, fold

    async def main():
        engine = EmbeddedEngine(Recipe(model="test"), threads=1)
        await engine.open()
        page = BytesPage(sys.stdin.buffer.read())
        for task in (Task.TEXT, Task.LAYOUT):
            print((await fold(engine.read(Request(model="test", task=task, pages=(page,))))).text)
        await engine.close()

    loop.run_until_complete(main())
"""


def test_nothing_is_downloaded_and_nothing_is_chatted() -> None:
    """In a process of its own that cannot connect: it reads, and its error stream stays empty."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(OFFLINE)],
        input=drawn(lines_of(6)),
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "HOME": "/nonexistent"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
    assert done.stdout.decode().startswith("The umbrella number 42\n\nThe walnut number 43")
    assert '"bbox"' in done.stdout.decode()
