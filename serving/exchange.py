"""One request and its reply, as a protocol sees them, and what is noted about them on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np

from serving.errors import MethodNotAllowedError, UnsupportedMediaTypeError
from serving.models.model import Model
from serving.models.repository import Repository
from serving.stopwatch import Stopwatch

Feeds = Mapping[str, np.ndarray]
Fetches = Mapping[str, np.ndarray]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

# Decoding or encoding so many bytes takes milliseconds, for which the event loop must not stand still.
_LARGE_BYTES = 1024 * 1024

# Requests that wait for a model to be loaded. Apart from the threads that work, so that these are not all waiting.
_loads = ThreadPoolExecutor(64, "load")


@dataclass(frozen=True)
class Reply:
    """What a protocol answers: status, body with its content type, and further headers."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Exchange:
    """One request: its method, the rest of its path, its headers (by name in any case) and its body.

    ``in_thread`` is entered in a thread that works for the request. ``facts`` and ``stopwatch`` gather what the log
    line and the response's headers tell of it.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    models: Repository
    in_thread: Callable[[], AbstractContextManager[None]] = nullcontext
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    facts: dict[str, object] = field(default_factory=dict)

    def allow(self, *methods: str) -> None:
        """Raise MethodNotAllowedError unless the request's method is one of these."""
        if self.method not in methods:
            expected = " or ".join(methods)
            raise MethodNotAllowedError(f"{self.method} is not answered here; send {expected}.", ", ".join(methods))

    def expect_json(self) -> None:
        """Raise UnsupportedMediaTypeError where the request says that its body is something else than JSON."""
        content_type = self.headers.get("content-type")
        if not content_type:
            return
        media_type = content_type.partition(";")[0].strip().lower()
        if media_type not in ("application/json", "text/json") and not media_type.endswith("+json"):
            raise UnsupportedMediaTypeError(f"The content type is {content_type}; expected application/json.")

    async def model(self, name: str, version: int | None = None) -> Model:
        """Return a model, loading it where it isn't loaded; raises what ``Repository.get`` does."""
        self.facts["model"] = name
        model = self.models.loaded(name, version)
        if model is None:
            # With the invocation's id, for the log.
            load = partial(copy_context().run, self._load, name, version)
            model = await asyncio.get_running_loop().run_in_executor(_loads, load)
            self.stopwatch.lap("load")
        self.facts["version"] = model.version
        return model

    def _load(self, name: str, version: int | None) -> Model:
        with self.in_thread():
            return self.models.get(name, version)

    async def decode(
        self, function: Callable[_Parameters, _Result], *args: _Parameters.args, **options: _Parameters.kwargs
    ) -> _Result:
        """Call a function that decodes the body, and note what it took; raises what it does."""
        result = await _work(len(self.body), partial(function, *args, **options))
        self.stopwatch.lap("parse")
        return result

    async def run(self, model: Model, signature: str, feeds: Feeds) -> Fetches:
        """Run the model, and note what it took and how many rows there were; raises what ``Model.predict`` does."""
        fetches, batch_rows = await model.predict_batched(feeds, signature)
        self.stopwatch.lap("predict")
        rows = max([len(array) for array in feeds.values() if array.ndim], default=1)
        self.facts["rows"] = rows
        if batch_rows > rows:
            self.facts["batch_rows"] = batch_rows
        return fetches

    async def encode(
        self,
        function: Callable[Concatenate[Fetches, _Parameters], _Result],
        fetches: Fetches,
        *args: _Parameters.args,
        **options: _Parameters.kwargs,
    ) -> _Result:
        """Call a function that encodes the fetches, and note what it took; raises what it does."""
        size = sum([array.nbytes for array in fetches.values()])
        result = await _work(size, partial(function, fetches, *args, **options))
        self.stopwatch.lap("encode")
        return result


async def _work(size: int, call: Callable[[], _Result]) -> _Result:
    """Make a call whose time goes by a number of bytes: at once, or in a thread where that is long."""
    return call() if size < _LARGE_BYTES else await asyncio.to_thread(call)
