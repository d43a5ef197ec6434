"""Checks the models under the model path: versions, exports, the default model, and how loading each one goes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from serving.models import export_record, versions
from serving.models.export_record import ExportRecord
from serving.models.labels import LATEST, Shares
from serving.settings import Settings
from tools.doctor.children import ChildError, Loaded, load
from tools.doctor.finding import Finding, ok, problem, warning

_Load = Callable[[Sequence[Path], str], Loaded]


class Export(StrEnum):
    """The state of a version's export, in the words that are printed."""

    FRESH = "export matches its files"
    FOREIGN = "SavedModel made elsewhere"
    UNRECORDED = "SavedModel without export.json beside Keras files"
    STALE = "its export does not match its files"
    MISSING = "not exported"
    EMPTY = "its folder has neither saved_model.pb nor Keras files"


@dataclass
class Version:
    """One version of a model: its folder, the state of its export, and what was measured when it was loaded."""

    name: str
    number: int
    folder: Path
    export: Export
    record: ExportRecord
    loaded: Loaded | None = None

    def __str__(self) -> str:
        return f"{self.name}/{self.number}"

    @property
    def is_ready(self) -> bool:
        """Whether it can be served without exporting it first."""
        return self.export in (Export.FRESH, Export.FOREIGN, Export.UNRECORDED)


_NAMES = {"litert": "LiteRT", "tensorflow": "TensorFlow"}


def find(model_path: Path) -> list[Version]:
    """Return all versions of all models, sorted by name, the highest version first."""
    found = []
    for name in versions.names(model_path):
        folders = versions.find(model_path, name)
        for number in sorted(folders, reverse=True):
            folder = folders[number]
            found.append(Version(name, number, folder, _export(folder), ExportRecord.read(folder)))
    return found


def served(found: Sequence[Version]) -> list[Version]:
    """Return the versions that answer requests for no particular one: those that labels name, or the highest."""
    result = []
    for name in sorted({version.name for version in found}):
        loaded = [version for version in found if version.name == name and version.loaded]
        wanted = _wanted(loaded[0].folder.parent) if loaded else {}
        result += [version for version in loaded if version.number in wanted] or loaded[:1]
    return result


def _wanted(folder: Path) -> Shares:
    try:
        return versions.labels(folder.parent, folder.name).get(LATEST, {})
    except (OSError, ValueError):
        return {}


def _export(folder: Path) -> Export:
    sources = export_record.find_sources(folder)
    if not (folder / export_record.SAVED_MODEL).is_file():
        return Export.MISSING if sources else Export.EMPTY
    if not export_record.is_fresh(folder):
        return Export.STALE
    if export_record.is_unrecorded(folder):
        return Export.UNRECORDED
    return Export.FRESH if (folder / export_record.EXPORT_RECORD).exists() else Export.FOREIGN


def check(
    settings: Settings, folder: Path, found: list[Version], can_export: bool, load: _Load = load
) -> list[Finding]:
    """Check whether each version can be served, by loading and running it; notes what was measured in ``found``.

    ``can_export`` says whether Keras will be there, so that the first request can export a model.
    """
    findings = _beside(folder, found)
    if not found:
        todo = "put one into <name>/1/ there, or set SERVING_MODEL_PATH"
        return [*findings, problem(f"There is no model under {folder}", todo)]
    for version in found:
        findings.append(_load(version, settings, load) if version.is_ready else _unready(version, can_export))
    return [*findings, *_labels(folder, found)]


def default(settings: Settings, found: Sequence[Version]) -> list[Finding]:
    """Say which model is the default and why; a missing one is a finding of the app settings."""
    names = sorted({version.name for version in found})
    if settings.default_model in names:
        return [ok(f"{settings.default_model} is the default model: SERVING_DEFAULT_MODEL names it")]
    if settings.default_model or not names:
        return []
    if len(names) == 1:
        return [ok(f"{names[0]} is the default model: it is the only one")]
    what = f"{names[0]} is the default model only because its name sorts first: /health reports it, a warm-up loads it"
    return [warning(what, f"set SERVING_DEFAULT_MODEL to one of {', '.join(names)}")]


