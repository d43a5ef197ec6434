"""Where an export came from: the files of a model's folder, and whether its SavedModel still matches its sources.

Owns the layout of ``model/<name>/<version>/`` and of ``export.json`` in it. Knows no Keras and no TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

SAVED_MODEL = "saved_model.pb"
EXPORT_RECORD = "export.json"

# What an export writes (TensorFlow's SavedModel layout: saved_model/README.md, and our record).
SAVED_MODEL_FILES = (SAVED_MODEL, "fingerprint.pb", "variables", "assets")
EXPORTED = (*SAVED_MODEL_FILES, EXPORT_RECORD)

# What a model can be exported from, the first that is there: architecture with weights, or one file of both. A pattern
# stands for the only file that it matches.
SOURCES = (
    ("model.json", "model.h5"),
    ("model.json", "model.weights.h5"),
    ("model.keras",),
    ("model.h5",),
    ("*.keras",),
    ("*.h5",),
)


class SourceError(Exception):
    """A model's folder or one of its files can't be used; the message is one line for its owner."""


@dataclass(frozen=True)
class ExportRecord:
    """What ``export.json`` holds: the SHA-256 of each source in hexadecimal, and the versions that exported it.

    ``independent_rows``: rows were seen to be answered alike alone and in a batch. ``is_optimized``: TensorFlow's graph
    optimizer has been over the graph, and need not be when it is loaded.
    """

    sources: Mapping[str, str]
    keras: str
    tensorflow: str
    independent_rows: bool = False
    is_optimized: bool = False

    @classmethod
    def read(cls, folder: Path) -> ExportRecord:
        """Read a folder's record; one that isn't there, or isn't understood, says nothing of the export."""
        try:
            return cls(**json.loads((folder / EXPORT_RECORD).read_bytes()))
        except (OSError, ValueError, TypeError):
            return cls({}, "", "")

    def write(self, folder: Path) -> None:
        """Write ``export.json`` into an export's folder."""
        (folder / EXPORT_RECORD).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def find_sources(folder: Path) -> list[Path]:
    """Return the files that the model in a folder is exported from; none where it holds only a SavedModel."""
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
    """Tell whether a folder's SavedModel is there and was exported from the sources beside it, if there are any.

    A SavedModel that came from elsewhere has no record and is served as it lies.
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
    """Say that a folder's export is being replaced: until there is a record again, ``is_fresh`` says no."""
    (folder / EXPORT_RECORD).write_text('{"sources": "incomplete: being exported"}\n', encoding="utf-8")
