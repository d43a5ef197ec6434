"""Wheels, made here: small, and right enough for pip."""

import base64
import hashlib
import zipfile
from pathlib import Path

from tools.package.lock import Pin
from tools.package.wheels import sha256


def wheel(folder: Path, name: str, version: str = "1.0", files: dict[str, bytes] | None = None, metadata: str = ""):
    """Write a wheel for every Python and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    contents = {
        f"{name}/__init__.py": b"",
        **(files or {}),
        f"{info}/METADATA": f"{head}License: MIT\n{metadata}".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in contents.items())
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for place, data in {**contents, f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}.items():
            archive.writestr(place, data)
    return path


def pin(path: Path) -> Pin:
    """Return the pin of a wheel."""
    name, version = path.name.split("-")[:2]
    return Pin(name.replace("_", "-"), version, (sha256(path),))


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
