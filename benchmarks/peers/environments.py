"""Each peer's virtual environment, below ``.venv-peers``: installs it once; returns its packages and size."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from importlib.metadata import distributions
from pathlib import Path

from benchmarks.figures import ROOT

APPS = Path(__file__).parent / "apps"
ENVIRONMENTS = ROOT / ".venv-peers"

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


class SetupError(Exception):
    """A peer could not be installed, prepared or started; the message is one line with the reason."""


def python(name: str) -> Path:
    """Return the environment's interpreter."""
    return ENVIRONMENTS / name / "bin" / "python"


def is_installed(name: str) -> bool:
    """Tell whether the environment has been created."""
    return (ENVIRONMENTS / name / "installed").exists()


def install(name: str) -> None:
    """Create the environment of the peer ``name`` with its requirements, unless it is up to date.

    Raises SetupError with pip's message.
    """
    requirements = APPS / name / "requirements.txt"
    stamp = ENVIRONMENTS / name / "installed"
    wanted = _text(requirements)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    # Without pip, so that the environment's size is that of the peer.
    _run(sys.executable, "-m", "venv", "--clear", "--without-pip", str(ENVIRONMENTS / name))
    _run(*_PIP, "--python", str(python(name)), "install", "--quiet", "--requirement", str(requirements))
    stamp.write_text(wanted, encoding="utf-8")


def installed_bytes(name: str) -> int:
    """Return the size of everything installed, bytecode included."""
    files = (path for path in _site_packages(name).rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files)


def versions(name: str) -> dict[str, str]:
    """Return the installed versions of the packages that the requirements name."""
    installed = {_normal(item.name): item.version for item in distributions(path=[str(_site_packages(name))])}
    named = (re.match(r"[\w.-]+", line) for line in _text(APPS / name / "requirements.txt").splitlines())
    packages = [match.group() for match in named if match]
    return {package: installed[_normal(package)] for package in packages if _normal(package) in installed}


def _site_packages(name: str) -> Path:
    base = str(ENVIRONMENTS / name)
    return Path(sysconfig.get_path("purelib", "venv", vars={"base": base, "platbase": base}))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _text(requirements: Path) -> str:
    """Return the file's text, with included files (``-r``) in place of their lines."""
    lines = []
    for line in requirements.read_text(encoding="utf-8").splitlines():
        included = re.fullmatch(r"-r (\S+)", line)
        lines.append(_text(requirements.parent / included.group(1)) if included else line)
    return "\n".join(lines)


def _run(*command: str) -> None:
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode:
        lines = [line for line in child.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        errors = [line for line in lines if line.startswith("ERROR")]  # the last one is the summary
        raise SetupError((errors or lines or ["no reason given"])[-1])
