"""Example requests for a signature, in each wire format: as JSON where that is short, else as a command that makes one.

The values are the inputs' examples (``serving.models.example``). No example is as large as its tensors: an image
model's would be 600 kB, and a shape in a file can say anything.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from serving.engines.signature import Example, Signature, TensorSpec
from serving.models import example
from serving.openapi.schemas import MOST_LEVELS
from serving.wire.open_inference import HEADER_LENGTH
from serving.wire.open_inference_tensors import DATATYPES

# A grey picture of one pixel, as PNG.
PICTURE = {"image": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg=="}

_MOST_BYTES = 16 * 1024 * 1024  # in a request that a command makes, so that the app takes it by default

# What a command makes an input of: zeros, and nested lists of them in Python.
_ZEROS = {"bool": "False", "string": '""'}

Values = Callable[[TensorSpec], Any]


def x_labels(signature: Signature) -> dict[str, Any] | None:
    """Return a body of the 2017 format; None unless the signature has exactly one input, which is not a scalar."""
    return _written(signature, _x_labels)


def instances(signature: Signature) -> dict[str, Any] | None:
    """Return a body of TensorFlow Serving's row format, or its columnar format if an input has no batch dimension."""
    return _written(signature, _instances)


def infer(signature: Signature) -> dict[str, Any] | None:
    """Return a body of the Open Inference Protocol; None if it has no datatype for one of the inputs."""
    return _written(signature, _infer)


def is_short(signature: Signature) -> bool:
    """Return whether an example has few enough values, and levels of lists, to be written out."""
    seen = [_of(spec) for spec in example.guessed(signature).inputs.values()]
    sizes = [max(1, math.prod(one.shape)) for one in seen if one.values is not None and len(one.shape) <= MOST_LEVELS]
    return len(sizes) == len(seen) and sum(sizes) <= example.MOST_VALUES


def is_guess(signature: Signature) -> bool:
    """Return whether nobody has seen the model take the example."""
    return not all(spec.example and spec.example.is_seen for spec in signature.inputs.values())


def fits_x_labels(signature: Signature) -> bool:
    """Return whether the 2017 format can carry the signature's inputs: a single one, which is not a scalar."""
    return len(signature.inputs) == 1 and all(spec.shape != () for spec in signature.inputs.values())


def fits_infer(signature: Signature) -> bool:
    """Return whether the Open Inference Protocol has a datatype for each of the signature's inputs."""
    return all(spec.dtype_name in DATATYPES for spec in signature.inputs.values())


def _written(signature: Signature, body: Callable[[Signature, Values], Any]) -> dict[str, Any] | None:
    return body(example.guessed(signature), nested) if is_short(signature) else None


def _of(spec: TensorSpec) -> Example:
    assert spec.example is not None  # ``example.guessed`` has filled it
    return spec.example


def _x_labels(signature: Signature, values: Values) -> dict[str, Any] | None:
    if not fits_x_labels(signature):
        return None
    [spec] = signature.inputs.values()
    return None if _has_bytes(spec) else {"X": values(spec)}


def _instances(signature: Signature, values: Values) -> dict[str, Any]:
    columns = {name: values(spec) for name, spec in signature.inputs.items()}
    rows = {_of(spec).shape[:1] for spec in signature.inputs.values()}
    if len(rows) > 1 or not all(spec.shape and spec.shape[0] is None for spec in signature.inputs.values()):
        return {"inputs": next(iter(columns.values())) if len(columns) == 1 else columns}
    if len(columns) == 1:
        return {"instances": next(iter(columns.values()))}
    [[count]] = rows
    return {"instances": [{name: column[row] for name, column in columns.items()} for row in range(count)]}


def _infer(signature: Signature, values: Values) -> dict[str, Any] | None:
    if not fits_infer(signature) or any(map(_has_bytes, signature.inputs.values())):
        return None
    tensors = [
        {**_tensor(name, spec), "data": [values(spec)] if spec.shape == () else values(spec)}
        for name, spec in signature.inputs.items()
    ]
    return {"inputs": tensors}


def _has_bytes(spec: TensorSpec) -> bool:
    """Return whether a string of the example is not text, which only TensorFlow Serving's JSON can carry."""
    return any(isinstance(value, bytes) for value in _of(spec).values or ())


def _tensor(name: str, spec: TensorSpec) -> dict[str, Any]:
    return {"name": name, "datatype": DATATYPES[spec.dtype_name], "shape": list(_of(spec).shape)}


