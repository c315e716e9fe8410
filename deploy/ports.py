"""Takes the port a service listens on, or says who has it. Opens sockets, never connects."""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

BACKLOG: Final = 2048
"""Connections the kernel holds until they are accepted: uvicorn's own default."""

COMMAND_CHARS_MAX: Final = 80
"""How much of another process's command line a message shows."""


class PortTaken(Exception):
    """The address cannot be listened on; the message says why, and who has it where that shows."""


def open_listener(host: str, port: int) -> socket.socket:
    """A socket that listens on the address.

    Raises:
        PortTaken: it does not, because of another process or the address itself.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise PortTaken(f"{host} is no address to listen on: {error.strerror}") from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PortTaken(_why(error, host, port)) from error
    listener.setblocking(False)
    return listener


def check_port(host: str, port: int) -> str:
    """Why the address cannot be listened on; empty when it can."""
    try:
        open_listener(host, port).close()
    except PortTaken as error:
        return str(error)
    return ""


def free_port(host: str) -> int:
    """A port that nobody listens on now."""
    with open_listener(host, 0) as listener:
        return int(listener.getsockname()[1])


def reachable(host: str) -> str:
    """The host under which a listener on `host` is reached from this machine, as in a URL."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"[{host}]" if ":" in host else host


def _why(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} is taken{_holder(port)}"
        case errno.EACCES:
            return f"port {port} may not be used by this user"
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine"
    return f"cannot listen on {host}:{port}: {error.strerror}"


def _holder(port: int) -> str:
    """Who listens there, as far as this user may know."""
    import psutil  # noqa: PLC0415 - wanted only when something is wrong

    try:
        for one in psutil.net_connections(kind="tcp"):
            if one.laddr and one.laddr.port == port and one.status == psutil.CONN_LISTEN:
                if one.pid is None:
                    continue
                if one.pid == os.getpid():
                    return " by this process itself"
                words = " ".join(psutil.Process(one.pid).cmdline())
                return f" by pid {one.pid}: {words[:COMMAND_CHARS_MAX]}"
    except psutil.Error:
        return ""
    return " by a process of another user"
