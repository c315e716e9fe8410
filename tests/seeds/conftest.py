"""The five services with the embedded engine, started once for all examples, and the images the
examples name."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.pages import FontMissing, page
from tests.running import Service, fleet

HERE = Path(__file__).resolve().parent

RUN_S_MAX = 60
"""Longest a client program may take."""

Shell = Callable[..., subprocess.CompletedProcess[str]]
Node = Callable[..., str]


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pages the examples send: the receipt, and as doc2.jpg the slip."""
    folder = tmp_path_factory.mktemp("images")
    try:
        receipt, slip = page("receipt"), page("slip")
    except FontMissing as missing:
        pytest.skip(str(missing))
    (folder / "image.png").write_bytes(receipt.png)
    receipt.image.save(folder / "image.jpg", quality=80)
    for name in ("document.jpg", "doc1.jpg", "doc3.jpg"):
        shutil.copy(folder / "image.jpg", folder / name)
    slip.image.save(folder / "doc2.jpg", quality=80)
    (folder / "notes.txt").write_text("a file that is no picture\n")
    return folder


@pytest.fixture(scope="session")
def services(images: Path) -> Iterator[Mapping[str, Service]]:
    """dots may read the images by their paths."""
    pytest.importorskip("rapidocr", reason="needs the extra `embedded`")
    folders = {"OCR_FLEET_DOTS_IMAGE_FOLDERS": str(images)}
    with fleet(engine="embedded", folder=images, settings=folders) as started:
        yield started


@pytest.fixture
def base(request: pytest.FixtureRequest, services: Mapping[str, Service]) -> str:
    """The address of the service the test's module is named after, spelled as the documents do."""
    name = request.module.__name__.rpartition("test_")[2]
    return f"http://localhost:{services[name].port}"


@pytest.fixture
def shell(base: str, images: Path, request: pytest.FixtureRequest) -> Shell:
    """Runs a case of the service's curl examples on an image."""
    if shutil.which("curl") is None:
        pytest.skip("needs the Debian package curl")
    script = HERE / f"{request.module.__name__.rpartition('test_')[2]}.sh"

    def run(case: str, image: str = "image.jpg") -> subprocess.CompletedProcess[str]:
        settings = {"BASE": base, "IMAGE": str(images / image), "no_proxy": "localhost"}
        return subprocess.run(
            ["bash", str(script), case],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=RUN_S_MAX,
            check=False,
        )

    return run


@pytest.fixture
def node(base: str, images: Path) -> Node:
    """Runs one of the JavaScript clients under Node; fails with what it wrote to stderr."""
    if shutil.which("node") is None:
        pytest.skip("needs the Debian package nodejs (18 or newer)")

    def run(script: str, *before: str, image: str = "image.jpg") -> str:
        done = subprocess.run(
            ["node", str(HERE / script), *before, base, str(images / image)],
            capture_output=True,
            text=True,
            timeout=RUN_S_MAX,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
