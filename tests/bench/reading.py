"""How well and how fast the embedded engine reads real pages, beside plain RapidOCR on the same
pages in the same run. It prints; it judges nothing.

The engines run in this process, so the figures leave HTTP out. PDFs are drawn by pypdfium2 at
150 dpi. A page is read once before its clock starts; rounds alternate between the contestants.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from shared.engine.embedded import EmbeddedEngine
from shared.engine.protocol import Engine, Recipe
from shared.ocr import BytesPage, Request, Task, fold
from tests.bench.checks import run_checks
from tests.bench.plain import Plain
from tests.bench.scans import FOLDER, Scan, scans
from tests.pages import DRAWN, FontMissing, page
from tests.reading.measure import character_error

CLIENTS = 4
"""The project promises figures for one client and for four."""

NOTHING = "-"

WORDS = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]|[^\s\u3040-\u30ff\u4e00-\u9fff]+")
"""A Han character or kana is a word of its own: nothing parts them on the page."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What both made of a page."""

    plain: str
    text: str
    markdown: str
    note: str = ""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Pages per second with some number of clients."""

    plain: float
    text: float
    layout: float


async def read(engine: Engine, data: bytes, task: Task) -> tuple[str, str]:
    """The answer, and what the engine noted about it."""
    result = await fold(engine.read(Request(model="bench", task=task, pages=(BytesPage(data),))))
    return result.text, "; ".join(result.notes)


async def reading_of(engine: Engine, plain: Plain, scan: Scan) -> Reading:
    theirs = await asyncio.to_thread(plain.text, scan.data)
    text, note = await read(engine, scan.data, Task.TEXT)
    markdown, _ = await read(engine, scan.data, Task.MARKDOWN)
    return Reading(plain=theirs, text=text, markdown=markdown, note=note)


async def pace_of(engine: Engine, plain: Plain, data: bytes, clients: int, rounds: int) -> Pace:
    """The median over the rounds, each contestant in turn."""

    async def ours(task: Task) -> None:
        await asyncio.gather(*(read(engine, data, task) for _ in range(clients)))

    contestants: dict[str, Callable[[], Awaitable[object]]] = {
        "plain": lambda: asyncio.to_thread(plain.texts, data, clients),
        "text": lambda: ours(Task.TEXT),
        "layout": lambda: ours(Task.LAYOUT),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            started = time.perf_counter()
            await contestant()
            seconds[name].append(time.perf_counter() - started)
    return Pace(**{name: clients / statistics.median(each) for name, each in seconds.items()})


# ---- what a text is worth


def passed(text: str, scan: Scan) -> str:
    if not scan.checks:
        return NOTHING
    results = run_checks(text, scan.checks)
    return f"{sum(map(bool, results))}/{len(scan.checks)}"


def error(text: str, scan: Scan) -> str:
    return f"{character_error(scan.truth, text):.1%}" if scan.truth else NOTHING


def words_of_layer(text: str, scan: Scan) -> str:
    return f"{words_shared(scan.layer, text):.1%}" if scan.layer else NOTHING


def words_shared(truth: str, text: str) -> float:
    """F1 over words whatever their order: a text layer's order is its printer's, not a reader's."""
    wanted, found = (Counter(WORDS.findall(each)) for each in (bare(truth), bare(text)))
    return 2 * (wanted & found).total() / max(1, wanted.total() + found.total())


def bare(text: str) -> str:
    """Markdown and HTML marks are no words."""
    for mark in ("|", "#", "**", "<td>", "</td>", "<tr>", "</tr>", "<table>", "</table>", "---"):
        text = text.replace(mark, " ")
    return text


# ---- the tables


def quality_table(rows: Iterable[tuple[Scan, Reading]]) -> Table:
    """Ours first, plain RapidOCR's second in each pair."""
    table = Table(title="Reading: ours / plain RapidOCR", title_justify="left")
    table.add_column("page", no_wrap=True)
    for head in ("checks", "character error", "words of the text layer", "alike"):
        table.add_column(head, justify="right")
    table.add_column("note")
    for scan, got in rows:
        table.add_row(
            scan.name,
            pair(passed(got.markdown, scan), passed(got.plain, scan)),
            pair(error(got.text, scan), error(got.plain, scan)),
            pair(words_of_layer(got.text, scan), words_of_layer(got.plain, scan)),
            f"{words_shared(got.plain, got.text):.1%}" if got.plain or got.text else NOTHING,
            got.note,
        )
    table.caption = "alike: words our text shares with plain RapidOCR's, whatever their order (F1)"
    return table


