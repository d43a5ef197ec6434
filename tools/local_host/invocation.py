"""Calls an HTTP function as Azure's Python worker does: arguments by name, the answer through its bindings."""

import asyncio
import inspect
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import azure.functions as func

from tools.local_host.function_app import FunctionConfig
from tools.local_host.loader import EntryPoint

# In the thread that runs a function, its ``invocation_id`` is that of the invocation.
_thread_local = threading.local()


class Out:
    """An output parameter, with the methods of ``azure.functions.Out``."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, value: Any) -> None:
        """Set the value."""
        self._value = value

    def get(self) -> Any:
        """Return the value, or None if it was not set."""
        return self._value


class Context:
    """What ``azure.functions.Context`` has, made when it is asked for; HTTP functions are never retried."""

    retry_context = SimpleNamespace(retry_count=0, max_retry_count=0, exception=None)
    thread_local_storage = _thread_local

    def __init__(self, function_name: str, function_directory: str, headers: Mapping[str, str]) -> None:
        self.function_name = function_name
        self.function_directory = function_directory
        self._headers = headers

    @cached_property
    def invocation_id(self) -> str:
        """A new id."""
        return str(uuid.uuid4())

    @cached_property
    def trace_context(self) -> SimpleNamespace:
        """The request's W3C trace headers."""
        parent, state = (self._headers.get(name, "") for name in ("traceparent", "tracestate"))
        return SimpleNamespace(trace_parent=parent, trace_state=state, attributes={})


class HttpFunction:
    """An HTTP function that is loaded and can be called."""

    def __init__(
        self, config: FunctionConfig, request_parameter: str, entry_point: EntryPoint, pool: ThreadPoolExecutor
    ) -> None:
        outputs = [binding.name for binding in config.bindings if binding.direction == "out"]
        self.name = config.name
        self._directory = str(config.directory)
        self._request_parameter = request_parameter
        self._returns = "$return" in outputs
        self._out_parameters = [name for name in outputs if name != "$return"]
        self._takes_context = "context" in inspect.signature(entry_point).parameters
        self._is_async = inspect.iscoroutinefunction(entry_point)
        self._entry_point = entry_point
        self._pool = pool

    async def __call__(self, request: func.HttpRequest) -> func.HttpResponse:
        """Call the function and return its answer; raises what the function raises.

        An async function runs on the event loop, any other in the thread pool. Raises TypeError if the function
        returns a value that its bindings do not allow.
        """
        outs = {name: Out() for name in self._out_parameters}
        arguments: dict[str, Any] = {self._request_parameter: request, **outs}
        if self._takes_context:
            arguments["context"] = Context(self.name, self._directory, request.headers)
        if self._is_async:
            result = await self._entry_point(**arguments)
        else:
            result = await asyncio.get_running_loop().run_in_executor(self._pool, self._call, arguments)
        return self._response(result, [out.get() for out in outs.values()])

    def _call(self, arguments: dict[str, Any]) -> Any:
        if self._takes_context:
            _thread_local.invocation_id = arguments["context"].invocation_id
        return self._entry_point(**arguments)

    def _response(self, result: Any, out_values: list[Any]) -> func.HttpResponse:
        if self._returns:
            return _as_response(result)
        if result is not None:
            raise TypeError(f"{self.name} returned a {type(result).__name__} but has no $return binding")
        value = next((value for value in out_values if value is not None), None)
        return func.HttpResponse(status_code=204) if value is None else _as_response(value)


def _as_response(value: Any) -> func.HttpResponse:
    if isinstance(value, func.HttpResponse):
        return value
    if isinstance(value, str):
        return func.HttpResponse(value)
    raise TypeError(f"the answer is a {type(value).__name__}; expected an azure.functions.HttpResponse or a str")
