"""The soak as a test of the slow lane: `make soak` runs it, SOAK_S sets its seconds."""

from __future__ import annotations

import os

import pytest

from tests.bench import soak
from tests.pages import FontMissing


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_soak(request: pytest.FixtureRequest) -> None:
    if "soak" not in str(request.config.option.markexpr):
        pytest.skip("slow lane: make soak")
    pytest.importorskip("rapidocr", reason="needs the extra `embedded`")
    try:
        failures = soak.run(float(os.environ.get("SOAK_S", soak.SECONDS)), soak.CLIENTS, "embedded")
    except FontMissing as missing:
        pytest.skip(str(missing))
    assert failures == []
