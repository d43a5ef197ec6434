"""A model's files, told apart by their bytes, and the description of the model that they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py

from export import archive, hdf5
from serving.models.export_record import SourceError

_LARGEST_JSON_BYTES = 64 * 2**20
_LFS_POINTER = b"version https://git-lfs"


def kind(path: Path) -> str:
    """Return ``archive``, ``hdf5`` or ``json``; raises SourceError for a file that is neither, or isn't there."""
    if not path.is_file():
        raise SourceError(f"{path} is missing")
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(archive.SIGNATURE):
        return "archive"
    if start.startswith(hdf5.SIGNATURE):
        return "hdf5"
    if start.startswith(_LFS_POINTER):
        raise SourceError(f"{path} is a Git LFS pointer, not the file itself. Run: git lfs pull")
    if start.lstrip()[:1] in (b"{", b'"', b"["):
        return "json"
    raise SourceError(f"{path} is not a Keras model: expected JSON, HDF5 or a .keras archive")


def describe(path: Path) -> dict[str, Any]:
    """Return a model's architecture, with ``keras_version`` and ``backend`` where the file states them."""
    description = _whole({"archive": archive.read, "hdf5": _read_hdf5, "json": _read_json}[kind(path)](path))
    if not isinstance(description, dict):
        raise SourceError("it does not describe a Keras model")
    return description


def _whole(content: Any) -> Any:
    """Return a description of a model where its configuration alone was saved, as ``model.get_config()`` returns it."""
    layers = content.get("layers") if isinstance(content, dict) and "class_name" not in content else content
    if not isinstance(layers, list) or not layers or not all("class_name" in _object(layer) for layer in layers):
        return content
    return {"class_name": "Model" if "input_layers" in _object(content) else "Sequential", "config": content}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _read_json(path: Path) -> Any:
    if path.stat().st_size > _LARGEST_JSON_BYTES:
        raise SourceError(f"it is larger than {_LARGEST_JSON_BYTES:,} bytes")
    return _parsed(path.read_bytes())


def _parsed(text: str | bytes) -> Any:
    content = json.loads(text)
    return json.loads(content) if isinstance(content, str) else content  # json.dump(model.to_json()) writes it twice


def _read_hdf5(path: Path) -> Any:
    hdf5.check(path)
    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise SourceError("it holds weights only; put the architecture, the JSON of model.to_json(), beside it")
        content = _parsed(_text(file.attrs["model_config"]))
    return content | attributes(path) if isinstance(content, dict) else content


def attributes(weights: Path) -> dict[str, str]:
    """Return ``keras_version`` and ``backend`` of an HDF5 file, where it has them."""
    with h5py.File(weights) as file:
        places = [file, file["model_weights"]] if "model_weights" in file else [file]
        return {
            key: _text(place.attrs[key])
            for place in places
            for key in ("keras_version", "backend")
            if key in place.attrs
        }


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
