"""Serves a service inside the test's own process, in a thread, on a real socket: a fifth of the
start-up of a process of its own (`tests/running.py`), the same application, server and settings.

    with served("dots", OCR_FLEET_FAKE='{"text": "hello"}') as base: ...
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import uvicorn

from deploy.load import load_app
from deploy.protocol import BoundedHttp
from shared.frame import ServiceApp
from shared.settings import find_settings, read_fleet
from tests.running import ROOT

START_S_MAX = 10.0


@contextmanager
def served(
    service: str, engine: str = "fake", *, ready: bool = True, **settings: str
) -> Iterator[str]:
    """The base URL of a service. `settings` are environment variables; `ready` waits for it."""
    with running(service, engine, settings, ready=ready) as (base, _):
        yield base


@contextmanager
def running(
    service: str,
    engine: str,
    settings: Mapping[str, str],
    *,
    ready: bool = True,
    start_s_max: float = START_S_MAX,
) -> Iterator[tuple[str, ServiceApp]]:
    """As `served`, with the application itself."""
    fleet = read_fleet(ROOT / "deploy" / "fleet.toml")
    build, defaults = load_app(service, fleet)
    environ = {"OCR_FLEET_ENGINE": engine, **settings}
    application = build(find_settings(service, environ, fleet, defaults).settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            application,
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
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            ends = time.monotonic() + start_s_max
            while not server.started or (ready and application.frame.ready()):
                assert thread.is_alive(), application.failure or "the server ended"
                assert time.monotonic() < ends, application.frame.ready()
                time.sleep(0.002)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", application
        finally:
            server.should_exit = True
            thread.join(START_S_MAX)
