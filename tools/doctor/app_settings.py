"""Checks app settings: invalid values, names of missing models, contradictions, and settings without effect."""

from __future__ import annotations

import difflib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from serving import functions
from serving.functions import FunctionError
from serving.settings import Settings
from tools.doctor.finding import Finding, ok, problem, warning
from tools.doctor.limits import PROCESSES
from tools.doctor.models import Version
from tools.doctor.plans import Plan

_RUN_FROM_PACKAGE = "WEBSITE_RUN_FROM_PACKAGE"
_FILE = "local.settings.json"


def known_names() -> list[str]:
    """Return the names of all settings that the app reads."""
    return [field.metadata["name"] for field in fields(Settings)]


def read_environment(root: Path, environ: Mapping[str, str]) -> tuple[dict[str, str], list[Finding]]:
    """Return the environment, completed with the values of ``local.settings.json``, and what was found in that file."""
    if not (root / _FILE).exists():
        return dict(environ), [ok(f"Read from the environment; there is no {_FILE}")]
    try:
        content = functions.read_json(root / _FILE)
    except FunctionError as error:
        return dict(environ), [problem(str(error), "fix it; the file is for this machine and is not published")]
    if content.get("IsEncrypted"):
        return dict(environ), [warning(f"{_FILE} is encrypted and was not read", "func settings decrypt")]
    values = content.get("Values")
    values = values if isinstance(values, dict) else {}
    below = {name: str(value) for name, value in values.items() if value is not None}
    return {**below, **environ}, [ok(f"Read from the environment and {_FILE}, which is not published")]


@dataclass(frozen=True)
class App:
    """What the settings are checked against."""

    root: Path
    plan: Plan
    found: Sequence[Version]
    has_library: bool  # TensorFlow's C library is installed
    is_slim: bool  # there is no TensorFlow for Python, here or in the package
    can_export: bool
    packaged: bool | None  # every package that is built has TensorFlow; None where none is built

    @property
    def names(self) -> set[str]:
        """The models' names."""
        return {version.name for version in self.found}


