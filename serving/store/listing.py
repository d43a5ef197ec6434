"""What a store's list of files means: versions by model, of which only complete and harmless ones count. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import PurePosixPath

from serving.models.export_record import EXPORT_RECORD, SAVED_MODEL
from serving.models.labels import MAX_BYTES
from serving.models.versions import LABELS

_MOST_FILES = 1000  # of a version
_DEEPEST = 8  # folders within a version

# The names of all that an export writes are of this form, and none of them leaves its folder.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_SHARD = re.compile(r"variables/variables\.data-\d{5}-of-(\d{5})", re.ASCII)


@dataclass(frozen=True)
class File:
    """A file as listed: its name in the container, its size, ETag, and MD5 where the store knows that."""

    name: str
    size: int
    etag: str
    md5: bytes = b""


@dataclass
class Version:
    """A version's files, by their path in its folder."""

    name: str
    folder: str
    files: dict[str, File] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The bytes of all its files."""
        return sum(file.size for file in self.files.values())

    @property
    def digest(self) -> str:
        """A name for this content: another file, size or ETag gives another."""
        content = [self.name, self.folder, *((path, file.size, file.etag) for path, file in sorted(self.files.items()))]
        return f"{self.name}-{self.folder}-{sha256(repr(content).encode()).hexdigest()[:32]}"

    @property
    def is_complete(self) -> bool:
        """Whether all its files are there: ``export.json`` is uploaded last; a SavedModel counts its variables."""
        if EXPORT_RECORD in self.files:
            return True
        shards = [int(found[1]) for found in map(_SHARD.fullmatch, self.files) if found]
        has_variables = any(path.startswith("variables/") for path in self.files)
        complete = bool(shards) and len(shards) == shards[0] and "variables/variables.index" in self.files
        return SAVED_MODEL in self.files and (complete or not has_variables)

    def refusal(self) -> str:
        """Return why it can't be downloaded, whatever its size; nothing if it can be."""
        if len(self.files) > _MOST_FILES:
            return f"it has {len(self.files)} files; at most {_MOST_FILES} are read"
        odd = next((path for path in self.files if not _is_plain(path)), None)
        return f"it has the file {odd[:200]!r}; names are of A-Z a-z 0-9 _ . - only" if odd else ""


@dataclass
class Listing:
    """All versions by model and number, each model's ``labels.json``, and why some versions are left out."""

    versions: Mapping[str, Mapping[int, Version]]
    labels: Mapping[str, File]
    refused: Mapping[str, str]


def read(files: Iterable[File], prefix: str) -> Listing:
    """Return the models under a prefix; what is neither a version's file nor a model's labels is left out."""
    found: dict[tuple[str, str], Version] = {}
    labels = {}
    for file in _without_folders(files):
        name, _, rest = file.name.removeprefix(prefix).partition("/")
        folder, _, path = rest.partition("/")
        if not _PART.fullmatch(name):
            continue
        if folder == LABELS and not path and file.size <= MAX_BYTES:
            labels[name] = file
        elif path and _NUMBER.fullmatch(folder):
            found.setdefault((name, folder), Version(name, folder)).files[path] = file
    versions: dict[str, dict[int, Version]] = defaultdict(dict)
    refused = {}
    for (name, folder), version in found.items():
        if refusal := version.refusal():
            refused[f"{name}/{folder}"] = refusal
        elif version.is_complete:
            versions[name][int(folder)] = version
    return Listing(dict(versions), labels, refused)


def _without_folders(files: Iterable[File]) -> list[File]:
    """Leave out the empty files that stand for folders, where a storage account has these."""
    listed = list(files)
    folders = {str(parent) for file in listed for parent in PurePosixPath(file.name).parents}
    return [file for file in listed if file.size or not (file.name.endswith("/") or file.name in folders)]


def _is_plain(path: str) -> bool:
    parts = path.split("/")
    return len(parts) <= _DEEPEST and all(map(_PART.fullmatch, parts))
