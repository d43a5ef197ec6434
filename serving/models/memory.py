"""How much memory models need, and how much there is: the instance's, or its container's limit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from serving.engines import MODEL_TFLITE, SAVED_MODEL

# Bytes of memory for each byte of a file, by engine: the most that dense networks of 0.1 to 100 MB took at load and
# first run. TensorFlow holds the weights of a frozen graph several times, and LiteRT once more for each runner.
_FACTORS = {"litert": {MODEL_TFLITE: 3.0}, "tensorflow": {SAVED_MODEL: 5.0, "variables": 1.1}}

# For a model of any size.
_LEAST_BYTES = 2 * 1024 * 1024

# Files of Linux's control groups, version 2 and 1: the limit, what is in use, and the key of what can be reclaimed.
_CGROUPS = (
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def needed_bytes(folder: Path, engine: str) -> int:
    """Return the memory that a model needs, by the size of its export's files."""
    factors = _FACTORS[engine].items()
    return _LEAST_BYTES + round(sum(factor * _size(folder / name) for name, factor in factors))


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir())
    return path.stat().st_size if path.exists() else 0


def instance_bytes() -> float:
    """Return the memory of the instance or of its container; infinity where that is unknown."""
    return min([limit for limit, _ in _limits()], default=float("inf"))


def free_bytes() -> float:
    """Return the memory that is free in the instance and its container; infinity where that is unknown."""
    return min([free for _, free in _limits()], default=float("inf"))


def _limits(root: Path = Path("/")) -> Iterator[tuple[int, int]]:
    """Yield each limit of memory, and how much of it is free."""
    try:
        physical = _table(root / "proc/meminfo")
        yield physical["MemTotal:"] * 1024, physical["MemAvailable:"] * 1024
    except (OSError, KeyError):
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:  # macOS
            size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            yield size, size
    for kind, limit, usage, reclaimable in _CGROUPS:
        for folder in _folders(root, kind):
            try:
                most = int((folder / limit).read_text(encoding="ascii"))
                used = int((folder / usage).read_text(encoding="ascii"))
                used -= _table(folder / "memory.stat").get(reclaimable, 0)
            except (OSError, ValueError):  # no such group, or "max"
                continue
            yield most, most - used


def _folders(root: Path, kind: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and of those that it is in."""
    mount = root / "sys/fs/cgroup" / kind
    yield mount  # in a container, its own
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if kind in controllers.split(","):
            group = mount / path.lstrip("/")
            yield from (parent for parent in (group, *group.parents) if mount in parent.parents)


def _table(path: Path) -> dict[str, int]:
    lines = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1}
