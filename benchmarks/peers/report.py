"""The peers' report: Markdown tables with the machine and the versions, and a plot."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks.peers import environments
from benchmarks.peers.measure import Outcome
from benchmarks.peers.models import CASES

_OURS = "#0b6e4f"
_THEIRS = "#c1666b"

# Resident memory is read after the last case of these models.
_MEMORY = {"XOR and MLP": "mlp-32", "MobileNetV2 too": "mobilenet"}

_HOW = """\
- **Requests.** JSON in each peer's own format, numbers of four digits; the MLP is 784-512-512-10. Some lines use binary
  tensors. Each server answered each case correctly before it was measured.
- **Client.** `wrk` with one thread on the same machine; p50 at 1 connection, requests/s at 16.
- **Cold** is the time from the spawn of the server to its first correct answer (XOR) over HTTP, with a warm page cache.
- **Memory** is that of all the server's processes after the loads: *Rss* is resident, *Pss* divides shared pages among
  the processes that share them. *Installed* is the size of `site-packages`.
- **Configuration.** One worker, no request logs where the line does not say so. *Tuned* peers are written for speed: no
  pydantic model, orjson both ways, models loaded at their first request, runs of milliseconds in a thread. The others
  run with their defaults; MLServer's worker is the server's own process, where it is faster. This app runs in its local
  host, checks every value, and adds `Server-Timing` and `X-Model` to each answer.
"""

# Heading, figure, and scale.
_PANELS = (
    ("XOR, 2 rows: p50 at 1 connection, ms (shorter is better)", "xor 1 p50", 1e3),
    ("XOR, 2 rows: requests/s at 16 connections (longer is better)", "xor 16 rate", 1),
    ("MLP, 32 rows: requests/s at 16 connections (longer is better)", "mlp-32 16 rate", 1),
    ("cold start: spawn to first answer, s (shorter is better)", "cold", 1),
)


def markdown(outcomes: Sequence[Outcome], rounds: int, seconds: int) -> str:
    """Return the tables, how they were measured, and on which machine."""
    failures = [f"- {item.peer.title} could not be set up: {item.failure}" for item in outcomes if item.failure]
    measured = [item for item in outcomes if item.rounds]
    titles = [case.title for case in CASES]
    others = [item for item in measured if item is not measured[0]]
    lines = [
        *_table(["p50 at 1 connection, ms / requests/s at 16", *titles], map(_speeds, measured)),
        *_table([f"the same, times those of {measured[0].peer.title}", *titles], _all_ratios(measured[0], others)),
        *_table([*_START_HEAD, *(f"Rss / Pss with {name}, MB" for name in _MEMORY)], map(_start, measured)),
        *failures,
        *([""] if failures else []),
        _HOW,
        f"Medians of {rounds} rounds, each with the peers in turn and {seconds} s per load; ratios are medians of each "
        f"round's, errors the sum of all rounds. {_machine()}. Measured with "
        f"`python -m benchmarks.peers --only {' '.join(item.peer.name for item in outcomes)}`.",
        "",
        *_table(["environment", "versions"], _versions(measured), align="---"),
    ]
    return "\n".join(lines)


_START_HEAD = ("peer", "cold, s", "errors", "installed, MB")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str = "---:") -> list[str]:
    lines = [head, ["---", *[align] * (len(head) - 1)], *rows]
    return [*(f"| {' | '.join(cells)} |" for cells in lines), ""]


def _speeds(outcome: Outcome) -> list[str]:
    of = outcome.figures
    cells = [
        f"{_number(of[f'{case.name} 1 p50'] * 1e3)} / {_number(of[f'{case.name} 16 rate'])}"
        if case in outcome.peer.cases
        else ""
        for case in CASES
    ]
    return [outcome.peer.title, *cells]


def _all_ratios(base: Outcome, others: Iterable[Outcome]) -> Iterator[list[str]]:
    for item in others:
        both = [case for case in CASES if case in base.peer.cases and case in item.peer.cases]
        texts = {
            case: " / ".join(_number(ratio(base, item, f"{case.name} {figure}")) for figure in ("1 p50", "16 rate"))
            for case in both
        }
        yield [item.peer.title, *(texts.get(case, "") for case in CASES)]


def ratio(base: Outcome, other: Outcome, figure: str) -> float:
    """Return the median of each round's ratio of a figure, the other's to the base's."""
    pairs = zip(base.rounds, other.rounds, strict=False)  # one that failed has fewer rounds
    ratios = [theirs[figure] / ours[figure] for ours, theirs in pairs if ours[figure]]
    return median(ratios) if ratios else math.nan


def _start(outcome: Outcome) -> list[str]:
    of = outcome.figures
    cells = [outcome.peer.title, _number(of["cold"]), f"{of['errors']:.0f}"]
    cells.append(_number(environments.installed_bytes(outcome.peer.environment) / 1e6))
    for case in _MEMORY.values():
        kinds = [of.get(f"{case} {kind}") for kind in ("Rss", "Pss")]
        cells.append(" / ".join(_number(kib / 1024) for kib in kinds if kib))
    return cells


def _versions(outcomes: Sequence[Outcome]) -> Iterator[list[str]]:
    titles: dict[str, list[str]] = {}
    for item in outcomes:
        titles.setdefault(item.peer.environment, []).append(item.peer.title)
    for environment, names in titles.items():
        packages = environments.versions(environment)
        yield ["; ".join(names), ", ".join(f"{name} {text}" for name, text in packages.items())]


def _machine() -> str:
    system = f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}"
    return f"{os.cpu_count()} shared cores, {system}, Python {platform.python_version()}"


def _number(value: float) -> str:
    if not value or math.isnan(value):  # a load too short for a single answer has no percentiles
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def plot(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write a PNG with a panel of bars for each of the main figures, on logarithmic axes; the best on top."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured = [item for item in outcomes if item.rounds]
    figure, axes = pyplot.subplots(2, 2, figsize=(13, 0.62 * len(measured) + 2), layout="constrained")
    for axis, (heading, key, scale) in zip(axes.flat, _PANELS, strict=True):
        ordered = sorted(measured, key=lambda item: item.figures[key], reverse="shorter" in heading)
        for place, item in enumerate(ordered):
            value = item.figures[key] * scale
            axis.barh(place, value, 0.7, color=_OURS if item.peer.environment.startswith("ours") else _THEIRS)
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
