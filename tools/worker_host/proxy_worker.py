"""Plays Azure's proxy worker: passes the host's messages to Microsoft's runtime, and its answers and logs to the host.

The original is ``workers/proxy_worker/dispatcher.py`` of Azure/azure-functions-python-worker, which speaks gRPC where
this uses a pipe. It runs in a process of its own, because the runtime and the app keep their state in modules.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tools.worker_host import messages
from tools.worker_host.messages import FunctionLoadRequest, InvocationRequest, Level, RpcLog, WorkerInitRequest

_PROJECT_ROOT = Path(__file__).resolve().parents[2]

# The runtime's function for each message, which is also the name of its field in protobuf's StreamingMessage.
_HANDLERS = {
    WorkerInitRequest: "worker_init_request",
    FunctionLoadRequest: "function_load_request",
    InvocationRequest: "invocation_request",
}

_LEVELS = {
    logging.CRITICAL: Level["Critical"],
    logging.ERROR: Level["Error"],
    logging.WARNING: Level["Warning"],
    logging.INFO: Level["Information"],
    logging.DEBUG: Level["Debug"],
}

# The invocation that the current asyncio task, or the task that started it, works for.
_invocation_of_task: ContextVar[str] = ContextVar("invocation_of_task", default="")


def run(stream: Connection, environment: Mapping[str, str]) -> None:
    """Serve the host at the other end of a stream until the host closes it; call this in a new process."""
    os.environ.update(environment)
    asyncio.run(_ProxyWorker(stream).dispatch())


@dataclass
class _WorkerRequest:
    """The argument of the runtime's functions: the proxy worker's class of the same name."""

    name: str
    # Protobuf's StreamingMessage, with the one field that is set.
    request: SimpleNamespace
    properties: dict[str, Any] = field(default_factory=lambda: {"protos": messages, "host": "127.0.0.1"})


class _ProxyWorker:
    def __init__(self, stream: Connection) -> None:
        self._stream = stream
        # Threads that log send as well.
        self._sending = threading.Lock()
        # Set by the first message, WorkerInitRequest.
        self._runtime: Any = None

    async def dispatch(self) -> None:
        loop = asyncio.get_running_loop()
        incoming: asyncio.Queue[Any] = asyncio.Queue()

        def receive() -> None:
            with suppress(EOFError):
                while True:
                    loop.call_soon_threadsafe(incoming.put_nowait, self._stream.recv())
            loop.call_soon_threadsafe(incoming.put_nowait, None)

        # A daemon thread, so that the process can end when the dispatcher has failed.
        threading.Thread(target=receive, daemon=True).start()
        async with asyncio.TaskGroup() as tasks:
            while message := await incoming.get():
                tasks.create_task(self._answer(message))
        self._runtime.stop_threadpool_executor()

    async def _answer(self, message: messages.Request) -> None:
        if isinstance(message, WorkerInitRequest):
            self._start(message.function_app_directory)
        if isinstance(message, InvocationRequest):
            _invocation_of_task.set(message.invocation_id)
        name = _HANDLERS[type(message)]
        request = _WorkerRequest(name, SimpleNamespace(**{name: message}))
        self._send(await getattr(self._runtime, name)(request))

    def _send(self, message: object) -> None:
        # If the host is gone, nothing reads what is still logged.
        with self._sending, suppress(BrokenPipeError):
            self._stream.send(message)

    def _start(self, app_root: str) -> None:
        """Do what the proxy worker does before and after it imports its runtime."""
        _put_on_path(app_root)
        os.chdir(app_root)
        self._runtime = importlib.import_module("azure_functions_runtime_v1")
        logging.getLogger().addHandler(_RpcLogHandler(self._send_log))
        logging.getLogger().setLevel(logging.DEBUG if "PYTHON_ENABLE_DEBUG_LOGGING" in os.environ else logging.INFO)
        self._runtime.start_threadpool_executor()

    def _send_log(self, record: logging.LogRecord, text: str) -> None:
        level = next((level for number, level in _LEVELS.items() if record.levelno >= number), Level["None"])
        self._send(RpcLog(level, record.name, text, self._current_invocation_id()))

    def _current_invocation_id(self) -> str:
        try:
            asyncio.current_task()
        except RuntimeError:
            # This thread has no event loop. If it is one of the runtime's pool, the runtime knows the id.
            return self._runtime.invocation_id_cv.get() or ""
        return _invocation_of_task.get()


def _put_on_path(app_root: str) -> None:
    """Append the app's packages and then its root to ``sys.path``, as the proxy worker does.

    This project's root, from which this module was imported, is removed.
    """
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != _PROJECT_ROOT]
    sys.path += [str(Path(app_root) / ".python_packages/lib/site-packages"), app_root]


class _RpcLogHandler(logging.Handler):
    """Passes every record on, with its text."""

    def __init__(self, send: Callable[[logging.LogRecord, str], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        self._send(record, self.format(record))
