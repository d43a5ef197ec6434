"""App settings: every environment variable the app reads, with its default and the reason for it.

Nobody else reads ``os.environ``. On Azure these are the function app's application settings; locally they stand
under ``Values`` in ``local.settings.json``.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

APP_ROOT = Path(__file__).resolve().parent.parent

ENGINES = ("auto", "c", "python")

_TELEMETRY = ("PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY", "PYTHON_ENABLE_OPENTELEMETRY")
_TRUE = ("1", "true", "t", "y", "yes")


class ConfigurationError(Exception):
    """An app setting has a value that can't be used; the message is for the operator."""


@dataclass(frozen=True)
class Settings:
    """What an operator can set; the comment above each field gives its app setting, unit and reason."""

    # SERVING_MODEL_PATH: the folder with <name>/<version>/; a mounted share can stand in for the app's own.
    model_path: Path = APP_ROOT / "model"

    # SERVING_ENGINE: "c" is TensorFlow's C API, "python" its Python session, "auto" the first of them that is there.
    engine: str = "auto"

    # SERVING_DEFAULT_MODEL: the model that the app's health is told by and that a warm-up loads; the first by name
    # where it is not set.
    default_model: str = ""

    # SERVING_PRELOAD: names of models, with commas between them, that begin to load when the worker imports the first
    # function, so that the first request waits only for what is left of it; none by default, since an instance that is
    # started for another function would load them too.
    preload: tuple[str, ...] = ()

    # SERVING_POLL_SECONDS: how often the model folders are looked at for newer versions; 0 for never. A new version is
    # served once two looks at it were alike. Five seconds cost nothing even on a mounted share.
    poll_seconds: float = 5.0

    # SERVING_MAX_BODY_BYTES: larger request bodies are answered with 413. 20 MiB is about a million values.
    max_body_bytes: int = 20 * 1024 * 1024

    # SERVING_BATCH_ROWS: requests that wait for the same model run as one batch of at most so many rows; 0 for none.
    # Holds for models whose export has shown that no row's answer depends on another's. "64, name=16" also says it for
    # one model by name, whatever its origin.
    batch_rows: int = 64
    batch_rows_by_model: Mapping[str, int] = field(default_factory=dict)

    # SERVING_CACHE_PATH: where a model that was deployed without its export is exported to. The app's own folder is
    # read-only on Azure; the temporary folder is local to the instance and always writable.
    cache_path: Path = Path(tempfile.gettempdir()) / "keras-functions"

    # PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY, PYTHON_ENABLE_OPENTELEMETRY: the worker's own settings, either of
    # which also makes spans and metrics of the requests here; off, for the packages take long to import.
    telemetry: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings; unset or empty ones keep their defaults.

        Raises ConfigurationError naming the app setting when a value can't be used.
        """
        engine = environ.get("SERVING_ENGINE") or cls.engine
        if engine not in ENGINES:
            raise ConfigurationError(f"SERVING_ENGINE is {engine!r}; it must be one of {', '.join(ENGINES)}.")
        batch_rows, batch_rows_by_model = _batch_rows(environ.get("SERVING_BATCH_ROWS", ""), cls.batch_rows)
        return cls(
            model_path=Path(environ.get("SERVING_MODEL_PATH") or cls.model_path),
            engine=engine,
            default_model=environ.get("SERVING_DEFAULT_MODEL") or cls.default_model,
            preload=tuple(name.strip() for name in environ.get("SERVING_PRELOAD", "").split(",") if name.strip()),
            poll_seconds=_seconds(environ, "SERVING_POLL_SECONDS", cls.poll_seconds),
            max_body_bytes=_positive_int(environ, "SERVING_MAX_BODY_BYTES", cls.max_body_bytes),
            batch_rows=batch_rows,
            batch_rows_by_model=batch_rows_by_model,
            telemetry=any(environ.get(name, "").lower() in _TRUE for name in _TELEMETRY),
            cache_path=Path(environ.get("SERVING_CACHE_PATH") or cls.cache_path),
        )


def _positive_int(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or int(text) == 0:
        raise ConfigurationError(f"{name} is {text!r}; it must be a whole number above 0.")
    return int(text)


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ConfigurationError(f"{name} is {text!r}; it must be a number of seconds, 0 or more.")
    return seconds


def _batch_rows(text: str, default: int) -> tuple[int, dict[str, int]]:
    """Read ``64, name=16``: a number for all models, numbers for models by name, or both."""
    for_all, by_model = default, {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, number = (word.strip() for word in part.rpartition("="))
        if not number.isdecimal() or (equals and not name):
            raise ConfigurationError(
                f"SERVING_BATCH_ROWS is {text!r}; it must be a whole number of rows, as in 64, or also numbers for "
                "models by name, as in 64, xor=16."
            )
        if name:
            by_model[name] = int(number)
        else:
            for_all = int(number)
    return for_all, by_model
