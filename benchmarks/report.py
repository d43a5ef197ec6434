"""Reports: Markdown between markers, the machine, and the benchmark's table and plot."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.figures import Comparison

_PACKAGES = ("ai-edge-litert", "tensorflow-cpu", "keras", "numpy", "azure-functions")


def machine() -> str:
    """Return one line that describes the machine and the versions."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} shared cores, {system}, {packages}"


def fill(path: Path, sections: Mapping[str, str]) -> None:
    """Replace the text between each pair of markers in a Markdown file."""
    text = path.read_text(encoding="utf-8")
    for name, content in sections.items():
        start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(start)
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{path} has no markers {start} and {end}.")
        text = f"{before}{start}\n\n{content}\n\n{end}{after}"
    path.write_text(text, encoding="utf-8")


def markdown(rows: Sequence[Comparison], runs: int) -> str:
    """Return the table, with the machine and the command that measures it again."""
    lines = [
        "For anyone who compares this app with the naive way to serve a Keras model.",
        "",
        "| figure | this app | naive app | ratio | goal |",
        "|---|---:|---:|---:|---:|",
        *(_line(row) for row in rows),
        "",
        f"Medians of {runs} runs, each app in turn and in a fresh process. *ratio* is the median of each run's ratio, "
        f"*goal* the ratio to reach. {machine()}. Measured with `make bench`.",
    ]
    return "\n".join(lines) + "\n"


def _line(row: Comparison) -> str:
    goal = "" if row.goal is None else f"{row.goal:.3g}" + ("" if row.holds else " (missed)")
    return (
        f"| {row.name} | {_number(row.ours)} {row.unit} | {_number(row.peer)} {row.unit} | {row.ratio:.3g} | {goal} |"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def plot(rows: Sequence[Comparison], path: Path) -> None:
    """Write a PNG with a pair of bars for each row, and a logarithmic axis for each unit."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    units = [unit for unit in ("s", "µs", "MB") if any(row.unit == unit for row in rows)]
    counts = [sum(row.unit == unit for row in rows) for unit in units]
    figure, axes = pyplot.subplots(
        len(units), figsize=(9, 0.55 * len(rows) + 1.6), layout="constrained", height_ratios=counts, squeeze=False
    )
    for axis, unit in zip(axes[:, 0], units, strict=True):
        chosen = [row for row in rows if row.unit == unit][::-1]
        for place, row in enumerate(chosen):
            for offset, value, colour in ((0.2, row.ours, "#0b6e4f"), (-0.2, row.peer, "#c1666b")):
                axis.barh(place + offset, value, 0.38, color=colour)
                axis.text(value, place + offset, f" {_number(value)} {unit}", va="center", fontsize=8)
        axis.set_yticks(range(len(chosen)), [row.name.replace("`", "") for row in chosen], fontsize=8)
        axis.set_xscale("log")
        axis.margins(x=0.18)
        axis.xaxis.set_visible(False)
        axis.spines[["top", "right", "bottom"]].set_visible(False)
    figure.suptitle("this app (green) and the naive app (red); logarithmic, shorter is better", fontsize=10)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
