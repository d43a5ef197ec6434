"""What a developer runs and nobody deploys. Ctrl-C ends it with one line."""

from __future__ import annotations

import os
import sys
from types import TracebackType


def _report(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
    elif "MAKELEVEL" not in os.environ:  # make says it too
        print("Interrupted.", file=sys.stderr)


sys.excepthook = _report