def pair(ours: str, theirs: str) -> str:
    return NOTHING if ours == NOTHING else f"{ours} / {theirs}"


def pace_table(rows: Iterable[tuple[Scan, Pace, Pace]]) -> Table:
    table = Table(title="Pages per second, and times plain RapidOCR", title_justify="left")
    table.add_column("page", no_wrap=True)
    for clients in ("1 client", f"{CLIENTS} clients"):
        for head in ("plain", "text", "layout"):
            table.add_column(f"{head}\n{clients}", justify="right")
    every: list[tuple[Pace, Pace]] = []
    for scan, one, many in rows:
        table.add_row(scan.name, *cells(one), *cells(many))
        every.append((one, many))
    if every:
        table.add_section()
        table.add_row(
            "all pages", *cells(whole(one for one, _ in every)), *cells(whole(m for _, m in every))
        )
    return table


def cells(pace: Pace) -> tuple[str, str, str]:
    def times(ours: float) -> str:
        return f"{ours:.2f} ({ours / pace.plain:.2f}x)"

    return f"{pace.plain:.2f}", times(pace.text), times(pace.layout)


def whole(paces: Iterable[Pace]) -> Pace:
    """The pace over all pages, one after the other."""
    each = list(paces)
    return Pace(
        plain=statistics.harmonic_mean([pace.plain for pace in each]),
        text=statistics.harmonic_mean([pace.text for pace in each]),
        layout=statistics.harmonic_mean([pace.layout for pace in each]),
    )


# ---- the command


def chosen(options: argparse.Namespace) -> list[Scan]:
    """The pages asked for: those of the folder, or the repository's own."""
    if options.drawn:
        pages = list(drawn_scans())
    elif options.folder.is_dir():
        pages = list(scans(options.folder, options.truth))
    else:
        print(f"no folder {options.folder}; try --drawn", file=sys.stderr)
        pages = []
    return [p for p in pages if not options.pages or any(part in p.name for part in options.pages)]


def drawn_scans() -> Iterable[Scan]:
    for name in DRAWN:
        try:
            drawn = page(name)
        except FontMissing as missing:
            print(f"{name}: {missing}", file=sys.stderr)
            continue
        yield Scan(name=name, data=drawn.png, truth=drawn.text)


def keep(folder: Path, scan: Scan, got: Reading) -> None:
    """Write the page and what was read, to look at."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = scan.name.replace("#", "-")
    (folder / f"{stem}.page").write_bytes(scan.data)
    for kind in ("plain", "text", "markdown"):
        (folder / f"{stem}.{kind}.txt").write_text(getattr(got, kind))


async def bench(options: argparse.Namespace) -> int:
    pages = chosen(options)
    if not pages:
        return 1
    console = Console(width=None if sys.stdout.isatty() else 150)
    plain, engine = Plain(), EmbeddedEngine(Recipe(model="bench"))
    await engine.open()
    read_so_far, paced = [], []
    try:
        for scan in pages:
            got = await reading_of(engine, plain, scan)
            read_so_far.append((scan, got))
            if options.texts:
                keep(options.texts, scan, got)
            if not options.no_speed:
                one = await pace_of(engine, plain, scan.data, 1, options.rounds)
                many = await pace_of(engine, plain, scan.data, CLIENTS, 1)
                paced.append((scan, one, many))
            print(f"{scan.name} done", file=sys.stderr)
    finally:  # also after Ctrl-C: what was measured so far took minutes
        await engine.close()
        console.print(quality_table(read_so_far))
        if paced:
            console.print(pace_table(paced))
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("tests.bench reading", description=__doc__)
    parser.add_argument("pages", nargs="*", help="only pages whose name holds one of these")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="pages to read")
    parser.add_argument("--drawn", action="store_true", help="read the repository's own pages")
    parser.add_argument("--truth", type=Path, help="folder of transcriptions, NAME.txt")
    parser.add_argument("--texts", type=Path, help="folder to write what was read into")
    parser.add_argument("--rounds", type=int, default=2, help="timed rounds with one client")
    parser.add_argument("--no-speed", action="store_true", help="quality alone")
    try:
        return asyncio.run(bench(parser.parse_args(arguments)))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
