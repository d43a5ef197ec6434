"""One request and its reply, as an endpoint sees them, and what is measured on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np

from serving.errors import BodyTooLargeError, MethodNotAllowedError, UnsupportedMediaTypeError
from serving.models.model import Model
from serving.models.operations import Operations
from serving.stopwatch import Stopwatch

Feeds = Mapping[str, np.ndarray]
Fetches = Mapping[str, np.ndarray]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

# Decoding or encoding this much takes milliseconds, for which the event loop must not stand still.
_LARGE_BYTES = 1024 * 1024
_LARGE_PICTURE_BYTES = 4 * 1024


@dataclass(frozen=True)
class Reply:
    """What an endpoint answers."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Exchange:
    """One request: its method, the rest of its path, its headers (by name in any case), its body and its query.

    ``facts`` and ``stopwatch`` collect what the log line and the response's headers report.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    models: Operations
    query: Mapping[str, str] = field(default_factory=dict)
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    facts: dict[str, object] = field(default_factory=dict)
    _inline_bytes: int = _LARGE_BYTES  # a body below that is decoded on the event loop

    def limit_body(self, limit: int) -> None:
        """Raise BodyTooLargeError where the body has more bytes than the limit."""
        size = len(self.body)
        if size > limit:
            raise BodyTooLargeError(f"The request body is {size} bytes; the limit is {limit}.", limit=limit)

    def allow(self, *methods: str) -> None:
        """Raise MethodNotAllowedError unless the request's method is one of these."""
        if self.method not in methods:
            expected = " or ".join(methods)
            raise MethodNotAllowedError(f"Method {self.method} is not allowed; use {expected}.", ", ".join(methods))

    def expect_json(self) -> None:
        """Raise UnsupportedMediaTypeError where the Content-Type says that the body is not JSON."""
        content_type = self.headers.get("content-type")
        if not content_type:
            return
        media_type = content_type.partition(";")[0].strip().lower()
        if media_type not in ("application/json", "text/json") and not media_type.endswith("+json"):
            raise UnsupportedMediaTypeError(f"The Content-Type is {content_type}; expected application/json.")

    async def model(self, name: str, version: int | None = None) -> Model:
        """Return a model, loading it if necessary; raises what ``Operations.load`` does."""
        self.facts["model"] = name
        model = self.models.loaded(name, version)
        if model is None:
            model = await self.models.load(name, version)
            self.stopwatch.lap("load")
        self.facts |= {"version": model.version, "engine": model.engine}
        if model.preprocessing.picture is not None:
            self._inline_bytes = _LARGE_PICTURE_BYTES
        return model

    async def decode(
        self, function: Callable[_Parameters, _Result], *args: _Parameters.args, **options: _Parameters.kwargs
    ) -> _Result:
        """Call a function that decodes the body, and time it; raises what it does."""
        result = await _work(len(self.body), partial(function, *args, **options), self._inline_bytes)
        self.stopwatch.lap("parse")
        return result

    async def run(self, model: Model, signature: str, feeds: Feeds) -> Fetches:
        """Run the model, time it and count the rows; raises what ``Model.predict`` does."""
        fetches, batch_rows = await model.predict(feeds, signature)
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
        """Call a function that encodes the fetches, and time it; raises what it does."""
        size = sum([array.nbytes for array in fetches.values()])
        result = await _work(size, partial(function, fetches, *args, **options))
        self.stopwatch.lap("encode")
        return result


async def _work(size: int, call: Callable[[], _Result], inline_bytes: int = _LARGE_BYTES) -> _Result:
    """Make a call on so many bytes: inline, or in a thread where that takes long."""
    return call() if size < inline_bytes else await asyncio.to_thread(call)
