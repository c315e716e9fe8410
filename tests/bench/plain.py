"""RapidOCR as its wheel comes, with nothing of ours: what every figure is held against."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from rapidocr import RapidOCR


class Plain:
    """One instance for all its threads, as a small server of one's own would have it."""

    def __init__(self) -> None:
        self._read = RapidOCR(params={"Global.log_level": "critical"})

    def text(self, data: bytes) -> str:
        return "\n".join(self._read(data).txts or ())

    def texts(self, data: bytes, clients: int) -> Sequence[str]:
        """The same page for several clients at once."""
        with ThreadPoolExecutor(clients) as pool:
            return list(pool.map(self.text, [data] * clients))
