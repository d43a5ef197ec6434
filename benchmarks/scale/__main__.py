"""``python -m benchmarks.scale``: simulate all scenarios; write the tables and the plot of ``docs/scale.md``."""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from benchmarks.figures import ROOT
from benchmarks.report import fill
from benchmarks.scale import assumptions, report
from benchmarks.scale.simulation import simulate


def main() -> None:
    """Run the scenarios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "scale.md", help="default: docs/scale.md")
    parser.add_argument("--seed", type=int, default=0, help="seed of the arrivals (default: %(default)s)")
    options = parser.parse_args()
    sections = {
        "answer": [assumptions.base(app) for app in assumptions.APPS],
        "sizes": [scenario for app in assumptions.APPS for scenario in assumptions.sizes(app)],
        "sensitivity": [one for app in (assumptions.OURS, assumptions.NAIVE) for one in assumptions.variations(app)],
    }
    runs: dict[str, list[report.Run]] = {name: [] for name in sections}
    with tqdm(total=sum(map(len, sections.values())), desc="simulating", unit=" runs") as bar:
        for name, scenarios in sections.items():
            for scenario in scenarios:
                bar.set_postfix_str(f"{scenario.app.name}, {scenario.what}")
                runs[name].append((scenario, simulate(scenario.load, scenario.fleet, options.seed)))
                bar.update()
    fill(options.out, {name: report.table(of_section) for name, of_section in runs.items()})
    report.plot(runs["answer"], options.out.with_suffix(".png"))
    print(f"Wrote {options.out} and its plot.")


if __name__ == "__main__":
    main()
