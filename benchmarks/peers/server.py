"""Runs one peer's server in its own process group, waits for a correct answer, and stops all its processes."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

from benchmarks.peers import environments, models, processes
from benchmarks.peers.catalogue import Peer
from benchmarks.peers.environments import SetupError
from benchmarks.peers.models import CASES, Case
from benchmarks.peers.requests import Request, is_right

_POLL_SECONDS = 0.005
_START_SECONDS = 120
_ANSWER_SECONDS = 30

# The server is not listening yet, the connection breaks, or the answer can't be read.
_UNANSWERED = (OSError, http.client.HTTPException, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class Server:
    """A server that has answered correctly; ``cold`` is the seconds from its spawn to that answer."""

    port: int
    cold: float


@contextlib.contextmanager
def running(peer: Peer, request: Request) -> Iterator[Server]:
    """Run the peer's server until the block ends; poll it with ``request``, that of the first case.

    Raises SetupError if the server ends early or doesn't answer in time.
    """
    # Removed with all that servers leave in it, such as Ray's sessions and BentoML's sockets.
    with tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True) as scratch:
        port, *others = _free_ports(3)
        programs = str(environments.python(peer.environment).parent)
        places = {"bin": programs, "port": str(port), "port2": str(others[0]), "port3": str(others[1])}
        log = Path(scratch) / "log"
        start = perf_counter()
        with log.open("wb") as output:
            child = subprocess.Popen(
                [word.format(**places) for word in peer.command.split()],
                cwd=peer.folder,
                env=_variables(peer, places, scratch),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        try:
            yield Server(port, _first_answer(child, port, request, log) - start)
        finally:
            child.returncode = 0  # end_group reaps it, not Popen
            processes.end_group(child.pid)


def check(port: int, case: Case, request: Request) -> None:
    """Raise SetupError unless the answer to the request is correct."""
    try:
        wrong = _ask(port, case, request)
    except _UNANSWERED as error:
        wrong = repr(error)
    if wrong is not None:
        raise SetupError(f"wrong answer, {case.title}: {wrong}")


def _variables(peer: Peer, places: dict[str, str], scratch: str) -> dict[str, str]:
    shared = {
        "MODELS": str(models.FOLDER),
        "PORT": places["port"],
        "TMPDIR": scratch,
        "HOME": scratch,
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    own = {key: text.format(**places) for key, text in peer.variables.items()}
    path = f"{places['bin']}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **shared, **own}


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


def _first_answer(child: subprocess.Popen[bytes], port: int, request: Request, log: Path) -> float:
    deadline = perf_counter() + _START_SECONDS
    wrong: str | None = "no answer"
    while perf_counter() < deadline:
        if child.poll() is not None:
            raise SetupError(f"the server ended with code {child.returncode}: {_last_line(log)}")
        try:
            wrong = _ask(port, CASES[0], request)
        except _UNANSWERED as error:
            wrong = repr(error)
        if wrong is None:
            return perf_counter()
        sleep(_POLL_SECONDS)
    raise SetupError(f"no correct answer in {_START_SECONDS} s ({wrong}): {_last_line(log)}")


def _ask(port: int, case: Case, request: Request) -> str | None:
    """Send the request once; return what is wrong with the answer, or None if it is correct."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    with contextlib.closing(connection):
        connection.request("POST", request.path, request.body, dict(request.headers))
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            return f"{response.status} {content[:200]!r}"
        headers = {key.lower(): value for key, value in response.headers.items()}
        return None if is_right(case, request.read(headers, content)) else repr(content[:200])


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"
