"""Reads the JSON files of an app; an error is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class JsonFileError(Exception):
    """A file is missing or does not hold a JSON object; the message names it."""


def read(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; raises JsonFileError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))  # Visual Studio writes a byte order mark
    except OSError as error:
        raise JsonFileError(f"{path.name} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise JsonFileError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise JsonFileError(f"{path.name} does not hold a JSON object")
    return content
