"""TensorFlow Serving's REST format: predict by rows or columns, classify and regress with ``tf.Example``.

The reference is its ``api_rest.md`` and, for what that leaves open, its ``json_tensor.cc``; ``docs/tf_serving.md`` has
every case. Unlike the other wire formats, this one accepts and writes bare NaN, Infinity and -Infinity. Errors repeat
TensorFlow Serving's own sentence if it has one; those sentences count items from 0.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from serving.engines.signature import DEFAULT_SIGNATURE, Reserve, Signature, TensorSpec, shape_fits, shape_text
from serving.errors import BadRequestError
from serving.wire import json_rows, json_tensors, tf_example
from serving.wire.json_rows import NumberRows
from serving.wire.json_tensors import quote
from serving.wire.tf_example import is_base64, to_bytes, type_name

# The one input of a signature that takes examples, and its outputs (signature_constants.h).
_EXAMPLES, _CLASSES, _SCORES, _REGRESSION = "inputs", "classes", "scores", "outputs"

# String outputs whose names have this suffix hold bytes, which are written as {"b64": ...}.
_BYTES_SUFFIX = "_bytes"

# A NumPy dtype's kind -> the types of its JSON values; bfloat16 is of kind V. Complex numbers have none.
_JSON_TYPES: dict[str, set[type]] = {
    "b": {bool},
    "i": {int},
    "u": {int},
    "f": {int, float},
    "V": {int, float},
    "O": {str, dict},
}

# TensorFlow's name of a dtype in its errors, where NumPy's differs.
_TYPE_NAMES = {"float16": "half", "float32": "float", "float64": "double"}

_MAX_DIMENSIONS = 64  # NumPy's own limit


@dataclass(frozen=True)
class PredictRequest:
    """A request to predict: the signature's name, arrays by input name, and whether to answer by rows."""

    signature: str
    feeds: Mapping[str, np.ndarray]
    by_rows: bool


def decode_predict(
    body: bytes, signatures: Mapping[str, Signature], reserve: Reserve = json_tensors.free
) -> PredictRequest:
    """Return the request in a body with ``instances`` (rows) or ``inputs`` (columns).

    ``reserve`` is asked for the memory of a body that is not read in pieces.

    Raises BadRequestError with the problem, its input, row and column, and what was expected.
    """
    large = _decode_large(body, signatures)
    if large is not None:
        return large
    document, key = _document(body, reserve)
    inputs = _signature(key, signatures).inputs
    if "instances" in document and "inputs" in document:
        raise BadRequestError("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist.")
    if "instances" in document:
        return PredictRequest(key, _from_rows(document["instances"], inputs, reserve), by_rows=True)
    if "inputs" in document:
        return PredictRequest(key, _from_columns(document["inputs"], inputs, reserve), by_rows=False)
    raise BadRequestError("Missing 'inputs' or 'instances' key.")


def _decode_large(body: bytes, signatures: Mapping[str, Signature]) -> PredictRequest | None:
    """Return the request in a large body with the rows of a single input; None for any other body."""
    document = json_rows.parse(body)
    if document is None or ("instances" in document) == ("inputs" in document):
        return None
    key = document.get("signature_name") or DEFAULT_SIGNATURE
    rows = document.get("instances", document.get("inputs"))
    if type(key) is not str or key not in signatures or not isinstance(rows, NumberRows):
        return None
    inputs = signatures[key].inputs
    if len(inputs) != 1:
        return None
    [(name, spec)] = inputs.items()
    array = rows.to_tensor(spec, partial(_numbers, name, spec), partial(_refuse_shape, name=name, spec=spec))
    return None if array is None else PredictRequest(key, {name: array}, by_rows="instances" in document)


def encode_predict(outputs: Mapping[str, np.ndarray], by_rows: bool) -> bytes:
    """Return ``{"predictions": [...]}`` by rows or ``{"outputs": ...}`` by columns; a single output has no name.

    Raises BadRequestError, as TensorFlow Serving does, if the outputs differ in their number of rows, or have a type
    that JSON can't represent.
    """
    if by_rows:
        _check_rows(outputs)
    if len(outputs) == 1:
        [(name, array)] = outputs.items()
        text = _to_json(array, name)
    elif by_rows:
        members = [_members(name, _rows(array, name)) for name, array in outputs.items()]
        text = b"[%b]" % b",".join(b"{%b}" % b",".join(row) for row in zip(*members, strict=True))
    else:
        columns = (b"%b:%b" % (json.dumps(name).encode(), _to_json(array, name)) for name, array in outputs.items())
        text = b"{%b}" % b",".join(columns)
    return _body("predictions" if by_rows else "outputs", text)


