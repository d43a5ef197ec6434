"""Predictions on an event loop: short runs inline, long ones in a thread, and waiting requests together as one batch.

No request waits to be joined by others. One that finds the model idle runs at once; those that arrive during the run
wait, and then run together. Who has waited for too long gets TimeoutError, and the run goes on in its thread. Knows no
wire format, no HTTP and no TensorFlow.
"""

from __future__ import annotations

import asyncio
import os
from asyncio import AbstractEventLoop, Future, Semaphore, Task
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from serving.engines.session import RunClock, bytes_of
from serving.models.threads import DaemonThreads

Feeds = Mapping[str, np.ndarray]
Fetches = Mapping[str, np.ndarray]

_Result = TypeVar("_Result")

# Of one signature at a time, those included that nobody waits for any more.
_MOST_RUNS = max(4, os.cpu_count() or 1)

_threads = DaemonThreads("run")


@dataclass(eq=False, slots=True)
class _Request:
    feeds: Feeds
    rows: int
    row_shapes: tuple[tuple[int, ...], ...]  # requests can be joined where these are equal
    answer: Future[tuple[Fetches, int]]


class Batcher:
    """Runs one signature for many requests, at most ``batch_rows`` rows at a time; 0 or 1 means no batches.

    ``run`` runs it in the calling thread, and ``clock`` says how long that takes. After ``seconds`` without an answer a
    request gets TimeoutError.
    """

    def __init__(
        self, run: Callable[[Feeds], Fetches], clock: RunClock, batch_rows: int, seconds: float | None = None
    ) -> None:
        self._run = run
        self._clock = clock
        self._batch_rows = batch_rows
        self._seconds = seconds
        self._overdue = 0  # runs that nobody waits for any more
        # All of the following is used on the event loop only.
        self._loop: AbstractEventLoop | None = None
        self._waiting: deque[_Request] = deque()
        self._task: Task[None] | None = None  # while requests wait
        self._has_just_run = False
        self._free = Semaphore(_MOST_RUNS)

    async def run(self, feeds: Feeds) -> tuple[Fetches, int]:
        """Return the fetches for these feeds, and the number of rows of the run that they come from.

        Raises what the run does, and TimeoutError. A batch that fails is repeated request by request, so that only its
        cause gets the error.
        """
        rows = _shared_rows(feeds)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._start_on(loop)
        if not 0 < rows < self._batch_rows:
            if self._is_short(feeds):
                return self._run(feeds), rows
            return await self._in_thread(partial(self._run, feeds)), rows
        if self._task is None and not self._has_just_run and self._is_short(feeds):
            # Nothing is waiting, so run inline. Requests that arrive before the next loop iteration are batched.
            self._has_just_run = True
            loop.call_soon(self._forget_run)
            return self._run(feeds), rows
        return await self._wait(feeds, rows)

    def _is_short(self, *feeds: Feeds) -> bool:
        return self._clock.is_quick(sum(map(bytes_of, feeds)))

    async def _in_thread(self, call: Callable[[], _Result]) -> _Result:
        """Make a call in a thread, and wait for it while it is not overdue; raises TimeoutError."""
        if self._overdue >= _MOST_RUNS:
            raise TimeoutError
        future: Future[_Result] | None = None
        try:
            async with asyncio.timeout(self._seconds):
                await self._free.acquire()
                future = asyncio.get_running_loop().run_in_executor(_threads, call)
                future.add_done_callback(partial(_free, self._free))
                return await asyncio.shield(future)
        except TimeoutError:
            if future is not None and not future.done():
                self._overdue += 1
                future.add_done_callback(self._end_overdue)
            raise

    def _end_overdue(self, _: Future) -> None:
        self._overdue -= 1

    def _start_on(self, loop: AbstractEventLoop) -> None:
        # A process has one event loop; a test may have several, one after the other.
        self._loop, self._waiting, self._task, self._has_just_run = loop, deque(), None, False
        self._free, self._overdue = Semaphore(_MOST_RUNS), 0

    def _forget_run(self) -> None:
        self._has_just_run = False

    async def _wait(self, feeds: Feeds, rows: int) -> tuple[Fetches, int]:
        if self._overdue >= _MOST_RUNS:
            raise TimeoutError
        loop = asyncio.get_running_loop()
        row_shapes = tuple(array.shape[1:] for array in feeds.values())
        request = _Request(feeds, rows, row_shapes, loop.create_future())
        self._waiting.append(request)
        timer = None
        # A short run with none before it is made in the next turn of the event loop.
        if self._seconds and (self._task is not None or not self._is_short(feeds)):
            timer = loop.call_later(self._seconds, _expire, request)
        if self._task is None:
            self._task = loop.create_task(self._run_waiting())
        try:
            return await request.answer
        finally:
            if timer:
                timer.cancel()

    async def _run_waiting(self) -> None:
        try:
            while self._waiting:
                await self._run_batch(self._next_batch())
        finally:
            self._task = None
            for request in self._waiting:  # empty, unless this task was cancelled
                request.answer.cancel()
            self._waiting.clear()

    def _next_batch(self) -> list[_Request]:
        """Take the first waiting request, and all that can be joined to it within the bound."""
        batch: list[_Request] = []
        rows = 0
        for _ in range(len(self._waiting)):
            request = self._waiting.popleft()
            if request.answer.done():  # its client has gone, or waited for too long
                continue
            fits = batch and request.row_shapes == batch[0].row_shapes and rows + request.rows <= self._batch_rows
            if fits or not batch:
                batch.append(request)
                rows += request.rows
            else:
                self._waiting.append(request)
        return batch

    async def _run_batch(self, batch: Sequence[_Request]) -> None:
        try:
            if not batch or self._is_short(*(request.feeds for request in batch)):
                outcomes = self._outcomes(batch)
            else:
                outcomes = await self._in_thread(partial(self._outcomes, batch))
        except TimeoutError as error:
            outcomes = [error] * len(batch)
        except BaseException:  # the loop is shutting down
            for request in batch:
                request.answer.cancel()
            raise
        _deliver(batch, outcomes)
        # Clients that got an answer, and new ones, get a turn before the next batch is taken.
        await asyncio.sleep(0)

    def _outcomes(self, batch: Sequence[_Request]) -> list[Fetches | Exception]:
        """Run a batch and return what each request gets: its slice of the fetches, or its own error."""
        if len(batch) > 1:
            try:
                return self._slices(batch)
            except Exception:
                # One of the requests is the cause, or the size of the batch: each is run alone below.
                pass
        return [self._outcome(request.feeds) for request in batch]

    def _slices(self, batch: Sequence[_Request]) -> list[Fetches | Exception]:
        total = sum(request.rows for request in batch)
        joined = {name: np.concatenate([request.feeds[name] for request in batch]) for name in batch[0].feeds}
        fetches = self._run(joined)
        if any(not array.ndim or len(array) != total for array in fetches.values()):
            self._batch_rows = 1  # the outputs have no batch dimension, whatever the signature says
            raise ValueError("the outputs of a batch don't have its rows")
        parts: list[Fetches | Exception] = []
        start = 0
        for request in batch:
            stop = start + request.rows
            parts.append({name: array[start:stop] for name, array in fetches.items()})
            start = stop
        return parts

    def _outcome(self, feeds: Feeds) -> Fetches | Exception:
        try:
            return self._run(feeds)
        except Exception as error:
            return error


def _free(free: Semaphore, future: Future) -> None:
    free.release()
    if not future.cancelled():
        future.exception()  # so that asyncio does not log one that nobody waited for


def _expire(request: _Request) -> None:
    if not request.answer.done():
        request.answer.set_exception(TimeoutError())


def _deliver(batch: Sequence[_Request], outcomes: Sequence[Fetches | Exception]) -> None:
    rows = sum(request.rows for request in batch)
    for request, outcome in zip(batch, outcomes, strict=True):
        if request.answer.done():  # its client has gone, or waited for too long
            continue
        if isinstance(outcome, Exception):
            request.answer.set_exception(outcome)
        else:
            request.answer.set_result((outcome, rows))


def _shared_rows(feeds: Feeds) -> int:
    """Return the number of rows that all feeds have; 0 where they differ."""
    counts = {len(array) if array.ndim else 0 for array in feeds.values()}
    return counts.pop() if len(counts) == 1 else 0
