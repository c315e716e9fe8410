"""Page sizes as the vendors' own arithmetic gives them."""

from __future__ import annotations

import pytest
from PIL import Image

from shared.families.sizes import clipped, fitted, scaled, smart_size, within_ratio

DOTS = {"factor": 28, "pixels_min": 3136, "pixels_max": 11_289_600}
QWEN3 = {"factor": 32, "pixels_min": 256 * 1024, "pixels_max": 1280 * 1024}


@pytest.mark.parametrize(
    ("size", "bounds", "expected"),
    [
        ((1654, 2339), DOTS, (1652, 2352)),  # A4 at 200 DPI: 4956 tokens
        ((200, 140), DOTS, (196, 140)),
        ((42, 70), DOTS, (56, 56)),  # halves go to the even multiple
        ((28, 28), DOTS, (56, 56)),  # too few pixels
        ((10, 2000), DOTS, (28, 1988)),
        ((10_000, 8000), DOTS, (3752, 2996)),
        ((1654, 2339), QWEN3, (960, 1344)),  # 1260 tokens
        ((100, 30), QWEN3, (960, 288)),
    ],
)
def test_smart_sizes(size, bounds, expected) -> None:
    found = smart_size(size, **bounds)
    assert found == expected
    assert all(side % bounds["factor"] == 0 for side in found)
    assert found[0] * found[1] <= bounds["pixels_max"]


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (5000, 7000), (29, 20_000), (1653, 2339)])
def test_a_smart_size_is_its_own(size) -> None:
    once = smart_size(size, **DOTS)
    assert smart_size(once, **DOTS) == once


@pytest.mark.parametrize(
    ("size", "edge", "expected"),
    [
        ((1654, 2339), 1540, (1089, 1540)),
        ((2339, 1654), 2048, (2048, 1448)),
        ((800, 600), 1540, (800, 600)),
        ((100_000, 10), 1540, (1540, 1)),
    ],
)
def test_longest_edges(size, edge, expected) -> None:
    assert fitted(size, edge) == expected


def test_thin_pages_get_white_beside_them() -> None:
    page = Image.new("RGB", (1000, 3), "black")
    wider = within_ratio(page)
    assert wider.size == (1000, 5)
    assert wider.getpixel((0, 0)) == (0, 0, 0)
    assert wider.getpixel((0, 4)) == (255, 255, 255)
    assert within_ratio(wider) is wider


def test_boxes_are_scaled_and_stay_on_the_page() -> None:
    assert scaled((0, 0, 826, 1176), (1652, 2352), (1654, 2339)) == (0, 0, 827, 1170)
    assert clipped((-3, 5, 2000, 4), (100, 50)) == (0, 4, 100, 5)
