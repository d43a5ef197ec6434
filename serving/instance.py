"""The memory of the instance that the app runs on, or of its container: what defaults and loads depend on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

# Where neither a limit nor the machine's memory can be read, such as on Windows: that of the usual instance.
_USUAL_BYTES = 2 * 1024**3

# Files of Linux's control groups, version 2 and 1 (``man 7 cgroups``): the limit, what is in use, and the key in
# ``memory.stat`` of what can be reclaimed.
_CGROUPS = (
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


@cache
def memory_bytes() -> int:
    """Return the memory that the process may use: the least of its cgroups' limits and the machine's memory."""
    return min([limit for limit, _ in _limits()], default=_USUAL_BYTES)


def free_bytes() -> int:
    """Return how much of that memory is free."""
    return min([free for _, free in _limits()], default=_USUAL_BYTES)


def _limits(root: Path = Path("/")) -> Iterator[tuple[int, int]]:
    """Yield each limit of memory, and how much of it is free."""
    yield from _physical(root)
    for kind, limit, usage, reclaimable in _CGROUPS:
        for folder in _folders(root, kind):
            try:
                most = int((folder / limit).read_text(encoding="ascii"))
                used = int((folder / usage).read_text(encoding="ascii"))
                used -= _table(folder / "memory.stat").get(reclaimable, 0)
            except (OSError, ValueError):  # no such group, or "max"
                continue
            yield most, most - used


def _physical(root: Path) -> Iterator[tuple[int, int]]:
    try:
        table = _table(root / "proc/meminfo")
        yield table["MemTotal:"] * 1024, table["MemAvailable:"] * 1024
    except (OSError, KeyError):
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:  # macOS
            size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            yield size, size


def _folders(root: Path, kind: str) -> Iterator[Path]:
    """Yield the folders of this process's cgroup and of those that it is in.

    In a container the cgroups may be mounted from the container's own one on, so that a folder is missing.
    """
    mount = root / "sys/fs/cgroup" / kind
    yield mount
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if kind in controllers.split(","):
            group = mount / path.lstrip("/")
            yield from (folder for folder in (group, *group.parents) if mount in folder.parents)


def _table(path: Path) -> dict[str, int]:
    lines = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1}
