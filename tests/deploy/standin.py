"""A service that reads nothing: the smallest application that `ocr-fleet serve` can run, for tests
of what starts, watches and stops processes. `settings.fake` makes it slow or broken.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

from shared.limits import Limits
from shared.settings import Settings
from shared.sources import SettingError

LIMITS = Limits(slots=3, temperature=0.5)


class Standin:
    """Answers /readyz, /pid, /slow, /until-shut and /die."""

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
            case "/until-shut":
                print(f"{self.settings.service} was asked", flush=True)
                while self.open:
                    await asyncio.sleep(0.01)
                return 200, {"open": self.open}
            case "/die":
                os._exit(3)
        folders = [str(folder) for folder in self.settings.image_folders]
        return 200, {"pid": os.getpid(), "folders": folders}


class Router(Standin):
    """Answers /port with the port it was asked at, and what it was told."""

    def __init__(self, settings, fleet_file: Path) -> None:
        super().__init__(Settings(service="router"))
        self.router_settings = settings
        self.fleet_file = fleet_file

    async def __call__(self, scope, receive, send) -> None:
        self.asked_at = scope["server"][1] if scope["type"] == "http" else 0
        await super().__call__(scope, receive, send)

    async def answer(self, path: str) -> tuple[int, dict[str, object]]:
        if path != "/port":
            return await super().answer(path)
        ports = {
            name: value
            for name, value in self.router_settings.environ.items()
            if name.startswith("OCR_FLEET_") and name.endswith("_PORT")
        }
        return 200, {"port": self.asked_at, "fleet": str(self.fleet_file), "ports": ports}


def build_router(settings, fleet_file: Path) -> Router:
    return Router(settings, fleet_file)


def build(settings: Settings) -> Standin:
    if settings.fake.fail_load == "setting":
        raise SettingError("the stand-in was told to find a setting wrong")
    if settings.fake.fail_load:
        raise RuntimeError(settings.fake.fail_load)
    return Standin(settings)
