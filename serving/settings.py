"""App settings: every environment variable that the app reads, in one table, with its default and its reason.

Nothing else reads ``os.environ``. On Azure these are the function app's application settings; locally they stand under
``Values`` in ``local.settings.json``.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving import instance
from serving.engines import ENGINES

if TYPE_CHECKING:
    from serving.store_url import StoreUrl

APP_ROOT = Path(__file__).resolve().parent.parent


class ConfigurationError(Exception):
    """An app setting has an invalid value; the message is for the operator and names the setting."""


@dataclass(frozen=True)
class BatchRows:
    """The most rows in a batch: of every model whose export proved it safe, and of single models by name."""

    default: int = 64
    by_model: Mapping[str, int] = field(default_factory=dict)

    def of(self, name: str, is_proven: bool) -> int:
        """Return the most rows in a batch of one model; ``is_proven`` says that its export proved it safe."""
        return self.by_model.get(name, self.default if is_proven else 0)

    @classmethod
    def parse(cls, text: str) -> BatchRows:
        """Read ``64``, ``xor=16`` or ``64, xor=16``; raises ValueError."""
        default, by_model = cls.default, {}
        for part in filter(None, map(str.strip, text.split(","))):
            name, equals, number = (word.strip() for word in part.rpartition("="))
            if not number.isdecimal() or (equals and not name):
                raise ValueError("a whole number of rows, such as 64, or numbers by model, such as 64, xor=16")
            if name:
                by_model[name] = int(number)
            else:
                default = int(number)
        return cls(default, by_model)


def _engine(text: str) -> str:
    if text not in ENGINES:
        raise ValueError(f"one of {', '.join(ENGINES)}")
    return text


def _model_path(text: str) -> Path | StoreUrl:
    if "://" not in text:
        return Path(text)
    from serving.store_url import StoreUrl

    return StoreUrl.parse(text)


def _positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ValueError("a whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError("a number of seconds, 0 or more")
    return seconds


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _flag(text: str) -> bool:
    return text.lower() in ("1", "true", "t", "y", "yes")  # as the worker reads its own


def _of_memory(part: int, most: int | None = None) -> Callable[[], int]:
    """Return a default that is a part of the instance's memory, and ``most`` if that is less."""
    return lambda: min(instance.memory_bytes() // part, most or instance.memory_bytes())


def _setting(
    name: str, default: Any, parse: Callable[[str], Any], shown: str, purpose: str, is_secret: bool = False
) -> Any:
    """Return a field for an app setting.

    ``parse`` reads its text and raises ValueError with what it expects; ``shown`` and ``purpose`` document it. A
    default may be a function that returns it. A secret is left out of the settings' repr.
    """
    metadata = {"name": name, "parse": parse, "shown": shown, "purpose": purpose}
    make = default if callable(default) else lambda: default
    return field(default_factory=make, metadata=metadata, repr=not is_secret)


@dataclass(frozen=True)
class Settings:
    """What an operator can set: one row an app setting."""

    model_path: Path | StoreUrl = _setting(
        *("SERVING_MODEL_PATH", APP_ROOT / "model", _model_path, "`model` in the app"),
        "the folder with `<name>/<version>/`; may be a mounted share, or a container, "
        "`https://ACCOUNT.blob.core.windows.net/CONTAINER` ([how](store.md))",
    )
    # A secret, so the doctor and the log do not show it.
    store_connection: str = _setting(
        *("SERVING_STORE_CONNECTION", "", str, "the app's managed identity"),
        "a connection string for that container, for work without an identity of Azure's",
        is_secret=True,
    )
    # Two versions of a model are there at once while one replaces the other.
    store_cache_mb: int = _setting(
        *("SERVING_STORE_CACHE_MB", 512, _positive_int, "`512`"),
        "the most that versions downloaded from there take of the instance's temporary storage, in MB",
    )
    engine: str = _setting(
        *("SERVING_ENGINE", "auto", _engine, "`auto`"),
        "`auto` is LiteRT where a model's export has proven it, else `tensorflow`; `litert` is LiteRT alone; "
        "`tensorflow` is its C API (`c`), or, where that is missing, its slower Python session (`python`)",
    )
    default_model: str = _setting(
        *("SERVING_DEFAULT_MODEL", "", str, "the first by name"),
        "the model whose state `/health` reports and that a warm-up loads",
    )
    # None by default: an instance that is started for another function would load them too.
    preload: tuple[str, ...] = _setting(
        *("SERVING_PRELOAD", (), _names, "none"),
        "comma-separated models that start loading when the worker imports the functions",
    )
    # Five seconds cost nothing, even on a mounted share.
    poll_seconds: float = _setting(
        *("SERVING_POLL_SECONDS", 5.0, _seconds, "`5`"),
        "how often to look for newer versions of the models in use, and at their `labels.json`; 0 for never",
    )
    memory_mb: int = _setting(
        *("SERVING_MEMORY_MB", _of_memory(2 * 2**20), _positive_int, "half of the instance's"),
        "the most memory for the models of a worker process, in MB; the least recently used ones make room for others "
        "([how](operating.md#memory))",
    )
    # Azure's front end drops a request after 230 s.
    run_seconds: float = _setting(
        *("SERVING_RUN_SECONDS", 60.0, _seconds, "`60`"),
        "how long a prediction may take; then the client gets 503; 0 for any time",
    )
    # About a million values as JSON. A body may take twenty times its size while it is read.
    max_body_bytes: int = _setting(
        *("SERVING_MAX_BODY_BYTES", _of_memory(100, 20 * 1024 * 1024), _positive_int),
        "`20971520`, or 1 % of the instance's memory if that is less",
        "a larger request body is answered with 413",
    )
    work_bytes: int = _setting(
        *("SERVING_WORK_BYTES", _of_memory(4), _positive_int, "a quarter of the instance's memory"),
        "the memory that all requests in work may take, as estimated from their bodies; beyond it, a request is "
        "answered with 503 while others are in work, else with 413",
    )
    # Names, shapes and versions need a key everywhere, and a probe has none.
    health_details: bool = _setting(
        *("SERVING_HEALTH_DETAILS", False, _flag, "off"),
        "`/health`, which needs no key, names the models with their versions and states, and says why it is not ready",
    )
    batch_rows: BatchRows = _setting(
        *("SERVING_BATCH_ROWS", BatchRows(), BatchRows.parse, "`64`"),
        "the most rows in a batch of waiting requests; 0 turns batching off; `64, name=16` sets one model apart",
    )
    # A SavedModel is a program: SECURITY.md.
    any_op: tuple[str, ...] = _setting(
        *("SERVING_ANY_OP", (), _names, "none"),
        "comma-separated models whose SavedModel may have operations that do more than compute: read files, for one",
    )
    # The app's own folder is read-only on Azure; the temporary folder is local to the instance and always writable.
    cache_path: Path = _setting(
        *("SERVING_CACHE_PATH", Path(tempfile.gettempdir()) / "keras-functions", Path, "the temporary folder"),
        "where the app exports a model that was deployed without its export, and keeps what it downloads",
    )
    # The worker's own settings. Off: the packages take long to import.
    application_insights: bool = _setting(
        *("PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY", False, _flag, "off"),
        "Azure's own; also turns on OpenTelemetry spans and metrics of requests ([how](operating.md#opentelemetry))",
    )
    opentelemetry: bool = _setting(
        *("PYTHON_ENABLE_OPENTELEMETRY", False, _flag, "off"),
        "Azure's own; the same, exported by OTLP",
    )

    @property
    def telemetry(self) -> bool:
        """Whether requests are recorded for OpenTelemetry."""
        return self.application_insights or self.opentelemetry

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings; those that are unset or empty keep their defaults. Raises ConfigurationError."""
        values = {}
        for setting in fields(cls):
            name, text = setting.metadata["name"], environ.get(setting.metadata["name"])
            if text:
                try:
                    values[setting.name] = setting.metadata["parse"](text)
                except ValueError as error:
                    shown = text.partition("?")[0]  # what follows in a URL may be a secret
                    raise ConfigurationError(f"{name} is {shown!r}; it must be {error}.") from None
        return cls(**values)
