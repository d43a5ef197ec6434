"""Sockets and uvicorn: where the host listens, and how it stops."""

import errno
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from tools.local_host.errors import HostError

# The addresses that "localhost" can stand for; clients differ in which one they try first.
_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))

# The errors of a machine that lacks one of the two families.
_FAMILY_MISSING = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)

# As long as Kestrel, Azure's server, keeps an idle connection.
_KEEP_ALIVE_SECONDS = 130

_GRACEFUL_SHUTDOWN_SECONDS = 30

# SIGINT, SIGTERM and, on Windows, SIGBREAK.
STOP_SIGNALS = HANDLED_SIGNALS


class PortInUseError(HostError):
    """Another program is listening on the port."""


def listen(port: int) -> list[socket.socket]:
    """Return sockets that listen on localhost, one for each address family; port 0 stands for any free port.

    Raises PortInUseError if the port is in use in either family, HostError if listening fails for another reason.
    """
    try:
        return _listen_on_loopback(port)
    except PortInUseError:
        if port:
            raise
        # The free port of one family was in use in the other: try another.
        return listen(port)


def _listen_on_loopback(port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    for family, address in _LOOPBACK:
        try:
            sockets.append(socket.create_server((address, port), family=family))
        except OSError as error:
            if error.errno in _FAMILY_MISSING:
                continue
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError(f"Port {port} is in use; choose another: make start PORT={port + 1}") from error
            raise HostError(f"Could not listen on port {port}: {error.strerror}") from error
        port = port_of(sockets)
    if not sockets:
        raise HostError("This machine has no loopback address")
    return sockets


def port_of(sockets: Sequence[socket.socket]) -> int:
    """Return the port the sockets share."""
    port: int = sockets[0].getsockname()[1]
    return port


def serve(application: Callable[..., Awaitable[Any]], sockets: list[socket.socket], announce: str) -> None:
    """Print the announcement and serve until Ctrl-C or SIGTERM, then finish the requests in flight.

    A second Ctrl-C cuts them off.
    """
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            # httptools and uvloop if they are installed, which they are except on Windows.
            http="auto",
            loop="auto",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACEFUL_SHUTDOWN_SECONDS,
        )
    )
    # uvicorn sets the same handlers, but only while it runs. These are in place before the announcement, and when
    # uvicorn, after it has stopped, raises the signal again for the handlers it replaced.
    for number in STOP_SIGNALS:
        signal.signal(number, server.handle_exit)
    print(announce, flush=True)
    server.run(sockets)
