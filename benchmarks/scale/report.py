"""The simulation's report: Markdown tables between the markers of ``docs/scale.md``, and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.scale import assumptions
from benchmarks.scale.assumptions import Scenario
from benchmarks.scale.simulation import Outcome

Run = tuple[Scenario, Outcome]

LONG_WAIT_SECONDS = 0.1
_COLOURS = {"this app": "#0b6e4f", "TensorFlow's engine": "#4c78a8", "naive app": "#c1666b"}
_STEADY_SECONDS = 10


def cost_per_million(run: Run) -> float:
    """Return the dollars per million requests, without the baseline price of always-ready instances."""
    scenario, outcome = run
    gb_seconds = outcome.billed_seconds * scenario.memory_mb / 1024
    return gb_seconds * assumptions.PER_GB_SECOND / len(outcome.arrivals) * 1e6 + assumptions.PER_MILLION_EXECUTIONS


def row(run: Run) -> list[str]:
    """Return a row's cells: latencies overall and at the end, instances, waits and cost."""
    scenario, outcome = run
    end = scenario.load.ramp_seconds + scenario.load.hold_seconds
    steady = end - _STEADY_SECONDS
    return [
        _time(outcome.latency(0.5)),
        _time(outcome.latency(0.99)),
        f"{_time(outcome.latency(0.5, steady))} / {_time(outcome.latency(0.99, steady))}",
        f"{outcome.most_instances:,}",
        f"{outcome.share_waiting(LONG_WAIT_SECONDS):.1%}",
        f"{cost_per_million(run):,.2f}",
    ]


def table(runs: Sequence[Run]) -> str:
    """Return a table with one row per scenario and app, the apps of a scenario together."""
    head = ["", "app", "p50", "p99", "last 10 s: p50 / p99", "instances", "waited for an instance", "$ per million"]
    lines = [f"| {' | '.join(head)} |", "|---|---|" + "---:|" * 6]
    names = list(dict.fromkeys(scenario.what for scenario, _ in runs))
    for run in sorted(runs, key=lambda run: names.index(run[0].what)):
        what = run[0].what.removeprefix("base")
        lines.append(f"| {what} | {run[0].app.name} | {' | '.join(row(run))} |")
    return "\n".join(lines)


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def plot(bases: Sequence[Run], path: Path) -> None:
    """Write a PNG with each app's load, latency and instances over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (load, latency, instances) = pyplot.subplots(3, figsize=(9, 8), layout="constrained", sharex=True)
    for scenario, outcome in bases:
        colour, name = _COLOURS[scenario.app.name], scenario.app.name
        seconds = range(int(scenario.load.ramp_seconds + scenario.load.hold_seconds))
        for quantile, style in ((0.99, "-"), (0.5, ":")):
            values = [outcome.latency(quantile, second, second + 1) for second in seconds]
            latency.plot(seconds, values, style, color=colour, label=f"{name}, p{quantile * 100:.0f}")
        times, counts = zip(*outcome.instances, strict=True)
        until = max(times[-1], seconds[-1])  # instances are still added while the queue empties
        instances.step([*times, until], [*counts, counts[-1]], where="post", color=colour, label=name)
    arrivals = bases[0][1].arrivals
    load.plot(*_per_second(arrivals), color="black")
    load.set_ylabel("requests/s")
    latency.set(ylabel="latency by second of arrival, s", yscale="log")
    instances.set(ylabel="ready instances", xlabel="seconds", xlim=(0, len(_per_second(arrivals)[0])))
    for axis in (latency, instances):
        axis.legend(frameon=False)
    for axis in (load, latency, instances):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def _per_second(arrivals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    counts = np.bincount(arrivals.astype(int))
    return np.arange(len(counts)), counts
