"""The libraries that are installed: there, of the versions that the tests run with, and TensorFlow's in one piece."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from serving.engines import tensorflow_library
from tools.doctor import children
from tools.doctor.finding import Finding, ok, problem, warning

_INSTALL = "install the packages of requirements.txt"

# name: what fails without it. TensorFlow goes by two names and is looked at apart.
_NEEDED = {"azure-functions": "no function can be imported", "numpy": "no model can run", "orjson": "no body is read"}


@dataclass(frozen=True)
class TensorFlow:
    """What there is of TensorFlow: its package's version, its C library, and whether its Python is there too."""

    version: str | None
    library: Path | None
    has_python: bool

    @classmethod
    def here(cls) -> TensorFlow:
        """Return what is installed, found without importing it."""
        folders = _package_folders("tensorflow")
        # A package that was made small has the libraries and an __init__.py that says so.
        has_python = any((folder / "python").is_dir() for folder in folders)
        return cls(_version("tensorflow-cpu") or _version("tensorflow"), tensorflow_library.find_library(), has_python)

    @property
    def is_slim(self) -> bool:
        """Whether only the C libraries are there."""
        return self.library is not None and not self.has_python


def can_export() -> bool:
    """Tell whether a model that lies here without its export can be exported here: that takes Keras."""
    return TensorFlow.here().has_python and bool(_package_folders("keras")) and bool(_package_folders("h5py"))


def check(root: Path, tensorflow: TensorFlow) -> list[Finding]:
    """Tell of each library whether it is there and whether its version is the one that requirements.txt pins."""
    pins = read_pins(root / "requirements.txt")
    found = {name: _version(name) for name in (*_NEEDED, "h5py")}
    findings = [problem(f"{name} is missing: {_NEEDED[name]}", _INSTALL) for name in _NEEDED if not found[name]]
    if not found["h5py"]:
        findings.append(warning("h5py is missing: models can't be exported here, only served", _INSTALL))
    versions = [f"{name} {version}" for name, version in found.items() if version]
    if versions:
        findings.insert(0, ok(", ".join(versions)))
    findings += _tensorflow(tensorflow)
    found |= {name: tensorflow.version for name in ("tensorflow", "tensorflow-cpu") if _version(name)}
    return [*findings, *_compared(found, pins)]


def _compared(found: dict[str, str | None], pins: dict[str, set[str]]) -> list[Finding]:
    if not pins:
        return [warning("There is no requirements.txt with pinned versions", "publish it with the app")]
    others = {name: version for name, version in found.items() if version and version not in pins.get(name, {version})}
    findings = [
        warning(
            f"{name} {version} is not the version that requirements.txt pins ({', '.join(sorted(pins[name]))})",
            _INSTALL,
        )
        for name, version in others.items()
    ]
    return findings or [ok("These are the versions that requirements.txt pins")]


def _tensorflow(tensorflow: TensorFlow) -> list[Finding]:
    if tensorflow.library is None:
        if tensorflow.has_python:
            name = f"TensorFlow {tensorflow.version} without its C library"
            return [warning(f"{name}: its Python session starts slower", "on Linux, install requirements.txt anew")]
        return [problem("TensorFlow is missing: no model can run", _INSTALL)]
    try:
        by_library = children.library_version()
    except children.ChildError as error:
        return [problem(f"TensorFlow's library can't be loaded: {error}", f"{_INSTALL} anew")]
    kind = "slim: the C library without TensorFlow's Python" if tensorflow.is_slim else "C library and Python"
    if tensorflow.version and not by_library.startswith(tensorflow.version):
        what = f"TensorFlow's package says {tensorflow.version}, its library {by_library}"
        return [problem(f"{what}: parts of two installations", f"{_INSTALL} anew, into an empty environment")]
    return [ok(f"TensorFlow {by_library}, {kind}")]


def read_pins(requirements: Path) -> dict[str, set[str]]:
    """Return the versions that a requirements.txt pins with ``==``, by name; several where markers tell them apart."""
    pins: dict[str, set[str]] = {}
    try:
        lines = requirements.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    for line in lines:
        match = re.match(r"\s*([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*==\s*([^\s;#\\]+)", line)
        if match:
            pins.setdefault(re.sub(r"[-_.]+", "-", match[1]).lower(), set()).add(match[2])
    return pins


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package_folders(name: str) -> list[Path]:
    spec = importlib.util.find_spec(name)
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
