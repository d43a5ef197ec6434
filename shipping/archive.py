"""A zip file of a folder whose bytes depend on the files alone: no times, no owners, names in order."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

_PIECE_BYTES = 4 * 1024 * 1024
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that the format has


def write(folder: Path, target: Path, tick: Callable[[int], object]) -> dict[str, int]:
    """Write all files of a folder to a zip and return what each takes there, in bytes.

    ``tick`` is told how many bytes were read, as they are.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(name, _NO_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix: else the permissions are not read
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.file_size = (folder / name).stat().st_size
            with (folder / name).open("rb") as source, archive.open(entry, "w") as sink:
                while piece := source.read(_PIECE_BYTES):
                    sink.write(piece)
                    tick(len(piece))
        return {entry.filename: entry.compress_size for entry in archive.infolist()}
