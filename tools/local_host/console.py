"""What the host writes on the console: the list of functions on stdout, the log on stderr, both as `func start`."""

import logging
import os
import shlex
import subprocess
from collections.abc import Container
from datetime import UTC, datetime
from functools import lru_cache

from tools.local_host.errors import HostError
from tools.local_host.function_app import FunctionConfig, HttpTrigger

# The levels of host.json in Python's terms. Python has none below DEBUG and none that lets nothing through.
_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 1,
}


class _Formatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("[%(asctime)s] %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return f"{_second(int(record.created))}.{int(record.msecs):03d}Z"


@lru_cache(maxsize=1)
def _second(timestamp: int) -> str:
    # Kept: at thousands of lines a second, it is always the same.
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def start_logging(level: str) -> None:
    """Send everyone's log to stderr from a level of ``host.json`` on; raises HostError for an unknown level."""
    if level.lower() not in _LEVELS:
        raise HostError(f"host.json: log level {level!r} is unknown; known are {', '.join(_LEVELS)}")
    # What a record holds beyond what is printed here takes most of the time of a line (Python's Logging HOWTO,
    # "Optimization"), and functions log a line for each request.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=_LEVELS[level.lower()], handlers=[handler])


def function_list(functions: tuple[FunctionConfig, ...], failed: Container[str], base_url: str) -> str:
    """Return the list of functions with their URLs, and for those with a sample request a command that sends it.

    Functions whose names are in ``failed`` are listed as not loaded.
    """
    lines = [f"Listening on {base_url}, until Ctrl-C.", "Functions:"]
    for config in functions:
        if config.is_disabled:
            lines.append(f"Function {config.name} is disabled.")
        elif config.name in failed:
            lines.append(f"\t{config.name}: not loaded, see the log")
        elif config.http is None:
            lines.append(f"\t{config.name}: {config.trigger_type}")
        else:
            lines.extend(_http_function(config, config.http, base_url))
    return "\n\n".join(lines) + "\n"


def _http_function(config: FunctionConfig, http: HttpTrigger, base_url: str) -> list[str]:
    url = f"{base_url}/{http.route.text}"
    methods = f"[{','.join(http.methods)}] " if http.methods else ""
    unchecked = "" if http.auth_level == "anonymous" else ", not checked here"
    lines = [f"\t{config.name}: {methods}{url}   (auth level: {http.auth_level}{unchecked})"]
    if config.sample_request is not None:
        lines.append("\t\t" + _curl(url, config.sample_request))
    return lines


def _curl(url: str, body: str) -> str:
    command = ["curl", "-s", "-H", "Content-Type: application/json", "-d", body, url]
    return subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)
