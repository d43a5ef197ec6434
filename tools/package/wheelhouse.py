"""``python -m tools.package.wheelhouse --target 3.13``: every production wheel, to install offline.

Writes a folder with the wheels and a ``requirements.txt`` with their hashes, and has pip resolve it without a network.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.package import lock, wheels
from tools.package.lock import Pin
from tools.package.targets import PYTHONS, Target

PROJECT = Path(__file__).resolve().parents[2]


def build(target: Target, dist: Path) -> Path:
    """Write the wheelhouse of a target and return its folder; raises WheelError and leaves what was there."""
    pins = lock.read(target)
    found = wheels.fetch(target, pins.values(), dist / "wheels")
    dist.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=dist) as scratch:
        house = Path(scratch) / "house"
        house.mkdir()
        for wheel in found:
            shutil.copyfile(wheel, house / wheel.name)
        own = {name: Pin(name, pins[name].version, (wheels.sha256(path),)) for name, path in _by_name(pins, found)}
        (house / "requirements.txt").write_text(lock.text_of(own), encoding="utf-8")
        check(house, target)
        place = dist / f"wheelhouse-{target}"
        shutil.rmtree(place, ignore_errors=True)
        house.replace(place)
    return place


def _by_name(pins: dict[str, Pin], found: list[Path]) -> list[tuple[str, Path]]:
    return list(zip(sorted(pins), found, strict=True))  # fetch returns them in the order of their names


def check(house: Path, target: Target) -> None:
    """Have pip resolve the wheelhouse with no index and check every hash, installing nothing; raises WheelError."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"]
    command += [
        "--ignore-installed",
        "--no-index",
        "--require-hashes",
        "--only-binary=:all:",
        "--find-links",
        str(house),
    ]
    command += [*wheels.pip_options(target), "--target", str(house), "--requirement", str(house / "requirements.txt")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise wheels.WheelError(f"The wheelhouse does not install by itself:\n{done.stderr.strip()}")


def main() -> int:
    """Build the wheelhouse; return 0, or 1 with a line that says why not."""
    parser = argparse.ArgumentParser(prog="python -m tools.package.wheelhouse", description=__doc__)
    help_ = f"one of {', '.join(PYTHONS)}; with -aarch64 behind it for arm64 (default: 3.13)"
    parser.add_argument("--target", type=Target.parse, default=Target.parse("3.13"), help=help_)
    parser.add_argument("--dist", type=Path, default=PROJECT / "dist", help="where to write (default: dist/)")
    options = parser.parse_args()
    print(f"Fetching every wheel for {options.target} (about 0.4 GB) ...", file=sys.stderr)
    try:
        house = build(options.target, options.dist.resolve())
    except (wheels.WheelError, OSError, ValueError) as error:
        print(f"No wheelhouse was made. {error}", file=sys.stderr)
        return 1
    print(f"{len(list(house.glob('*.whl')))} wheels, {_mb(house):.0f} MB, in {house}. With no network, on the target:")
    print(f"pip install --no-index --require-hashes --find-links {house.name} -r {house.name}/requirements.txt")
    return 0


def _mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


if __name__ == "__main__":
    sys.exit(main())
