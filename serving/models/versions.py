"""Folders of models: ``<model path>/<name>/<version>/``, TensorFlow Serving's own convention.

A version is a whole number, which may be zero-padded (``00000123``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from serving.models.labels import MAX_BYTES, Shares, parse

# A model's name is that of a folder: no separators, no leading dot.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)

LABELS = "labels.json"

# The path, size in bytes and modification time in nanoseconds of each file in a folder.
Fingerprint = tuple[tuple[str, int, int], ...]


def names(model_path: Path) -> list[str]:
    """Return the names of all models that have a version, in alphabetical order."""
    return sorted(name for name in _subfolders(model_path) if _NAME.fullmatch(name) and find(model_path, name))


def find(model_path: Path, name: str) -> dict[int, Path]:
    """Return the version folders of a model by number; none if there is no such model."""
    if not _NAME.fullmatch(name):
        return {}
    folder = model_path / name
    return {int(version): folder / version for version in _subfolders(folder) if version.isdecimal()}


def labels(model_path: Path, name: str) -> dict[str, Shares]:
    """Return what a model's labels stand for, from ``labels.json`` beside its versions; none if there is no such file.

    Raises OSError, or ValueError where it is invalid.
    """
    path = model_path / name / LABELS
    if not _NAME.fullmatch(name):
        return {}
    try:
        with path.open("rb") as file:
            return parse(file.read(MAX_BYTES + 1))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def fingerprint(folder: Path) -> Fingerprint:
    """Return a value that changes whenever a file in the folder does, for example while it is being copied."""
    return tuple(sorted(_files(folder, "")))


def _files(folder: Path, prefix: str) -> Iterator[tuple[str, int, int]]:
    try:
        entries = list(folder.iterdir())
    except OSError:  # removed in the meantime
        return
    for entry in entries:
        try:
            status = entry.stat()
        except OSError:
            continue
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, status.st_size, status.st_mtime_ns


def _subfolders(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir() if entry.is_dir()]
    except OSError:
        return []
