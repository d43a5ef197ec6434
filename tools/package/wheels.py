"""Wheels: fetched by pip for a target, which need not be what runs here, and read. Nothing is installed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from email.parser import HeaderParser
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from tools.package import lock
from tools.package.lock import Pin
from tools.package.targets import Target


class WheelError(Exception):
    """A wheel can't be had; the message is for who builds."""


def fetch(target: Target, pins: Iterable[Pin], folder: Path) -> list[Path]:
    """Put the wheel of each pin into a folder and return their paths, in the order of their names.

    pip checks the hashes. A wheel that is in the folder already, with a right hash, is kept. Raises WheelError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {pin.name: pin for pin in pins}
    missing = {name: pin for name, pin in wanted.items() if _find(folder, pin, target) is None}
    if missing:
        _download(target, missing, folder)
    return [_found(folder, wanted[name], target) for name in sorted(wanted)]


def _download(target: Target, pins: Mapping[str, Pin], folder: Path) -> None:
    with TemporaryDirectory(dir=folder) as scratch:
        requirements = Path(scratch) / "requirements.txt"
        requirements.write_text(lock.text_of(pins), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--require-hashes", "--only-binary=:all:", "--dest", scratch, "--requirement", str(requirements)]
        command += pip_options(target)
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise WheelError(f"pip can't get {', '.join(pins)} for {target}:\n{done.stderr.strip()}")
        for wheel in Path(scratch).glob("*.whl"):
            shutil.move(wheel, folder / wheel.name)  # complete, so that a build that was stopped leaves no half wheel


def pip_options(target: Target) -> list[str]:
    """Return pip's options that choose wheels for the target instead of the Python that runs pip."""
    # pip compares Requires-Python to the Python that it runs in; the tags choose the wheel.
    options = ["--ignore-requires-python"]
    options += ["--implementation=cp", f"--python-version={target.python}"]
    options += [f"--abi={abi}" for abi in (f"cp{target.python.replace('.', '')}", "abi3", "none")]
    return options + [f"--platform={platform}" for platform in target.platforms]


def _find(folder: Path, pin: Pin, target: Target) -> Path | None:
    fitting = set(target.tags)
    for path in folder.glob("*.whl"):
        name, version, _, tags = parse_wheel_filename(path.name)
        if name == pin.name and str(version) == pin.version and tags & fitting and sha256(path) in pin.sha256:
            return path
    return None


def _found(folder: Path, pin: Pin, target: Target) -> Path:
    path = _find(folder, pin, target)
    if path is None:
        raise WheelError(f"pip downloaded no wheel of {pin.name} {pin.version} for {target}.")
    return path


def requirements_of(wheel: Path, target: Target) -> Iterator[str]:
    """Yield the canonical names of the packages that a wheel requires on the target, extras left out."""
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = [
            name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1
        ]
        headers = HeaderParser().parsestr(archive.read(metadata).decode())
    for line in headers.get_all("Requires-Dist", []):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({**target.marker_environment, "extra": ""}):
            yield canonicalize_name(requirement.name)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpacked_bytes(wheel: Path) -> int:
    """Return how many bytes the files in a wheel have."""
    with zipfile.ZipFile(wheel) as archive:
        return sum(info.file_size for info in archive.infolist())
