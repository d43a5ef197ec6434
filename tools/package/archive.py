"""A zip file of a folder whose bytes depend on the files alone: no times, no owners, names in order."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

_PIECE_BYTES = 4 * 1024 * 1024


def write(folder: Path, target: Path, tick: Callable[[int], object]) -> dict[str, int]:
    """Write all files of a folder to a zip and return what each takes there, in bytes.

    Their times are the earliest that the format has, as zipfile writes an entry that is given by its name.
    ``tick`` is told how many bytes were read, as they are.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in names:
            with (folder / name).open("rb") as source, archive.open(name, "w") as sink:
                while piece := source.read(_PIECE_BYTES):
                    sink.write(piece)
                    tick(len(piece))
        for entry in archive.infolist():  # as the directory has it, which is written last
            entry.create_system = 3  # Unix: else the permissions are not read
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
        return {entry.filename: entry.compress_size for entry in archive.infolist()}
