"""A worker process with a function app in it: load functions, send them requests, read what they logged."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tools.worker_host import functions_host, proxy_worker
from tools.worker_host.functions_host import Function, Request, Response
from tools.worker_host.messages import (
    FunctionLoadRequest,
    InvocationRequest,
    InvocationResponse,
    RpcLog,
    StatusResult,
    StreamingMessage,
    WorkerInitRequest,
)

# A guard against waiting forever; no test measures time.
_PATIENCE_SECONDS = 120


class WorkerError(Exception):
    """The worker process has ended or does not answer."""


class FunctionLoadError(Exception):
    """The runtime could not load a function; the text is the runtime's, with the stack trace."""


class InvocationError(Exception):
    """A function did not return a response; the text is the runtime's, with the stack trace. The host answers 500."""


class Worker:
    """A function app in a new process under Microsoft's runtime, as a context manager.

    ``logs`` is all that the process has logged so far, in the order in which it reached the host.
    """

    def __init__(self, app_root: Path, environment: Mapping[str, str] | None = None) -> None:
        self.logs: list[RpcLog] = []
        self._app_root = app_root
        self._environment = dict(environment or {})
        self._functions: dict[str, Function] = {}

    def __enter__(self) -> Self:
        # Spawned, not forked: on Azure nothing is imported yet either.
        context = multiprocessing.get_context("spawn")
        self._stream, other_end = context.Pipe()
        self._process = context.Process(target=proxy_worker.run, args=(other_end, self._environment))
        self._process.start()
        # From now on the process alone holds this end: when it ends, so does the stream.
        other_end.close()
        self._ask(StreamingMessage(worker_init_request=WorkerInitRequest(str(self._app_root))))
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._process.join(_PATIENCE_SECONDS)
        self._process.kill()
        self._process.join()

    def load(self, name: str) -> None:
        """Load the function in the folder of this name; raises FunctionLoadError."""
        function = Function.read(self._app_root / name)
        load = FunctionLoadRequest(function_id=name, metadata=function.metadata)
        [answer] = self._ask(StreamingMessage(function_load_request=load))
        _check(answer.function_load_response.result, FunctionLoadError)
        self._functions[name] = function

    def request(self, name: str, method: str = "POST", **request: Any) -> Response:
        """Send one request, with the fields of ``Request``, to a loaded function; raises InvocationError."""
        [response] = self.requests(name, [Request(method, **request)])
        return response

    def requests(self, name: str, requests: Sequence[Request]) -> list[Response]:
        """Send requests without waiting in between and return their responses in order; raises InvocationError."""
        invocations = [functions_host.http_invocation(self._functions[name], request) for request in requests]
        return [
            functions_host.response(answer.invocation_id, answer.return_value, self._logs_of(answer.invocation_id))
            for answer in self._invoke(invocations)
        ]

    def warm_up(self, name: str) -> list[RpcLog]:
        """Start a loaded function with a warm-up trigger and return what it has logged; raises InvocationError."""
        [answer] = self._invoke([functions_host.warmup_invocation(self._functions[name])])
        return self._logs_of(answer.invocation_id)

    def _logs_of(self, invocation_id: str) -> list[RpcLog]:
        return [log for log in self.logs if log.invocation_id == invocation_id]

    def _invoke(self, invocations: Sequence[InvocationRequest]) -> list[InvocationResponse]:
        """Return the answers in the order of the questions."""
        messages = self._ask(*(StreamingMessage(invocation_request=invocation) for invocation in invocations))
        answers = {message.invocation_response.invocation_id: message.invocation_response for message in messages}
        for answer in answers.values():
            _check(answer.result, InvocationError)
        return [answers[invocation.invocation_id] for invocation in invocations]

    def _ask(self, *questions: StreamingMessage) -> list[StreamingMessage]:
        """Send messages and return the answers in the order in which they come."""
        try:
            for question in questions:
                self._stream.send(question)
            return [self._next_answer() for _ in questions]
        except (EOFError, ConnectionError):
            self._process.join()
            raise WorkerError(f"The worker process has ended with exit code {self._process.exitcode}.") from None

    def _next_answer(self) -> StreamingMessage:
        """Return the next message which is no log record; those are kept in ``logs``."""
        while True:
            if not self._stream.poll(_PATIENCE_SECONDS):
                self._process.kill()
                raise WorkerError(f"The worker process has not answered for {_PATIENCE_SECONDS} seconds.")
            message = self._stream.recv()
            if message.rpc_log is None:
                return message
            self.logs.append(message.rpc_log)


def _check(result: StatusResult, error: type[Exception]) -> None:
    if result.status != StatusResult.Success:
        raise error(f"{result.exception.message}\n{result.exception.stack_trace}")
