"""The simulation of instances: against queueing theory where it has an answer, and what must hold anyway."""

import numpy as np
import pytest

from benchmarks.report import fill
from benchmarks.scale import assumptions, report
from benchmarks.scale.simulation import Fleet, Load, simulate

STEADY = Load(per_second=200, ramp_seconds=0.001, hold_seconds=200)


def fleet(**options):
    settled = {"service_seconds": 0.0035, "concurrency": 10**6, "start_seconds": 2.0, "front_seconds": 0.0}
    return Fleet(**{**settled, "always_ready": 1, "added_per_second": 0, **options})


@pytest.mark.parametrize("utilization", [0.3, 0.7, 0.9])
def test_one_instance_makes_requests_wait_as_long_as_theory_says(utilization):
    """M/D/1: the mean wait is rho * s / (2 * (1 - rho)) (Pollaczek and Khinchine)."""
    service = utilization / STEADY.per_second

    outcome = simulate(STEADY, fleet(service_seconds=service), seed=1)

    waited = outcome.latencies.mean() - service
    assert waited == pytest.approx(utilization * service / (2 * (1 - utilization)), rel=0.15)


def test_arrivals_are_poisson_and_rise_as_the_ramp_does():
    times = Load(per_second=1000, ramp_seconds=10, hold_seconds=20).arrivals(seed=0)
    counts = np.bincount(times.astype(int), minlength=30)

    assert counts[:10].sum() == pytest.approx(5000, rel=0.05)
    assert counts[4] == pytest.approx(450, rel=0.2)
    assert counts[10:].mean() == pytest.approx(1000, rel=0.03)
    assert counts[10:].var() == pytest.approx(1000, rel=0.8)
    assert (np.diff(times) >= 0).all()


def test_every_request_is_answered_and_none_faster_than_it_takes():
    outcome = simulate(Load(500, 2, 5), Fleet(0.02, 4, 1.0), seed=2)

    assert (outcome.latencies >= 0.02 + 0.005 - 1e-12).all()
    assert (outcome.waits >= 0).all()
    assert (outcome.latencies >= outcome.waits).all()


def test_the_same_seed_gives_the_same_run_and_another_one_another():
    one, same, other = (simulate(Load(300, 1, 3), Fleet(0.01, 4, 1.0), seed) for seed in (3, 3, 4))

    assert np.array_equal(one.latencies, same.latencies)
    assert one.instances == same.instances
    assert not np.array_equal(one.arrivals, other.arrivals)


def test_who_finds_enough_instances_ready_never_waits():
    outcome = simulate(Load(500, 1, 5), fleet(service_seconds=0.001, concurrency=16, always_ready=50), seed=0)

    assert outcome.share_waiting(0.0) == 0
    assert outcome.most_instances == 50


def test_the_first_request_waits_for_the_decision_and_the_start():
    outcome = simulate(Load(100, 0.001, 3), Fleet(0.001, 16, start_seconds=2.0), seed=0)

    assert 2.0 <= outcome.waits[0] <= 3.0
    assert outcome.instances[0] == (0.0, 0)


def test_never_more_instances_than_the_limit_nor_faster_than_the_rate():
    outcome = simulate(Load(2000, 1, 10), Fleet(0.05, 1, 1.0, most=40, added_per_second=7), seed=0)

    assert outcome.most_instances == 40
    for second in range(2, 10):
        added = [count for at, count in outcome.instances if at < second]
        assert added[-1] <= 7 * second


def test_faster_requests_take_fewer_instances_and_less_money():
    fast, slow = (
        (assumptions.base(assumptions.OURS), simulate(Load(500, 2, 10), Fleet(seconds, 4, 1.0), seed=0))
        for seconds in (0.002, 0.04)
    )

    assert fast[1].most_instances < slow[1].most_instances
    assert report.cost_per_million(fast) < report.cost_per_million(slow)


def test_an_instance_is_billed_for_a_second_at_least_and_by_tenths_from_then_on():
    lone = simulate(Load(0.05, 0.001, 100), fleet(service_seconds=0.2), seed=3)
    busy = simulate(STEADY, fleet(service_seconds=0.0049), seed=0)

    assert np.diff(lone.arrivals).min() > 1  # none of them shares its second
    assert lone.billed_seconds == pytest.approx(len(lone.arrivals) * 1.0)
    assert busy.billed_seconds == pytest.approx(200, abs=2)


def test_the_tables_go_between_their_markers_and_the_text_stays(tmp_path):
    path = tmp_path / "scale.md"
    path.write_text("before <!-- answer -->old<!-- end of answer --> after")

    fill(path, {"answer": "new"})

    assert path.read_text() == "before <!-- answer -->\n\nnew\n\n<!-- end of answer --> after"
    with pytest.raises(SystemExit, match="has no markers"):
        fill(path, {"other": "x"})


def test_an_app_that_fits_is_simulated_on_small_instances_which_are_slower_and_cheaper():
    rare, _, small = assumptions.sizes(assumptions.OURS)

    assert small.memory_mb * 4 == rare.memory_mb
    assert small.fleet.service_seconds == pytest.approx(4 * rare.fleet.service_seconds)
    quarter, whole = (report.cost_per_million((one, simulate(one.load, one.fleet, seed=0))) for one in (small, rare))
    fixed = assumptions.PER_MILLION_EXECUTIONS
    assert (quarter - fixed) == pytest.approx((whole - fixed) / 4, rel=0.02)  # each request is billed a second
    assert [one.memory_mb for one in assumptions.sizes(assumptions.NAIVE)] == [assumptions.MEMORY_MB]
