"""Where models come from: a folder, or a store when ``SERVING_MODEL_PATH`` is a URL.

A version is known by the path of its folder. What is in a store has such a path before it is there: ``fetched`` puts it
there, and another content has another path.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Protocol

from serving.models import versions
from serving.models.versions import Fingerprint
from serving.settings import Settings


class Source(Protocol):
    """The models there are. Thread-safe; ModelUnavailableError is raised where that is not known now."""

    def names(self) -> list[str]:
        """Return the names of all models that have a version, in alphabetical order."""

    def find(self, name: str) -> Mapping[int, Path]:
        """Return the version folders of a model by number; none if there is no such model."""

    def labels_root(self, name: str) -> Path:
        """Return the folder under which a model's ``labels.json`` is found as on disk; it may have none."""

    def fingerprint(self, folder: Path) -> Fingerprint:
        """Return a value that changes whenever a file of a version does."""

    def fetched(self, folder: Path) -> AbstractContextManager[None]:
        """Make sure that a version's files are in its folder, and keep them there for a time; raises OSError."""

    def refresh(self) -> None:
        """Look for changes now. Never raises."""

    def trouble(self) -> str:
        """Return what keeps the source from being read, in one sentence for the operator; nothing if it can be."""


class Disk:
    """The models in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> list[str]:
        """See Source."""
        return versions.names(self._root)

    def find(self, name: str) -> dict[int, Path]:
        """See Source."""
        return versions.find(self._root, name)

    def labels_root(self, name: str) -> Path:
        """See Source."""
        return self._root

    def fingerprint(self, folder: Path) -> Fingerprint:
        """See Source."""
        return versions.fingerprint(folder)

    def fetched(self, folder: Path) -> AbstractContextManager[None]:
        """See Source: the files are there."""
        return nullcontext()

    def refresh(self) -> None:
        """See Source: a folder is read whenever it is asked for."""

    def trouble(self) -> str:
        """See Source: what can't be read has no models."""
        return ""


def of(settings: Settings) -> Source:
    """Return where the settings say that models are."""
    if isinstance(settings.model_path, Path):
        return Disk(settings.model_path)
    # Imported by name: what is served from a folder needs neither the module nor the libraries that it needs.
    return import_module("serving.store.store").Store(settings)
