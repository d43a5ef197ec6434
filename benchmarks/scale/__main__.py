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
    scenarios = {app.name: assumptions.variations(app) for app in (assumptions.OURS, assumptions.NAIVE)}
    runs: dict[str, list[report.Run]] = {name: [] for name in scenarios}
    with tqdm(total=sum(map(len, scenarios.values())), desc="simulating", unit=" runs") as bar:
        for name, of_app in scenarios.items():
            for scenario in of_app:
                bar.set_postfix_str(f"{name}, {scenario.what}")
                runs[name].append((scenario, simulate(scenario.load, scenario.fleet, options.seed)))
                bar.update()
    names = [scenario.what for scenario in scenarios[assumptions.OURS.name]]
    bases = {name: of_app[:1] for name, of_app in runs.items()}
    others = {name: of_app[1:] for name, of_app in runs.items()}
    sections = {"answer": report.table(bases, [""]), "sensitivity": report.table(others, names[1:])}
    fill(options.out, sections)
    report.plot([of_app[0] for of_app in runs.values()], options.out.with_suffix(".png"))
    print(f"Wrote {options.out} and its plot.")


if __name__ == "__main__":
    main()
