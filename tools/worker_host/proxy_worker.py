"""Plays Azure's proxy worker: passes the host's messages to Microsoft's runtime, and answers and logs to the host.

The original is ``workers/proxy_worker/dispatcher.py`` of Azure/azure-functions-python-worker; where that speaks gRPC,
this has a pipe. It runs in a process of its own, for the runtime and the app keep their state in modules.
"""

from __future__ import annotations

import asyncio
import functools
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
from typing import Any

from tools.worker_host import messages
from tools.worker_host.messages import Level, RpcLog, StreamingMessage

_PROJECT_ROOT = Path(__file__).resolve().parents[2]

_LEVELS = {
    logging.CRITICAL: Level["Critical"],
    logging.ERROR: Level["Error"],
    logging.WARNING: Level["Warning"],
    logging.INFO: Level["Information"],
    logging.DEBUG: Level["Debug"],
}

# The invocation that the current asyncio task works for, and the tasks which that one starts.
_invocation_of_task: ContextVar[str] = ContextVar("invocation_of_task", default="")


def run(stream: Connection, environment: Mapping[str, str]) -> None:
    """Serve the host at the other end of a stream until it closes that; to be called in a new process."""
    os.environ.update(environment)
    asyncio.run(_ProxyWorker(stream).dispatch())


@dataclass
class _WorkerRequest:
    """What the runtime's functions take: the proxy worker's class of the same name."""

    name: str
    request: StreamingMessage
    properties: dict[str, Any] = field(default_factory=lambda: {"protos": messages, "host": "127.0.0.1"})


class _ProxyWorker:
    def __init__(self, stream: Connection) -> None:
        self._stream = stream
        # Threads that log send as well.
        self._sending = threading.Lock()
        # Set by the first message, WorkerInitRequest.
        self._runtime: Any = None

    async def dispatch(self) -> None:
        incoming: asyncio.Queue[StreamingMessage | None] = asyncio.Queue()
        put = functools.partial(asyncio.get_running_loop().call_soon_threadsafe, incoming.put_nowait)
        # A daemon, so that it does not keep a process alive in which the dispatcher has failed.
        threading.Thread(target=self._receive, args=(put,), daemon=True).start()
        async with asyncio.TaskGroup() as tasks:
            while message := await incoming.get():
                tasks.create_task(self._answer(message))
        self._runtime.stop_threadpool_executor()

    def _receive(self, put: Callable[[StreamingMessage | None], object]) -> None:
        while True:
            try:
                message = self._stream.recv()
            except EOFError:
                put(None)
                return
            put(message)

    def _send(self, message: StreamingMessage) -> None:
        # The host may be gone: what is still logged then is for nobody.
        with self._sending, suppress(BrokenPipeError):
            self._stream.send(message)

    async def _answer(self, message: StreamingMessage) -> None:
        content = message.WhichOneof("content")
        assert content is not None
        if message.worker_init_request is not None:
            self._start(message.worker_init_request.function_app_directory)
        if message.invocation_request is not None:
            _invocation_of_task.set(message.invocation_request.invocation_id)
        # The runtime's functions are named as the messages are.
        response = await getattr(self._runtime, content)(_WorkerRequest(content, message))
        self._send(StreamingMessage(**{content.replace("_request", "_response"): response}))

    def _start(self, app_root: str) -> None:
        """Do what the proxy worker does around the start of its runtime."""
        _put_on_path(app_root)
        os.chdir(app_root)
        self._runtime = importlib.import_module("azure_functions_runtime_v1")
        logging.getLogger().addHandler(_RpcLogHandler(self._send_log))
        logging.getLogger().setLevel(logging.DEBUG if "PYTHON_ENABLE_DEBUG_LOGGING" in os.environ else logging.INFO)
        self._runtime.start_threadpool_executor()

    def _send_log(self, record: logging.LogRecord, text: str) -> None:
        level = next((level for number, level in _LEVELS.items() if record.levelno >= number), Level["None"])
        self._send(StreamingMessage(rpc_log=RpcLog(level, record.name, text, self._current_invocation_id())))

    def _current_invocation_id(self) -> str:
        try:
            asyncio.current_task()
        except RuntimeError:
            # No event loop runs in this thread: if it is one of the runtime's pool, the runtime knows the id.
            return self._runtime.invocation_id_cv.get() or ""
        return _invocation_of_task.get()


def _put_on_path(app_root: str) -> None:
    """Make the app's root the last place to import from, as the proxy worker does, behind the app's own packages.

    This project's root, where this module was imported from, is no such place unless it is the app's.
    """
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != _PROJECT_ROOT]
    sys.path += [str(Path(app_root) / ".python_packages/lib/site-packages"), app_root]


class _RpcLogHandler(logging.Handler):
    """Hands over every record with its text."""

    def __init__(self, send: Callable[[logging.LogRecord, str], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        self._send(record, self.format(record))
