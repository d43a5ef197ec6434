"""Requests that wait for the same model run as one batch; each gets its own answer or its own error, no other's."""

import asyncio
import subprocess
import sys
import threading

import numpy as np
import pytest

from serving.engines.session import RunClock
from serving.models import batching
from serving.models.batching import Batcher


class Recorder:
    """Doubles rows, refuses negative values, and records the shape of every run."""

    def __init__(self):
        self.shapes = []
        self.threads = set()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, feeds):
        self.gate.wait(30)
        self.shapes.append(feeds["x"].shape)
        self.threads.add(threading.get_ident())
        if (feeds["x"] < 0).any():
            raise ValueError(f"refused {feeds['x'].min()}")
        return {"y": feeds["x"] * 2}


@pytest.fixture
def run():
    return Recorder()


def batcher(run, batch_rows=64, seconds=float("inf"), for_bytes=4):
    """A batcher whose runs are expected to take so long: by default longer than the event loop may stand still."""
    clock = RunClock()
    clock.record(seconds, for_bytes)
    return Batcher(run, clock, batch_rows)


def rows(*values, width=1):
    return {"x": np.repeat(np.array(values, np.float32)[:, None], width, axis=1)}


def ask(runner, *requests):
    """Send requests together; return their answers, or errors, in order."""

    async def together():
        return await asyncio.gather(*(runner.run(feeds) for feeds in requests), return_exceptions=True)

    return asyncio.run(together())


def values(answer):
    fetches, _ = answer
    return fetches["y"][:, 0].tolist()


def test_a_request_alone_is_run_as_it_is(run):
    fetches, batch_rows = ask(batcher(run), rows(1, 2))[0]

    assert fetches["y"].tolist() == [[2], [4]]
    assert batch_rows == 2
    assert run.shapes == [(2, 1)]


def test_requests_that_wait_are_run_together_and_each_gets_its_own_rows(run):
    answers = ask(batcher(run), *(rows(*range(n, 2 * n)) for n in range(1, 9)))

    assert [values(answer) for answer in answers] == [[2.0 * i for i in range(n, 2 * n)] for n in range(1, 9)]
    assert run.shapes == [(36, 1)]


def test_of_short_runs_the_first_is_made_at_once_and_the_others_of_that_moment_together(run):
    ask(batcher(run, seconds=1e-6), *(rows(n) for n in range(8)))

    assert run.shapes == [(1, 1), (7, 1)]


def test_a_short_run_is_inline_again_once_the_loop_has_turned_since_the_last(run):
    async def one_after_the_other():
        runner = batcher(run, seconds=1e-6)
        for number in (1, 2):
            request = asyncio.create_task(runner.run(rows(number)))
            await asyncio.sleep(0)  # one turn: enough for a run inline, too short for a batch
            assert request.done()

    asyncio.run(one_after_the_other())

    assert run.shapes == [(1, 1), (1, 1)]


def test_a_client_gets_its_answer_before_the_next_batch_is_run(run):
    runs_seen = []

    async def client(runner, number):
        await runner.run(rows(number))
        runs_seen.append(len(run.shapes))

    async def scenario():
        runner = batcher(run, 3, seconds=1e-6)
        await asyncio.gather(*(client(runner, number) for number in range(7)))

    asyncio.run(scenario())

    assert runs_seen == [1, 2, 2, 2, 3, 3, 3]


def test_requests_that_arrive_during_a_run_wait_for_its_end_and_go_together(run):
    runner = batcher(run)

    async def scenario():
        run.gate.clear()
        first = asyncio.create_task(runner.run(rows(1)))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(runner.run(rows(n))) for n in (2, 3, 4)]
        await asyncio.sleep(0.05)
        assert run.shapes == []
        run.gate.set()
        return await asyncio.gather(first, *others)

    answers = asyncio.run(scenario())

    assert run.shapes == [(1, 1), (3, 1)]
    assert [(values(answer), answer[1]) for answer in answers] == [([2], 1), ([4], 3), ([6], 3), ([8], 3)]


def test_a_batch_is_filled_up_to_the_bound_and_no_request_is_left_behind(run):
    answers = ask(batcher(run, 4), *(rows(n, n) for n in range(9)))

    assert [values(answer) for answer in answers] == [[2.0 * n] * 2 for n in range(9)]
    assert run.shapes == [(4, 1)] * 4 + [(2, 1)]


def test_a_request_over_the_bound_runs_alone_and_whole(run):
    [answer] = ask(batcher(run, 4), rows(*range(10)))

    assert len(values(answer)) == 10
    assert run.shapes == [(10, 1)]


@pytest.mark.parametrize("bound", [0, 1])
def test_no_bound_above_one_means_no_batches(run, bound):
    answers = ask(batcher(run, bound), *(rows(n) for n in range(5)))

    assert [values(answer) for answer in answers] == [[2.0 * n] for n in range(5)]
    assert run.shapes == [(1, 1)] * 5


def test_without_batches_long_runs_are_made_side_by_side():
    both = threading.Barrier(2)

    def run(feeds):
        both.wait(30)
        return {"y": feeds["x"]}

    assert [values(answer) for answer in ask(batcher(run, 1), rows(1), rows(2))] == [[1], [2]]


def test_only_tensors_alike_but_for_their_rows_are_joined(run):
    answers = ask(batcher(run), rows(1), rows(2, width=2), rows(3), rows(4, width=2))

    assert [values(answer) for answer in answers] == [[2], [4], [6], [8]]
    assert run.shapes == [(2, 1), (2, 2)]


