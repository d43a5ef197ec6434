"""The Open Inference Protocol apart from inference: URLs, health, metadata, errors, and Triton's repository index.

The specification is kserve/open-inference-protocol's ``inference_rest.md``; the index is from Triton's
``extension_model_repository.md``. ``docs/open_inference.md`` lists where they differ and what this module does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from serving.engines.signature import Example, Signature, TensorSpec
from serving.errors import BadRequestError
from serving.status import State, VersionStatus
from serving.wire import json_tensors
from serving.wire import open_inference_tensors as tensors

# The part of a path after "v2/". A model's name is that of a folder, as in serving.models.versions: no separators, no
# leading dot, no escapes.
_SERVER = re.compile(r"(?:health/(live|ready)|repository/(index))?")
_MODEL = re.compile(r"models/([A-Za-z0-9_][A-Za-z0-9_.-]*)(?:/versions/([0-9]{1,18}))?(?:/(ready|infer))?")

Action = Literal["live", "ready", "index", "metadata", "infer"]

_STATES = {State.AVAILABLE: "READY", State.LOADING: "LOADING"}  # any other is UNAVAILABLE

# Triton's ``<project>_<format>``.
_PLATFORMS = {"tensorflow": "tensorflow_savedmodel", "litert": "litert_flatbuffer"}

_EXTENSIONS = ["binary_tensor_data", "classification"]


@dataclass(frozen=True)
class Route:
    """What a path asks for; ``model`` is None for the server itself, ``version`` None for the latest."""

    action: Action
    model: str | None = None
    version: int | None = None


def parse_path(path: str) -> Route | None:
    """Return what a path asks for, given its part after ``v2/``; None if the protocol has no such path."""
    if match := _SERVER.fullmatch(path):
        return Route(cast(Action, match[1] or match[2] or "metadata"))
    if match := _MODEL.fullmatch(path):
        return Route(cast(Action, match[3] or "metadata"), match[1], None if match[2] is None else int(match[2]))
    return None


def server_live() -> bytes:
    """Return the body of ``health/live``."""
    return _json({"live": True})


def server_ready(ready: bool) -> bytes:
    """Return the body of ``health/ready``: ``ready``, and the same as ``live``, the specification's name."""
    return _json({"ready": ready, "live": ready})


def model_ready(name: str, ready: bool) -> bytes:
    """Return the body of a model's ``ready``."""
    return _json({"name": name, "ready": ready})


def server_metadata(name: str, version: str) -> bytes:
    """Return the server's name, version and the extensions that it fully supports."""
    return _json({"name": name, "version": version, "extensions": _EXTENSIONS})


def model_metadata(name: str, versions: Iterable[int], engine: str, signature: Signature) -> bytes:
    """Return a model's versions, engine, inputs and outputs; raises BadRequestError for a type without a datatype."""
    return _json(
        {
            "name": name,
            "versions": list(map(str, versions)),
            "platform": _PLATFORMS[engine],
            "inputs": _tensors(signature.inputs),
            "outputs": _tensors(signature.outputs),
        }
    )


def decode_index(body: bytes) -> bool:
    """Return whether a request for the index asks only for ready models; raises BadRequestError."""
    document = json_tensors.parse(body) if body else {}
    ready = document.get("ready", False) if type(document) is dict else None
    if type(ready) is not bool:
        raise BadRequestError('The body must be empty or a JSON object such as {"ready": true}.')
    return ready


def repository_index(statuses: Iterable[VersionStatus], ready_only: bool) -> bytes:
    """Return the index: the state of each version of each model, or of those that are ready."""
    entries = [
        {
            "name": status.name,
            "version": str(status.version),
            "state": _STATES.get(status.state, "UNAVAILABLE"),
            "reason": status.error,
        }
        for status in statuses
        if status.state is State.AVAILABLE or not ready_only
    ]
    return _json(entries)


def error_body(message: str) -> bytes:
    """Return the body of an error."""
    return _json({"error": message})


def _tensors(specs: Mapping[str, TensorSpec]) -> list[dict[str, Any]]:
    return [
        {"name": name, "datatype": tensors.datatype(name, spec), "shape": _shape(spec), **_parameters(spec)}
        for name, spec in specs.items()
    ]


def _parameters(spec: TensorSpec) -> dict[str, Any]:
    """Say that an input takes pictures too, by MLServer's name for what a tensor's content is, and give an example.

    Say of an output that Triton's request parameter of that name is answered with names.
    """
    picture = {"content_type": "image"} if spec.decode is not None else {}
    shown = {"example": _example(spec.example)} if spec.example is not None else {}
    named = {"classification": True} if spec.has_names else {}
    found = {**picture, **shown, **named}
    return {"parameters": found} if found else {}


def _example(example: Example) -> dict[str, Any]:
    """Return an example as in a request; without data for zeros, and for strings that are not text."""
    values = example.values
    has_data = values is not None and not any(isinstance(value, bytes) for value in values)
    return {"shape": example.shape, **({"data": values} if has_data else {})}


def _shape(spec: TensorSpec) -> list[int]:
    if spec.shape is None:  # the protocol can't express an unknown rank
        return [-1]
    return [-1 if size is None else size for size in spec.shape]


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
