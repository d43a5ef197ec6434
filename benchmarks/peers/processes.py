"""All descendants of this process: measures their memory and ends them. Linux only (``/proc``)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
from pathlib import Path
from time import monotonic, sleep

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_PROC = Path("/proc")


def adopt_orphans() -> None:
    """From now on make orphaned descendants children of this process, so that it can find them."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[int]:
    """Return the ids of all descendants, in any process group or session."""
    children: dict[int, list[int]] = {}
    for path in _PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # pid (name, which may hold anything) state parent ...; proc(5)
            parent = int(path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found = [os.getpid()]
    for process in found:
        found += children.get(process, [])
    return found[1:]


def memory_kib() -> dict[str, int]:
    """Return the resident (``Rss``) and proportional (``Pss``) memory of all descendants, in KiB."""
    total = {"Rss": 0, "Pss": 0}
    for process in descendants():
        with contextlib.suppress(OSError):  # it may have ended
            text = (_PROC / str(process) / "smaps_rollup").read_text(encoding="ascii")
            for key in total:
                total[key] += sum(map(int, re.findall(rf"^{key}:\s+(\d+)", text, re.MULTILINE)))
    return total


def end_group(leader: int, seconds: float = 20) -> None:
    """Ask the process group to end. Once its leader has ended, or after so many seconds, kill all other descendants.

    Not every server ends its children, and some children leave the group.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGTERM)
    deadline = monotonic() + seconds
    while monotonic() < deadline and not _reap(leader):
        sleep(0.05)
    while left := descendants():
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while _reap(-1):
            pass
        sleep(0.05)


def _reap(process: int) -> bool:
    """Reap a child, or any child (-1); return whether one had ended or that child does not exist."""
    try:
        return os.waitpid(process, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return process != -1
