"""``make bench``: compare the app with the naive one; print the table and write it as Markdown and a plot."""

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
    """Run the benchmark, print the table and the goals that were missed, and return 0."""
    options = _parser().parse_args(arguments)
    if not page_cache.can_drop():
        print("Dropping the page cache needs Linux and root, so the rows that need it are left out.", file=sys.stderr)
    pairs: dict[str, list[Pair]] = defaultdict(list)
    steps = options.runs * (4 if page_cache.can_drop() else 3)
    measured = chain(figures.app_pairs(options.runs), figures.engine_pairs(options.runs))
    for kind, pair in tqdm(measured, total=steps, desc="measuring", unit="pair"):
        pairs[kind].append(pair)
    rows = figures.comparisons(pairs)
    table = report.markdown(rows, options.runs)
    print(table)
    for row in rows:
        if not row.holds:
            print(f"MISSED: {row.name} is {row.ratio:.3g} times as good; the goal is {row.goal}.")
    if options.save:
        text = f"# Benchmark\n\n{table}\n![](benchmark.png)\n"
        (options.output / "benchmark.md").write_text(text, encoding="utf-8")
        report.plot(rows, options.output / "benchmark.png")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare this app with the naive one (import tensorflow, Keras, model.predict): cold start, warm "
        "latency, memory. Each run takes about 15 s.",
    )
    parser.add_argument("--save", action="store_true", help="write benchmark.md and benchmark.png")
    parser.add_argument("--runs", type=int, default=7, help="how many runs to measure (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "docs", help="folder for benchmark.md and benchmark.png (default: docs)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
