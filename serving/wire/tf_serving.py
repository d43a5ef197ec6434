"""TensorFlow Serving's REST format: predict by rows or columns, classify and regress by ``tf.Example``.

The reference is its ``api_rest.md``, and for what that leaves open its ``json_tensor.cc``; ``docs/tf_serving.md`` has
the cases one by one. Here, and only here, the bare NaN, Infinity and -Infinity are numbers. Pure functions.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.errors import BadRequestError
from serving.signature import DEFAULT_SIGNATURE, Signature, TensorSpec
from serving.wire import json_tensors, tf_example
from serving.wire.tf_example import is_base64, to_bytes

PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress"))

# The one input of a signature that takes examples, and its outputs (signature_constants.h).
_CLASSES, _SCORES, _REGRESSION = "classes", "scores", "outputs"

# String outputs with names that end so hold bytes, which go as {"b64": ...}.
_BYTES_SUFFIX = "_bytes"


# From fetches to a response's body.
Encode = Callable[[Mapping[str, np.ndarray]], bytes]


@dataclass(frozen=True)
class PredictRequest:
    """A request to predict: the signature's name, arrays by input name, and whether the answer goes by rows."""

    signature: str
    feeds: Mapping[str, np.ndarray]
    by_rows: bool


def decode_predict(body: bytes, signatures: Mapping[str, Signature]) -> PredictRequest:
    """Return the request in a body with ``instances`` (rows) or ``inputs`` (columns).

    Raises BadRequestError saying what is wrong, in which input, row and column, and what would be right.
    """
    document, key = _document(body)
    inputs = _signature(key, signatures).inputs
    if "instances" in document and "inputs" in document:
        raise BadRequestError("Not formatted correctly: expecting only one of 'inputs' or 'instances'.")
    if "instances" in document:
        return PredictRequest(key, _from_rows(document["instances"], inputs), by_rows=True)
    if "inputs" in document:
        return PredictRequest(key, _from_columns(document["inputs"], inputs), by_rows=False)
    raise BadRequestError("Missing 'inputs' or 'instances' key.")


def encode_predict(outputs: Mapping[str, np.ndarray], by_rows: bool) -> bytes:
    """Return ``{"predictions": [...]}`` by rows or ``{"outputs": ...}`` by columns; one output goes without its name.

    Raises BadRequestError where the outputs share no rows, as TensorFlow Serving does.
    """
    if not by_rows:
        return f'{{"outputs": {_one_or_object(outputs)}}}'.encode()
    _check_rows(outputs)
    if len(outputs) == 1:
        [(name, array)] = outputs.items()
        return f'{{"predictions": {_to_json(array, name)}}}'.encode()
    columns = [[_to_json(row, name) for row in array] for name, array in outputs.items()]
    names = [json.dumps(name) for name in outputs]
    rows = (
        "{" + ", ".join(f"{name}: {value}" for name, value in zip(names, row, strict=True)) + "}"
        for row in zip(*columns, strict=True)
    )
    return f'{{"predictions": [{", ".join(rows)}]}}'.encode()


def decode_examples(body: bytes, signatures: Mapping[str, Signature], method: str) -> PredictRequest:
    """Return the request in a body with ``examples``, for a signature of the method CLASSIFY or REGRESS.

    The features of ``context``, where there is one, are added to each example. Raises BadRequestError.
    """
    document, key = _document(body)
    signature = _signature(key, signatures)
    if signature.method_name != method:
        raise BadRequestError(
            f"Expected signature {key!r} to have the method_name {method}; it has {signature.method_name!r}."
        )
    if len(signature.inputs) != 1:
        raise BadRequestError(f"Expected one input, of examples; signature {key!r} has {len(signature.inputs)}.")
    [name] = signature.inputs
    return PredictRequest(key, {name: tf_example.serialize(document)}, by_rows=True)


