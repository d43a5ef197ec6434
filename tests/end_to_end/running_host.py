"""The host as a process of its own, a function app's folder to run it on, and gates its functions can wait at."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fixtures import PROJECT_ROOT
from tests.fixtures.store import environment as settings_of
from tools.store.azurite import Endpoint

# A guard against waiting forever; no test measures time.
PATIENCE_SECONDS = 60

_URL = re.compile(r"Listening on (http://localhost:\d+)")


class RunningHost:
    """A host process that serves an app on a free port; ``log`` is what it has written so far."""

    def __init__(self, app: Path, environment: Mapping[str, str]) -> None:
        self.app = app
        self.log = ""
        self._log_grew = threading.Condition()
        self._log_ended = False
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tools.local_host", "--port", "0", "--app", str(app)],
            cwd=PROJECT_ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            # Windows delivers a Ctrl-Break to process groups only.
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self._reader = threading.Thread(target=self._read_log)
        self._reader.start()

    def _read_log(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._log_grew:
                self.log += line
                self._log_grew.notify_all()
        with self._log_grew:
            self._log_ended = True
            self._log_grew.notify_all()

    def wait_for_log(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Return the first match in the log, as soon as it is there."""
        with self._log_grew:
            self._log_grew.wait_for(lambda: pattern.search(self.log) or self._log_ended, PATIENCE_SECONDS)
            found = pattern.search(self.log)
        assert found, f"The host never wrote {pattern.pattern!r}. It wrote:\n{self.log}"
        return found

    @property
    def url(self) -> str:
        """The base URL, as soon as the host listens."""
        return self.wait_for_log(_URL)[1]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        self.process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))

    def wait(self) -> int:
        """Return the exit code once the host has ended; ``log`` is complete then."""
        try:
            return self.process.wait(PATIENCE_SECONDS)
        finally:
            self.process.kill()
            self._reader.join()
            assert self.process.stdout is not None
            self.process.stdout.close()

    def stop(self) -> int:
        """Interrupt the host, unless it has ended, and return its exit code."""
        if self.process.poll() is None:
            self.interrupt()
        return self.wait()


class Store:
    """Azurite, into which each host's models are uploaded, each folder's into a container of its own."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._containers: dict[Path, str] = {}

    def settings(self, folder: Path) -> Mapping[str, object]:
        """Upload the models in a folder, unless that was done, and return the settings that serve these."""
        if folder not in self._containers:
            from tools.store.__main__ import put_all

            self._containers[folder] = f"models{len(self._containers)}"
            put_all(self._endpoint, folder, self._containers[folder])
        return settings_of(self._endpoint, self._containers[folder])


# Where hosts have their models from, with the option --store.
stores: list[Store] = []

# The hosts whose logs a failing test is to show.
under_test: list[RunningHost] = []


@contextmanager
def running_host(app: Path, **environment: object) -> Iterator[RunningHost]:
    """Serve an app with these environment variables; fails unless the host ends with exit code 0."""
    for store in stores:
        environment |= store.settings(Path(str(environment.get("SERVING_MODEL_PATH", app / "model"))))
    host = RunningHost(app, {name: str(value) for name, value in environment.items()})
    under_test.append(host)
    try:
        yield host
    finally:
        exit_code = host.stop()
        under_test.remove(host)
        assert exit_code == 0, f"The host ended with exit code {exit_code}. It wrote:\n{host.log}"


class AppFolder:
    """A function app on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("host.json", "{}")

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def add(self, name: str, code: str, *, function_json: Any = None, **trigger: Any) -> None:
        """Add an HTTP function with this code, or one with another ``function.json``."""
        http = {
            "bindings": [
                {"type": "httpTrigger", "direction": "in", "name": "req", **trigger},
                {"type": "http", "direction": "out", "name": "$return"},
            ]
        }
        self.write(f"{name}/function.json", json.dumps(function_json or http))
        self.write(f"{name}/__init__.py", code)


class Gate:
    """A gate in front of which code in the host's process waits until the test opens it.

    The code passes it by ``socket.create_connection(("127.0.0.1", <port>)).recv(1)``.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Return as soon as the code waits at the gate; the gate is open after the block."""
        visitor, _ = self._listener.accept()
        with visitor:
            yield
