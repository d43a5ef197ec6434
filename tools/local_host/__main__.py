"""``python -m tools.local_host [--port 7071] [--app DIR]``: the command line."""

import argparse
import atexit
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

from tools.local_host import console, function_app, loader, server, settings
from tools.local_host.asgi import FunctionsApplication
from tools.local_host.errors import HostError
from tools.local_host.invocation import HttpFunction
from tools.local_host.routes import Route


def main() -> int:
    """Serve a function app until Ctrl-C or SIGTERM; returns the exit code."""
    options = _parse_arguments()
    # Until the server handles the signals, each of them raises KeyboardInterrupt.
    _handle_stop_signals(signal.default_int_handler)
    try:
        _run(options.app.resolve(), options.port)
    except HostError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    # Another Ctrl-C while the interpreter exits must not turn a clean exit into a killed process.
    _handle_stop_signals(signal.SIG_IGN)
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.local_host", description="Serve a function app locally.")
    parser.add_argument("--port", type=_port, default=7071, help="port, or 0 for any free one (default: %(default)s)")
    parser.add_argument("--app", type=Path, default=Path(), help="root of the function app (default: this folder)")
    return parser.parse_args()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; expected 0 to 65535")
    return int(text)


def _handle_stop_signals(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> None:
    for number in server.STOP_SIGNALS:
        signal.signal(number, handler)


def _run(root: Path, port: int) -> None:
    app = function_app.read(root)
    settings.put_in_environment(root)
    limits = settings.Settings.from_environment()
    console.start_logging(limits.log_level or app.log_level)
    # Importing the functions can take seconds, so a port that is in use is reported before.
    sockets = server.listen(port)

    # Functions find the app's files relative to the working directory, as under `func start`.
    os.chdir(root)
    entry_points = loader.load(app)
    pool = ThreadPoolExecutor(limits.thread_count, thread_name_prefix="function")
    application = FunctionsApplication(_routed(app, entry_points, pool), limits.max_body_bytes, app.home)

    base_url = f"http://localhost:{server.port_of(sockets)}"
    server.serve(application, sockets, announce=console.function_list(app, entry_points, base_url))


def _routed(
    app: function_app.FunctionApp, entry_points: loader.EntryPoints, pool: ThreadPoolExecutor
) -> list[tuple[Route, HttpFunction | None]]:
    """Return the HTTP functions with their routes; None stands for one that was not loaded."""
    routed: list[tuple[Route, HttpFunction | None]] = []
    for config in app.functions:
        if config.http and not config.is_disabled:
            entry_point = entry_points[config.name]
            function = HttpFunction(config, config.http.parameter, entry_point, pool) if entry_point else None
            routed.append((config.http.route, function))
    return routed


if __name__ == "__main__":
    exit_code = main()
    # Threads may still run functions or models: Python would wait for the former, and take down the latter's libraries
    # while they are in use.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
