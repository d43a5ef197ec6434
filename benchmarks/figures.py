"""The figures of ``make bench``: runs the probes in turn, in fresh processes, and takes medians and ratios."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import time

from benchmarks import page_cache

ROOT = Path(__file__).parent.parent

_WARM_CALLS = {"ours": 5000, "naive": 100}

# What one probe measured, by figure; a pair is this app's and the naive one's.
Figures = dict[str, float]
Pair = tuple[Figures, Figures]


@dataclass(frozen=True)
class Comparison:
    """One figure of ours and of the peer, each the median of all runs, in ``unit``.

    ``ratio`` is the median of each run's ratio, peer to ours; ``goal`` is the least that it should be.
    """

    name: str
    unit: str
    ours: float
    peer: float
    ratio: float
    goal: float | None = None

    @property
    def holds(self) -> bool:
        """Tell whether the goal is reached, or there is none."""
        return self.goal is None or self.ratio >= self.goal


def compare(name: str, unit: str, pairs: Iterable[tuple[float, float]], goal: float | None = None) -> Comparison:
    """Compare the (ours, peer) pairs of one figure, one pair per run."""
    ours, peers = zip(*pairs, strict=True)
    ratios = [peer / own for own, peer in zip(ours, peers, strict=True)]
    return Comparison(name, unit, median(ours), median(peers), median(ratios), goal)


def probe(module: str, *arguments: str) -> Figures:
    """Run a module in a fresh process; return the figures it prints and the seconds from spawn to answer."""
    spawned = time()
    child = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if child.returncode:
        raise SystemExit(f"python -m {module} {' '.join(arguments)} failed:\n{child.stderr}")
    figures: Figures = json.loads(child.stdout.splitlines()[-1])
    if "answered_at" in figures:
        figures["spawn_to_answer"] = figures.pop("answered_at") - spawned
    return figures


def app_pairs(runs: int) -> Iterator[tuple[str, Pair]]:
    """Measure both apps in turn, ``runs`` times; yield pairs, each with its page cache: "cached" or "dropped"."""
    for app in ("ours", "naive"):  # fills the page cache and writes the .pyc files
        probe("benchmarks.probe", app, "0")
    for _ in range(runs):
        ours, naive = (probe("benchmarks.probe", app, str(calls)) for app, calls in _WARM_CALLS.items())
        yield "cached", (ours, naive)
        if page_cache.can_drop():
            yield "dropped", (_probe_uncached("ours"), _probe_uncached("naive"))


def _probe_uncached(app: str) -> Figures:
    page_cache.drop()
    return probe("benchmarks.probe", app, "0")


def engine_pairs(runs: int) -> Iterator[tuple[str, Pair]]:
    """Measure an engine call beside its peer, ``runs`` times, for each engine."""
    for _ in range(runs):
        figures = probe("benchmarks.engine_call")
        yield "litert", ({"p50": figures["litert"]}, {"p50": figures["interpreter"]})
        yield "tensorflow", ({"p50": figures["caller"]}, {"p50": figures["pool"]})


def comparisons(pairs: dict[str, list[Pair]]) -> list[Comparison]:
    """Return the table's rows, with their goals."""

    def row(name: str, unit: str, kind: str, figure: str, goal: float | None = None) -> Comparison:
        scale = {"s": 1, "µs": 1e6, "MB": 1 / 1024}[unit]
        values = [(ours[figure] * scale, peer[figure] * scale) for ours, peer in pairs[kind]]
        return compare(name, unit, values, goal)

    rows = [
        row("cold start: function import to first answer", "s", "cached", "import_to_answer", 8),
        row("cold start: process spawn to first answer", "s", "cached", "spawn_to_answer"),
    ]
    if pairs.get("dropped"):
        rows += [
            row("function import to first answer, page cache dropped", "s", "dropped", "import_to_answer"),
            row("process spawn to first answer, page cache dropped", "s", "dropped", "spawn_to_answer"),
        ]
    return [
        *rows,
        row("warm `main(req)`, 2 rows, p50", "µs", "cached", "p50", 500),
        row("warm `main(req)`, 2 rows, p99", "µs", "cached", "p99"),
        row("private (anonymous) memory after the first answer", "MB", "cached", "Anonymous", 1 / 0.4),
        row("resident memory, mapped library included", "MB", "cached", "Rss", 1 / 0.75),
        row("call of LiteRT, 2 rows, p50; peer: its own interpreter", "µs", "litert", "p50", 0.5),
        row("call of TensorFlow, 2 rows, p50; peer: C API's default pool", "µs", "tensorflow", "p50", 4),
    ]
