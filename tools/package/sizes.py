"""How large each part of a package is: as its wheel unpacks, in the package, and in the package's zip."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from tools.package.site_packages import FOLDER, Part

_MB = 1e6


def table(app: Path, parts: Iterable[Part], zipped: Mapping[str, int]) -> list[str]:
    """Return a Markdown table with a row for each part, in MB, and the sums."""
    by_title = {f"{part.pin.name} {part.pin.version}": part for part in parts}
    before = {title: part.unpacked_bytes for title, part in by_title.items()}
    owners = {(FOLDER / name).as_posix(): title for title, part in by_title.items() for name in part.files}
    unpacked: dict[str, int] = defaultdict(int)
    packed: dict[str, int] = defaultdict(int)
    for name, size in zipped.items():
        title = owners.get(_source_of(name)) or _own_part(name)
        unpacked[title] += (app / name).stat().st_size
        packed[title] += size
    rows = [(title, before.get(title, unpacked[title]), unpacked[title], packed[title]) for title in unpacked]
    rows.sort(key=lambda row: row[3], reverse=True)
    sums = ("together", *(sum(column) for column in list(zip(*rows, strict=True))[1:]))
    lines = ["| part | before, MB | in the package, MB | zipped, MB |", "|---|---:|---:|---:|"]
    return lines + [f"| {title} | {_mb(a)} | {_mb(b)} | {_mb(c)} |" for title, a, b, c in [*rows, sums]]


def _source_of(name: str) -> str:
    """Return a compiled module's source, which belongs to the same part."""
    folder, cached, file = name.rpartition("__pycache__/")
    return f"{folder}{file.partition('.')[0]}.py" if cached else name


def _own_part(name: str) -> str:
    return "model/" if name.startswith("model/") else "functions and serving/"


def _mb(size: int) -> str:
    return f"{size / _MB:.2f}"
