"""Tesseract, for the scripts that PP-OCRv6 does not know: finding its language data, and reading.

It decides nothing about which lines need it. A Tesseract API serves one thread at a time, so each
language keeps as many as threads have asked for at once.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import cv2
import tesserocr
from PIL import Image

from shared.engine.embedded.models import Pixels, Reading

FOLDERS: Final = (
    "/usr/share/tesseract-ocr/5/tessdata",
    "/usr/share/tesseract-ocr/4.00/tessdata",
    "/usr/share/tessdata",
    "/usr/local/share/tessdata",
)
"""Where Debian, Fedora and a build from source put language data."""

TEXT_HEIGHT_PX: Final = 48
"""Lines are scaled to this: between 32 and 64 px the models read best (measured)."""

MARGIN_PX: Final = 10
"""White around a line; without it the first and last letters suffer."""

LANGUAGES_MAX: Final = 6
"""Languages kept in memory at once, 5 to 15 MiB each and thread."""


class Tesseract:
    """Readers for the languages whose data is installed.

    Args:
        tessdata: the folder of the `*.traineddata` files; `None` looks at `TESSDATA_PREFIX` and
            at the usual folders.
    """

    def __init__(self, tessdata: str | None) -> None:
        self._folder = _folder(tessdata)
        self.languages = _languages(self._folder)
        """Installed languages by Tesseract's codes, without the orientation data."""
        self._idle: dict[str, list[Any]] = defaultdict(list)
        self._lock = threading.Lock()
        self._closed = False

    def read(self, pixels: Pixels, language: str) -> Reading:
        """Read one line: its text, and a confidence from 0 to 1."""
        reader = self._take(language)
        try:
            reader.SetImage(_prepared(pixels))
            reader.Recognize()
            text = " ".join(reader.GetUTF8Text().split())
            return Reading(text, reader.MeanTextConf() / 100)
        finally:
            reader.Clear()
            self._give(language, reader)

    def close(self) -> None:
        """Free all readers; one that is at work is freed when it is done."""
        with self._lock:
            self._closed = True
            idle = [reader for readers in self._idle.values() for reader in readers]
            self._idle.clear()
        for reader in idle:
            reader.End()

    def _take(self, language: str) -> Any:
        with self._lock:
            readers = self._idle.pop(language, [])
            reader = readers.pop() if readers else None
            # Back at the end: the dictionary's order is that of the last use.
            self._idle[language] = readers
        if reader is not None:
            return reader
        # A block of text, not a line: Korean comes back empty from the line mode on some lines.
        return tesserocr.PyTessBaseAPI(
            path=self._folder,
            lang=language,
            psm=tesserocr.PSM.SINGLE_BLOCK,
            oem=tesserocr.OEM.LSTM_ONLY,
        )

    def _give(self, language: str, reader: Any) -> None:
        dropped = [reader]
        with self._lock:
            if not self._closed:
                self._idle[language].append(reader)
                dropped = []
                while len(self._idle) > LANGUAGES_MAX:
                    dropped.extend(self._idle.pop(next(iter(self._idle))))
        for old in dropped:
            old.End()


def _folder(tessdata: str | None) -> str:
    folders = (tessdata,) if tessdata else (os.environ.get("TESSDATA_PREFIX", ""), *FOLDERS)
    for folder in folders:
        if folder and any(Path(folder).glob("*.traineddata")):
            return folder
    return ""


def _languages(folder: str) -> frozenset[str]:
    if not folder:
        return frozenset()
    names = {path.stem for path in Path(folder).glob("*.traineddata")}
    return frozenset(names - {"osd", "equ", "snum"})


def _prepared(pixels: Pixels) -> Image.Image:
    height, width = pixels.shape[:2]
    size = (max(1, round(width * TEXT_HEIGHT_PX / max(height, 1))), TEXT_HEIGHT_PX)
    smaller = height > TEXT_HEIGHT_PX
    scaled = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    edges = (MARGIN_PX,) * 4
    framed = cv2.copyMakeBorder(scaled, *edges, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return Image.fromarray(cv2.cvtColor(framed, cv2.COLOR_BGR2RGB))
