"""Runs one service in this process until it is told to stop: what containers and `ocr-fleet up`
start. It builds the application from its import string and knows nothing else about it.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final

import click
import structlog
import uvicorn

from deploy.ports import PortTaken, open_listener, reachable
from deploy.protocol import BoundedHttp
from shared.errors import OcrError
from shared.limits import Limits
from shared.settings import Fleet, Settings, find_settings
from shared.sources import SettingError, environment_name
from shared.telemetry import set_up_logging

log = structlog.get_logger("ocr_fleet.serve")

EXIT_FAILED: Final = 1
EXIT_WRONG_SETTING: Final = 2
"""The supervisor does not start such a service again: it would end the same way."""

KEEP_ALIVE_S: Final = 75
"""An idle connection's life: longer than clients' pools keep theirs (aiohttp: 15 s, nginx: 60 s),
so that the client closes first and never writes into a connection that is being closed."""

PR_SET_PDEATHSIG: Final = 1
"""linux/prctl.h"""

Application = Any
"""An ASGI application. It may have `shut()`, called when the process is told to stop, and
`failure`, a reason why it stopped by itself."""


class AppMissing(Exception):
    """The import string leads nowhere."""


def serve(service: str, fleet: Fleet, environ: Mapping[str, str], parent_pid: int | None) -> int:
    """Run until SIGTERM or SIGINT; the exit status."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    if parent_pid is not None:
        _die_with(parent_pid)
    try:
        build, defaults = load_app(service, fleet)
        settings = find_settings(service, environ, fleet, defaults).settings
        set_up_logging(service, settings.log_level, settings.log_format)
        listener = open_listener(settings.host, settings.port)
        return _build_and_run(build, settings, listener)
    except SettingError as error:
        click.echo(f"{service}: {error}", err=True)
        return EXIT_WRONG_SETTING
    except AppMissing as error:
        click.echo(f"{service}: {error}", err=True)
    except PortTaken as error:
        name = environment_name("port", service)
        click.echo(f"{service}: {error}; choose another: --port or {name}", err=True)
    return EXIT_FAILED


def load_app(service: str, fleet: Fleet) -> tuple[Callable[[Settings], Application], Limits]:
    """The function that builds the service, and its own `LIMITS`.

    Raises:
        SettingError: the fleet file does not name a function.
        AppMissing: it names one that is not there, or needs a package that is not.
    """
    if service not in fleet.services:
        find_settings(service, {}, fleet, None)  # says so, and what there is
    path = fleet.services[service].get("app")
    if not isinstance(path, str) or path.count(":") != 1:
        where = f"app in [services.{service}] of {fleet.path}"
        raise SettingError(
            f"{where} is {path!r}; expected an import string, package.module:function"
        )
    module_name, _, function = path.partition(":")
    try:
        module = importlib.import_module(module_name)
        return getattr(module, function), getattr(module, "LIMITS", Limits())
    except ModuleNotFoundError as error:
        hint = "" if module_name.startswith(str(error.name)) else f", which {path} needs"
        raise AppMissing(f"there is no module {error.name}{hint}") from error
    except AttributeError as error:
        raise AppMissing(f"{module_name} has no {function}") from error


def _build_and_run(
    build: Callable[[Settings], Application], settings: Settings, listener: socket.socket
) -> int:
    try:
        application = build(settings)
    except SettingError:
        raise
    except OcrError as error:  # the engine that is asked for cannot be had here
        log.error("cannot be built", reason=str(error), detail=error.detail or None)  # noqa: TRY400
        return EXIT_WRONG_SETTING
    except Exception as error:  # the process's outermost edge: one line says what it was
        log.exception("cannot be built", reason=f"{type(error).__name__}: {error}")
        return EXIT_FAILED
    return _run(application, settings, listener)


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


def _run(application: Application, settings: Settings, listener: socket.socket) -> int:
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
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
    )
    server = _Server(config, application)

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn has its own handlers while it serves and raises what it caught again afterwards; these
    # take the signals before and after.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    port = listener.getsockname()[1]
    log.info("listening", url=f"http://{reachable(settings.host)}:{port}", pid=os.getpid())
    server.run(sockets=[listener])
    failure = str(getattr(application, "failure", ""))
    return EXIT_FAILED if failure or not server.started else 0


def _leave(*_: object) -> None:
    """Told to stop before there was anything to finish."""
    raise SystemExit(0)


def _die_with(parent_pid: int) -> None:
    """Have the kernel send SIGTERM when the supervisor dies, however it dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:  # it died before the call above
        raise SystemExit(0)
