"""The pages nobody here wrote, as images with whatever says what is on them: checks, a PDF's text
layer, a transcription given by hand. They stay in their folder beside the repository."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pypdfium2  # type: ignore[import-untyped]  # it carries no types

from tests.running import ROOT

FOLDER = ROOT.parent / "shared" / "pages"
DPI = 150
"""PDFs are drawn by pypdfium2 at this resolution, as a scanner's middle setting."""


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """One page."""

    name: str
    data: bytes
    checks: tuple[dict[str, Any], ...] = ()
    """In olmOCR-bench's form."""
    layer: str = ""
    """The PDF's own text, in the PDF's own order; empty for a scan."""
    truth: str = ""
    """A transcription: NAME.txt in the folder given by `--truth`."""


def scans(folder: Path = FOLDER, truths: Path | None = None) -> Iterator[Scan]:
    """Every page in the folder; PDFs give one for each of their pages."""
    checks = read_checks(folder / "olmocr_checks.jsonl")
    for path in sorted(folder.iterdir()):
        match path.suffix:
            case ".pdf":
                yield from pdf_scans(path, checks, truths)
            case ".png" | ".jpg":
                yield Scan(
                    name=path.name, data=path.read_bytes(), truth=read_truth(path.name, truths)
                )


def pdf_scans(path: Path, checks: list[dict[str, Any]], truths: Path | None) -> Iterator[Scan]:
    document = pypdfium2.PdfDocument(path)
    try:
        for number in range(len(document)):
            page = document[number]
            out = io.BytesIO()
            page.render(scale=DPI / 72).to_pil().convert("RGB").save(out, format="PNG")
            name = f"{path.name}#{number + 1}" if len(document) > 1 else path.name
            yield Scan(
                name=name,
                data=out.getvalue(),
                checks=tuple(c for c in checks if (c["pdf"], c["page"]) == (path.name, number + 1)),
                layer=page.get_textpage().get_text_bounded(),
                truth=read_truth(name, truths),
            )
    finally:
        document.close()


def read_checks(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def read_truth(name: str, truths: Path | None) -> str:
    path = (truths / f"{name}.txt") if truths else None
    return path.read_text() if path and path.exists() else ""
