"""The locks in ``requirements/``, in the format of PEP 751: what to install for a target, pinned and hashed."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.pylock import PackageWheel, Pylock, PylockSelectError, PylockValidationError

from tools.package.errors import PackageError
from tools.package.targets import Target

_FOLDER = Path(__file__).resolve().parents[2] / "requirements"
PRODUCTION = _FOLDER / "pylock.production.toml"
PACKAGE = _FOLDER / "pylock.package.toml"
STORE = _FOLDER / "pylock.store.toml"
WORKER_RUNTIME = _FOLDER / "pylock.worker-runtime.toml"


@dataclass(frozen=True)
class Pin:
    """One version of one library, and the SHA-256 of its wheel for one target."""

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


def read(lock: Path, target: Target) -> list[Pin]:
    """Return the pins of a lock that a target needs, by name.

    Raises PackageError where the file is not a lock, or has no wheel for the target.
    """
    try:
        content = Pylock.from_dict(tomllib.loads(lock.read_text(encoding="utf-8")))
        chosen = list(content.select(environment=target.environment, tags=target.tags))
    except (ValueError, PylockSelectError, PylockValidationError) as error:
        raise PackageError(f"{lock.name} can't be used for {target}: {error}\nTo write it again: make lock") from error
    return [
        Pin(package.name, str(package.version), wheel.hashes["sha256"])
        for package, wheel in chosen
        if isinstance(wheel, PackageWheel)
    ]


def requirements(pins: list[Pin]) -> str:
    """Return pins as the text of a requirements file."""
    return "".join(f"{pin}\n" for pin in pins)
