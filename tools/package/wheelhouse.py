"""``python -m tools.package.wheelhouse --target 3.13``: every production wheel, to install without a network.

Writes a folder with the wheels and a ``requirements.txt`` with their hashes, and has pip resolve it without an index.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.package import lock
from tools.package.errors import PackageError
from tools.package.staging import staging
from tools.package.targets import Target, parser


def build(target: Target, dist: Path) -> Path:
    """Write the wheelhouse of a target and return its folder; raises PackageError and leaves what was there."""
    name = f"wheelhouse-{target}"
    with staging(dist, name) as folder:
        house = folder / name
        house.mkdir()
        pins = lock.read(lock.PRODUCTION, target)
        (house / "requirements.txt").write_text(lock.requirements(pins), encoding="utf-8")
        _pip(house, target, "download", "--no-deps", "--dest", str(house))
        check(house, target)
    return dist / name


def check(house: Path, target: Target) -> None:
    """Have pip resolve a wheelhouse without an index and check every hash; raises PackageError."""
    options = ["--quiet", "--dry-run", "--ignore-installed", "--target", str(house)]
    _pip(house, target, "install", "--no-index", "--find-links", str(house), *options)


def _pip(house: Path, target: Target, *arguments: str) -> None:
    # pip compares Requires-Python with the Python that it runs in; the tags choose the wheel.
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check", "--ignore-requires-python"]
    command += ["--require-hashes", "--only-binary=:all:", "--requirement", str(house / "requirements.txt")]
    command += [f"--python-version={target.python}", *(f"--platform={tag}" for tag in target.platform_tags)]
    if subprocess.run(command, check=False).returncode:
        raise PackageError(f"pip {arguments[0]} failed for {target}; its message is above.")


def main() -> int:
    """Build the wheelhouse; return 0, or 1 with a line that says why not."""
    options = parser("tools.package.wheelhouse", __doc__).parse_args()
    print(f"Fetching every wheel for {options.target} (about 0.4 GB) ...", file=sys.stderr)
    try:
        house = build(options.target, options.dist.resolve())
    except (PackageError, OSError) as error:
        print(f"No wheelhouse was made. {error}", file=sys.stderr)
        return 1
    megabytes = sum(path.stat().st_size for path in house.iterdir()) / 1e6
    print(f"{len(list(house.glob('*.whl')))} wheels, {megabytes:.0f} MB, in {house}. To install them on the target:")
    print(f"pip install --no-index --require-hashes --find-links {house.name} -r {house.name}/requirements.txt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
