"""A service that reads nothing: the smallest application that `ocr-fleet serve` can run, for tests
of what starts, watches and stops processes. `settings.fake` makes it slow or broken.
"""

from __future__ import annotations

import asyncio
import json
import os
import time

from shared.limits import Limits
from shared.settings import Settings
from shared.sources import SettingError

LIMITS = Limits(slots=3, temperature=0.5)


class Standin:
    """Answers /readyz, /pid, /slow and /die."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.began = time.monotonic()
        self.failure = ""
        self.open = True

    def shut(self) -> None:
        self.open = False
        print(f"{self.settings.service} shut", flush=True)

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        status, body = await self.answer(scope["path"])
        headers = [(b"x-ocr-engine", b"standin/1"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    async def answer(self, path: str) -> tuple[int, dict[str, object]]:
        match path:
            case "/readyz" if time.monotonic() - self.began < self.settings.fake.load_s:
                return 503, {"reason": "still loading"}
            case "/readyz":
                return 200, {"status": "ready"}
            case "/slow":
                await asyncio.sleep(self.settings.fake.first_delay_s)
                return 200, {"open": self.open}
            case "/die":
                os._exit(3)
        folders = [str(folder) for folder in self.settings.image_folders]
        return 200, {"pid": os.getpid(), "folders": folders}


def build(settings: Settings) -> Standin:
    if settings.fake.fail_load == "setting":
        raise SettingError("the stand-in was told to find a setting wrong")
    if settings.fake.fail_load:
        raise RuntimeError(settings.fake.fail_load)
    return Standin(settings)
