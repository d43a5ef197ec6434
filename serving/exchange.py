"""One request and its reply, as an endpoint sees them, and what is measured on the way."""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np

from serving.budget import Budget, Share
from serving.errors import BadRequestError, BodyTooLargeError, MethodNotAllowedError, UnsupportedMediaTypeError
from serving.models.model import Model
from serving.models.operations import Operations
from serving.stopwatch import Stopwatch

Feeds = Mapping[str, np.ndarray]
Fetches = Mapping[str, np.ndarray]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

# Decoding or encoding this much takes milliseconds, for which the event loop must not stand still.
_LARGE_BYTES = 1024 * 1024

# What a request takes beside its body, its text and the arrays that are made of it, is counted where it is made.
_BODY_COPIES = 4
_UNCOUNTED_BYTES = 16 * 1024

# Of an array that is written as text, in pieces and then in one.
_TEXT_COPIES = 6

# Pictures are decoded one after the other. More threads would each keep memory of their largest pictures: glibc returns
# little of what a thread frees.
_picture_thread = ThreadPoolExecutor(1, "pictures")

# More threads would not be faster, since all hold the interpreter's lock in turn, but whoever else waits for the lock
# would wait for each of them.
_body_threads = ThreadPoolExecutor(2, "bodies")

_GZIP = 16 + zlib.MAX_WBITS  # zlib's name for its format
_MOST_MEMBERS = 100  # of a gzip file; clients write one

SPLIT_KEY = "x-split-key"

_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Reply:
    """What an endpoint answers."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Exchange:
    """One request: its method, the rest of its path, its headers (by name in any case), its body, query and whole URL.

    ``facts`` and ``stopwatch`` collect what the log line and the response's headers report.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    models: Operations
    query: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    share: Share = field(default_factory=lambda: Share(Budget(sys.maxsize)))
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    facts: dict[str, object] = field(default_factory=dict)
    _takes_pictures: bool = False

    def accept_body(self, limit: int) -> None:
        """Reserve the memory that the body takes.

        Raises BodyTooLargeError where it has more bytes than the limit, BusyError while the memory is in use.
        """
        size = len(self.body)
        if size > limit:
            raise BodyTooLargeError(f"The request body is {size} bytes; the limit is {limit}.", limit=limit)
        if size > _UNCOUNTED_BYTES:
            self.share.reserve(_BODY_COPIES * size)

    async def undo_encoding(self, encoding: str, limit: int) -> None:
        """Undo the body's Content-Encoding, before it is accepted.

        Raises BodyTooLargeError where it has more bytes than the limit, UnsupportedMediaTypeError for an encoding other
        than gzip, BadRequestError for a body that is not gzip's, BusyError while the memory is in use.
        """
        encoding = encoding.strip().lower()
        if encoding in ("gzip", "x-gzip"):
            self.share.reserve(limit)
            self.body = await _in(_body_threads, partial(_decompressed, self.body, limit))
            self.share.release()
        elif encoding != "identity":
            raise UnsupportedMediaTypeError(f"The Content-Encoding is {encoding[:40]}; expected gzip or none.")

    def allow(self, *methods: str) -> None:
        """Raise MethodNotAllowedError unless the request's method is one of these."""
        if self.method not in methods:
            expected = " or ".join(methods)
            raise MethodNotAllowedError(f"Method {self.method} is not allowed; use {expected}.", ", ".join(methods))

    def expect_json(self) -> None:
        """Raise UnsupportedMediaTypeError where the Content-Type says that the body is not JSON.

        ``curl -d`` says that it is a form, unless it is told otherwise; a body that begins an object is none.
        """
        content_type = self.headers.get("content-type")
        if not content_type:
            return
        media_type = content_type.partition(";")[0].strip().lower()
        is_json = media_type in ("application/json", "text/json") or media_type.endswith("+json")
        if not is_json and not (media_type == _FORM and self.body.lstrip()[:1] == b"{"):
            raise UnsupportedMediaTypeError(f"The Content-Type is {content_type}; expected application/json.")

    async def model(self, name: str, version: int | None = None) -> Model:
        """Return a model, loading it if necessary; raises what ``Operations.load`` does."""
        self.facts["model"] = name
        model = self.models.loaded(name, version, self.split_key)
        if model is None:
            model = await self.models.load(name, version, self.split_key)
            self.stopwatch.lap("load")
        self.facts |= {"version": model.version, "engine": model.engine}
        self._takes_pictures = model.preprocessing.picture is not None
        return model

    def split_key(self) -> str | None:
        """Return what decides which version answers where several share the requests; None if the client sent none."""
        return self.headers.get(SPLIT_KEY)

    async def decode(
        self, function: Callable[_Parameters, _Result], *args: _Parameters.args, **options: _Parameters.kwargs
    ) -> _Result:
        """Call a function that decodes the body, and time it; raises what it does."""
        call = partial(function, *args, **options)
        if self._takes_pictures:  # one of a few bytes may take seconds to decode
            result = await _in(_picture_thread, call)
        else:
            result = await _work(len(self.body), call)
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
        """Call a function that encodes the fetches, and time it; raises what it does.

        Raises BodyTooLargeError or BusyError where the memory for that can't be had.
        """
        size = sum([array.nbytes for array in fetches.values()])
        if size > _UNCOUNTED_BYTES:
            self.share.reserve(_TEXT_COPIES * size)
        result = await _work(size, partial(function, fetches, *args, **options))
        self.stopwatch.lap("encode")
        return result


async def _work(size: int, call: Callable[[], _Result]) -> _Result:
    """Make a call on so many bytes: inline, or in a thread where that takes long."""
    return call() if size < _LARGE_BYTES else await _in(_body_threads, call)


async def _in(threads: Executor, call: Callable[[], _Result]) -> _Result:
    return await asyncio.get_running_loop().run_in_executor(threads, call)


def _decompressed(body: bytes, limit: int) -> bytes:
    """Return the content of a gzip file; raises BadRequestError, or BodyTooLargeError where it exceeds the limit."""
    content, rest, members = b"", body, 0
    try:
        while rest:
            members += 1
            if members > _MOST_MEMBERS:  # each copies what follows it
                raise BadRequestError(f"The gzip body has more than {_MOST_MEMBERS} members.")
            member = zlib.decompressobj(_GZIP)
            content += member.decompress(rest, limit + 1 - len(content))
            if len(content) > limit:
                raise BodyTooLargeError(f"The request body is over {limit} bytes when unzipped.", limit=limit)
            if not member.eof:
                raise BadRequestError("The body ends before its gzip data does.")
            rest = member.unused_data
    except zlib.error:
        raise BadRequestError("The Content-Encoding is gzip, but the body is not.") from None
    return content
