"""Lets torch for CPUs and torchvision for CUDA stand side by side, where an index has no other: the
latter's compiled part cannot load then, and two operators that it would declare are declared here.
On a set that matches it does nothing. Python runs it at its start, in child processes too.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


class _Declaring:
    """Declares the operators just before torchvision is looked for the first time."""

    kept: Any = None

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> None:  # noqa: ARG003
        if name == "torchvision.extension" and cls.kept is None:
            import torch

            cls.kept = torch.library.Library("torchvision", "DEF")
            for schema in SCHEMAS:
                cls.kept.define(schema)


def _differ() -> bool:
    try:
        torch = version("torch")
    except PackageNotFoundError:
        return False
    spec = PathFinder.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    stated = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    return torch.endswith("+cpu") and "+cu" in stated


if _differ():
    sys.meta_path.insert(0, _Declaring)
