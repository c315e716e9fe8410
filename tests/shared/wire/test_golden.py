"""Every format, byte by byte, against the files in `tests/golden`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.shared.wire.goldens import GOLDEN, cases

CASES = dict(cases())


@pytest.mark.parametrize("name", CASES)
def test_the_wire_writes_the_golden_bytes(name: str):
    write: Callable[[], bytes] = CASES[name]

    assert (GOLDEN / name).read_bytes() == write()


def test_every_golden_file_has_a_case():
    files = {path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*") if path.is_file()}

    assert files == set(CASES)
    assert len(files) > 100
