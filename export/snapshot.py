"""Copies of a model's files: what is checked is then what Keras reads, whatever becomes of the files meanwhile."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.models.export_record import SourceError

# A link that takes the place of a file after it was found is not followed, and a pipe is not waited for.
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@contextmanager
def of(sources: list[Path]) -> Iterator[list[Path]]:
    """Give copies of files in or beneath the first one's folder, under the same names.

    A SourceError that names a copy is raised naming the file.
    """
    root = sources[0].parent
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        try:
            yield [_copy(path, root, Path(folder)) for path in sources]
        except SourceError as error:
            raise SourceError(str(error).replace(folder, os.fspath(root))) from error


def _copy(source: Path, root: Path, folder: Path) -> Path:
    place, target = source.resolve(), folder / source.relative_to(root)
    if not place.is_relative_to(root.resolve()):
        raise SourceError(f"{source} is a link to a file outside of its folder")
    target.parent.mkdir(exist_ok=True)
    try:
        with os.fdopen(os.open(place, _FLAGS), "rb") as original, target.open("xb") as copy:
            if not stat.S_ISREG(os.fstat(original.fileno()).st_mode):
                raise SourceError(f"{source} is not a regular file")
            shutil.copyfileobj(original, copy, 2**20)
    except OSError as error:
        raise SourceError(f"{source} can't be copied to {target.parent}: {error.strerror}") from error
    return target
