"""Inference requests and responses of the Open Inference Protocol (KServe v2, Triton over HTTP).

The specification is kserve/open-inference-protocol's ``inference_rest.md``. Tensors may also follow the JSON as raw
bytes, as in Triton's ``extension_binary_data.md``. ``docs/open_inference.md`` lists where the two differ and what this
module does. A null member counts as absent, since many serializers write null.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from serving.engines.signature import Reserve, Signature, TensorSpec, shape_fits, shape_text
from serving.errors import BadRequestError
from serving.wire import json_tensors, npy, uploads
from serving.wire import open_inference_tensors as tensors

# The header of a body with raw bytes: the number of bytes of JSON before them.
HEADER_LENGTH = "Inference-Header-Content-Length"

# Limits of a shape. No body holds more values, but an empty tensor, such as [0, 1000000], could claim any size.
_MAX_DIMENSIONS = 64  # NumPy's own limit
_MAX_VALUES = 2**31 - 1

_TYPE_NAMES = {bool: "true or false", int: "a whole number", str: "a string", list: "a list", dict: "a JSON object"}

# Triton's other ways to send or return a tensor. They are refused, since ignoring them would change the answer.
_UNSUPPORTED = ("shared_memory_region",)
_CLASSIFICATION = "classification"  # an output as its highest classes (extension_classification.md)


@dataclass(frozen=True)
class InferRequest:
    """A request: its ``id`` or None, arrays by input name, and the outputs to return.

    ``outputs`` has the names requested, or all if none is, each with whether to return it as binary data. ``classes``
    has those of which the highest classes are wanted, with their number.
    """

    id: str | None
    feeds: Mapping[str, np.ndarray]
    outputs: Mapping[str, bool]
    classes: Mapping[str, int] = field(default_factory=dict)


def header_length(text: str | None) -> int | None:
    """Return the header's value as a number, None if there is no header; raises BadRequestError."""
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,18}", text.strip()):
        raise BadRequestError(f"{HEADER_LENGTH} must be a number of bytes; got {reprlib.repr(text)}.")
    return int(text)


def decode_infer(
    body: bytes, header_length: int | None, signature: Signature, reserve: Reserve = json_tensors.free
) -> InferRequest:
    """Return the request in a body: ``header_length`` bytes of JSON and then raw bytes, or only JSON if it is None.

    If it is 0, the body is the raw bytes of the only input, and all outputs are requested as binary data. ``reserve``
    is asked for the memory of the JSON's values. Raises BadRequestError with the problem, the input or output, and what
    was expected.
    """
    if header_length == 0:
        return _decode_raw(body, signature)
    header, raw = _split(body, header_length)
    try:
        document = json_tensors.parse(header, reserve)
        if type(document) is not dict:
            raise BadRequestError('The request must be a JSON object such as {"inputs": [...]}.')
        feeds = _feeds(document, raw, signature.inputs, reserve)
        binary_by_default = _optional(_parameters(document, "the request"), "binary_data_output", bool, "the request")
        outputs = _outputs(document, bool(binary_by_default), signature.outputs)
        return InferRequest(_optional(document, "id", str, "the request"), feeds, outputs, _classes(document))
    except RecursionError:  # from a value that could be parsed, but not quoted in an error message
        raise BadRequestError(json_tensors.TOO_DEEP) from None


def decode_npy(body: bytes, signature: Signature) -> InferRequest:
    """Return the request in a body that is the only input as a NumPy file; raises BadRequestError."""
    name, spec = _only_input(signature, npy.MEDIA_TYPE)
    _check_datatypes(signature.outputs, signature.outputs)
    return InferRequest(None, {name: npy.decode(body, name, spec)}, dict.fromkeys(signature.outputs, False))


def encode_infer(
    model_name: str, version: int, request: InferRequest, outputs: Mapping[str, np.ndarray], signature: Signature
) -> tuple[bytes, int | None]:
    """Return the response's body and, if raw bytes follow its JSON, the number of bytes of JSON; else None.

    Raises BadRequestError for an output that was requested as JSON but can't be represented in it.
    """
    head = f'"model_name": {json.dumps(model_name)}, "model_version": "{version}"'
    if request.id is not None:
        head += f', "id": {json.dumps(request.id)}'
    entries: list[bytes] = []
    raw: list[bytes | memoryview] = []
    for name, binary in request.outputs.items():
        array = outputs[name]
        if binary:
            raw.append(tensors.to_binary(array))
            content = b'"parameters": {"binary_data_size": %d}' % len(raw[-1])
        else:
            content = b'"data": %b' % tensors.to_json(array, name)
        datatype = tensors.datatype(name, signature.outputs[name])
        described = f'"name": {json.dumps(name)}, "datatype": "{datatype}", "shape": {list(array.shape)}'
        entries.append(b"{%b, %b}" % (described.encode(), content))
    header = b'{%b, "outputs": [%b]}' % (head.encode(), b", ".join(entries))
    return (b"".join([header, *raw]), len(header)) if raw else (header, None)


