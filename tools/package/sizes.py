"""What each part of a package weighs: as its wheel unpacks, in the package, and in the package's zip."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from tools.package.site_packages import FOLDER, Part

_MB = 1e6


def table(app: Path, parts: Iterable[Part], zipped: Mapping[str, int]) -> list[str]:
    """Return a Markdown table with a row a part, in MB, and the sums."""
    parts = list(parts)
    owner = {(FOLDER / name).as_posix(): part.pin.name for part in parts for name in part.files}
    before = {f"{part.pin.name} {part.pin.version}": part.unpacked_bytes for part in parts}
    titles = {part.pin.name: f"{part.pin.name} {part.pin.version}" for part in parts}
    unpacked: dict[str, int] = defaultdict(int)
    packed: dict[str, int] = defaultdict(int)
    for name, size in zipped.items():
        title = titles.get(owner.get(_source_of(name), ""), _own_part(name))
        unpacked[title] += (app / name).stat().st_size
        packed[title] += size
    rows = [(title, before.get(title, unpacked[title]), unpacked[title], packed[title]) for title in unpacked]
    rows.sort(key=lambda row: row[3], reverse=True)
    sums = ("together", *(sum(column) for column in list(zip(*rows, strict=True))[1:]))
    lines = ["| part | before, MB | in the package, MB | zipped, MB |", "|---|---:|---:|---:|"]
    return lines + [f"| {title} | {_mb(a)} | {_mb(b)} | {_mb(c)} |" for title, a, b, c in [*rows, sums]]


def _source_of(name: str) -> str:
    """Return the module's name for a compiled one: both weigh for the same part."""
    folder, cached, file = name.rpartition("__pycache__/")
    return f"{folder}{file.partition('.')[0]}.py" if cached else name


def _own_part(name: str) -> str:
    return "model/" if name.startswith("model/") else "functions and serving/"


def _mb(size: int) -> str:
    return f"{size / _MB:.2f}"
