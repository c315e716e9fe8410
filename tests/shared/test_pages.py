"""Where pages may come from: folders, URLs and their guard, base64."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import pytest
from aiohttp import web
from PIL import Image

from shared.errors import ImageTooLarge, InvalidRequest, UnsupportedImage
from shared.limits import Limits
from shared.ocr import BytesPage, EncodedPage, PathPage, UrlPage
from shared.pages import PageSource


def png(width: int = 20, height: int = 10) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(file, "PNG")
    return file.getvalue()


@pytest.fixture
async def site():
    """A local server: an image, redirects, a large file; yields its base URL."""

    async def image(_: web.Request) -> web.Response:
        return web.Response(body=png(), content_type="image/png")

    async def away(request: web.Request) -> web.Response:
        raise web.HTTPFound(request.query["to"])

    async def round_and_round(_: web.Request) -> web.Response:
        raise web.HTTPFound("/round")

    async def large(_: web.Request) -> web.Response:
        return web.Response(body=bytes(3000))

    app = web.Application()
    app.add_routes([web.get("/a.png", image), web.get("/away", away), web.get("/large", large)])
    app.router.add_get("/round", round_and_round)
    runner = web.AppRunner(app)
    await runner.setup()
    server = web.TCPSite(runner, "127.0.0.1", 0)
    await server.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_page_is_decoded_from_base64_with_or_without_its_head():
    text = base64.b64encode(png()).decode()
    async with PageSource(Limits()) as source:
        pages, sizes = await source.gather(
            (EncodedPage(text), EncodedPage(f"data:image/jpeg;base64,{text}"), BytesPage(png()))
        )
    assert [page.data for page in pages] == [png()] * 3
    assert sizes == ((20, 10),) * 3


async def test_what_is_no_image_is_refused():
    async with PageSource(Limits()) as source:
        with pytest.raises(UnsupportedImage, match="cannot identify image file"):
            await source.gather((BytesPage(b"hello"),))


async def test_a_path_is_read_inside_the_folder_alone(tmp_path: Path):
    inside = tmp_path / "images"
    inside.mkdir()
    (inside / "a.png").write_bytes(png())
    (tmp_path / "secret.png").write_bytes(png())
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    os.mkfifo(inside / "fifo.png")
    async with PageSource(Limits(), folders=[inside]) as source:
        pages, _ = await source.gather((PathPage(str(inside / "a.png")),))
        assert pages == (BytesPage(png(), "a.png"),)
        for name, reason in [
            (str(tmp_path / "secret.png"), "not inside a folder"),
            (str(inside / ".." / "secret.png"), "not inside a folder"),
            (str(inside / "link.png"), "not inside a folder"),
            (str(inside / "none.png"), r"\[Errno 2\] No such file or directory"),
            (str(inside), r"Is a directory|not a regular file"),
            (str(inside / "fifo.png"), "not a regular file"),
            ("/etc/passwd", "not inside a folder"),
            ("a\0b", "not a path"),
            (str(inside / ("x" * 5000)), r"not a path|\[Errno 36\] File name too long"),
        ]:
            with pytest.raises(InvalidRequest, match=reason):
                await source.gather((PathPage(name),))


async def test_without_folders_no_path_is_read(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png())
    async with PageSource(Limits()) as source:
        with pytest.raises(InvalidRequest, match="not inside a folder"):
            await source.gather((PathPage(str(tmp_path / "a.png")),))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/a.png",
        "http://localhost:9/a.png",
        "http://[::1]:9/a.png",
        "http://[::ffff:127.0.0.1]:9/a.png",
        "http://[64:ff9b::7f00:1]/a.png",
        "http://10.0.0.1/a.png",
        "http://169.254.169.254/latest/meta-data",
        "http://192.168.1.1/a.png",
        "http://0.0.0.0/a.png",
    ],
)
async def test_private_addresses_are_refused(url: str):
    async with PageSource(Limits()) as source:
        with pytest.raises(InvalidRequest, match="not a public address"):
            await source.gather((UrlPage(url),))


@pytest.mark.parametrize("url", ["ftp://example.org/a", "file:///etc/passwd", "gopher://x", ""])
async def test_only_http_is_fetched(url: str):
    async with PageSource(Limits()) as source:
        with pytest.raises(InvalidRequest, match=r"Only http\(s\) URLs"):
            await source.gather((UrlPage(url),))


async def test_a_url_is_fetched_when_private_ones_are_allowed(site: str):
    async with PageSource(Limits(), allow_private_urls=True) as source:
        pages, sizes = await source.gather((UrlPage(f"{site}/away?to=/a.png"),))
        assert (pages[0].data, sizes) == (png(), ((20, 10),))
        with pytest.raises(InvalidRequest, match="the server answered 404"):
            await source.gather((UrlPage(f"{site}/none"),))
        with pytest.raises(InvalidRequest, match="more than 5 redirects"):
            await source.gather((UrlPage(f"{site}/round"),))
        with pytest.raises(InvalidRequest, match="Failed to download image"):
            await source.gather((UrlPage("http://127.0.0.1:1/a.png"),))


async def test_a_fetched_page_has_the_same_bound_as_any_other(site: str):
    async with PageSource(Limits(image_bytes_max=2000), allow_private_urls=True) as source:
        with pytest.raises(ImageTooLarge):
            await source.gather((UrlPage(f"{site}/large"),))
