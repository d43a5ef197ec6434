"""Example requests for a signature, in each wire format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from serving.engines.signature import Signature, TensorSpec
from serving.wire.open_inference_tensors import DATATYPES

_ROWS = 2  # for a first dimension that may vary
_SIZE = 3  # for any other

# A grey picture of one pixel, as PNG.
PICTURE = {"image": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg=="}


def x_labels(signature: Signature) -> dict[str, Any] | None:
    """Return a body of the 2017 format; None unless the signature has exactly one input, which is not a scalar."""
    if len(signature.inputs) != 1:
        return None
    [spec] = signature.inputs.values()
    return None if spec.shape == () else {"X": nested(spec)}


def instances(signature: Signature) -> dict[str, Any]:
    """Return a body of TensorFlow Serving's row format, or its columnar format if an input has no batch dimension."""
    specs = signature.inputs
    if not all(spec.shape and spec.shape[0] is None for spec in specs.values()):
        values = {name: nested(spec) for name, spec in specs.items()}
        return {"inputs": next(iter(values.values())) if len(values) == 1 else values}
    if len(specs) == 1:
        return {"instances": nested(next(iter(specs.values())))}
    rows = zip(*(nested(spec) for spec in specs.values()), strict=True)
    return {"instances": [dict(zip(specs, row, strict=True)) for row in rows]}


def infer(signature: Signature) -> dict[str, Any] | None:
    """Return a body of the Open Inference Protocol; None if it has no datatype for one of the inputs."""
    if not all(spec.dtype_name in DATATYPES for spec in signature.inputs.values()):
        return None
    return {
        "inputs": [
            {
                "name": name,
                "datatype": DATATYPES[spec.dtype_name],
                "shape": list(example_shape(spec)),
                "data": [nested(spec)] if spec.shape == () else nested(spec),
            }
            for name, spec in signature.inputs.items()
        ]
    }


def example_shape(spec: TensorSpec) -> tuple[int, ...]:
    """Return a small shape that the spec allows."""
    dimensions = (None,) if spec.shape is None else spec.shape
    return tuple(size if size is not None else (_SIZE if axis else _ROWS) for axis, size in enumerate(dimensions))


def nested(spec: TensorSpec) -> Any:
    """Return example values as nested lists, alternating (1, 0, 1, ...) to show the order."""
    leaves = {"string": ("a", "b"), "bool": (False, True)}.get(spec.dtype_name, (1, 0))
    if spec.dtype.kind == "f":
        leaves = (1.0, 0.0)
    return _fill(example_shape(spec), leaves, 0)


def _fill(shape: tuple[int, ...], leaves: tuple[Any, Any], start: int) -> Any:
    if not shape:
        return leaves[start % 2]
    return [_fill(shape[1:], leaves, start + index) for index in range(shape[0])]


class Format(NamedTuple):
    """A wire format: its title, its path below the route prefix, and the function that makes an example body."""

    title: str
    path: str
    body: Callable[[Signature], dict[str, Any] | None]


# ``{name}`` stands for the model's name, ``{Name}`` for its function's.
FORMATS = (
    Format("The 2017 format (in a function folder for each model)", "Predict{Name}", x_labels),
    Format("TensorFlow Serving REST", "v1/models/{name}:predict", instances),
    Format("Open Inference Protocol v2", "v2/models/{name}/infer", infer),
)
