"""How much memory an export takes to convert a model's weights, and whether it can be had."""

from __future__ import annotations

import math
import os

# At most: an export with 299 MB of them ended within 8 GB, one with 350 MB did not.
_TIMES_WEIGHTS = 28


def lack(weights: int) -> str:
    """Say that freezing and converting so many bytes of weights may take more memory than there is, or nothing."""
    needed = _TIMES_WEIGHTS * weights
    if needed <= _limit():
        return ""
    return f"to convert {weights / 1e6:,.0f} MB of weights may take {needed / 2**30:.0f} GB of memory (see --memory)"


def _limit() -> float:
    if os.name != "posix":
        return math.inf
    import resource

    allowed = resource.getrlimit(resource.RLIMIT_DATA)[0]
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return physical if allowed == resource.RLIM_INFINITY else min(allowed, physical)
