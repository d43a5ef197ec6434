"""Reads typed values from JSON files."""

import json
from pathlib import Path
from typing import Any, TypeVar

from tools.local_host.errors import HostError

Kind = TypeVar("Kind", str, bool, list[Any], dict[str, Any])

_KIND_NAMES = {str: "a string", bool: "true or false", list: "a list", dict: "an object"}


class JsonObject:
    """A JSON object and the path of its file, for error messages."""

    def __init__(self, values: dict[str, Any], path: Path) -> None:
        self.values = values
        self.path = path

    @classmethod
    def read(cls, path: Path) -> "JsonObject":
        """Return the object in a file; raises HostError if the file is missing or is not a JSON object."""
        try:
            # Visual Studio writes a byte order mark.
            values = json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise HostError(f"{path}: {error.strerror}") from error
        except ValueError as error:
            raise HostError(f"{path}: not valid JSON: {error}") from error
        if not isinstance(values, dict):
            raise HostError(f"{path}: expected a JSON object")
        return cls(values, path)

    def get(self, key: str, default: Kind) -> Kind:
        """Return a value, or the default if it is absent or null; raises HostError if it has another type."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, type(default)):
            raise self.error(f'"{key}" is {json.dumps(value)}; expected {_KIND_NAMES[type(default)]}')
        return value

    def section(self, *keys: str) -> "JsonObject":
        """Return a nested object, empty if it is absent; raises HostError if it is not an object."""
        section = self
        for key in keys:
            section = JsonObject(section.get(key, {}), self.path)
        return section

    def objects(self, key: str) -> list["JsonObject"]:
        """Return a list of objects, empty if it is absent; raises HostError if it is anything else."""
        items = self.get(key, [])
        if not all(isinstance(item, dict) for item in items):
            raise self.error(f'"{key}" must be a list of objects')
        return [JsonObject(item, self.path) for item in items]

    def error(self, problem: str) -> HostError:
        """Return an error that names the file."""
        return HostError(f"{self.path}: {problem}")
