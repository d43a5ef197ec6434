"""``.keras`` archives: checked before Keras opens them, and rewritten so that today's Keras can read them.

The format is that of ``keras/src/saving/saving_lib.py``: a zip of ``metadata.json``, ``config.json``, the weights
``model.weights.h5`` (or ``.npz`` of some Keras 2.12) and ``assets/``.
"""

from __future__ import annotations

import json
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import h5py

from export import hdf5
from serving.models.export_record import SourceError

SIGNATURE = b"PK\x03\x04"

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_LARGEST_JSON_BYTES = {_CONFIG: 64 * 2**20, _METADATA: 2**16}
_DEPENDENCIES = "_layer_checkpoint_dependencies"
_MOST_ENTRIES = 100_000
_FREE_BYTES = 256 * 2**20
_LARGEST_RATIO = 32


def read(path: Path) -> dict[str, Any]:
    """Return the model's description, with its ``keras_version``; raises SourceError for an implausible archive."""
    with zipfile.ZipFile(path) as archive:
        _check(archive)
        metadata = _json(archive, _METADATA)
        description = _json(archive, _CONFIG)
    if not isinstance(metadata, dict) or not isinstance(description, dict):
        raise SourceError(f"its {_CONFIG} and {_METADATA} must be JSON objects")
    return {**description, "keras_version": metadata.get("keras_version", "")}


@contextmanager
def rewritten(path: Path, description: dict[str, Any]) -> Iterator[Path]:
    """Give the path of a copy with another description, and weights under the names that today's Keras looks for."""
    with TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        target = Path(folder) / "model.keras"
        with zipfile.ZipFile(target, "w") as copy:
            copy.writestr(_CONFIG, json.dumps(description))
            for entry in archive.infolist():
                name = entry.filename.replace("\\", "/")
                if name == _WEIGHTS:
                    weights = Path(archive.extract(entry, folder))
                    hdf5.check(weights)
                    _rename_groups(weights)
                    copy.write(weights, name)
                elif name != _CONFIG and not entry.is_dir():
                    copy.writestr(name, archive.read(entry))
        yield target


def _check(archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    if len(entries) > _MOST_ENTRIES:
        raise SourceError(f"it has more than {_MOST_ENTRIES:,} entries")
    for entry in entries:
        place = PurePosixPath(entry.filename.replace("\\", "/"))
        if place.is_absolute() or ".." in place.parts or ":" in entry.filename:
            raise SourceError(f"its entry {entry.filename[:80]!r} leads out of the archive")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise SourceError(f"its entry {entry.filename[:80]!r} is a link")
    size, stored = sum(entry.file_size for entry in entries), sum(entry.compress_size for entry in entries)
    limit = _FREE_BYTES + _LARGEST_RATIO * stored
    if size > limit:
        raise SourceError(f"it would unpack from {stored:,} to {size:,} bytes; the limit is {limit:,}")


def _json(archive: zipfile.ZipFile, name: str) -> Any:
    try:
        entry = archive.getinfo(name)
    except KeyError:
        raise SourceError(f"it has no {name}") from None
    limit = _LARGEST_JSON_BYTES[name]
    with archive.open(entry) as file:
        content = file.read(limit + 1)  # the size that the directory states may be wrong
    if len(content) > limit:
        raise SourceError(f"its {name} is larger than {limit:,} bytes")
    return json.loads(content)


def _rename_groups(weights: Path) -> None:
    r"""Rename groups of older versions: ``layers\dense`` on Windows, ``_layer_checkpoint_dependencies``."""
    with h5py.File(weights, "r+") as file:
        for name in list(file):
            if "\\" in name:
                file.move(name, name.replace("\\", "/"))
        names: list[str] = []
        file.visit(names.append)
        for name in sorted(names, key=len, reverse=True):
            if name.rpartition("/")[2] == _DEPENDENCIES:
                _renumber(file[name])
                file.move(name, name.removesuffix(_DEPENDENCIES) + "layers")


def _renumber(group: h5py.Group) -> None:
    """Renumber the layers of a class as 0, 1, 2: Keras 2.12 to 2.14 counted each twice that has weights."""
    counts: Counter[str] = Counter()
    for base, number in sorted(_numbered(name) for name in group):
        name, target = (f"{base}_{index}" if index else base for index in (number, counts[base]))
        counts[base] += 1
        if name != target:
            group.move(name, target)


def _numbered(name: str) -> tuple[str, int]:
    base, _, number = name.rpartition("_")
    return (base, int(number)) if base and number.isdecimal() else (name, 0)
