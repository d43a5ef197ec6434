"""``make bench``: measure, print the table, and write it as Markdown and a plot."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from benchmarks import figures, page_cache, report
from benchmarks.figures import ROOT, Pair


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; return 0 where every goal is reached, 1 otherwise."""
    options = _parser().parse_args(arguments)
    if not page_cache.can_drop():
        print("The page cache can't be dropped here (Linux and root can), so those rows are left out.", file=sys.stderr)
    pairs: dict[str, list[Pair]] = defaultdict(list)
    steps = options.runs * (3 if page_cache.can_drop() else 2)
    measured = chain(figures.app_pairs(options.runs), figures.engine_pairs(options.runs))
    for kind, pair in tqdm(measured, total=steps, desc="measuring", unit="pair"):
        pairs[kind].append(pair)
    rows = figures.comparisons(pairs)
    table = report.markdown(rows, options.runs)
    print(table)
    (options.output / "benchmark.md").write_text(f"# Benchmark\n\n{table}\n![](benchmark.png)\n", encoding="utf-8")
    report.plot(rows, options.output / "benchmark.png")
    return 0 if all(row.holds for row in rows) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the function app against the naive one (import tensorflow, Keras, model.predict) in one "
        "run: cold start, warm latency, memory. Takes about 15 s a run.",
    )
    parser.add_argument("--runs", type=int, default=7, help="how often each is measured (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "docs", help="where benchmark.md and benchmark.png go (default: docs)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