def check(app: App, settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """Find settings that will fail or have no effect."""
    return [
        *_unknown(environ),
        *_model_names(app, settings),
        *_batch_rows(app, settings),
        *_engine(app, settings),
        *_telemetry(settings),
        *_paths(app, settings, environ),
        *_package(app, settings, environ),
        *_azures_own(app, environ),
    ]


def _unknown(environ: Mapping[str, str]) -> list[Finding]:
    findings, known = [], known_names()
    for name in sorted(environ):
        if name.startswith("SERVING_") and name not in known:
            meant = difflib.get_close_matches(name, known, 1)
            todo = f"did you mean {meant[0]}?" if meant else f"choose one of {', '.join(known)}"
            findings.append(warning(f"{name} is not a setting of this app and has no effect", todo))
    return findings


def _model_names(app: App, settings: Settings) -> list[Finding]:
    named = {"SERVING_DEFAULT_MODEL": [settings.default_model] if settings.default_model else []}
    named["SERVING_PRELOAD"] = list(settings.preload)
    return [
        problem(f"{setting} names the model {name!r}, which does not exist", _models(app))
        for setting, names in named.items()
        for name in names
        if name not in app.names
    ]


def _models(app: App) -> str:
    return f"choose one of {', '.join(sorted(app.names))}" if app.names else "add a model"


def _batch_rows(app: App, settings: Settings) -> list[Finding]:
    findings = []
    latest = {version.name: version for version in reversed(app.found)}
    for name, rows in settings.batch_rows.by_model.items():
        version = latest.get(name)
        setting = f"SERVING_BATCH_ROWS says {name}={rows}"
        if version is None:
            findings.append(warning(f"{setting}, but there is no such model: no effect", _models(app)))
        elif rows > 1 and version.loaded and not version.loaded.by_rows:
            findings.append(warning(f"{setting}, but its signature has no batch dimension: no effect", "remove it"))
        elif rows > 1 and not version.record.independent_rows:
            what = f"{setting}, but the export has not shown that its rows are independent"
            findings.append(warning(what, "check that a batch gets the same answers as single requests"))
    return findings


def _telemetry(settings: Settings) -> list[Finding]:
    if not settings.telemetry or importlib.util.find_spec("opentelemetry"):
        return []
    todo = "add the packages that docs/operating.md names to requirements/production.txt, then: make lock package"
    return [warning("Telemetry is on, but OpenTelemetry is not installed: no effect", todo)]


_KEEP_TENSORFLOW = "make package WITH_TENSORFLOW=1"


def _engine(app: App, settings: Settings) -> list[Finding]:
    """Check what the engine means for this machine and for the package."""
    engine = f"SERVING_ENGINE is {settings.engine}"
    if settings.engine == "auto":
        return _needs_tensorflow(app)
    if settings.engine == "litert":
        todo = "make package without WITH_TENSORFLOW, and only with models that LiteRT serves"
        return [warning(f"{engine}, so TensorFlow in the package is never used", todo)] if app.packaged else []
    if app.packaged is False:
        return [problem(f"{engine}, but a package has no TensorFlow: it serves no model", _KEEP_TENSORFLOW)]
    if app.packaged is None and app.found and all(version.record.litert for version in app.found):
        return [warning(f"{engine}, but `make package` leaves TensorFlow out of a package like this", _KEEP_TENSORFLOW)]
    if settings.engine == "c" and not app.has_library:
        return [problem(f"{engine}, but TensorFlow's C library is missing", "install requirements.txt on Linux")]
    if settings.engine == "python" and app.is_slim:
        return [problem(f"{engine}, but the package has no TensorFlow for Python", "set it to auto or c")]
    if settings.engine == "python" and app.has_library:
        return [warning(f"{engine}, which starts slower than TensorFlow's C library", "set it to auto")]
    return []


def _needs_tensorflow(app: App) -> list[Finding]:
    """Find models that a package can't serve: `make package` knows those of the project only."""
    names = [str(version) for version in app.found if version.is_ready and not version.record.litert]
    if not names or app.packaged is not False:
        return []
    return [problem(f"{', '.join(names)} needs TensorFlow, which a package does not have", _KEEP_TENSORFLOW)]


def _paths(app: App, settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    findings = []
    for name in ("SERVING_MODEL_PATH", "SERVING_CACHE_PATH"):
        value = environ.get(name)
        if value and "://" not in value and not Path(value).is_absolute():
            what = f"{name} is the relative path {value!r}: it depends on where the worker is started"
            findings.append(warning(what, "set an absolute path"))
    unready = [str(version) for version in app.found if not version.is_ready]
    in_package = _runs_from_package(app, environ) and settings.cache_path.is_relative_to(app.root)
    if (in_package or not _can_be_written(settings.cache_path)) and (unready or environ.get("SERVING_CACHE_PATH")):
        what = f"SERVING_CACHE_PATH, {settings.cache_path}, is not writable"
        if in_package:
            what += ": an app that runs from a package has a read-only folder"
        if unready:
            findings.append(
                problem(f"{what}; {', '.join(unready)} would be exported there", "set it to a folder in /tmp")
            )
        else:
            findings.append(warning(f"{what}; nothing needs it now", "set it to a folder in /tmp"))
    return findings


def _can_be_written(path: Path) -> bool:
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _runs_from_package(app: App, environ: Mapping[str, str]) -> bool:
    return app.plan.runs_from_package or environ.get(_RUN_FROM_PACKAGE, "0") not in ("", "0")


def _package(app: App, settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    findings = []
    value = environ.get(_RUN_FROM_PACKAGE)
    if value and app.plan.runs_from_package:
        # "Don't add" it there (learn.microsoft.com/azure/azure-functions/run-functions-from-deployment-package).
        findings.append(
            warning(f"{_RUN_FROM_PACKAGE} has no effect on {app.plan.title}, which always does so", "remove it")
        )
    elif value == "1" and app.plan.title == "Consumption":
        # Linux on Consumption takes a URL only (same page).
        findings.append(
            warning(f"{_RUN_FROM_PACKAGE}=1 has no effect for Linux on Consumption", "set it to the package's URL")
        )
    if not _runs_from_package(app, environ):
        return findings
    unready = [str(version) for version in app.found if not version.is_ready]
    if unready and value and app.can_export:
        what = f"The app runs from a read-only package, so each instance exports {', '.join(unready)} again"
        findings.append(warning(what, "export before publishing"))
    polls = environ.get("SERVING_POLL_SECONDS") and settings.poll_seconds
    if polls and isinstance(settings.model_path, Path) and settings.model_path.is_relative_to(app.root):
        findings.append(ok("SERVING_POLL_SECONDS is not needed: a package is read-only, so no new version can appear"))
    return findings


def _azures_own(app: App, environ: Mapping[str, str]) -> list[Finding]:
    findings = []
    if environ.get("PYTHON_THREADPOOL_THREAD_COUNT"):
        # It "applies to synchronous functions invocation and not for coroutines" (.../functions-app-settings).
        what = "PYTHON_THREADPOOL_THREAD_COUNT has no effect on this app's HTTP functions, which are async"
        findings.append(warning(what, "remove it"))
    runtime = environ.get("FUNCTIONS_WORKER_RUNTIME")
    if runtime and runtime != "python":
        findings.append(problem(f"FUNCTIONS_WORKER_RUNTIME is {runtime!r}: no function is loaded", "set it to python"))
    count = environ.get(PROCESSES)
    if count and app.plan.runs_from_package:
        findings.append(warning(f"{PROCESSES} is not valid on {app.plan.title} (functions-app-settings)", "remove it"))
    elif count and not (count.isdecimal() and 1 <= int(count) <= 10):
        findings.append(problem(f"{PROCESSES} is {count!r}", "set it to a number from 1 to 10"))
    return findings
