"""App settings: ``local.settings.json``, and those of Azure's settings that the host itself reads.

Nothing else in the host reads or writes ``os.environ``.
"""

import json
import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from tools.local_host.errors import HostError
from tools.local_host.json_file import JsonObject


def put_in_environment(app_root: Path, environ: MutableMapping[str, str] = os.environ) -> None:
    """Add the values of ``local.settings.json``, if it exists, to the environment, whose own values take precedence.

    Raises HostError if the file cannot be read.
    """
    path = app_root / "local.settings.json"
    if not path.exists():
        return
    file = JsonObject.read(path)
    if file.get("IsEncrypted", default=False):
        raise file.error('"IsEncrypted" is true; decrypt the file with `func settings decrypt`')
    for name, value in file.section("Values").values.items():
        if name and value is not None:
            environ.setdefault(name, value if isinstance(value, str) else json.dumps(value))


@dataclass(frozen=True)
class Settings:
    """The settings of the host; the comment above each field names its app setting."""

    # PYTHON_THREADPOOL_THREAD_COUNT: threads for functions that are not async. The default is ThreadPoolExecutor's,
    # as on Azure.
    thread_count: int = min(32, (os.cpu_count() or 1) + 4)

    # FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: a larger request body is answered with 413. The default is Azure's, 100 MiB.
    max_body_bytes: int = 104_857_600

    # AzureFunctionsJobHost__logging__logLevel__default: overrides the level in host.json, unless None.
    log_level: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings; unset or empty ones keep their defaults. Raises HostError for an invalid value."""
        return cls(
            thread_count=_positive_int(environ, "PYTHON_THREADPOOL_THREAD_COUNT", cls.thread_count),
            max_body_bytes=_positive_int(environ, "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", cls.max_body_bytes),
            log_level=environ.get("AzureFunctionsJobHost__logging__logLevel__default") or cls.log_level,
        )


def _positive_int(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or int(text) == 0:
        raise HostError(f"{name} is {text!r}; expected a whole number above 0")
    return int(text)
