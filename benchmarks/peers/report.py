"""The peers' report: a Markdown table with the machine and the versions, and a plot."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers import environments
from benchmarks.peers.measure import Outcome

_OURS = "#0b6e4f"
_THEIRS = "#c1666b"

_HEAD = (
    "| peer | cold, s | XOR p50 / p99 at 1, ms | XOR requests/s at 16 (p99, ms) | MLP p50 at 1, ms "
    "| MLP requests/s at 16 | errors | Rss, MB | Pss, MB | installed, MB |"
)

_HOW = """\
- **Requests.** XOR gets 2 rows, the MLP (784-512-512-10) 32 rows, as JSON in each peer's own format. One line uses
  binary tensors. Each server answered both models correctly before it was measured.
- **Client.** *at 1* and *at 16* are the connections of `wrk`, which runs with one thread on the same machine.
- **Cold** is the time from the spawn of the server to its first correct answer over HTTP, with a warm page cache. By
  then the peers have loaded both models, this app only the requested one.
- **Memory** is that of all the server's processes after the loads: *Rss* is resident, *Pss* divides shared pages among
  the processes that share them. *Installed* is the size of `site-packages`.
- **Configuration.** Peers run with their defaults, but with one worker and without request logs. MLServer's worker is
  the server's own process, where it is faster. This app runs in its local host.
"""

# Heading, figure, and scale.
_PANELS = (
    ("XOR, 2 rows: p50 at 1 connection, ms (shorter is better)", "xor_1_p50", 1e3),
    ("XOR, 2 rows: requests/s at 16 connections (longer is better)", "xor_16_per_second", 1),
    ("MLP, 32 rows: requests/s at 16 connections (longer is better)", "mlp_16_per_second", 1),
    ("cold start: spawn to first answer, s (shorter is better)", "cold", 1),
)


def markdown(outcomes: Sequence[Outcome], rounds: int, seconds: int) -> str:
    """Return the table, how it was measured, and on which machine."""
    failures = [f"- {item.peer.title} could not be set up: {item.failure}" for item in outcomes if item.failure]
    lines = [
        "For anyone who chooses a model server: this app beside others, under the same client and load.",
        "",
        _HEAD,
        "|---" + "|---:" * 9 + "|",
        *(_line(item) for item in outcomes if item.figures),
        "",
        *failures,
        *([""] if failures else []),
        _HOW,
        f"Medians of {rounds} round{'s' * (rounds > 1)}, each with the peers in turn and {seconds} s per load; errors "
        f"are the sum of all rounds. {_machine()}. Measured with `make bench-peers`.",
        "",
        "| peer | versions |",
        "|---|---|",
        *_version_lines(outcomes),
    ]
    return "\n".join(lines) + "\n"


def _line(outcome: Outcome) -> str:
    of = outcome.figures
    cells = (
        outcome.peer.title,
        _number(of["cold"]),
        f"{_number(of['xor_1_p50'] * 1e3)} / {_number(of['xor_1_p99'] * 1e3)}",
        f"{_number(of['xor_16_per_second'])} ({_number(of['xor_16_p99'] * 1e3)})",
        _number(of["mlp_1_p50"] * 1e3),
        _number(of["mlp_16_per_second"]),
        f"{of['errors']:.0f}",
        _number(of["Rss"] / 1024),
        _number(of["Pss"] / 1024),
        _number(environments.installed_bytes(outcome.peer.environment) / 1e6),
    )
    return f"| {' | '.join(cells)} |"


def _version_lines(outcomes: Sequence[Outcome]) -> list[str]:
    lines = []
    for item in outcomes:
        if item.figures and item.peer.environment == item.peer.name:
            packages = environments.versions(item.peer.name)
            lines.append(f"| {item.peer.title} | {', '.join(f'{name} {text}' for name, text in packages.items())} |")
    return lines


def _machine() -> str:
    system = f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}"
    return f"{os.cpu_count()} shared cores, {system}, Python {platform.python_version()}"


def _number(value: float) -> str:
    if not value:  # a load too short for a single answer has no percentiles
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def plot(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write a PNG with a panel of bars for each of the main figures, on logarithmic axes; the best on top."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured = [item for item in outcomes if item.figures]
    figure, axes = pyplot.subplots(2, 2, figsize=(13, 0.62 * len(measured) + 2), layout="constrained")
    for axis, (heading, key, scale) in zip(axes.flat, _PANELS, strict=True):
        ordered = sorted(measured, key=lambda item: item.figures[key], reverse="shorter" in heading)
        for place, item in enumerate(ordered):
            value = item.figures[key] * scale
            axis.barh(place, value, 0.7, color=_OURS if item.peer.environment == "ours" else _THEIRS)
            axis.text(value, place, f" {_number(value)}", va="center", fontsize=8)
        titles = [item.peer.title.replace("`", "") for item in ordered]
        axis.set_yticks(range(len(ordered)), titles, fontsize=8)
        axis.set_title(heading, fontsize=9, loc="left")
        axis.set_xscale("log")
        axis.margins(x=0.12)
        axis.xaxis.set_visible(False)
        axis.spines[["top", "right", "bottom"]].set_visible(False)
    figure.suptitle("this app (green) and its peers (red); logarithmic", fontsize=10)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
