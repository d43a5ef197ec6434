"""The host's output, in the form of ``func start``: the list of functions on stdout, the log on stderr."""

import logging
import os
import shlex
import subprocess
from datetime import UTC, datetime
from functools import lru_cache

from tools.local_host.errors import HostError
from tools.local_host.function_app import FunctionApp, FunctionConfig, HttpTrigger
from tools.local_host.loader import EntryPoints

# The levels of host.json and Python's. Python has no level below DEBUG, and none that turns logging off.
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
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return f"{_second(int(record.created))}.{int(record.msecs):03d}Z"


# Cached, because formatting it for each line makes a request 2 % slower.
@lru_cache(maxsize=1)
def _second(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def start_logging(level: str) -> None:
    """Log to stderr from a level of ``host.json`` up; raises HostError for an unknown level."""
    if level.lower() not in _LEVELS:
        raise HostError(f"host.json: unknown log level {level!r}; expected one of {', '.join(_LEVELS)}")
    # Functions log a line for each request, and collecting what is not printed takes most of its time
    # (Python's Logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("[%(asctime)s] %(message)s"))
    logging.basicConfig(level=_LEVELS[level.lower()], handlers=[handler])


def function_list(app: FunctionApp, entry_points: EntryPoints, base_url: str) -> str:
    """Return the list of functions with their URLs, each with a command for its sample request, if it has one."""
    lines = [f"Listening on {base_url}. Press Ctrl-C to stop."]
    if app.home:
        lines.append(f"Try the models on {base_url}{app.home}")
    lines.append("Functions:")
    for config in app.functions:
        if config.is_disabled:
            lines.append(f"Function {config.name} is disabled.")
        elif entry_points[config.name] is None:
            lines.append(f"\t{config.name}: could not be loaded; see the log")
        elif config.http is None:
            lines.append(f"\t{config.name}: {config.trigger_type}")
        else:
            lines.extend(_http_function(config, config.http, base_url))
    return "\n\n".join(lines) + "\n"


def _http_function(config: FunctionConfig, http: HttpTrigger, base_url: str) -> list[str]:
    url = f"{base_url}/{http.route.template}"
    methods = f"[{','.join(http.route.methods)}] " if http.route.methods else ""
    unchecked = "" if http.auth_level == "anonymous" else ", not checked here"
    lines = [f"\t{config.name}: {methods}{url}   (auth level: {http.auth_level}{unchecked})"]
    if config.sample_request is not None:
        lines.append("\t\t" + _curl(url, config.sample_request))
    return lines


def _curl(url: str, body: str) -> str:
    command = ["curl", "-s", "-H", "Content-Type: application/json", "-d", body, url]
    return subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)
