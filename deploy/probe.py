"""Asks a service on this machine whether it is ready: one GET over a bare socket, because an HTTP
client's import would cost the supervisor more than everything else it does. Never raises.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

ANSWER_S_MAX: Final = 2.0
"""A service that takes longer over /readyz is too busy starting to be called ready."""

ANSWER_BYTES_MAX: Final = 64 * 1024


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """What /readyz said; `engine` is the answer's `x-ocr-engine`."""

    ready: bool = False
    engine: str = ""
    reason: str = ""


class _Body(msgspec.Struct):
    reason: str = ""


async def ask_ready(host: str, port: int) -> Readiness:
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            return read_answer(await _get(host, port))
    except TimeoutError:
        return Readiness(reason=f"no answer within {ANSWER_S_MAX:g} s")
    except OSError:
        return Readiness(reason="not listening yet")


def read_answer(answer: bytes) -> Readiness:
    """The answer's status, engine and reason; anything that is not HTTP is not ready."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status_line, *fields = head.decode("latin-1").split("\r\n")
    words = status_line.split(" ")
    if len(words) < 2 or not words[0].startswith("HTTP/"):
        return Readiness(reason="something answers there that does not speak HTTP")
    headers = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)}
    try:
        reason = msgspec.json.decode(body, type=_Body).reason
    except msgspec.DecodeError:
        reason = ""
    ready = words[1] == "200"
    return Readiness(
        ready=ready,
        engine=headers.get("x-ocr-engine", ""),
        reason="" if ready else reason or f"/readyz answers {words[1]}",
    )


async def _get(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host.strip("[]"), port, limit=ANSWER_BYTES_MAX)
    try:
        head = f"GET /readyz HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode())
        answer = b""
        while len(answer) < ANSWER_BYTES_MAX and (piece := await reader.read(ANSWER_BYTES_MAX)):
            answer += piece
        return answer
    finally:
        writer.close()
