"""Layout of ``model/<name>/<version>/``, and of ``export.json`` in it, which records the sources of an export."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from serving.engines import MODEL_TFLITE
from serving.engines import SAVED_MODEL as SAVED_MODEL  # for all who ask for the layout
from serving.engines.options import LiteRtProof, LoadOptions
from serving.preprocessing import FILE as PREPROCESSING

EXPORT_RECORD = "export.json"
EXAMPLE = "example.json"  # see ``serving.models.example``
_LARGEST_RECORD_BYTES = 2**20  # what an export writes is a few kilobytes

# Other forms of that file. TensorFlow reads them; serving does not, because the check of the graph does not.
OTHER_FORMS = ("saved_model.pbtxt", "saved_model.cpb")

# What an export writes: a SavedModel (its layout is in TensorFlow's saved_model/README.md), the same for LiteRT where
# that serves it, and the record.
SAVED_MODEL_FILES = (SAVED_MODEL, "fingerprint.pb", "variables", "assets", MODEL_TFLITE, EXAMPLE)
EXPORTED = (*SAVED_MODEL_FILES, EXPORT_RECORD)

# What a model can be exported from; the first that exists is used. A pattern must match exactly one file.
SOURCES = (
    ("model.json", "model.h5"),
    ("model.json", "model.weights.h5"),
    ("model.keras",),
    ("model.h5",),
    ("*.json", "*.h5|*.hdf5"),
    ("*.keras",),
    ("*.h5|*.hdf5",),
)

# JSON files that are no architecture: ours, and what is commonly kept beside a model.
_OTHER_JSON = (EXPORT_RECORD, EXAMPLE, "labels.json", PREPROCESSING)
_MARKS_OF_ARCHITECTURE = (b"class_name", b"layers")


_Record = TypeVar("_Record", "ExportRecord", LiteRtProof)


class SourceError(Exception):
    """A model's folder or one of its files can't be used; the message is one line for the model's owner."""


@dataclass(frozen=True)
class ExportRecord:
    """The content of ``export.json``: the SHA-256 of each source in hexadecimal, and the versions that exported it.

    ``independent_rows``: in a trial, each row gave the same result alone and in a batch. ``is_optimized``: TensorFlow's
    graph optimizer has processed the graph and need not run at load. ``saved_model``: the SHA-256 of the graph.
    ``engine``: which engine serves the model, and why. ``litert``: how, where that is LiteRT.
    """

    sources: Mapping[str, str]
    keras: str
    tensorflow: str
    independent_rows: bool = False
    is_optimized: bool = False
    saved_model: str = ""
    engine: str = ""
    litert: LiteRtProof | None = None

    @classmethod
    def read(cls, folder: Path) -> ExportRecord:
        """Read a folder's record; a missing or invalid one becomes an empty record."""
        path = folder / EXPORT_RECORD
        try:
            if path.stat().st_size > _LARGEST_RECORD_BYTES:
                return cls({}, "", "")
            content = json.loads(path.read_bytes())
            if content.get("litert"):
                content["litert"] = _filled(LiteRtProof("", ""), content["litert"])
            return _filled(cls({}, "", ""), content)
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return cls({}, "", "")

    def load_options(self, any_op: bool = False) -> LoadOptions:
        """Return what an engine has to know of the export to load it."""
        return LoadOptions(self.is_optimized, any_op, self.litert)

    def write(self, folder: Path) -> None:
        """Write ``export.json`` into an export's folder, with the hash of its graph."""
        content = asdict(self) | {"saved_model": sha256(folder / SAVED_MODEL)}
        (folder / EXPORT_RECORD).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _filled(empty: _Record, content: Mapping[str, Any]) -> _Record:
    """Return a record with the values that it knows; raises TypeError for one of another type."""
    known = {field.name for field in fields(empty)} & content.keys()
    for name in known:
        example = LiteRtProof("", "") if name == "litert" else getattr(empty, name)
        if type(content[name]) is not type(example) and not (name == "litert" and content[name] is None):
            raise TypeError(name)
    return replace(empty, **{name: content[name] for name in known})


def find_sources(folder: Path) -> list[Path]:
    """Return the files that the model in a folder is exported from; none if there is only a SavedModel."""
    for names in SOURCES:
        matches = [_matches(folder, name) for name in names]
        if all(len(files) == 1 and files[0].is_file() for files in matches):
            return [file for [file] in matches]
    return []


def _matches(folder: Path, patterns: str) -> list[Path]:
    found = [path for pattern in patterns.split("|") for path in folder.glob(pattern)]
    # A link to a file elsewhere would read that file into a model.
    found = [path for path in found if path.resolve().parent == folder.resolve()]
    return found if patterns != "*.json" else [path for path in found if _is_architecture(path)]


def _is_architecture(path: Path) -> bool:
    """Tell whether a JSON file may be a model's architecture, by its first kilobytes."""
    if path.name in _OTHER_JSON or not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(16 * 1024)
    return any(mark in start for mark in _MARKS_OF_ARCHITECTURE)


def hashes(sources: list[Path]) -> dict[str, str]:
    """Return the SHA-256 of each file in hexadecimal, by file name."""
    return {path.name: sha256(path) for path in sources}


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def litert_hash(folder: Path) -> str:
    """Return the SHA-256 of a folder's ``model.tflite``; nothing if there is none."""
    path = folder / MODEL_TFLITE
    return sha256(path) if path.is_file() else ""


def is_fresh(folder: Path) -> bool:
    """Return whether a folder has a SavedModel as it was exported, from the sources beside it as they are.

    A SavedModel without a record came from elsewhere and counts as fresh: it is served unchanged.
    """
    path = folder / SAVED_MODEL
    if not path.is_file():
        return False
    if not (folder / EXPORT_RECORD).exists():
        return True
    record = ExportRecord.read(folder)
    if record.saved_model and record.saved_model != sha256(path):
        return False  # TensorFlow has checksums of variables, but none of the graph
    sources = find_sources(folder)
    return not sources or record.sources == hashes(sources)


def is_unrecorded(folder: Path) -> bool:
    """Return whether a SavedModel lies beside sources without a record that it was exported from them."""
    return not (folder / EXPORT_RECORD).exists() and bool(find_sources(folder))


def mark_incomplete(folder: Path) -> None:
    """Mark a folder's export as being replaced: ``is_fresh`` is false until the next record is written."""
    (folder / EXPORT_RECORD).write_text('{"sources": "incomplete: being exported"}\n', encoding="utf-8")