def nested(spec: TensorSpec) -> Any:
    """Return an example's values as nested lists."""
    one = _of(spec)
    leaves = list(one.values or ())
    if spec.dtype_name == "string":
        leaves = list(map(example.json_string, leaves))
    for size in reversed(one.shape[1:]):
        leaves = [leaves[start : start + size] for start in range(0, len(leaves), size)] if size else leaves
    return leaves if one.shape else leaves[0]


class Format(NamedTuple):
    """A wire format: its title, its path below the route prefix, and the function that makes an example body."""

    title: str
    path: str
    body: Callable[[Signature, Values], dict[str, Any] | None]


# ``{name}`` stands for the model's name, ``{Name}`` for its function's.
FORMATS = (
    Format("The 2017 format (in a function folder for each model)", "Predict{Name}", _x_labels),
    Format("TensorFlow Serving REST", "v1/models/{name}:predict", _instances),
    Format("Open Inference Protocol v2", "v2/models/{name}/infer", _infer),
)


def command(one: Format, signature: Signature, url: str) -> str | None:
    """Return a shell command of one line that sends an example; None where the format can't carry the inputs.

    What is long is made by the command: lists of zeros by Python, or zero bytes where the format takes raw bytes. If
    that is larger than the app takes by default, the line is a comment that says so.
    """
    signature = example.guessed(signature)
    if is_short(signature):
        body = one.body(signature, nested)
        return None if body is None else f"curl -s -H 'Content-Type: application/json' -d {_quoted(body)} {url}"
    if one.body is _infer:
        return _binary(signature, url) if fits_infer(signature) else None
    made = one.body(signature, lambda spec: _Made(spec) if _of(spec).values is None else nested(spec))
    if made is None:
        return None
    size = 3 * sum(math.prod(_of(spec).shape) for spec in signature.inputs.values())  # at least, of "0, "
    if size > _MOST_BYTES:
        return _too_large(size)
    code = f"import json; true, false = True, False; print(json.dumps({_expression(made)}))"
    if not any(spec.dtype_name == "bool" for spec in signature.inputs.values()):
        code = code.replace("true, false = True, False; ", "")
    return f"python3 -c {shlex.quote(code)} | curl -s -H 'Content-Type: application/json' --data-binary @- {url}"


class _Made:
    """An input that a command makes: ``[[0]*3]*2``, with its first dimension where it is not a row of it."""

    def __init__(self, spec: TensorSpec) -> None:
        self._zero = _ZEROS.get(spec.dtype_name, "0")
        self._shape = _of(spec).shape

    def __getitem__(self, row: int) -> _Made:
        made = _Made.__new__(_Made)
        made._zero, made._shape = self._zero, self._shape[1:]
        return made

    def __str__(self) -> str:
        closing = (f"]*{size}" if size != 1 else "]" for size in reversed(self._shape))
        return "[" * len(self._shape) + self._zero + "".join(closing)


def _expression(body: Mapping[str, Any]) -> str:
    """Return a body as Python code."""
    made: list[_Made] = []

    def place(value: _Made) -> str:
        made.append(value)
        return f"\0{len(made)}"

    text = json.dumps(body, default=place)
    for number, value in enumerate(made, 1):
        text = text.replace(f'"\\u0000{number}"', str(value), 1)
    return text


def _binary(signature: Signature, url: str) -> str:
    """Return a command that sends zeros as raw bytes; four of them are an empty string, too."""
    inputs, total = [], 0
    for name, spec in signature.inputs.items():
        if _of(spec).values is not None:
            inputs.append({**_tensor(name, spec), "data": nested(spec)})
            continue
        size = math.prod(_of(spec).shape) * (4 if spec.dtype_name == "string" else spec.dtype.itemsize)
        inputs.append({**_tensor(name, spec), "parameters": {"binary_data_size": size}})
        total += size
    if total > _MOST_BYTES:
        return _too_large(total)
    header = json.dumps({"inputs": inputs})
    send = f"curl -s -H '{HEADER_LENGTH}: {len(header)}' --data-binary @- {url}"
    return f"(printf %s {shlex.quote(header)}; head -c {total} /dev/zero) | {send}"


def _too_large(size: int) -> str:
    return f"# The example is over {size / 1e6:,.0f} MB: raise SERVING_MAX_BODY_BYTES to send it."


def _quoted(body: Mapping[str, Any]) -> str:
    return shlex.quote(json.dumps(body))
