"""Predictions from an event loop: short runs at once, long ones in a thread, and those that would wait as one batch.

Batching is natural: there is no timer. A request that finds the model idle is run at once; those that arrive while it
runs wait, and are then run together. Knows no wire format, no HTTP and no TensorFlow: it is given a function to run.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Future, Task
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

Feeds = Mapping[str, np.ndarray]
Fetches = Mapping[str, np.ndarray]

# A run that is expected to take longer goes to a thread: on the event loop nothing else would happen meanwhile. A
# shorter one is over sooner than handing it over would be worth (docs/performance.md has the figures).
_INLINE_SECONDS = 0.0005


class Runner:
    """Runs one function of tensors for many requests; ``batch_rows`` bounds the rows of a batch, and 1 means none."""

    def __init__(self, run: Callable[[Feeds], Fetches], batch_rows: int) -> None:
        self._run = run
        self._batch_rows = batch_rows
        self._latest_seconds = float("inf")
        self._latest_rows = 1
        self._queue: _Queue | None = None

    async def __call__(self, feeds: Feeds) -> tuple[Fetches, int]:
        """Return the fetches for these feeds, and how many rows the run had that they come from; raises what it does.

        A run of several requests that fails is repeated for each alone, so that only who caused it gets an error.
        """
        rows = _rows(feeds)
        if self._batch_rows > 1 and 0 < rows < self._batch_rows:
            return await self._queue_of_this_loop().answer(feeds, rows)
        if self.is_short(rows):
            return self.run(feeds, rows), rows
        return await asyncio.get_running_loop().run_in_executor(None, self.run, feeds, rows), rows

    def is_short(self, rows: int) -> bool:
        """Tell whether a run of so many rows is expected to be over at once, by what the latest took."""
        return self._latest_seconds * max(1.0, rows / self._latest_rows) < _INLINE_SECONDS

    def run(self, feeds: Feeds, rows: int) -> Fetches:
        """Run in this thread, and note how long it takes."""
        start = perf_counter()
        fetches = self._run(feeds)
        self._latest_seconds, self._latest_rows = perf_counter() - start, max(rows, 1)
        return fetches

    def run_together(self, requests: Sequence[_Request]) -> list[Fetches | Exception]:
        """Run as one batch and return what each gets: its slice of the fetches, or the error that is its own."""
        if len(requests) > 1:
            try:
                return self._slices(requests)
            except Exception:
                # One of them is to blame, or the batch's size: alone, each gets what it would have got anyway.
                pass
        return [self._outcome(request) for request in requests]

    def _slices(self, requests: Sequence[_Request]) -> list[Fetches | Exception]:
        names = requests[0].feeds
        total = sum(request.rows for request in requests)
        joined = {name: np.concatenate([request.feeds[name] for request in requests]) for name in names}
        fetches = self.run(joined, total)
        if any(not array.ndim or len(array) != total for array in fetches.values()):
            self._batch_rows = 1  # the outputs don't go by rows, whatever the signature says
            raise ValueError("the outputs of a batch don't have its rows")
        parts: list[Fetches | Exception] = []
        start = 0
        for request in requests:
            stop = start + request.rows
            parts.append({name: array[start:stop] for name, array in fetches.items()})
            start = stop
        return parts

    def _outcome(self, request: _Request) -> Fetches | Exception:
        try:
            return self.run(request.feeds, request.rows)
        except Exception as error:
            return error

    def take(self, waiting: deque[_Request]) -> list[_Request]:
        """Take the first of those that wait, and with it all that fit: alike but for their rows, within the bound."""
        batch = [waiting.popleft()]
        rows, kind = batch[0].rows, batch[0].kind
        for _ in range(len(waiting)):
            request = waiting.popleft()
            if request.kind == kind and rows + request.rows <= self._batch_rows:
                batch.append(request)
                rows += request.rows
            else:
                waiting.append(request)
        return batch

    def _queue_of_this_loop(self) -> _Queue:
        loop = asyncio.get_running_loop()
        queue = self._queue
        if queue is None or queue.loop is not loop:
            # A process has one event loop. Where it has had another (a test's), that one's queue goes with it.
            queue = self._queue = _Queue(loop, self)
        return queue


@dataclass(eq=False, slots=True)
class _Request:
    feeds: Feeds
    rows: int
    # Requests of one kind can be joined: their tensors differ in nothing but their rows.
    kind: tuple[tuple[int, ...], ...]
    answer: Future[tuple[Fetches, int]]


class _Queue:
    """The requests for one runner that wait on one event loop; all of it happens on that loop."""

    def __init__(self, loop: AbstractEventLoop, runner: Runner) -> None:
        self.loop = loop
        self._runner = runner
        self._waiting: deque[_Request] = deque()
        self._task: Task[None] | None = None  # while requests wait
        self._has_just_run = False

    async def answer(self, feeds: Feeds, rows: int) -> tuple[Fetches, int]:
        if self._task is None and not self._has_just_run and self._runner.is_short(rows):
            # Alone, as far as one can see, so at once. What comes before the loop has turned once more is company.
            self._has_just_run = True
            self.loop.call_soon(self._forget)
            return self._runner.run(feeds, rows), rows
        kind = tuple(array.shape[1:] for array in feeds.values())
        request = _Request(feeds, rows, kind, self.loop.create_future())
        self._waiting.append(request)
        if self._task is None:
            self._task = self.loop.create_task(self._run_all())
        return await request.answer

    def _forget(self) -> None:
        self._has_just_run = False

    async def _run_all(self) -> None:
        try:
            while self._waiting:
                await self._run_next()
        finally:
            self._task = None
            for request in self._waiting:  # none, unless this task was cancelled
                request.answer.cancel()
            self._waiting.clear()

    async def _run_next(self) -> None:
        batch = self._runner.take(self._waiting)
        try:
            if self._runner.is_short(sum(request.rows for request in batch)):
                outcomes = self._runner.run_together(batch)
            else:
                outcomes = await self.loop.run_in_executor(None, self._runner.run_together, batch)
        except BaseException:  # the loop is shutting down
            for request in batch:
                request.answer.cancel()
            raise
        _deliver(batch, outcomes)
        # Whoever has its answer, and whoever is only arriving, has a turn before the next batch is taken.
        await asyncio.sleep(0)


def _deliver(batch: Sequence[_Request], outcomes: Sequence[Fetches | Exception]) -> None:
    rows = sum(request.rows for request in batch)
    for request, outcome in zip(batch, outcomes, strict=True):
        if request.answer.done():  # cancelled: nobody waits for it any more
            continue
        if isinstance(outcome, Exception):
            request.answer.set_exception(outcome)
        else:
            request.answer.set_result((outcome, rows))


def _rows(feeds: Feeds) -> int:
    """Return how many rows the feeds share; 0 where they share none."""
    shared = -1
    for array in feeds.values():
        rows = len(array) if array.ndim else 0
        if shared not in (-1, rows):
            return 0
        shared = rows
    return max(shared, 0)
