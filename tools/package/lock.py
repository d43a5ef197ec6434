"""``requirements/production.lock``: every production dependency, pinned and hashed, for all targets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.package.targets import Target

LOCK = Path(__file__).resolve().parents[2] / "requirements/production.lock"


@dataclass(frozen=True)
class Pin:
    """One version of one package, and the SHA-256 of each file that may be installed for it."""

    name: str
    version: str
    sha256: tuple[str, ...]

    def __str__(self) -> str:
        hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in self.sha256)
        return f"{self.name}=={self.version}{hashes}"


def read(target: Target, text: str | None = None) -> dict[str, Pin]:
    """Return what a target needs of the lock, by canonical name; raises ValueError for a line that is no pin."""
    text = LOCK.read_text(encoding="utf-8") if text is None else text
    pins = {}
    for line in text.replace("\\\n", " ").splitlines():
        stated = line.partition("#")[0].strip()
        if not stated:
            continue
        requirement = Requirement(stated.partition(" --hash")[0])
        pin = _pin(requirement, re.findall(r"--hash=sha256:([0-9a-f]{64})", stated))
        if requirement.marker is None or requirement.marker.evaluate(target.marker_environment):
            pins[pin.name] = pin
    return pins


def _pin(requirement: Requirement, hashes: Iterable[str]) -> Pin:
    versions = [specifier.version for specifier in requirement.specifier if specifier.operator == "=="]
    sha256 = tuple(hashes)
    if len(versions) != len(requirement.specifier) or len(versions) != 1 or not sha256:
        raise ValueError(f"{requirement} is not pinned with == and hashes; `make lock` writes the file anew.")
    return Pin(canonicalize_name(requirement.name), versions[0], sha256)


def text_of(pins: Mapping[str, Pin]) -> str:
    """Return pins in pip's form, in the order of their names."""
    return "".join(f"{pins[name]}\n" for name in sorted(pins))
