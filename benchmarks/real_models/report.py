"""The report: a table for each figure, what is worse than in the naive app, and the instance that a model needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tools.doctor.limits import TIGHT
from tools.doctor.plans import PLANS

APPS = {
    "auto": "this app",
    "tensorflow": "its TensorFlow engine",
    "naive": "naive app",
    "onnx": "ONNX Runtime",
}


@dataclass(frozen=True)
class Figure:
    """A column of what a child measures: its title, its unit in what the child prints, and what is better."""

    name: str
    title: str
    scale: float
    digits: int
    more_is_better: bool = False


FIGURES = (
    Figure("cold", "Import to first answer, s", 1, 2),
    Figure("p50", "A request, p50, ms", 1e3, 2),
    Figure("rate", "Requests/s, 8 at a time", 1, 0, more_is_better=True),
    Figure("private", "Private memory after the first answer, MB", 1 / 1024, 0),
    Figure("resident", "Resident memory at the end, MB", 1 / 1024, 0),
)


@dataclass(frozen=True)
class Measured:
    """A model's title, the engine that its export chose, and each app's figures in each round."""

    title: str
    engine: str
    runs: Mapping[str, Sequence[Mapping[str, float]]]

    def value(self, app: str, figure: str) -> float | None:
        """Return the median of the rounds; None where the app was not measured."""
        return median(run[figure] for run in self.runs[app]) if self.runs.get(app) else None


def markdown(models: Sequence[Measured]) -> str:
    """Return all tables."""
    apps = [app for app in APPS if any(model.runs.get(app) for model in models)]
    lines: list[str] = []
    for figure in FIGURES:
        rows = [[_title(model), *(_cell(model, app, figure) for app in apps)] for model in models]
        lines += [f"## {figure.title}", "", *_table(["model: engine", *(APPS[app] for app in apps)], rows), ""]
    worse = [f"- {text}" for model in models for text in _worse(model)] or ["- Nowhere."]
    lines += ["## Where this app is slower or heavier than the naive app", "", *worse, ""]
    sizes = PLANS["flex"].memory_choices_mb
    rows = [[_title(model), *(_instance(model.value(app, "resident"), sizes) for app in apps)] for model in models]
    return "\n".join(
        [*lines, "## Instance of Flex Consumption, MB", "", *_table(["model: engine", *map(APPS.get, apps)], rows)]
    )


def _title(model: Measured) -> str:
    return f"{model.title}: {model.engine}"


def _table(head: Sequence[str | None], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(map(str, cells))} |" for cells in lines]


def _cell(model: Measured, app: str, figure: Figure) -> str:
    value = model.value(app, figure.name)
    return "" if value is None else f"{value * figure.scale:,.{figure.digits}f}"


def _worse(model: Measured) -> Iterator[str]:
    """Yield in which figures this app, with either engine, is worse than the naive app."""
    for figure in FIGURES:
        theirs = model.value("naive", figure.name)
        for app in ("auto", "tensorflow"):
            ours = model.value(app, figure.name)
            if ours and theirs and (ours < theirs if figure.more_is_better else ours > theirs):
                values = f"{_cell(model, app, figure)} instead of {_cell(model, 'naive', figure)}"
                yield f"{model.title}, {APPS[app]}: {figure.title[0].lower()}{figure.title[1:]}: {values}"


def _instance(resident_kib: float | None, sizes: Sequence[int]) -> str:
    """Return the smallest instance in which this leaves a quarter of the memory."""
    if resident_kib is None:
        return ""
    return next((f"{size:,}" for size in sizes if resident_kib / 1024 <= TIGHT * size), "none")
