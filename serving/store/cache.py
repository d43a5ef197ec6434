"""A folder of bounded size with versions of models, each complete and named by its content; it survives a restart.

Several processes may share it. A version in use is locked by its process, so that none of them removes it; the lock
ends with the process at the latest.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from time import time

from serving.models import private
from serving.store.errors import RefusedError

_SECONDS_OF_REMAINS = 3600  # no download takes this long
_LOCK = ".lock"
_SCRATCH = "tmp-"


class Cache:
    """The folder ``root``, with at most ``most_bytes`` in it."""

    def __init__(self, root: Path, most_bytes: int) -> None:
        self.root = root
        self._most_bytes = most_bytes
        self._room = Lock()
        self._reserved = 0  # bytes, for downloads that are not complete

    @contextmanager
    def holding(self, digest: str, size: int, download: Callable[[Path], None]) -> Iterator[None]:
        """Keep an entry for a time; ``download`` fills its folder if there is none. Raises RefusedError, OSError."""
        private.make(self.root.parent)
        private.make(self.root)
        with _locked(self.root / f"{digest}{_LOCK}"):
            entry = self.root / digest
            if not entry.is_dir():
                self._fill(entry, size, download)
            os.utime(entry)
            yield

    def _fill(self, entry: Path, size: int, download: Callable[[Path], None]) -> None:
        with self._room:
            self._make_room(size)
            self._reserved += size
        scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=self.root))
        try:
            download(scratch)
            try:
                scratch.rename(entry)
            except OSError:
                if not entry.is_dir():  # otherwise another process was first
                    raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            with self._room:
                self._reserved -= size

    def _make_room(self, size: int) -> None:
        """Remove the least recently used entries that nobody uses, as far as necessary; raises RefusedError."""
        folders = [path for path in self.root.iterdir() if path.is_dir() and not _is_download(path)]
        entries = sorted(folders, key=lambda path: path.stat().st_mtime)
        left = self._most_bytes - self._reserved - sum(map(_bytes_of, entries))
        for entry in entries:
            if size > left or entry.name.startswith(_SCRATCH):
                left += self._removed(entry)
        if size > left:
            raise RefusedError(
                f"it needs {size / 2**20:.1f} MB, and the cache has room for {max(left, 0) / 2**20:.1f} MB beside the "
                "models in use; raise SERVING_STORE_CACHE_MB"
            )

    def _removed(self, entry: Path) -> int:
        """Remove an entry unless it is in use; return its bytes, or 0."""
        size = _bytes_of(entry)
        lock = entry.with_name(f"{entry.name}{_LOCK}")
        try:
            with _locked(lock, alone=True):
                shutil.rmtree(entry)
                lock.unlink()
        except OSError:  # it is in use
            return 0
        return size


def _is_download(folder: Path) -> bool:
    """Return whether a folder is that of a download that may still run, not what an ended process has left."""
    return folder.name.startswith(_SCRATCH) and time() - folder.stat().st_mtime < _SECONDS_OF_REMAINS


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def _locked(path: Path, alone: bool = False) -> Iterator[None]:
    """Hold a lock, with others unless ``alone``; raises BlockingIOError where others hold it and ``alone`` is asked."""
    if sys.platform == "win32":  # its open files can't be removed
        yield
        return
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock

    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            flock(file, LOCK_EX | LOCK_NB if alone else LOCK_SH)
            # Another process may have removed the entry and its lock in the meantime; then the lock has no name.
            if os.fstat(file).st_nlink:
                yield
                return
        finally:
            os.close(file)
