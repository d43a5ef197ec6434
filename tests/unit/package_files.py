"""Small wheels and locks, made here."""

import base64
import hashlib
import zipfile
from pathlib import Path

from tools.package.lock import Pin


def wheel(folder: Path, name: str, files: dict[str, bytes] | None = None, metadata: str = "License: MIT\n"):
    """Write version 1.0 of a wheel for every Python and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-1.0.dist-info"
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    contents = {
        f"{name}/__init__.py": b"",
        **(files or {}),
        f"{info}/METADATA": f"{head}{metadata}".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in contents.items())
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for place, data in {**contents, f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}.items():
            archive.writestr(place, data)
    return path


def pin(path: Path) -> Pin:
    """Return the pin of a wheel."""
    name, version = path.name.split("-")[:2]
    return Pin(name.replace("_", "-"), version, hashlib.sha256(path.read_bytes()).hexdigest())


def lock(path: Path, *packages: tuple[str, str, str]) -> Path:
    """Write a lock of packages: each one's name, its marker, and its wheels' tags with commas between."""
    lines = ['lock-version = "1.0"', 'created-by = "test"']
    for name, marker, tags in packages:
        wheels = ", ".join(_wheel_entry(f"{name}-1.0-{tag}.whl") for tag in tags.split(","))
        lines += ["[[packages]]", f'name = "{name}"', 'version = "1.0"', f"wheels = [{wheels}]"]
        lines += [f'marker = "{marker}"'] if marker else []
    path.write_text("\n".join(lines))
    return path


def _wheel_entry(name: str) -> str:
    return f'{{ url = "https://files.example/{name}", hashes = {{ sha256 = "{sha256_of(name)}" }} }}'


def sha256_of(name: str) -> str:
    """Return the SHA-256 that a lock made here states for a wheel's file name."""
    return hashlib.sha256(name.encode()).hexdigest()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
