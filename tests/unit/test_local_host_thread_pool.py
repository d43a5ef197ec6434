"""The thread pool when there are more calls than threads, and when calls don't end as they should.

What else it does is seen in test_local_host_invocation.py.
"""

import asyncio
import functools
import threading
from typing import Any

from tools.local_host.thread_pool import ThreadPool

PATIENCE_SECONDS = 60


class HeldCall:
    """A call that says when it has begun and goes on until it is released."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.released = threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        self.released.wait(PATIENCE_SECONDS)


async def give_up(pool: ThreadPool, call: HeldCall) -> None:
    """Have the pool begin a call and cancel the wait for it."""
    task = asyncio.create_task(pool.run(call))
    await asyncio.to_thread(call.begun.wait, PATIENCE_SECONDS)
    task.cancel()
    await asyncio.wait([task])


async def make_another_call(pool: ThreadPool) -> Any:
    return await asyncio.wait_for(pool.run(lambda: "made"), PATIENCE_SECONDS)


def test_calls_beyond_the_number_of_threads_wait_for_one_in_their_order() -> None:
    made: list[int] = []

    async def story() -> None:
        pool = ThreadPool(1)
        await asyncio.gather(*(pool.run(functools.partial(made.append, number)) for number in range(5)))

    asyncio.run(story())

    assert made == [0, 1, 2, 3, 4]


def test_a_result_nobody_waits_for_any_more_is_dropped() -> None:
    complaints: list[dict[str, Any]] = []

    async def story() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
        pool, call = ThreadPool(1), HeldCall()
        await give_up(pool, call)
        call.released.set()
        await make_another_call(pool)

    asyncio.run(story())

    assert complaints == []


def test_a_thread_outlives_the_loop_that_waited_for_it() -> None:
    pool, call = ThreadPool(1), HeldCall()
    asyncio.run(give_up(pool, call))

    call.released.set()

    assert asyncio.run(make_another_call(pool)) == "made"
