"""The processes that this one has started, and theirs: their memory, and their end. Linux only (``/proc``)."""

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
    """From now on, a process whose parent ends becomes a child of this one, so that none is lost sight of."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[int]:
    """Return the ids of all processes below this one, whatever group or session they are in."""
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
        with contextlib.suppress(OSError):  # it has ended meanwhile
            text = (_PROC / str(process) / "smaps_rollup").read_text(encoding="ascii")
            for key in total:
                total[key] += sum(map(int, re.findall(rf"^{key}:\s+(\d+)", text, re.MULTILINE)))
    return total


def end_group(leader: int, seconds: float = 20) -> None:
    """Ask the process group to end, and kill what is left of the descendants after so many seconds, or when it ended.

    Not every server takes its own children down, and not all of them stay in its group.
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
    """Take the end of a child, or any child (-1); tell whether one had ended, or there is none of that id."""
    try:
        return os.waitpid(process, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return process != -1
