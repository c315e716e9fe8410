"""Runs one service, or the router, in this process until it is told to stop: what containers and
`ocr-fleet up` start. It builds the application from its import string and knows nothing else of it.
"""

from __future__ import annotations

import ctypes
import gc
import ipaddress
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Final

import click
import msgspec
import structlog
import uvicorn

from deploy.load import Application, AppMissing, find_router, load_app, load_router
from deploy.ports import PortTaken, open_listener, reachable
from deploy.protocol import BoundedHttp
from shared.errors import OcrError
from shared.settings import ROUTER, Fleet, LogFormat, LogLevel, find_settings
from shared.sources import SettingError, environment_name
from shared.telemetry import set_up_logging

log = structlog.get_logger("ocr_fleet.serve")

EXIT_FAILED: Final = 1
EXIT_WRONG_SETTING: Final = 2
"""The supervisor does not start such a service again: it would end the same way."""

KEEP_ALIVE_S: Final = 75
"""An idle connection's life: longer than clients' pools keep theirs (aiohttp: 15 s, nginx: 60 s),
so that the client closes first and never writes into a connection that is being closed."""

GARBAGE_MAX: Final = 10_000
"""Objects made and not freed before the collector looks at the youngest; Python's own is 700."""

PR_SET_PDEATHSIG: Final = 1
"""linux/prctl.h"""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be run, and where it listens."""

    name: str
    host: str
    ports: Mapping[str, int]
    """Each port by the setting that says it."""
    drain_s: float
    log_level: LogLevel
    log_format: LogFormat
    build: Callable[[], Application]
    has_keys: bool


def serve(service: str, fleet: Fleet, environ: Mapping[str, str], parent_pid: int | None) -> int:
    """Run until SIGTERM or SIGINT; the exit status."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    if parent_pid is not None:
        _die_with(parent_pid)
    try:
        job = _router(fleet, environ) if service == ROUTER else _service(service, fleet, environ)
        set_up_logging(service, job.log_level, job.log_format)
        with ExitStack() as stack:
            listeners = [stack.enter_context(_listen(job, name)) for name in job.ports]
            return _build_and_run(job, listeners)
    except SettingError as error:
        click.echo(f"{service}: {error}", err=True)
        return EXIT_WRONG_SETTING
    except (AppMissing, PortTaken) as error:
        click.echo(f"{service}: {error}", err=True)
    return EXIT_FAILED


def _service(service: str, fleet: Fleet, environ: Mapping[str, str]) -> Job:
    build, defaults = load_app(service, fleet)
    settings = find_settings(service, environ, fleet, defaults).settings
    return Job(
        name=service,
        host=settings.host,
        ports={"port": settings.port},
        drain_s=settings.drain_s,
        log_level=settings.log_level,
        log_format=settings.log_format,
        build=lambda: build(settings),
        has_keys=settings.keys_file is not None,
    )


def _router(fleet: Fleet, environ: Mapping[str, str]) -> Job:
    build = load_router(fleet)
    settings = find_router(environ, fleet).settings
    ports = {"port": settings.port}
    if settings.legacy_port:
        ports["legacy_port"] = settings.legacy_port
    return Job(
        name=ROUTER,
        host=settings.host,
        ports=ports,
        drain_s=settings.drain_s,
        log_level=settings.log_level,
        log_format=settings.log_format,
        build=lambda: build(settings, fleet.path),
        has_keys=settings.keys_file is not None,
    )


def _listen(job: Job, name: str) -> socket.socket:
    try:
        return open_listener(job.host, job.ports[name])
    except PortTaken as error:
        option = f"--{name.replace('_', '-')} or {environment_name(name, job.name)}"
        none = ", 0 for none" if name == "legacy_port" else ""
        raise PortTaken(f"{error}; choose another: {option}{none}") from None


def _build_and_run(job: Job, listeners: Sequence[socket.socket]) -> int:
    try:
        application = job.build()
    except SettingError:
        raise
    except OcrError as error:  # the engine that is asked for cannot be had here
        log.error("cannot be built", reason=str(error), detail=error.detail or None)  # noqa: TRY400
        return EXIT_WRONG_SETTING
    except Exception as error:  # the process's outermost edge: one line says what it was
        log.exception("cannot be built", reason=f"{type(error).__name__}: {error}")
        return EXIT_FAILED
    if job.name == ROUTER:
        _spare_the_collector()
    return _run(application, job, listeners)


def _spare_the_collector() -> None:
    """A tenth of the router's time would go into looking for cycles among what is there for good,
    and among requests that make none. Engines keep the usual pace: their garbage is large."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_MAX)


class _Server(uvicorn.Server):
    """Tells the application that its end is near as soon as the listener closes."""

    def __init__(self, config: uvicorn.Config, application: Application) -> None:
        super().__init__(config)
        self.application = application

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        shut = getattr(self.application, "shut", None)
        if shut is not None:
            shut()
        await super().shutdown(sockets)


def _run(application: Application, job: Job, listeners: Sequence[socket.socket]) -> int:
    config = uvicorn.Config(
        application,
        interface="asgi3",
        loop="uvloop",
        http=BoundedHttp,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # `trusted_proxies` says who is believed about an address
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(job.drain_s)),
    )
    server = _Server(config, application)

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn has its own handlers while it serves and raises what it caught again afterwards; these
    # take the signals before and after.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    for listener in listeners:
        _say_where(job, listener.getsockname()[1])
    server.run(sockets=list(listeners))
    failure = str(getattr(application, "failure", ""))
    return EXIT_FAILED if failure or not server.started else 0


def _say_where(job: Job, port: int) -> None:
    url = f"http://{reachable(job.host)}:{port}"
    log.info("listening", url=url, pid=os.getpid(), keys=job.has_keys)
    if job.name == ROUTER and not job.has_keys and not _is_loopback(job.host):
        remedy = f"set {environment_name('keys_file', ROUTER)}, or listen on 127.0.0.1"
        log.warning("listens without API keys where others may reach it", url=url, remedy=remedy)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _leave(*_: object) -> None:
    """Told to stop before there was anything to finish."""
    raise SystemExit(0)


def _die_with(parent_pid: int) -> None:
    """Have the kernel send SIGTERM when the supervisor dies, however it dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:  # it died before the call above
        raise SystemExit(0)