def _only_input(signature: Signature, what: str) -> tuple[str, TensorSpec]:
    if len(signature.inputs) != 1:
        names = ", ".join(signature.inputs)
        raise BadRequestError(f"{what} is for models with one input; this model has: {names}.")
    [only] = signature.inputs.items()
    return only


def _decode_raw(body: bytes, signature: Signature) -> InferRequest:
    name, spec = _only_input(signature, f"{HEADER_LENGTH} 0")
    _check_datatypes(signature.inputs, signature.inputs)
    _check_datatypes(signature.outputs, signature.outputs)
    feeds = {name: tensors.from_raw(memoryview(body), name, spec)}
    return InferRequest(None, feeds, dict.fromkeys(signature.outputs, True))


def _split(body: bytes, length: int | None) -> tuple[bytes, memoryview]:
    if length is None:
        return body, memoryview(b"")
    if not 0 < length <= len(body):
        raise BadRequestError(f"{HEADER_LENGTH} is {length}; expected 0 to {len(body)}, the size of the body.")
    return body[:length], memoryview(body)[length:]


def _feeds(
    document: Mapping[str, Any], raw: memoryview, specs: Mapping[str, TensorSpec], reserve: Reserve
) -> dict[str, np.ndarray]:
    feeds: dict[str, np.ndarray] = {}
    for number, entry in enumerate(_required(document, "inputs", list, "the request"), 1):
        name = _name(entry, "input", number, specs, feeds)
        spec = _sent(entry, specs[name])
        _check_datatype(entry, name, spec)
        shape = _shape(entry, name, spec)
        size = _binary_size(entry, name, len(raw))
        if size is None:
            data = _required(entry, "data", list, f"input {name!r}")
            feeds[name] = tensors.from_json(data, shape, name, spec)
        else:
            feeds[name] = tensors.from_binary(raw[:size], shape, name, spec)
            raw = raw[size:]
        if spec is not specs[name]:
            feeds[name] = _pictures(feeds[name], name, specs[name], reserve, is_base64=size is None)
    missing = [name for name in specs if name not in feeds]
    if missing:
        raise BadRequestError(f"The model expects the inputs {', '.join(specs)}; missing: {', '.join(missing)}.")
    if raw:
        raise BadRequestError(f"{len(raw)} bytes are left after the last tensor; expected none.")
    return feeds


def _sent(entry: Mapping[str, Any], spec: TensorSpec) -> TensorSpec:
    """Return the spec of what is sent for an input: BYTES of any shape where that is pictures, else its own."""
    if spec.decode is None or entry.get("datatype") != "BYTES":
        return spec
    return replace(spec, dtype=np.dtype(object), dtype_name="string", any_shape=True)


def _pictures(array: np.ndarray, name: str, spec: TensorSpec, reserve: Reserve, is_base64: bool) -> np.ndarray:
    contents: list[bytes] = array.ravel().tolist()
    if is_base64:  # JSON can't carry the bytes themselves
        contents = [
            uploads.from_base64(content.decode(), name, index, array.shape) for index, content in enumerate(contents)
        ]
    assert spec.decode is not None
    return spec.decode(contents, reserve)


def _classes(document: Mapping[str, Any]) -> dict[str, int]:
    """Return how many of the highest classes are wanted, by output; ``_outputs`` has checked the rest."""
    wanted = {}
    for entry in document.get("outputs") or ():
        place = f"output {entry['name']!r}"
        count = _optional(_parameters(entry, place), _CLASSIFICATION, int, place)
        if count is not None and count < 1:
            raise json_tensors.wrong_value("a whole number above 0", count, f"{_CLASSIFICATION} of {place}", 0, ())
        if count is not None:
            wanted[entry["name"]] = count
    return wanted


