"""Checks the installed libraries: none is missing, versions are those of requirements.txt, TensorFlow is intact."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from serving.engines import tensorflow_library
from tools.doctor import children
from tools.doctor.finding import Finding, ok, problem, warning

_INSTALL = "install the packages of requirements.txt"

# name: what fails without it. TensorFlow has two package names; see ``_tensorflow``.
_NEEDED = {"azure-functions": "no function can be imported", "numpy": "no model can run", "orjson": "no body is read"}


@dataclass(frozen=True)
class TensorFlow:
    """What is installed of TensorFlow: its package's version, its C library, and whether it has its Python modules."""

    version: str | None
    library: Path | None
    has_python: bool

    @classmethod
    def here(cls) -> TensorFlow:
        """Return what is installed, found without importing it."""
        folders = _package_folders("tensorflow")
        # A pruned package has the libraries and an __init__.py that raises ImportError.
        has_python = any((folder / "python").is_dir() for folder in folders)
        return cls(_version("tensorflow-cpu") or _version("tensorflow"), tensorflow_library.find_library(), has_python)

    @property
    def is_slim(self) -> bool:
        """Whether only the C libraries are installed."""
        return self.library is not None and not self.has_python


def can_export() -> bool:
    """Return whether a model can be exported with what is installed, which takes Keras."""
    return TensorFlow.here().has_python and bool(_package_folders("keras")) and bool(_package_folders("h5py"))


def check(root: Path, tensorflow: TensorFlow) -> list[Finding]:
    """Check whether each library is installed, and in the version that requirements.txt pins."""
    required = read_requirements(root / "requirements.txt")
    found = {name: _version(name) for name in (*_NEEDED, "h5py")}
    findings = [problem(f"{name} is missing: {_NEEDED[name]}", _INSTALL) for name in _NEEDED if not found[name]]
    if not found["h5py"]:
        findings.append(warning("h5py is missing: models can't be exported here, only served", _INSTALL))
    versions = [f"{name} {version}" for name, version in found.items() if version]
    if versions:
        findings.insert(0, ok(", ".join(versions)))
    findings += _tensorflow(tensorflow)
    found |= {name: tensorflow.version for name in ("tensorflow", "tensorflow-cpu") if _version(name)}
    return [*findings, *_compared(found, required)]


def _compared(found: dict[str, str | None], required: dict[str, Requirement]) -> list[Finding]:
    if not required:
        return [warning("There is no requirements.txt that names a library", "publish it with the app")]
    versions = {name: Version(version) for name, version in found.items() if version and name in required}
    findings = [
        warning(f"{name} {version} is installed, but requirements.txt says {required[name].specifier}", _INSTALL)
        for name, version in versions.items()
        if not required[name].specifier.contains(version, prereleases=True)
    ]
    return findings or [ok("These are the versions that requirements.txt pins")]


def _tensorflow(tensorflow: TensorFlow) -> list[Finding]:
    if tensorflow.library is None:
        if tensorflow.has_python:
            name = f"TensorFlow {tensorflow.version} without its C library"
            return [warning(f"{name}: its Python session starts slower", "on Linux, install requirements.txt again")]
        return [problem("TensorFlow is missing: no model can run", _INSTALL)]
    try:
        by_library = children.library_version()
    except children.ChildError as error:
        return [problem(f"TensorFlow's library can't be loaded: {error}", f"{_INSTALL} again")]
    kind = "the C library only" if tensorflow.is_slim else "C library and Python"
    if tensorflow.version and not by_library.startswith(tensorflow.version):
        what = f"TensorFlow's package has version {tensorflow.version}, its library {by_library}"
        return [problem(f"{what}: two installations are mixed", f"{_INSTALL} into a new environment")]
    return [ok(f"TensorFlow {by_library}, {kind}")]


def read_requirements(path: Path) -> dict[str, Requirement]:
    """Return what a requirements.txt asks for on this Python and platform, by name; none where there is no file."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            requirement = Requirement(re.split(r"\s(?:#|--|\\)", line)[0])
        except InvalidRequirement:  # an option, a comment
            continue
        if requirement.marker is None or requirement.marker.evaluate():
            found[canonicalize_name(requirement.name)] = requirement
    return {str(name): requirement for name, requirement in found.items()}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package_folders(name: str) -> list[Path]:
    spec = importlib.util.find_spec(name)
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
