"""Threads for calls that may never return. The interpreter does not wait for them when it ends."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import Any, ParamSpec, TypeVar

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class DaemonThreads(Executor):
    """An executor with a thread for each call that is not yet done: who calls it bounds them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._idle = Semaphore(0)

    def submit(
        self, function: Callable[_Parameters, _Result], /, *args: _Parameters.args, **options: _Parameters.kwargs
    ) -> Future[_Result]:
        """Make a call in a thread."""
        future: Future[_Result] = Future()
        future.set_running_or_notify_cancel()
        self._calls.put((future, lambda: function(*args, **options)))
        if not self._idle.acquire(blocking=False):
            Thread(target=self._work, name=self._name, daemon=True).start()
        return future

    def _work(self) -> None:
        while True:
            settle(*self._calls.get())
            self._idle.release()


def settle(future: Future[_Result], call: Callable[[], _Result]) -> None:
    """Make a call, and give a future its result or its error."""
    try:
        result = call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