def _outputs(document: Mapping[str, Any], binary_by_default: bool, specs: Mapping[str, TensorSpec]) -> dict[str, bool]:
    outputs: dict[str, bool] = {}
    for number, entry in enumerate(_optional(document, "outputs", list, "the request") or (), 1):
        name = _name(entry, "output", number, specs, outputs)
        binary = _optional(_parameters(entry, f"output {name!r}"), "binary_data", bool, f"output {name!r}")
        outputs[name] = binary_by_default if binary is None else binary
    outputs = outputs or dict.fromkeys(specs, binary_by_default)
    _check_datatypes(outputs, specs)  # before the model runs, not after
    return outputs


def _check_datatypes(names: Collection[str], specs: Mapping[str, TensorSpec]) -> None:
    for name in names:
        tensors.datatype(name, specs[name])


def _name(entry: Any, kind: str, number: int, known: Collection[str], taken: Collection[str]) -> str:
    if type(entry) is not dict:
        raise _wrong_type(dict, entry, f"{kind} {number}")
    name: str = _required(entry, "name", str, f"{kind} {number}")
    if name not in known:
        raise BadRequestError(f"The model has no {kind} {reprlib.repr(name)}; it has: {', '.join(known)}.")
    if name in taken:
        raise BadRequestError(f"The {kind} {name!r} is given twice.")
    return name


def _check_datatype(entry: Mapping[str, Any], name: str, spec: TensorSpec) -> None:
    expected = tensors.datatype(name, spec)
    got = _required(entry, "datatype", str, f"input {name!r}")
    if got != expected:
        hint = " or, for pictures, 'BYTES'" * (spec.decode is not None)
        raise BadRequestError(f"Input {name!r} has datatype {reprlib.repr(got)}; expected {expected!r}{hint}.")


def _shape(entry: Mapping[str, Any], name: str, spec: TensorSpec) -> tuple[int, ...]:
    sizes = _required(entry, "shape", list, f"input {name!r}")
    if not set(map(type, sizes)) <= {int} or any(size < 0 for size in sizes):
        got = reprlib.repr(sizes)
        raise BadRequestError(f"Input {name!r} has shape {got}; expected whole numbers, 0 or more.")
    shape = tuple(sizes)
    if not shape_fits(shape, spec.accepted_shape):
        got, expected = reprlib.repr(sizes), shape_text(spec.shape)
        raise BadRequestError(f"Input {name!r} has shape {got}; expected {expected}.")
    if len(shape) > _MAX_DIMENSIONS or math.prod(size or 1 for size in shape) > _MAX_VALUES:
        limits = f"{_MAX_DIMENSIONS} dimensions and {_MAX_VALUES} values"
        raise BadRequestError(f"Input {name!r} has shape {reprlib.repr(sizes)}; the limit is {limits}.")
    return shape


def _binary_size(entry: Mapping[str, Any], name: str, available: int) -> int | None:
    """Return how many of the available raw bytes are this input's; None if its data is JSON."""
    size: int | None = _optional(_parameters(entry, f"input {name!r}"), "binary_data_size", int, f"input {name!r}")
    if size is None:
        return None
    if entry.get("data") is not None:
        raise BadRequestError(f"Input {name!r} has both data and binary_data_size; expected one of them.")
    if not 0 <= size <= available:
        expected = f"expected 0 to {available}, the bytes that are left in the body"
        raise BadRequestError(f"Input {name!r} has binary_data_size {reprlib.repr(size)}; {expected}.")
    return size


def _parameters(owner: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    parameters = _optional(owner, "parameters", dict, place) or {}
    for key in _UNSUPPORTED if place.startswith("output") else (*_UNSUPPORTED, _CLASSIFICATION):
        if key in parameters:
            raise BadRequestError(f"{key} of {place} is not supported.")
    return parameters


def _required(owner: Mapping[str, Any], key: str, kind: type, place: str) -> Any:
    value = _optional(owner, key, kind, place)
    if value is None:
        raise BadRequestError(f"{key} of {place} is missing; expected {_TYPE_NAMES[kind]}.")
    return value


def _optional(owner: Mapping[str, Any], key: str, kind: type, place: str) -> Any:
    """Return a member of a JSON object, None if it is absent or null; raises BadRequestError if its type is wrong."""
    value = owner.get(key)
    if value is not None and type(value) is not kind:
        raise _wrong_type(kind, value, f"{key} of {place}")
    return value


def _wrong_type(kind: type, value: Any, place: str) -> BadRequestError:
    return json_tensors.wrong_value(_TYPE_NAMES[kind], value, place, 0, ())