def _beside(model_path: Path, found: list[Version]) -> list[Finding]:
    """Find folders that were perhaps meant as models."""
    try:
        folders = sorted(path for path in model_path.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []
    names = {version.name for version in found}
    return [
        warning(
            f"{folder.name} is not served: it has no version folder, or a name with other characters than A-Za-z0-9_.-",
            f"move its files to {folder.name}/1/",
        )
        for folder in folders
        if folder.name not in names
    ]


def _unready(version: Version, can_export: bool) -> Finding:
    if version.export is Export.EMPTY:
        return problem(f"{version}: {version.export}", "put model.keras or a SavedModel there")
    if version.export is Export.STALE and not export_record.find_sources(version.folder):
        return problem(f"{version}: saved_model.pb has changed since it was exported", "copy the export again")
    todo = f"python -m export {_shown(version.folder)}, and publish what it writes"
    if not can_export:
        return problem(
            f"{version}: {version.export}, and Keras, which would export it on the first request, is not installed",
            todo,
        )
    return warning(f"{version}: {version.export}; every cold start would export it, which takes seconds", todo)


def _shown(folder: Path) -> str:
    """Return a path relative to the current folder where possible."""
    try:
        return os.fspath(folder.relative_to(Path.cwd()))
    except ValueError:
        return os.fspath(folder)


def _load(version: Version, settings: Settings, load: _Load) -> Finding:
    print(f"Loading {version} ...", file=sys.stderr, flush=True)
    try:
        version.loaded = load([version.folder], settings.engine)
    except ChildError as error:
        message = str(error).replace(f"{version.folder}{os.sep}", "")
        todo = f"python -m export {_shown(version.folder)}, or copy its files again"
        return problem(f"{version} can't be loaded and run: {message}", todo)
    seen = version.loaded
    parts = [f"{version}: {version.export}", f"first answer in {seen.seconds:.2f} s"]
    if seen.resident_mb is not None and seen.private_mb is not None:
        parts.append(f"{seen.resident_mb:.0f} MB resident, {seen.private_mb:.0f} MB private")
    parts += [_engine(version, seen.engine), _batching(version, settings)]
    if seen.note:
        parts.append(f"its graph refused the example values ({seen.note})")
    text = "; ".join(parts)
    if version.export is Export.UNRECORDED:
        return warning(text, f"python -m export {_shown(version.folder)}, or remove the files that are not served")
    return ok(text)


def _engine(version: Version, engine: str) -> str:
    """Return which engine serves it, and why: what its export said where that chose it."""
    if version.record.engine.endswith(f"served by {_NAMES[engine]}"):
        return version.record.engine
    return f"served by {_NAMES[engine]}"


def _batching(version: Version, settings: Settings) -> str:
    rows = settings.batch_rows.of(version.name, version.record.independent_rows)
    if version.loaded and not version.loaded.by_rows:
        return "not batched: its signature has no batch dimension"
    if rows <= 1:
        return "not batched" if version.record.independent_rows else "not batched: its rows may depend on each other"
    proof = version.record.litert
    if proof and proof.rows and version.loaded and version.loaded.engine == "litert":
        rows = min(rows, proof.rows)
    return f"batches of {rows} rows" if rows > 1 else "not batched: it is as fast row by row"


def _labels(model_path: Path, found: Collection[Version]) -> list[Finding]:
    findings = []
    for name in sorted({version.name for version in found}):
        there = {version.number for version in found if version.name == name}
        try:
            labels = versions.labels(model_path, name)
        except (OSError, ValueError) as error:
            findings.append(problem(f"{name}/{versions.LABELS} can't be read: {error}", "correct it: docs/versions.md"))
            continue
        for label, shares in labels.items():
            findings += [_nowhere(name, label, number) for number in shares.keys() - there]
        if LATEST in labels:
            findings.append(_latest(name, labels[LATEST], max(there)))
    return findings


def _nowhere(name: str, label: str, number: int) -> Finding:
    what = f"{name}: the label {label!r} stands for version {number}, which does not exist"
    return problem(what, f"change it in {name}/{versions.LABELS}")


def _latest(name: str, shares: Shares, highest: int) -> Finding:
    total = sum(shares.values())
    if len(shares) == 1:
        [number] = shares
        newer = f", not the highest, {highest}" if number < highest else ""
        return ok(f"{name}: version {number} is pinned by {versions.LABELS}{newer}")
    parts = ", ".join(f"{weight / total:.1%} to version {number}" for number, weight in shares.items())
    return ok(f"{name}: {versions.LABELS} splits the requests: {parts}")
