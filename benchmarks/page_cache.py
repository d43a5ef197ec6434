"""Drops the page cache, because a new instance of the function app starts with an empty one."""

from __future__ import annotations

import os
from pathlib import Path

_DROP = Path("/proc/sys/vm/drop_caches")


def can_drop() -> bool:
    """Tell whether this process may drop the page cache: Linux, as root."""
    return os.access(_DROP, os.W_OK)


def drop() -> None:
    """Drop the page cache, dentries and inodes (Linux, Documentation/admin-guide/sysctl/vm.rst)."""
    os.sync()
    _DROP.write_text("3", encoding="ascii")
