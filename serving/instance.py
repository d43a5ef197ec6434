"""The memory of the instance that the app runs on: what its defaults depend on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

_CGROUPS = Path("/sys/fs/cgroup")

# Where neither a limit nor the machine's memory can be read, such as on Windows: that of the usual instance.
_USUAL_BYTES = 2 * 1024**3


@cache
def memory_bytes() -> int:
    """Return the memory that the process may use: the least of its cgroups' limits and the machine's memory."""
    return min([*_limits(Path("/proc/self/cgroup"), _CGROUPS), _physical_bytes()])


def _physical_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return _USUAL_BYTES


def _limits(membership: Path, cgroups: Path) -> Iterator[int]:
    """Yield the limits of the process's cgroup and of those around it, of version 1 or 2 (``man 7 cgroups``).

    In a container the cgroups may be mounted from the container's own one on, so that a folder is missing.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, own = line.split(":", 2)
        root, name = (cgroups / "memory", "memory.limit_in_bytes") if controllers else (cgroups, "memory.max")
        if controllers and "memory" not in controllers.split(","):
            continue
        for folder in (PurePosixPath(own), *PurePosixPath(own).parents):
            try:
                text = (root / str(folder).lstrip("/") / name).read_text(encoding="ascii").strip()
            except OSError:
                continue
            if text.isdecimal():  # else "max"
                yield int(text)