def decode_examples(
    body: bytes, signatures: Mapping[str, Signature], reserve: Reserve = json_tensors.free
) -> PredictRequest:
    """Return the request in a body with ``examples``, for a signature that takes them.

    The only feed is a string tensor of shape [examples]; see ``tf_example.serialize``. A model that takes pictures has
    them as the only feature of each example, in base64. Raises BadRequestError.
    """
    document, key = _document(body, reserve)
    signature = _signature(key, signatures)
    if [spec.decode is not None for spec in signature.inputs.values()] == [True]:
        return PredictRequest(key, _pictures(document, signature.inputs, reserve), by_rows=True)
    if [(name, spec.dtype_name) for name, spec in signature.inputs.items()] != [(_EXAMPLES, "string")]:
        got = ", ".join(f"{name} ({spec.dtype_name})" for name, spec in signature.inputs.items())
        raise BadRequestError(f"Expected signature {key!r} to have one input, {_EXAMPLES} (string); it has {got}.")
    return PredictRequest(key, {_EXAMPLES: tf_example.serialize(document)}, by_rows=True)


def _pictures(document: Mapping[str, Any], inputs: Mapping[str, TensorSpec], reserve: Reserve) -> dict[str, np.ndarray]:
    examples = document.get("examples")
    for number, example in enumerate(examples if type(examples) is list and examples else [None]):
        if type(example) is not dict or [is_base64(value) for value in example.values()] != [True]:
            expected = 'a list of objects with one picture, such as {"image/encoded": {"b64": "..."}}'
            raise BadRequestError(f"Expecting 'examples' to be {expected}; got {quote(example)} at item {number}.")
    [(name, spec)] = inputs.items()
    values = [value for example in document["examples"] for value in example.values()]
    return {name: _to_tensor(values, name, spec, reserve)}


