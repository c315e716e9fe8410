"""An engine that says what its script says, when its script says it: for tests and demonstrations.

It never looks at a pixel. The script is JSON in the setting `fake` (`OCR_FLEET_FAKE`), so a real
service process can be made slow, broken or talkative from outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import msgspec

from shared.engine.protocol import EngineState, Recipe
from shared.errors import EngineFailed
from shared.ocr import BytesPage, Delta, Done, Request, Stop, Text, Usage
from shared.script import FakeScript
from shared.tokens import count_tokens


class FakeEngine:
    """See the module."""

    def __init__(self, recipe: Recipe, script: FakeScript | None = None) -> None:
        self.name = "fake/script"
        self.at_work = 0
        """Requests being read: 0 again as soon as a cancelled one is closed."""
        self._recipe = recipe
        self._script = script or FakeScript()
        self._ready = False

    async def open(self) -> None:
        await asyncio.sleep(self._script.load_s)
        if self._script.fail_load:
            raise EngineFailed(self._script.fail_load)
        self._ready = True

    async def read(self, request: Request) -> AsyncGenerator[Delta, None]:
        script = self._script
        self.at_work += 1
        try:
            pieces, stop = _pieces(script, request)
            await asyncio.sleep(script.first_delay_s)
            for number, piece in enumerate(pieces):
                await _stumble(script, number)
                yield Text(piece, script.notes if number == 0 else ())
                await asyncio.sleep(script.delay_s)
            await _stumble(script, len(pieces))
            usage = Usage(
                count_tokens(request.prompt), sum(count_tokens(piece) for piece in pieces)
            )
            sizes = tuple(script.size for _ in request.pages)
            yield Done(
                stop=stop, usage=usage, blocks=script.blocks, sizes=sizes, notes=script.notes
            )
        finally:
            self.at_work -= 1

    def state(self) -> EngineState:
        return EngineState(ready=self._ready, why="" if self._ready else "the script is not open")

    async def close(self) -> None:
        self._ready = False


async def _stumble(script: FakeScript, number: int) -> None:
    if script.fail_after is not None and number >= script.fail_after:
        raise EngineFailed("the script says to fail here", detail=f"after {number} deltas")
    if script.hang_after is not None and number >= script.hang_after:
        await asyncio.Event().wait()


def _pieces(script: FakeScript, request: Request) -> tuple[list[str], Stop]:
    """The answer cut at spaces into about `script.pieces` parts, and at the request's bound."""
    told = _tell(request) if script.tell else _echo(request)
    words = (told if script.text is None else script.text).split(" ")
    most = request.sampling.max_tokens
    stop = Stop.STOP
    if most is not None and 0 <= most < len(words):
        words, stop = words[:most], Stop.LENGTH
    step = max(1, -(-len(words) // script.pieces))
    parts = [" ".join(words[at : at + step]) for at in range(0, len(words), step)]
    return [part if not at else " " + part for at, part in enumerate(parts)], stop


def _echo(request: Request) -> str:
    sizes = ", ".join(
        f"{len(page.data)} bytes" for page in request.pages if isinstance(page, BytesPage)
    )
    return f"task {request.task}, pages: {sizes or 'none'}, prompt: {request.prompt}".strip()


def _tell(request: Request) -> str:
    told = msgspec.to_builtins(msgspec.structs.replace(request, pages=()))
    told["pages"] = [len(page.data) for page in request.pages if isinstance(page, BytesPage)]
    return msgspec.json.encode(told).decode()
