"""The memory of this process, from Linux's ``/proc/self/smaps_rollup``."""

from __future__ import annotations

import re
from pathlib import Path


def memory_kib() -> dict[str, int]:
    """Return resident (``Rss``) and private (``Anonymous``) memory in KiB."""
    text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    return {key: int(re.findall(rf"{key}:\s+(\d+)", text)[0]) for key in ("Rss", "Anonymous")}
