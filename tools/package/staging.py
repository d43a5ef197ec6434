"""Builds appear in ``dist/`` when they are finished; an interrupted or failed one leaves nothing."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staging(dist: Path, name: str) -> Iterator[Path]:
    """Give an empty folder in ``dist`` for a build, and move what it then holds to ``dist`` if nothing was raised."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the folder is deleted then, too
    folder = dist / f".{name}"
    shutil.rmtree(folder, ignore_errors=True)  # of a build that was killed
    folder.mkdir(parents=True)
    try:
        yield folder
        for made in sorted(folder.iterdir()):
            _replace(dist / made.name, made)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _replace(place: Path, made: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    made.replace(place)
