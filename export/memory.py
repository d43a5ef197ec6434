"""How much memory an export takes to convert a model's weights, and whether it can be had."""

from __future__ import annotations

import math
import os

# Of large weights: an export with 240 MB of them ended well within 8 GB, one with 350 MB did not.
_TIMES_WEIGHTS = 28


def needed_beyond_limit(weights: int) -> float:
    """Return the GB of memory that freezing and converting so many bytes of weights takes; 0 where they can be had."""
    needed = _TIMES_WEIGHTS * weights
    return needed / 2**30 if needed > _limit() else 0


def _limit() -> float:
    if os.name != "posix":
        return math.inf
    import resource

    allowed = resource.getrlimit(resource.RLIMIT_DATA)[0]
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return physical if allowed == resource.RLIM_INFINITY else min(allowed, physical)
