"""Layout of ``model/<name>/<version>/``, and of ``export.json`` in it, which records the sources of an export."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

SAVED_MODEL = "saved_model.pb"
EXPORT_RECORD = "export.json"

# What an export writes: a SavedModel (its layout is in TensorFlow's saved_model/README.md) and the record.
SAVED_MODEL_FILES = (SAVED_MODEL, "fingerprint.pb", "variables", "assets")
EXPORTED = (*SAVED_MODEL_FILES, EXPORT_RECORD)

# What a model can be exported from; the first that exists is used. A pattern must match exactly one file.
SOURCES = (
    ("model.json", "model.h5"),
    ("model.json", "model.weights.h5"),
    ("model.keras",),
    ("model.h5",),
    ("*.keras",),
    ("*.h5",),
)


class SourceError(Exception):
    """A model's folder or one of its files can't be used; the message is one line for the model's owner."""


@dataclass(frozen=True)
class ExportRecord:
    """The content of ``export.json``: the SHA-256 of each source in hexadecimal, and the versions that exported it.

    ``independent_rows``: in a trial, each row gave the same result alone and in a batch. ``is_optimized``: TensorFlow's
    graph optimizer has processed the graph and need not run at load.
    """

    sources: Mapping[str, str]
    keras: str
    tensorflow: str
    independent_rows: bool = False
    is_optimized: bool = False

    @classmethod
    def read(cls, folder: Path) -> ExportRecord:
        """Read a folder's record; a missing or invalid one becomes an empty record."""
        try:
            return cls(**json.loads((folder / EXPORT_RECORD).read_bytes()))
        except (OSError, ValueError, TypeError):
            return cls({}, "", "")

    def write(self, folder: Path) -> None:
        """Write ``export.json`` into a folder."""
        (folder / EXPORT_RECORD).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def find_sources(folder: Path) -> list[Path]:
    """Return the files that the model in a folder is exported from; none if there is only a SavedModel."""
    for names in SOURCES:
        matches = [list(folder.glob(name)) for name in names]
        if all(len(files) == 1 and files[0].is_file() for files in matches):
            return [file for [file] in matches]
    return []


def hashes(sources: list[Path]) -> dict[str, str]:
    """Return the SHA-256 of each file in hexadecimal, by file name."""
    digests = {}
    for path in sources:
        with path.open("rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def is_fresh(folder: Path) -> bool:
    """Return whether a folder has a SavedModel that was exported from the sources beside it.

    A SavedModel without sources or without a record counts as fresh: it is served unchanged.
    """
    if not (folder / SAVED_MODEL).is_file():
        return False
    sources = find_sources(folder)
    record = folder / EXPORT_RECORD
    if not sources or not record.exists():
        return True
    try:
        return bool(json.loads(record.read_bytes())["sources"] == hashes(sources))
    except (ValueError, TypeError, KeyError):
        return False


def mark_incomplete(folder: Path) -> None:
    """Mark a folder's export as being replaced: ``is_fresh`` is false until the next record is written."""
    (folder / EXPORT_RECORD).write_text('{"sources": "incomplete: being exported"}\n', encoding="utf-8")
