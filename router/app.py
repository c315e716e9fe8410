"""Wires the router: one application for two ports, told apart by the port a request came to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from router import reports
from router.budget import Budget
from router.documents import LEGACY, UNIFIED
from router.fleet import Fleet, load_fleet
from router.front import Front
from router.passage import Passage
from router.routes import Routes
from router.settings import RouterSettings
from router.state import State
from router.upstream import Upstream
from router.watch import make_router_door, watch_fleet
from shared.body import Receive, Scope
from shared.exchange import Send
from shared.frame import Frame, ServiceApp
from shared.http import Reply
from shared.telemetry import Metrics
from shared.watch import Watcher
from shared.wire import deepseek, lighton

SERVER: Final = "server"


class RouterApp:
    """The ASGI application. `failure` and `shut` are what the process that runs it looks for.

    Raises:
        SettingError: the fleet file or the file of keys is wrong.
    """

    def __init__(self, settings: RouterSettings, fleet_file: Path) -> None:
        watch = watch_fleet(fleet_file, settings, self.apply)
        access, watches = make_router_door(settings)
        fleet = load_fleet(fleet_file, settings.environ)
        upstream = Upstream()
        self.state = State(settings, fleet, upstream)
        self.front = Front(fleet, Passage(upstream, settings.guard, settings.patience_s))
        budget = Budget(settings.buffer_bytes_max, settings.buffer_wait_s)
        routes = Routes(settings, self.state, self.front, budget)
        metrics = Metrics("router")
        metrics.registry.register(
            reports.RouterCollector(self.state, budget, self.front.passage.runaways)
        )
        self._legacy_port = settings.legacy_port
        common: dict[str, Any] = {
            "open": _nothing,
            "close": _nothing,
            "shut": self._shut,
            "load": self._load,
            "ready": lambda: reports.why_not_ready(self.state),
            "headers": dict,
            "metrics": metrics,
            "access": access,
            "cors_origins": settings.cors_origins,
        }
        self.unified = ServiceApp(
            Frame(
                routes=routes.unified(),
                find=routes.find,
                write_error=lighton.write_error,
                document=UNIFIED,
                resources=(upstream, self.state, Watcher([watch, *watches])),
                **common,
            )
        )
        self.legacy = ServiceApp(
            Frame(
                routes=routes.legacy(),
                write_error=deepseek.write_error,
                document=LEGACY,
                **common,
            )
        )

    @property
    def failure(self) -> str:
        return self.unified.failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = scope.get(SERVER)
        if scope["type"] == "http" and server and server[1] == self._legacy_port:
            await self.legacy(scope, receive, send)
        else:
            await self.unified(scope, receive, send)

    def refuse_malformed(self, message: str) -> Reply:
        """The answer to bytes that are no HTTP request, on either port."""
        return self.unified.refuse_malformed(message)

    def apply(self, fleet: Fleet) -> None:
        """Take on a changed fleet; no request is dropped."""
        self.front.fleet = fleet
        self.state.apply(fleet)

    def shut(self) -> None:
        """Refuse new work; what runs may finish."""
        self.legacy.door_open = False
        self.unified.shut()

    def _shut(self) -> None:
        for pool in self.state.pools.values():
            pool.close()

    def _load(self) -> tuple[int, int]:
        pools = [pool.snapshot() for pool in self.state.pools.values()]
        return sum(pool.waiting for pool in pools), sum(pool.outstanding for pool in pools)


def build(settings: RouterSettings, fleet_file: Path) -> RouterApp:
    """The router as an ASGI application."""
    return RouterApp(settings, fleet_file)


async def _nothing() -> None:
    """The router has no engine to open or close."""
