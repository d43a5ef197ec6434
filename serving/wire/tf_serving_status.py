"""TensorFlow Serving's REST API apart from predictions: URLs, a model's status and metadata, errors.

The URL grammar is that of its ``http_rest_api_util.cc``. The responses are the messages of ``get_model_status.proto``
and ``get_model_metadata.proto`` as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.engines.signature import Signature, TensorSpec
from serving.status import State, VersionStatus

# The part of a path after "v1/models/".
_SPEC = r"([^/:]+)(?:/versions/([0-9]{1,18})|/labels/([^/:]+))?"
_PATH = re.compile(rf"{_SPEC}(?::(predict|classify|regress)|/(metadata))?", re.IGNORECASE)

_DT_NAMES = {"float32": "DT_FLOAT", "float64": "DT_DOUBLE", "float16": "DT_HALF"}


@dataclass(frozen=True)
class Route:
    """What a path asks for: ``action`` is predict, classify, regress, metadata or status.

    Without ``version`` and ``label``, it is for the model's latest version.
    """

    model: str
    version: int | None
    label: str | None
    action: str


def parse_path(path: str) -> Route | None:
    """Return what a path asks for, given its part after ``v1/models/``; None if it is malformed."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    model, version, label, method, metadata = match.groups()
    action = (method or metadata or "status").lower()
    return Route(model, None if version is None else int(version), label, action)


def status(model: str, statuses: Sequence[VersionStatus]) -> bytes:
    """Return a model's status, with ``name`` and ``ready`` for KServe's clients, which use the same URL."""
    versions = [
        {
            "version": str(status.version),
            "state": status.state,
            "status": {"error_code": "UNKNOWN" if status.error else "OK", "error_message": status.error},
            **({"weight": status.weight} if status.weight is not None else {}),
        }
        for status in statuses
    ]
    # A version that is not loaded yet counts as ready: its first request loads it.
    is_ready = any(status.state is not State.END for status in statuses)
    return _json({"name": model, "ready": is_ready, "model_version_status": versions})


def metadata(model: str, version: int, signatures: Mapping[str, Signature]) -> bytes:
    """Return a model's signatures, with TensorFlow's names of tensors and data types."""
    definitions = {
        key: {
            "inputs": {name: _tensor_info(spec) for name, spec in signature.inputs.items()},
            "outputs": {name: _tensor_info(spec) for name, spec in signature.outputs.items()},
            "method_name": signature.method_name,
        }
        for key, signature in signatures.items()
    }
    return _json(
        {
            "model_spec": {"name": model, "signature_name": "", "version": str(version)},
            "metadata": {"signature_def": {"signature_def": definitions}},
        }
    )


def error_body(message: str) -> bytes:
    """Return the body of an error."""
    return _json({"error": message})


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    dimensions = [{"size": str(-1 if size is None else size), "name": ""} for size in spec.shape or ()]
    return {
        "dtype": _DT_NAMES.get(spec.dtype_name, f"DT_{spec.dtype_name.upper()}"),
        "tensor_shape": {"dim": dimensions, "unknown_rank": spec.shape is None},
        "name": spec.tensor,
    }


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