def encode_classification(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Return ``{"results": [[[label, score], ...], ...]}``; without classes labels are "", without scores scores are 0.

    Raises BadRequestError, as TensorFlow Serving does, for outputs other than classes and scores of one shape
    [examples, classes].
    """
    found = {name: outputs[name] for name in (_CLASSES, _SCORES) if name in outputs}
    dtypes = {_CLASSES: object, _SCORES: np.float32}
    shapes = {array.shape for array in found.values()}
    if {array.ndim for array in found.values()} != {2} or len(shapes) > 1 or not _have_dtypes(found, dtypes):
        expected = f"{_CLASSES!r} (string), {_SCORES!r} (float) or both, of shape [examples, classes]"
        raise BadRequestError(f"Expected outputs {expected}; got {_describe(outputs)}.")
    [shape] = shapes
    labels = _rows(found.get(_CLASSES, np.full(shape, b"", object)).ravel(), _CLASSES)
    scores = _rows(found.get(_SCORES, np.zeros(shape, np.float32)).ravel(), _SCORES)
    pairs = np.empty(len(labels), object)
    pairs[:] = [b"[%b,%b]" % pair for pair in zip(labels, scores, strict=True)]
    return _body("results", b"[%b]" % b",".join(b"[%b]" % b",".join(row) for row in pairs.reshape(shape).tolist()))


def encode_regression(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Return ``{"results": [value, ...]}``, one value for each example.

    Raises BadRequestError, as TensorFlow Serving does, unless there is a float32 output of one value for each example.
    """
    values = outputs.get(_REGRESSION)
    if values is None or values.dtype != np.float32 or values.shape not in ((values.size,), (values.size, 1)):
        expected = f"{_REGRESSION!r} (float) of shape [examples] or [examples, 1]"
        raise BadRequestError(f"Expected output {expected}; got {_describe(outputs)}.")
    return _body("results", _to_json(values.ravel(), _REGRESSION))


def _document(body: bytes, reserve: Reserve) -> tuple[dict[str, Any], str]:
    """Return the JSON object in a body, and the name of the signature that it requests."""
    document = json_tensors.parse(body, reserve)
    if type(document) is not dict:
        raise BadRequestError(
            f'JSON Value: {quote(document)} Is not object; expected one such as {{"instances": [...]}}.'
        )
    key = document.get("signature_name", DEFAULT_SIGNATURE)
    if type(key) is not str:
        raise BadRequestError(f"JSON Value: {quote(key)}: 'signature_name' key must be a string value.")
    return document, key or DEFAULT_SIGNATURE


def _signature(key: str, signatures: Mapping[str, Signature]) -> Signature:
    if key not in signatures:
        known = ", ".join(signatures) or "none"
        raise BadRequestError(f"Serving signature name: {quote(key)} not found in signature def; it has: {known}.")
    if not signatures[key].inputs:
        raise BadRequestError(f"Failed to get input map for signature: {key}.")
    return signatures[key]


def _from_rows(instances: Any, inputs: Mapping[str, TensorSpec], reserve: Reserve) -> dict[str, np.ndarray]:
    if type(instances) is not list:
        raise BadRequestError(f"Expecting 'instances' to be an list/array; got {quote(instances)}.")
    if not instances:
        raise BadRequestError("No values in 'instances' array.")
    if _is_named(instances[0]):
        _check_objects(instances, inputs)
        columns = {name: [item[name] for item in instances] for name in inputs}
        return {name: _to_tensor(columns[name], name, spec, reserve) for name, spec in inputs.items()}
    if len(inputs) > 1:
        names = ", ".join(inputs)
        raise BadRequestError(f"instances is a plain list, but expecting list of objects with the inputs {names}.")
    if dict in set(map(type, instances)):
        for number, item in enumerate(instances):
            if _is_named(item):
                raise BadRequestError(f"Expecting value/list but got object at item {number} of input list.")
    [(name, spec)] = inputs.items()
    return {name: _to_tensor(instances, name, spec, reserve)}


def _check_objects(instances: list[Any], inputs: Mapping[str, TensorSpec]) -> None:
    """Raise BadRequestError unless every instance is an object with one member for each input."""
    if set(map(type, instances)) == {dict} and set(map(frozenset, instances)) == {frozenset(inputs)}:
        return
    for number, item in enumerate(instances):
        if type(item) is not dict:
            got = "list" if type(item) is list else "value"
            raise BadRequestError(f"Expecting object but got {got} at item {number} of input list.")
        if item.keys() != inputs.keys():
            raise BadRequestError(
                f"Failed to process element: {number} of 'instances' list. JSON object: {quote(item)} keys must be "
                f"equal to: {','.join(inputs)}."
            )


def _from_columns(columns: Any, inputs: Mapping[str, TensorSpec], reserve: Reserve) -> dict[str, np.ndarray]:
    if not _is_named(columns):
        if len(inputs) > 1:
            names = ", ".join(inputs)
            raise BadRequestError(f"inputs is a plain value/list, but expecting an object with the inputs {names}.")
        columns = dict.fromkeys(inputs, columns)
    for name in inputs:
        if name not in columns:
            raise BadRequestError(f"Missing named input: {name} in 'inputs' object.", input=name)
    return {name: _to_tensor(columns[name], name, spec, reserve) for name, spec in inputs.items()}


def _is_named(value: Any) -> bool:
    """Return whether a value is an object of tensors by name, rather than a base64 object or a plain value."""
    return type(value) is dict and not is_base64(value)


def _to_tensor(value: Any, name: str, spec: TensorSpec, reserve: Reserve = json_tensors.free) -> np.ndarray:
    """Return nested lists of JSON values as an array of the spec's dtype; raises BadRequestError."""
    if spec.decode is not None and type(value) is list and value and all(map(is_base64, value)):
        return spec.decode(_strings(value, (len(value),), name).tolist(), reserve)
    _check_shape(value, name, spec)
    leaves, shape = json_tensors.flatten(value, name, spec)
    if spec.dtype_name == "string":
        _check_types(leaves, shape, name, spec)
        return _strings(leaves, shape, name)
    return _numbers(name, spec, leaves, shape, 0, False).reshape(shape)


def _numbers(
    name: str, spec: TensorSpec, leaves: Sequence[Any], shape: tuple[int, ...], first: int, are_numbers: bool
) -> np.ndarray:
    if not are_numbers:
        _check_types(leaves, shape, name, spec, first)
    return json_tensors.numbers(leaves, shape, name, spec, first, allow_nan=True)


def _check_types(leaves: Sequence[Any], shape: tuple[int, ...], name: str, spec: TensorSpec, first: int = 0) -> None:
    types = _JSON_TYPES.get(spec.dtype.kind)
    if types is None:
        raise BadRequestError(f"{name}: no JSON value can be converted to type: {spec.dtype_name}.", input=name)
    if not set(map(type, leaves)) <= types:
        index = next(i for i, leaf in enumerate(leaves) if type(leaf) not in types)
        raise _not_of_type(leaves[index], name, spec, first + index, shape)


def _check_shape(value: Any, name: str, spec: TensorSpec) -> None:
    """Compare the shape of the first elements with the spec's; ``flatten`` checks that the others have the same."""
    shape: tuple[int, ...] = ()
    first = value
    while type(first) is list:
        shape += (len(first),)
        if not first or len(shape) > _MAX_DIMENSIONS:
            break
        first = first[0]
    _refuse_shape(shape, [first], name, spec)


def _refuse_shape(shape: tuple[int, ...], _: Sequence[Any], name: str, spec: TensorSpec) -> None:
    if spec.dtype.kind not in _JSON_TYPES:
        raise BadRequestError(f"{name}: no JSON value can be converted to type: {spec.dtype_name}.", input=name)
    # Sizes below an empty list are unknown.
    expected = spec.accepted_shape
    if expected is not None and 0 in shape:
        expected = expected[: len(shape)]
    if len(shape) > _MAX_DIMENSIONS:
        raise BadRequestError(f"{name}: expected at most {_MAX_DIMENSIONS} levels of lists.", input=name)
    if not shape_fits(shape, expected):
        expected_text = f"{_type_of(spec)} of shape {shape_text(spec.shape)}"
        raise BadRequestError(f"{name}: expected {expected_text}, got shape {list(shape)}.", input=name)


def _type_of(spec: TensorSpec) -> str:
    return _TYPE_NAMES.get(spec.dtype_name, spec.dtype_name)


def _strings(leaves: Sequence[Any], shape: tuple[int, ...], name: str) -> np.ndarray:
    array = np.empty(len(leaves), object)
    for index, leaf in enumerate(leaves):
        try:
            array[index] = to_bytes(leaf)
        except ValueError as error:
            where, members = json_tensors.place_of(index, shape)
            raise BadRequestError(f"{name}: {error}{where}.", input=name, **members) from None
    return array.reshape(shape)


def _not_of_type(value: Any, name: str, spec: TensorSpec, index: int, shape: tuple[int, ...]) -> BadRequestError:
    where, members = json_tensors.place_of(index, shape)
    got = f"JSON Value: {quote(value)} Type: {type_name(value)}"
    return BadRequestError(f"{name}: {got} is not of expected type: {_type_of(spec)}{where}.", input=name, **members)


def _check_rows(outputs: Mapping[str, np.ndarray]) -> None:
    expected: int | None = None
    for name, array in outputs.items():
        if not array.ndim:
            raise BadRequestError(f'Tensor name: {name} has no shape information; use "inputs" instead of "instances".')
        if expected is not None and len(array) != expected:
            raise BadRequestError(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {expected}; "
                'use "inputs" instead of "instances".'
            )
        expected = len(array)


def _have_dtypes(outputs: Mapping[str, np.ndarray], dtypes: Mapping[str, Any]) -> bool:
    return all(array.dtype == dtypes[name] for name, array in outputs.items())


def _describe(outputs: Mapping[str, np.ndarray]) -> str:
    names = {"object": "string", **_TYPE_NAMES}
    return ", ".join(
        f"{name} ({names.get(array.dtype.name, array.dtype.name)}) of shape {list(array.shape)}"
        for name, array in outputs.items()
    )


def _members(name: str, values: Iterable[bytes]) -> list[bytes]:
    key = json.dumps(name).encode()
    return [b"%b:%b" % (key, value) for value in values]


def _body(member: str, text: bytes) -> bytes:
    return b'{"%b":%b}' % (member.encode(), text)


def _to_json(array: np.ndarray, name: str) -> bytes:
    if array.dtype == object:
        return json_tensors.joined(array, lambda part: _strings_to_json(_texts(part, name)))
    if array.dtype.kind == "c":
        raise BadRequestError(f"Failed to write JSON value for tensor type: {array.dtype.name}, of output {name!r}.")
    return json_tensors.joined(array, partial(_numbers_to_json, name=name))


def _numbers_to_json(array: np.ndarray, name: str) -> bytes:
    if array.dtype.kind == "V":  # bfloat16, which orjson can't write
        array = array.astype(np.float32)
    if array.dtype.kind in "iub" or json_tensors.first_not_finite(array) is None:
        return json_tensors.to_json(array, name)
    text = str(array.astype(np.str_).tolist()).replace("'", "").replace(" ", "")
    return text.replace("nan", "NaN").replace("inf", "Infinity").encode()


def _strings_to_json(texts: Any) -> bytes:
    # Bytes that are not UTF-8 are written unchanged, as TensorFlow Serving does; see _text.
    return json.dumps(texts, ensure_ascii=False).encode(errors="surrogateescape")


def _rows(array: np.ndarray, name: str) -> list[bytes]:
    """Return the JSON of each row of an array whose rank is at least 1."""
    if array.dtype == object:
        return [_strings_to_json(row) for row in _texts(array, name)]
    if not array.size:
        return [_to_json(row, name) for row in array]
    # Write the whole array, then cut it between rows, where more brackets meet than within a row.
    text = _to_json(array, name)
    opening, closing = b"[" * (array.ndim - 1), b"]" * (array.ndim - 1)
    rows = text[array.ndim : -array.ndim].split(b"%b,%b" % (closing, opening))
    return [b"%b%b%b" % (opening, row, closing) for row in rows]


def _texts(array: np.ndarray, name: str) -> Any:
    """Return an array of strings as nested lists of their JSON values."""
    convert = _base64 if name.endswith(_BYTES_SUFFIX) else _text
    return np.asarray(np.frompyfunc(convert, 1, 1)(array), object).tolist()


def _base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")