def test_an_error_reaches_only_who_caused_it(run):
    answers = ask(batcher(run), rows(1), rows(2), rows(-3), rows(4), rows(-5))

    assert [values(answers[i]) for i in (0, 1, 3)] == [[2], [4], [8]]
    assert [str(answers[i]) for i in (2, 4)] == ["refused -3.0", "refused -5.0"]


def test_the_runner_works_on_after_an_error(run):
    runner = batcher(run)
    ask(runner, rows(-1), rows(-2))

    assert [values(answer) for answer in ask(runner, rows(1), rows(2))] == [[2], [4]]


def test_inputs_that_share_no_rows_and_empty_ones_are_run_as_they_are():
    runs = []

    def run(feeds):
        runs.append(feeds)
        return {"y": np.float32(sum(array.sum() for array in feeds.values()))}

    runner = batcher(run)
    answers = ask(
        runner,
        {"a": np.ones((2, 1)), "b": np.ones((3, 1))},
        {"a": np.float64(4), "b": np.ones((1,))},
        {"a": np.ones((0, 1)), "b": np.ones((0, 1))},
    )

    assert [(float(fetches["y"]), batch_rows) for fetches, batch_rows in answers] == [(5, 0), (5, 0), (0, 0)]
    assert len(runs) == 3


def test_outputs_without_the_batch_s_rows_are_never_cut_and_end_the_batches():
    shapes = []

    def run(feeds):
        shapes.append(feeds["x"].shape)
        return {"mean": feeds["x"].mean(0)}

    runner = batcher(run)

    ask(runner, rows(5))
    for _ in range(2):
        answers = ask(runner, rows(1), rows(2), rows(3), rows(4))
        assert [fetches["mean"].tolist() for fetches, _ in answers] == [[1], [2], [3], [4]]
    assert shapes == [(1, 1), (4, 1)] + [(1, 1)] * 8


def test_a_request_that_is_cancelled_takes_no_other_with_it(run):
    runner = batcher(run)

    async def scenario():
        run.gate.clear()
        tasks = [asyncio.create_task(runner.run(rows(n))) for n in (1, 2, 3)]
        await asyncio.sleep(0.05)
        tasks[0].cancel()
        tasks[1].cancel()
        run.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third = asyncio.run(scenario())

    assert isinstance(first, asyncio.CancelledError)
    assert isinstance(second, asyncio.CancelledError)
    assert values(third) == [6]


def test_a_loop_that_ends_in_the_middle_leaves_nothing_for_the_next(run):
    runner = batcher(run)

    async def cut_off():
        run.gate.clear()
        asyncio.create_task(runner.run(rows(1)))  # noqa: RUF006
        await asyncio.sleep(0.05)
        asyncio.create_task(runner.run(rows(2)))  # noqa: RUF006
        await asyncio.sleep(0.05)
        threading.Timer(0.1, run.gate.set).start()

    asyncio.run(cut_off())

    assert values(ask(runner, rows(3))[0]) == [6]


def test_long_runs_leave_the_event_loop_free(run):
    runner = batcher(run, 1)

    async def scenario():
        run.gate.clear()
        task = asyncio.create_task(runner.run(rows(1)))
        await asyncio.sleep(0.05)  # this very line runs, though the run stands still
        run.gate.set()
        return await task

    assert values(asyncio.run(scenario())) == [2]
    assert threading.get_ident() not in run.threads


@pytest.mark.parametrize("batch_rows", [1, 64])
@pytest.mark.parametrize(("seconds", "values", "is_inline"), [(0.0004, [1], True), (0.0004, [1, 2], False)])
def test_runs_that_should_be_short_by_their_size_are_made_on_the_event_loop(
    run, batch_rows, seconds, values, is_inline
):
    ask(batcher(run, batch_rows, seconds, for_bytes=4), rows(*values))

    assert (run.threads == {threading.get_ident()}) is is_inline


def test_a_batch_counts_by_the_size_of_all_its_requests(run):
    ask(batcher(run, seconds=0.0004), rows(1), rows(2), rows(3))

    # The first alone on the event loop; the two others together would take 0.8 ms.
    assert run.shapes == [(1, 1), (2, 1)]
    assert len(run.threads) == 2


@pytest.mark.parametrize("bound", [0, 64])
def test_a_run_that_takes_too_long_is_left_in_its_thread_and_too_many_of_them_refuse_others(run, monkeypatch, bound):
    monkeypatch.setattr(batching, "_MOST_RUNS", 2)
    run.gate.clear()
    clock = RunClock()
    clock.record(float("inf"), 4)
    runner = Batcher(run, clock, bound, seconds=0.01)

    async def ask_three_times():
        answers = [await asyncio.gather(runner.run(rows(value)), return_exceptions=True) for value in (1, 2, 3)]
        run.gate.set()
        while runner._overdue:
            await asyncio.sleep(0.01)
        runner._seconds = 30
        return [type(answer) for [answer] in answers], await runner.run(rows(4))

    errors, answer = asyncio.run(ask_three_times())

    assert errors == [TimeoutError] * 3
    assert len(run.shapes) == 3  # the third request was refused without a run
    assert values(answer) == [8]


def test_a_run_whose_time_its_size_does_not_bound_is_never_made_on_the_event_loop(run):
    clock = RunClock()
    clock.is_bounded = False
    clock.record(0.0, 1000)

    ask(Batcher(run, clock, 0), rows(1))
    ask(Batcher(run, clock, 64), rows(1))

    assert threading.get_ident() not in run.threads


def test_threads_that_never_return_do_not_keep_the_interpreter():
    code = (
        "import time; from serving.models.threads import DaemonThreads\n"
        "threads = DaemonThreads('run'); assert threads.submit(int, '3').result() == 3\n"
        "threads.submit(time.sleep, 1000)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
