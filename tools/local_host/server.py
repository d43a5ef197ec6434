"""Sockets and uvicorn: where the host listens, and how it stops. Knows nothing of functions."""

import errno
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from tools.local_host.errors import HostError

# What "localhost" can mean; which one a client tries first is its own choice.
_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))

# A machine without one of the two families says so with one of these.
_FAMILY_MISSING = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)

# How long Kestrel, Azure's server, keeps an idle connection.
_KEEP_ALIVE_SECONDS = 130

_GRACEFUL_SHUTDOWN_SECONDS = 30

# SIGINT, SIGTERM and, on Windows, SIGBREAK.
STOP_SIGNALS = HANDLED_SIGNALS


class PortInUseError(HostError):
    """Another program listens on the port."""


def listen(port: int) -> list[socket.socket]:
    """Return sockets that listen on localhost, one a family; port 0 stands for any free port.

    Raises PortInUseError when the port is taken in either family, HostError when it can't be had for another reason.
    """
    try:
        return _listen_on_loopback(port)
    except PortInUseError:
        if port:
            raise
        # The free port of one family was taken in the other; there are others.
        return listen(port)


def _listen_on_loopback(port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    for family, address in _LOOPBACK:
        try:
            sockets.append(_listen_on(family, address, port))
        except OSError as error:
            if error.errno in _FAMILY_MISSING:
                continue
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError(f"Port {port} is in use; choose another: make start PORT={port + 1}") from error
            raise HostError(f"Can't listen on port {port}: {error.strerror}") from error
        port = port_of(sockets)
    if not sockets:
        raise HostError("This machine has no loopback address to listen on")
    return sockets


def _listen_on(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":
        # Take a port whose last connections are still winding down. On Windows this would take it from a live server.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    # Listen at once: two programs can bind the same port, but only one of them can listen.
    listener.listen()
    return listener


def port_of(sockets: Sequence[socket.socket]) -> int:
    """Return the port the sockets share."""
    port: int = sockets[0].getsockname()[1]
    return port


def serve(application: Callable[..., Awaitable[Any]], sockets: list[socket.socket], announce: str) -> None:
    """Print the announcement and serve until Ctrl-C or SIGTERM, then answer what is in flight.

    A second Ctrl-C cuts that short.
    """
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            # httptools and uvloop where they are installed, which is everywhere but on Windows.
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
    # uvicorn sets the same handlers, but only while it runs. These are there before anyone knows that the host listens,
    # and afterwards, when uvicorn raises the signal again for whoever had it before.
    for number in STOP_SIGNALS:
        signal.signal(number, server.handle_exit)
    print(announce, flush=True)
    server.run(sockets)
