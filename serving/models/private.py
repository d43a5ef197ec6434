"""Folders of the app's own, into which nobody else can put a model."""

from __future__ import annotations

import os
from pathlib import Path


class NotPrivateError(PermissionError):
    """A folder of the app's can be written by others."""


def make(folder: Path) -> None:
    """Make a folder; raises NotPrivateError where somebody else could write to it or replace it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (folder, folder.parent):
        status = path.stat()
        if hasattr(os, "geteuid") and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
            raise NotPrivateError(f"{path} is writable by other users; set SERVING_CACHE_PATH to a private folder")
