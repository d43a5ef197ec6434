"""What a package is built for: a Python version on Linux, on one machine type."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Environment, default_environment
from packaging.tags import Tag, compatible_tags, cpython_tags

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
_MACHINES = ("x86_64", "aarch64")
_DIST = Path(__file__).resolve().parents[2] / "dist"

# The newest glibc that a wheel may need: Azure's Python images are based on Debian 12, which has 2.36.
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
                f"{text!r} is not a target; expected one of {', '.join(PYTHONS)}, or one of these with -aarch64"
            )
        return target

    def __str__(self) -> str:
        return f"python{self.python}-linux-{self.machine}"

    @property
    def platform(self) -> str:
        """The platform in uv's words."""
        return f"{self.machine}-manylinux_2_{_GLIBC_MINOR}"

    @property
    def platform_tags(self) -> list[str]:
        """The platform tags of wheels that run there, best first (PEP 600 and its predecessors)."""
        numbered = [f"manylinux_2_{minor}" for minor in range(_GLIBC_MINOR, 4, -1)]
        older = ["manylinux2014", *(["manylinux2010", "manylinux1"] if self.machine == "x86_64" else [])]
        return [f"{name}_{self.machine}" for name in [*numbered, *older, "linux"]]

    @property
    def tags(self) -> list[Tag]:
        """The tags of wheels that run there, best first."""
        version, interpreter = [int(part) for part in self.python.split(".")], f"cp{self.python.replace('.', '')}"
        return [
            *cpython_tags(version, abis=[interpreter], platforms=self.platform_tags),
            *compatible_tags(version, interpreter, self.platform_tags),
        ]

    @property
    def environment(self) -> Environment:
        """The values of environment markers there (PEP 508)."""
        return {
            **default_environment(),
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return what reads the arguments that all builds have: ``target`` and ``dist``."""
    made = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    help_ = f"one of {', '.join(PYTHONS)}, with -aarch64 appended for arm64 (default: 3.13)"
    made.add_argument("--target", type=Target.parse, default=Target.parse("3.13"), help=help_)
    made.add_argument("--dist", type=Path, default=_DIST, help="the folder to write to (default: dist/)")
    return made
