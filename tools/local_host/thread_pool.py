"""A pool of threads for functions that aren't async, awaited from the event loop.

``ThreadPoolExecutor`` would do, but this is faster, and its threads, being daemons, don't keep a host from ending whose
function never returns. Faster by two things, measured with one client:

- A call goes to the thread that was busy last, whose stack and caches are warm; where threads take turns, as they do
  at a common queue, a TensorFlow prediction takes 100 µs more.
- The loop's own future is the only one; the executor's, chained to it, take 25 µs more.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

# What a call gave: its result, or the exception it raised.
_Outcome = tuple[Any, BaseException | None]
_Waiting = asyncio.Future[_Outcome]
_Work = tuple[Callable[[], Any], _Waiting]
_Inbox = SimpleQueue[_Work]


class ThreadPool:
    """At most so many threads, started when they are needed."""

    def __init__(self, max_threads: int) -> None:
        self._max_threads = max_threads
        self._started = 0
        # The inboxes of the threads that have nothing to do, the last to have ended its work at the end.
        self._idle: list[_Inbox] = []
        self._backlog: deque[_Work] = deque()
        # Guards all of the above.
        self._lock = threading.Lock()

    async def run(self, call: Callable[[], Any]) -> Any:
        """Return what the call returns, made in one of the threads; raises what it raises."""
        waiting: _Waiting = asyncio.get_running_loop().create_future()
        self._hand_over((call, waiting))
        result, error = await waiting
        if error is not None:
            raise error
        return result

    def _hand_over(self, work: _Work) -> None:
        with self._lock:
            if self._idle:
                self._idle.pop().put(work)
            elif self._started < self._max_threads:
                self._start_thread().put(work)
            else:
                self._backlog.append(work)

    def _start_thread(self) -> _Inbox:
        inbox: _Inbox = SimpleQueue()
        threading.Thread(target=self._work, args=(inbox,), name=f"function-{self._started}", daemon=True).start()
        self._started += 1
        return inbox

    def _work(self, inbox: _Inbox) -> None:
        while True:
            # Nothing is kept in a variable here: an idle thread would hold on to the last request.
            _make(*inbox.get())
            with self._lock:
                if self._backlog:
                    inbox.put(self._backlog.popleft())
                else:
                    self._idle.append(inbox)


def _make(call: Callable[[], Any], waiting: _Waiting) -> None:
    outcome: _Outcome
    try:
        outcome = call(), None
    except BaseException as error:
        outcome = None, error
    # The loop is closed, and says so by a RuntimeError, when the host has ended without waiting for the call.
    with contextlib.suppress(RuntimeError):
        waiting.get_loop().call_soon_threadsafe(_finish, waiting, outcome)


def _finish(waiting: _Waiting, outcome: _Outcome) -> None:
    if not waiting.cancelled():
        waiting.set_result(outcome)
