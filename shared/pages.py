"""Gets a page's bytes from wherever the request says they are, under guard: base64, file, URL.

The one place that opens a file or a connection for a client. It checks the page's head (type, size)
but never decodes its pixels.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from shared import base64s
from shared.errors import ImageTooLarge, InvalidRequest
from shared.image import inspect_page
from shared.limits import Limits
from shared.ocr import BytesPage, EncodedPage, Page, PathPage, Size, UrlPage

FETCH_S_MAX: Final = 10.0
"""For one page over the network, redirects included (llama-server's own bound)."""

REDIRECTS_MAX: Final = 5


class PageSource:
    """Open it once per process (`async with`); it holds the connection pool for fetched pages."""

    def __init__(
        self,
        limits: Limits,
        *,
        folders: Sequence[Path] = (),
        allow_private_urls: bool = False,
    ) -> None:
        self._limits = limits
        self._folders = tuple(folder.resolve() for folder in folders)
        self._allow_private = allow_private_urls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(resolver=_GuardedResolver(self._allow_private))
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=FETCH_S_MAX)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def gather(self, pages: Sequence[Page]) -> tuple[tuple[BytesPage, ...], tuple[Size, ...]]:
        """The pages' bytes and their sizes as turned by EXIF, each page within the limits.

        Raises:
            InvalidRequest: bad base64, no such file or a file outside the folders, a URL that may
                not be fetched or does not answer.
            ImageTooLarge, UnsupportedImage: as `inspect_page` finds.
        """
        ready: list[BytesPage] = []
        sizes: list[Size] = []
        for page in pages:
            found = await self._bytes(page)
            facts = await asyncio.to_thread(
                inspect_page,
                found.data,
                bytes_max=self._limits.image_bytes_max,
                pixels_max=self._limits.pixels_max,
            )
            ready.append(found)
            sizes.append(facts.size)
        return tuple(ready), tuple(sizes)

    async def _bytes(self, page: Page) -> BytesPage:
        match page:
            case BytesPage():
                return page
            case EncodedPage(data):
                # Ten megabytes take some ten milliseconds: not on the event loop.
                decoded = await asyncio.to_thread(
                    base64s.decode, data, bytes_max=self._limits.image_bytes_max
                )
                return BytesPage(decoded)
            case PathPage(path):
                return BytesPage(await asyncio.to_thread(self._read_file, path), Path(path).name)
            case UrlPage(url):
                return BytesPage(await self._fetch(url))

    def _read_file(self, name: str) -> bytes:
        try:
            path = Path(name.removeprefix("file://")).resolve()
        except (OSError, ValueError) as error:
            raise InvalidRequest(f"{name[:200]!r} is not a path", detail=str(error)) from error
        if not any(path.is_relative_to(folder) for folder in self._folders):
            msg = f"{name[:200]!r} is not inside a folder that images may be read from"
            raise InvalidRequest(msg, detail=f"folders: {self._folders}")
        try:
            # Without blocking: a FIFO put into the folder must not hold a thread for ever.
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise InvalidRequest(f"{name[:200]!r} is not a regular file")
                return file.read(self._limits.image_bytes_max + 1)
        except OSError as error:
            reason = f"[Errno {error.errno}] {error.strerror}: {name[:200]!r}"
            raise InvalidRequest(reason) from error

    async def _fetch(self, url: str) -> bytes:
        if self._session is None:
            raise AssertionError("PageSource is not open")
        try:
            async with asyncio.timeout(FETCH_S_MAX):
                for _ in range(REDIRECTS_MAX + 1):
                    _check_url(url, allow_private=self._allow_private)
                    async with self._session.get(url, allow_redirects=False) as answer:
                        if answer.status in {301, 302, 303, 307, 308}:
                            url = urljoin(url, answer.headers.get("location", ""))
                            continue
                        if answer.status != 200:
                            raise InvalidRequest(
                                f"Failed to download image: the server answered {answer.status}"
                            )
                        return await self._bounded(answer.content)
        except TimeoutError as error:
            raise InvalidRequest(
                f"Failed to download image: no answer within {FETCH_S_MAX:g} s"
            ) from error
        except _Forbidden as error:
            raise InvalidRequest(str(error)) from error
        except (aiohttp.ClientError, ValueError) as error:
            if isinstance(refused := getattr(error, "os_error", None), _Forbidden):
                raise InvalidRequest(str(refused)) from error
            raise InvalidRequest("Failed to download image", detail=repr(error)) from error
        raise InvalidRequest(f"Failed to download image: more than {REDIRECTS_MAX} redirects")

    async def _bounded(self, content: aiohttp.StreamReader) -> bytes:
        data = bytearray()
        async for chunk in content.iter_chunked(256 * 1024):
            data += chunk
            if len(data) > self._limits.image_bytes_max:
                mib = self._limits.image_bytes_max // (1024 * 1024)
                raise ImageTooLarge(f"The image is larger than {mib} MiB")
        return bytes(data)


class _Forbidden(OSError):
    """An address that may not be fetched from."""


def _check_url(url: str, *, allow_private: bool) -> None:
    """Refuse other schemes, and hosts that are themselves a refused address."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidRequest(f"Only http(s) URLs are fetched, not {url[:80]!r}")
    try:
        address = ipaddress.ip_address(parts.hostname)
    except ValueError:
        return  # a name: the resolver checks what it stands for
    if not allow_private and not _is_public(address):
        raise _Forbidden(f"{parts.hostname} is not a public address")


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """True for an address on the open internet; embedded IPv4 addresses are looked into."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):  # NAT64, RFC 6052
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(inner)
    return address.is_global and not address.is_multicast


class _GuardedResolver(AbstractResolver):
    """Resolves as usual, then drops refused addresses: what was checked is what is connected to."""

    def __init__(self, allow_private: bool) -> None:
        self._inner = aiohttp.ThreadedResolver()
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if self._allow_private:
            return found
        public = [one for one in found if _is_public(ipaddress.ip_address(one["host"]))]
        if not public:
            raise _Forbidden(f"{host} is not a public address")
        return public

    async def close(self) -> None:
        await self._inner.close()
