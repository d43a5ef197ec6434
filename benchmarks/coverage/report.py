"""The benchmark's summary, and docs/coverage.md."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from benchmarks.coverage.case import FORMATS
from benchmarks.report import machine

# Verdicts that are not a fault of the export: right, and what Keras itself can't write or read.
GOOD = ("right", "unsaved", "lost")

_COLUMNS = ("right", "refused", "wrong", "failed", "lost", "unsaved", "not tried")
_TITLES = {"keras": "Keras 3", "tf_keras": "tf_keras"}
_PARTS = {
    "files": "files of old versions",
    "layers": "every public layer",
    "combinations": "combinations",
    "operators": "operators on tensors",
    "applications": "`keras.applications`",
}

Results = dict[str, Any]


def print_summary(results: Results) -> None:
    """Print how many files of each part have each verdict."""
    for part, counts in _counts(results).items():
        print(f"{part}: {', '.join(f'{count} {verdict}' for verdict, count in counts.most_common())}")


def markdown(results: Results) -> str:
    """Return docs/coverage.md."""
    footnotes = _Footnotes()
    return "\n".join(
        [
            "# Coverage",
            "",
            "For anyone who wants to know whether a Keras model can be served: which models `python -m "
            "benchmarks.coverage` has saved, exported, served and compared with the answers of Keras.",
            "",
            "Each is a small model with random weights, batch-normalization statistics included, saved in every format "
            "that its Keras can save it in, exported as `python -m export` does, and run in the serving engine on 1 "
            "and on 5 rows. *right*: no difference is larger than 1e-5 of the largest number (1e-4 for files of old "
            "versions and for architectures, where rounding adds up over hundreds of layers, 1e-2 at half precision), "
            "and whole numbers and strings are the same. *refused*: the export says "
            "in one line why. *failed*: the export ended with another error. "
            "*lost*: Keras itself can't read the file, or reads another model from it. "
            "*unsaved*: Keras itself can't build or write it. "
            "*not tried*: base classes, layers that hold code of other libraries, what a model can't hold, and "
            "what no run has come to.",
            "",
            *_table(("", *_COLUMNS), ((name, *_numbers(counts)) for name, counts in _counts(results).items())),
            "",
            "## Files by format and age",
            "",
            "The zips are files that old versions of Keras wrote, with their own answers "
            "([how they were made](../tests/fixtures/keras/README.md)); the others are the models of this page.",
            "",
            *_table(("", *_COLUMNS), ((name, *_numbers(counts)) for name, counts in _formats(results).items())),
            "",
            *_part(results, "layers", footnotes),
            *_part(results, "combinations", footnotes),
            *_part(results, "applications", footnotes),
            *_operators(results, footnotes),
            "## Notes",
            "",
            *(f"{number}. {text}" for number, text in enumerate(footnotes.texts, 1)),
            "",
            f"{machine()}. Measured with `python -m benchmarks.coverage --save`, in several "
            "runs: each keeps the results of what it does not try.",
            "",
        ]
    )


class _Footnotes:
    """Numbered texts, each kept once."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        text = re.sub(r"^model\S*: ", "", text)  # the file's name
        if text not in self.texts:
            self.texts.append(text)
        return f"<sup>{self.texts.index(text) + 1}</sup>"


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    titles = list(titles)
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(titles)} |", "|---" + "|---:" * (len(titles) - 1) + "|", *lines]


def _numbers(counts: Counter[str]) -> Iterable[str]:
    return (f"{counts[column] or ''}" for column in _COLUMNS)


def _counts(results: Results) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for key, result in sorted(results.items(), key=lambda item: list(_PARTS).index(item[0].split("/")[0])):
        part, library, _ = key.split("/", 2)
        counts = found.setdefault(f"{_TITLES[library]}, {_PARTS[part]}", Counter())
        counts.update(cell["verdict"] for cell in _cells(result).values())
    return found


def _cells(result: dict[str, Any]) -> dict[str, Any]:
    return result.get("cells") or {"": {"verdict": "not tried", "reason": result["note"]}}


def _formats(results: Results) -> dict[str, Counter[str]]:
    zips = {key.rpartition("/")[2]: result for key, result in results.items() if key.startswith("files/")}
    found = {
        f"{name}.zip": Counter(cell["verdict"] for cell in _cells(result).values()) for name, result in zips.items()
    }
    for library, formats in FORMATS.items():
        for name in formats:
            cells = (result.get("cells", {}).get(name) for key, result in results.items() if f"/{library}/" in key)
            found[f"{_TITLES[library]}, {name}"] = Counter(cell["verdict"] for cell in cells if cell)
    return found


def _part(results: Results, part: str, footnotes: _Footnotes) -> list[str]:
    """Return one row per model with a column for each format of each Keras."""
    cells: dict[str, dict[str, str]] = {}
    columns: dict[str, None] = {}
    for key, result in results.items():
        of, library, name = key.split("/", 2)
        if of == part:
            formats = _cells(result)
            for column in [column for column in FORMATS[library] if column in formats] or list(FORMATS[library])[:1]:
                columns[f"{library}/{column}"] = None
                cells.setdefault(name, {})[f"{library}/{column}"] = _cell(
                    formats.get(column, formats.get("")), footnotes
                )
    order = [f"{library}/{name}" for library in FORMATS for name in FORMATS[library] if f"{library}/{name}" in columns]
    titles = [f"{_TITLES[column.split('/')[0]]} {column.split('/')[1]}" for column in order]
    rows = ([name, *(row.get(column, "") for column in order)] for name, row in sorted(cells.items()))
    return [f"## {_PARTS[part][0].upper()}{_PARTS[part][1:]}", "", *_table(["", *titles], rows), ""]


def _cell(cell: Any, footnotes: _Footnotes) -> str:
    return "✓" if cell["verdict"] == "right" else cell["verdict"] + footnotes.mark(cell["reason"])


def _operators(results: Results, footnotes: _Footnotes) -> list[str]:
    """Return the operators by library: those that are right in a list, the others with their verdicts."""
    lines = ["## Operators on tensors", ""]
    for library, title in _TITLES.items():
        right: list[str] = []
        others: list[str] = []
        for key, result in results.items():
            if key.startswith(f"operators/{library}/"):
                name, cells = key.split("/", 2)[2], _cells(result)
                bad = {_cell(cell, footnotes) for cell in cells.values() if cell["verdict"] != "right"}
                (others if bad else right).append(f"`{name}`" + (f" {', '.join(sorted(bad))}" if bad else ""))
        lines += [f"{title}, right in every format: {', '.join(right)}.", ""]
        lines += [f"{title}, not right in every format: {', '.join(others)}.", ""] if others else []
    return lines
