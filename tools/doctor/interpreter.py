"""Checks the Python that runs here, and the machine."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

from tools.doctor.finding import Finding, ok, problem, warning

_FIRST, _LAST = (3, 11), (3, 13)


@dataclass(frozen=True)
class Machine:
    """A Python's version, whether it is a 64-bit one, and the names of the system and the machine type."""

    version: tuple[int, ...]
    is_64_bit: bool
    system: str
    machine: str

    @classmethod
    def here(cls) -> Machine:
        """Return the machine of this process."""
        return cls(tuple(sys.version_info[:3]), sys.maxsize > 2**32, platform.system(), platform.machine())


def check(machine: Machine) -> list[Finding]:
    """Check whether the app runs on this Python and machine, and with which engine."""
    version = ".".join(map(str, machine.version))
    bits = 64 if machine.is_64_bit else 32
    name = f"Python {version}, {bits} bit, {machine.system} {machine.machine}"
    if not _FIRST <= machine.version[:2] <= _LAST:
        return [problem(f"{name}: the app needs Python 3.11 to 3.13", "run it with one of these")]
    if not machine.is_64_bit:
        return [problem(f"{name}: TensorFlow has no 32-bit libraries", "install a 64-bit Python")]
    if machine.system == "Linux" and machine.machine == "x86_64":
        return [ok(f"{name}, as on Azure")]
    if machine.system == "Windows":
        engine = "models run in TensorFlow's Python session, which starts slower"
    else:
        engine = "models run by TensorFlow's C API, as on Azure"
    return [
        warning(
            f"{name}: {engine}; Azure runs Linux x86_64, so the libraries installed here do not run there",
            "measure start time and memory on Linux x86_64; publish with a remote build, or what `make package` builds",
        )
    ]
