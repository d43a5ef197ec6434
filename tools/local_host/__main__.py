"""``python -m tools.local_host [--port 7071] [--app DIR]``: the command line."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from tools.local_host import console, function_app, loader, server, settings
from tools.local_host.asgi import FunctionsApplication
from tools.local_host.errors import HostError
from tools.local_host.invocation import HttpFunction
from tools.local_host.routes import Route, Router
from tools.local_host.thread_pool import ThreadPool


def main() -> int:
    """Serve a function app until Ctrl-C or SIGTERM; returns the exit code."""
    options = _parse_arguments()
    # Until the server takes the signals over, each of them ends the host by a KeyboardInterrupt.
    _handle_stop_signals(signal.default_int_handler)
    try:
        _run(options.app.resolve(), options.port)
    except HostError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    # An impatient Ctrl-C while the interpreter ends would turn a clean end into a killed process.
    _handle_stop_signals(signal.SIG_IGN)
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.local_host", description="Serve a function app here.")
    parser.add_argument("--port", type=_port, default=7071, help="port, 0 for any free one (default: %(default)s)")
    parser.add_argument("--app", type=Path, default=Path(), help="root of the function app (default: this folder)")
    return parser.parse_args()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected 0 to 65535")
    return int(text)


def _handle_stop_signals(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> None:
    for number in server.STOP_SIGNALS:
        signal.signal(number, handler)


def _run(root: Path, port: int) -> None:
    app = function_app.read(root)
    settings.put_in_environment(root)
    limits = settings.Settings.from_environment()
    console.start_logging(limits.log_level or app.log_level)
    # Before functions are imported, which can take seconds: a taken port is reported at once.
    sockets = server.listen(port)

    # Functions find the app's files relative to the working directory, as under `func start`.
    os.chdir(root)
    entry_points = loader.load(app)
    pool = ThreadPool(limits.thread_count)
    application = FunctionsApplication(_router(app, entry_points, pool), limits.max_body_bytes)

    failed = [name for name, entry_point in entry_points.items() if entry_point is None]
    base_url = f"http://localhost:{server.port_of(sockets)}"
    server.serve(application, sockets, announce=console.function_list(app.functions, failed, base_url))


def _router(
    app: function_app.FunctionApp, entry_points: dict[str, loader.EntryPoint | None], pool: ThreadPool
) -> Router[HttpFunction | None]:
    routes: list[Route[HttpFunction | None]] = []
    for config in app.functions:
        if config.http is None or config.is_disabled:
            continue
        entry_point = entry_points[config.name]
        function = HttpFunction(config, config.http, entry_point, pool) if entry_point else None
        routes.append(Route(config.http.route, config.http.methods, function))
    return Router(routes)


if __name__ == "__main__":
    sys.exit(main())
