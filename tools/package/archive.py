"""Zips a folder so that the bytes depend only on the files: no times, no owners, names in order."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

_PIECE_BYTES = 4 * 1024 * 1024


def write(folder: Path, target: Path, tick: Callable[[int], object]) -> dict[str, int]:
    """Write all files of a folder to a zip and return each one's compressed size in bytes.

    ``tick`` is called with the number of bytes read, as they are read. zipfile gives an entry that is opened by its
    name the earliest time that the format has.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in names:
            with (folder / name).open("rb") as source, archive.open(name, "w") as sink:
                while piece := source.read(_PIECE_BYTES):
                    sink.write(piece)
                    tick(len(piece))
        for entry in archive.infolist():  # the central directory is written at the end
            entry.create_system = 3  # Unix, or the permissions are ignored
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
        return {entry.filename: entry.compress_size for entry in archive.infolist()}
