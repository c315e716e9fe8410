"""Serves the router inside the test's own process, in a thread, on two real sockets and from a
fleet file of its own: the same application and server that `ocr-fleet up` starts.

    with served("dots") as dots, routed({"dots": dots}) as router:
        httpx.post(router.url + "/ocr", ...)      # 8100
        httpx.post(router.legacy + "/ocr", ...)   # 8000
"""

from __future__ import annotations

import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from deploy.protocol import BoundedHttp
from router.app import RouterApp, build
from router.settings import find_router_settings
from shared.settings import read_fleet
from tests.running import SERVICES
from tests.serving import served

START_S_MAX = 10.0
STOP_S_MAX = 10.0

ROUTER_WORDS = "OCR_FLEET_ROUTER_"

Entry = str | Sequence[str] | Mapping[str, object]
"""A replica's URL, several, or a whole entry of the fleet file."""


@dataclass(frozen=True)
class Routed:
    """A router that serves."""

    url: str
    """The port of all dialects."""
    legacy: str
    """The port that deepseek's and chatvlm's documents share."""
    fleet_file: Path
    app: RouterApp
    """For looking at its state; its loop runs in another thread."""

    def write_fleet(
        self, services: Mapping[str, Entry], aliases: Mapping[str, str] | None = None
    ) -> None:
        """Change the fleet file; the router sees it within two looks of a second each."""
        self.fleet_file.write_text(fleet_text(services, aliases))


@contextmanager
def routed(
    services: Mapping[str, Entry],
    *,
    aliases: Mapping[str, str] | None = None,
    ready: bool = True,
    **settings: str,
) -> Iterator[Routed]:
    """A router in front of some services. `settings` are environment variables; `ready` waits until
    each replica has been probed and each service can serve."""
    with tempfile.TemporaryDirectory(prefix="ocr-fleet-router-") as folder, ExitStack() as stack:
        fleet_file = Path(folder) / "fleet.toml"
        fleet_file.write_text(fleet_text(services, aliases))
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        ports = [listener.getsockname()[1] for listener in listeners]
        environ = {
            "OCR_FLEET_ROUTER_PORT": str(ports[0]),
            "OCR_FLEET_ROUTER_LEGACY_PORT": str(ports[1]),
            **settings,
        }
        app = build(find_router_settings(environ, read_fleet(fleet_file)).settings, fleet_file)
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        stack.enter_context(_running(app, listeners, lambda: not ready or is_ready(app)))
        yield Routed(urls[0], urls[1], fleet_file, app)


@contextmanager
def routed_fleet(
    names: Sequence[str] = SERVICES, engine: str = "fake", **settings: Any
) -> Iterator[Routed]:
    """Services in threads and a router in front of them; `settings` are the services', or where
    their names say so the router's."""
    with ExitStack() as stack:
        router = {name: one for name, one in settings.items() if name.startswith(ROUTER_WORDS)}
        words: dict[str, Any] = {name: settings[name] for name in settings.keys() - router.keys()}
        urls = {name: stack.enter_context(served(name, engine, **words)) for name in names}
        told: dict[str, Any] = dict(router)
        yield stack.enter_context(routed(urls, **told))


def fleet_text(services: Mapping[str, Entry], aliases: Mapping[str, str] | None = None) -> str:
    """A fleet file; JSON's strings, numbers and lists are TOML's too."""
    lines: list[str] = []
    for name, entry in services.items():
        lines.append(f"[services.{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in _table(entry).items()]
    lines.append("[aliases]")
    lines += [f"{json.dumps(name)} = {json.dumps(to)}" for name, to in (aliases or {}).items()]
    return "\n".join(lines) + "\n"


def is_ready(app: RouterApp) -> bool:
    """Each service can serve and each of its replicas has been asked how it is."""
    for pool in list(app.state.pools.values()):
        replicas = pool.snapshot().replicas
        if not any(replica.usable and replica.ready for replica in replicas):
            return False
        if any(replica.url not in app.state.told for replica in replicas):
            return False
    return True


def _table(entry: Entry) -> Mapping[str, object]:
    if isinstance(entry, Mapping):
        return entry
    return {"replicas": [entry] if isinstance(entry, str) else list(entry)}


@contextmanager
def _running(
    app: RouterApp, listeners: Sequence[socket.socket], ready: Callable[[], bool]
) -> Iterator[None]:
    config = uvicorn.Config(
        app,
        interface="asgi3",
        loop="uvloop",
        http=BoundedHttp,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": list(listeners)}, daemon=True)
    thread.start()
    try:
        ends = time.monotonic() + START_S_MAX
        while not server.started or not ready():
            assert thread.is_alive(), app.failure or "the router ended"
            assert time.monotonic() < ends, f"not ready: {_states(app)}"
            time.sleep(0.002)
        yield
    finally:
        server.should_exit = True
        thread.join(STOP_S_MAX)


def _states(app: RouterApp) -> dict[str, list[str]]:
    return {
        name: [f"{replica.url}: {replica.why}" for replica in pool.snapshot().replicas]
        for name, pool in list(app.state.pools.items())
    }