def encode_classification(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Return ``{"results": [[[label, score], ...], ...]}``, with "" or 0 where there is no such output."""
    classes, scores = outputs.get(_CLASSES), outputs.get(_SCORES)
    shape = next((array.shape for array in (classes, scores) if array is not None), None)
    if shape is None or len(shape) != 2:
        raise BadRequestError(f"Expected the outputs {_CLASSES!r} and {_SCORES!r} by rows; got {', '.join(outputs)}.")
    labels = np.full(shape, b"", object) if classes is None else classes
    values = np.zeros(shape, np.float32) if scores is None else scores
    results = (
        "[" + ", ".join(f"[{_string(label)}, {_to_json(value, _SCORES)}]" for label, value in row) + "]"
        for row in (zip(*pair, strict=True) for pair in zip(labels, values, strict=True))
    )
    return f'{{"results": [{", ".join(results)}]}}'.encode()


def encode_regression(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Return ``{"results": [value, ...]}``, one for each example."""
    values = outputs.get(_REGRESSION)
    if values is None or values.size != len(values):
        raise BadRequestError(f"Expected the output {_REGRESSION!r} with one value a row; got {', '.join(outputs)}.")
    return f'{{"results": {_to_json(values.reshape(-1), _REGRESSION)}}}'.encode()


def _document(body: bytes) -> tuple[dict[str, Any], str]:
    """Return a body's object and the name of the signature it asks for."""
    document = json_tensors.parse(body)
    if type(document) is not dict:
        raise BadRequestError('The body is not an object such as {"instances": [...]}.')
    key = document.get("signature_name", DEFAULT_SIGNATURE)
    if type(key) is not str:
        raise BadRequestError("Not formatted correctly: 'signature_name' must be a string.")
    return document, key or DEFAULT_SIGNATURE


def _signature(key: str, signatures: Mapping[str, Signature]) -> Signature:
    if key not in signatures:
        raise BadRequestError(f'Serving signature name: "{key}" not found in signature def.')
    return signatures[key]


def _from_rows(instances: Any, inputs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    if type(instances) is not list:
        raise BadRequestError("Expecting 'instances' to be a list.")
    if not instances:
        raise BadRequestError("No values in 'instances'.")
    if not _is_named(instances[0]):
        if len(inputs) > 1:
            names = ", ".join(inputs)
            raise BadRequestError(f"'instances' is a plain list; expected a list of objects with {names}.")
        [(name, spec)] = inputs.items()
        return {name: _to_tensor(_all_alike(instances, named=False), name, spec)}
    for number, instance in enumerate(_all_alike(instances, named=True)):
        if instance.keys() != inputs.keys():
            got, expected = ", ".join(instance) or "none", ", ".join(inputs)
            raise BadRequestError(f"Item {number} of 'instances' has the keys {got}; they must be {expected}.")
    return {name: _to_tensor([item[name] for item in instances], name, spec) for name, spec in inputs.items()}


def _all_alike(instances: list, named: bool) -> list:
    """Return the instances, which are all objects or all plain values; raises where they are a mix."""
    if named or dict in set(map(type, instances)):
        for number, instance in enumerate(instances):
            if _is_named(instance) != named:
                expected, got = ("object", "value") if named else ("value or list", "object")
                raise BadRequestError(f"Expecting {expected} but got {got} at item {number} of 'instances'.")
    return instances


def _from_columns(columns: Any, inputs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    if not _is_named(columns):
        if len(inputs) > 1:
            raise BadRequestError(f"'inputs' is a plain value; expected an object with {', '.join(inputs)}.")
        columns = dict.fromkeys(inputs, columns)
    for name in inputs:
        if name not in columns:
            raise BadRequestError(f"Missing named input: {name} in 'inputs' object.")
    return {name: _to_tensor(columns[name], name, spec) for name, spec in inputs.items()}


def _is_named(value: Any) -> bool:
    """Tell whether a value is an object of tensors by name, not one of base64 or a plain one."""
    return type(value) is dict and not is_base64(value)


def _to_tensor(value: Any, name: str, spec: TensorSpec) -> np.ndarray:
    if spec.dtype_name != "string":
        return json_tensors.to_tensor(value, name, spec, allow_nan=True)
    leaves, shape = json_tensors.flatten(value, name, spec)
    array = np.empty(len(leaves), object)
    for index, leaf in enumerate(leaves):
        try:
            array[index] = to_bytes(leaf)
        except ValueError:
            raise json_tensors.not_a('string, or {"b64": ...} of base64', leaf, name, index, shape) from None
    return array.reshape(shape)


def _check_rows(outputs: Mapping[str, np.ndarray]) -> None:
    expected: int | None = None
    for name, array in outputs.items():
        if not array.ndim:
            raise BadRequestError(f'Output {name!r} has no rows; ask by columns, with "inputs".')
        if expected is not None and len(array) != expected:
            raise BadRequestError(
                f"Output {name!r} has inconsistent batch size: {len(array)}, expecting {expected}; "
                'ask by columns, with "inputs".'
            )
        expected = len(array)


def _one_or_object(outputs: Mapping[str, np.ndarray]) -> str:
    texts = {name: _to_json(array, name) for name, array in outputs.items()}
    if len(texts) == 1:
        [text] = texts.values()
        return text
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in texts.items()) + "}"


def _to_json(value: Any, name: str) -> str:
    array = np.asarray(value, object if isinstance(value, bytes) else None)
    if array.dtype == object:
        convert = _base64 if name.endswith(_BYTES_SUFFIX) else _text
        return json.dumps(_nested(array, convert))
    if array.dtype.kind in "iub" or np.isfinite(array).all():
        return json_tensors.to_json(array, name)
    text = str(array.astype(np.float32 if array.dtype.itemsize < 8 else np.float64).astype(np.str_).tolist())
    return text.replace("'", "").replace("nan", "NaN").replace("inf", "Infinity")


def _nested(array: np.ndarray, convert: Any) -> Any:
    return convert(array.item()) if array.ndim == 0 else [_nested(item, convert) for item in map(_as_array, array)]


def _as_array(item: Any) -> np.ndarray:
    return np.asarray(item, object)


def _base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _string(value: bytes) -> str:
    return json.dumps(_text(value))
