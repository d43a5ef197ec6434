"""A worker process with a function app in it: load functions, send them requests, read what they logged."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from tools.worker_host import functions_host, messages, proxy_worker
from tools.worker_host.functions_host import Function, Request, Response
from tools.worker_host.messages import (
    FunctionLoadRequest,
    FunctionLoadResponse,
    InvocationRequest,
    InvocationResponse,
    RpcLog,
    StatusResult,
    TypedData,
    WorkerInitRequest,
    WorkerInitResponse,
)

_Answer = TypeVar("_Answer", WorkerInitResponse, FunctionLoadResponse, InvocationResponse)

# A guard against waiting forever; no test measures time.
_PATIENCE_SECONDS = 120


class WorkerError(Exception):
    """The worker process has ended or does not answer."""


class FunctionLoadError(Exception):
    """The runtime could not load a function; the text is the runtime's message and stack trace."""


class InvocationError(Exception):
    """A function did not return a response; the text is the runtime's message and stack trace. The host answers 500."""


class Worker:
    """A function app in a new process under Microsoft's runtime, as a context manager.

    ``logs`` is what the process has logged so far, in the order of arrival.
    """

    def __init__(self, app_root: Path, environment: Mapping[str, str] | None = None) -> None:
        self.logs: list[RpcLog] = []
        self._app_root = app_root
        self._environment = dict(environment or {})
        self._functions: dict[str, Function] = {}

    def __enter__(self) -> Self:
        # Spawned, not forked: on Azure, too, nothing is imported yet.
        context = multiprocessing.get_context("spawn")
        self._stream, other_end = context.Pipe()
        self._process = context.Process(target=proxy_worker.run, args=(other_end, self._environment))
        self._process.start()
        # Now only the process holds this end, so the stream ends when the process does.
        other_end.close()
        self._ask(WorkerInitResponse, WorkerInitRequest(str(self._app_root)))
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._process.join(_PATIENCE_SECONDS)
        self._process.kill()
        self._process.join()

    def load(self, name: str) -> None:
        """Load the function in the folder ``name``; raises FunctionLoadError."""
        function = Function.read(self._app_root / name)
        [answer] = self._ask(FunctionLoadResponse, FunctionLoadRequest(name, function.metadata))
        _check(answer.result, FunctionLoadError)
        self._functions[name] = function

    def request(self, name: str, method: str = "POST", **request: Any) -> Response:
        """Send a loaded function one request with these fields of ``Request``; raises InvocationError."""
        [response] = self.requests(name, [Request(method, **request)])
        return response

    def requests(self, name: str, requests: Sequence[Request]) -> list[Response]:
        """Send all requests at once and return their responses in the same order; raises InvocationError."""
        invocations = [functions_host.http_invocation(self._functions[name], request) for request in requests]
        return [
            functions_host.response(
                answer.invocation_id, answer.return_value or TypedData(), self._logs_of(answer.invocation_id)
            )
            for answer in self._invoke(invocations)
        ]

    def warm_up(self, name: str) -> list[RpcLog]:
        """Run a loaded function that has a warm-up trigger and return its logs; raises InvocationError."""
        [answer] = self._invoke([functions_host.warmup_invocation(self._functions[name])])
        return self._logs_of(answer.invocation_id)

    def _logs_of(self, invocation_id: str) -> list[RpcLog]:
        return [log for log in self.logs if log.invocation_id == invocation_id]

    def _invoke(self, invocations: Sequence[InvocationRequest]) -> list[InvocationResponse]:
        """Return the answers in the order of the invocations; raises InvocationError."""
        answers = {answer.invocation_id: answer for answer in self._ask(InvocationResponse, *invocations)}
        for answer in answers.values():
            _check(answer.result, InvocationError)
        return [answers[invocation.invocation_id] for invocation in invocations]

    def _ask(self, kind: type[_Answer], *questions: messages.Request) -> list[_Answer]:
        """Send messages and return their answers in the order of arrival; raises WorkerError."""
        try:
            for question in questions:
                self._stream.send(question)
            return [self._next_answer(kind) for _ in questions]
        except (EOFError, ConnectionError):
            self._process.join()
            raise WorkerError(f"The worker process ended with exit code {self._process.exitcode}.") from None

    def _next_answer(self, kind: type[_Answer]) -> _Answer:
        """Return the next answer; log records that arrive before it are added to ``logs``."""
        while True:
            if not self._stream.poll(_PATIENCE_SECONDS):
                self._process.kill()
                raise WorkerError(f"The worker process did not answer within {_PATIENCE_SECONDS} seconds.")
            message = self._stream.recv()
            if isinstance(message, kind):
                return message
            self.logs.append(message)


def _check(result: StatusResult, error: type[Exception]) -> None:
    if result.status != StatusResult.Success:
        raise error(f"{result.exception.message}\n{result.exception.stack_trace}")
