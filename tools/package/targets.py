"""What a package is built for: a Python version on Linux, on one machine type, with the wheel tags that fit it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from packaging.markers import default_environment
from packaging.tags import Tag, compatible_tags, cpython_tags

PYTHONS = ("3.11", "3.12", "3.13")
_MACHINES = ("x86_64", "aarch64")

# The newest glibc that a wheel may ask for: Azure's Python images stand on Debian 12, which has 2.36.
_GLIBC_MINOR = 36


@dataclass(frozen=True)
class Target:
    """A Python version, such as ``3.13``, and a machine type: ``x86_64`` or ``aarch64``."""

    python: str
    machine: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read ``3.13`` or ``3.13-aarch64``; raises argparse.ArgumentTypeError, since it is an argument's type."""
        python, _, machine = text.partition("-")
        target = cls(python, machine or _MACHINES[0])
        if target.python not in PYTHONS or target.machine not in _MACHINES:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no target; give one of {', '.join(PYTHONS)}, with -aarch64 behind it for arm64."
            )
        return target

    def __str__(self) -> str:
        return f"python{self.python}-linux-{self.machine}"

    @property
    def platforms(self) -> list[str]:
        """The platform tags of wheels that run there, best first (PEP 600 and its forerunners)."""
        numbered = [f"manylinux_2_{minor}_{self.machine}" for minor in range(_GLIBC_MINOR, 4, -1)]
        older = [f"manylinux2014_{self.machine}"]
        if self.machine == "x86_64":
            older += ["manylinux2010_x86_64", "manylinux1_x86_64"]
        return [*numbered, *older, f"linux_{self.machine}"]

    @property
    def tags(self) -> list[Tag]:
        """The tags of wheels that run there, best first."""
        major, minor = map(int, self.python.split("."))
        version, interpreter = (major, minor), f"cp{major}{minor}"
        return [
            *cpython_tags(version, abis=[interpreter], platforms=self.platforms),
            *compatible_tags(version, interpreter, self.platforms),
        ]

    @property
    def marker_environment(self) -> dict[str, str]:
        """What environment markers of requirements are evaluated with (PEP 508)."""
        return {
            **{name: str(value) for name, value in default_environment().items()},
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }
