"""The 2017 article's format, for a model with one input: ``{"X": rows}`` in, ``{"labels": rows}`` out.

Rows are ``"1 0|1 1"`` (rows separated by ``|``, values by white space), as the article's clients send them, or
nested lists of any rank.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from serving.engines.signature import DEFAULT_SIGNATURE, Signature, TensorSpec
from serving.errors import BadRequestError
from serving.preprocessing.classification import Classifier
from serving.wire import json_rows, json_tensors
from serving.wire.json_rows import NumberRows

SIGNATURE = DEFAULT_SIGNATURE

_EXAMPLE = '{"X": "1 0|1 1"} or {"X": [[1, 0], [1, 1]]}'

_PIECE_CHARACTERS = 128 * 1024

# How a word of text becomes a number: converter, pattern, and what an error message expects. Without the pattern, int
# and float also accept underscores, digits of other scripts and "nan". int accepts at most 4,300 digits.
_WHOLE = (int, re.compile(r"[+-]?\d{1,4300}", re.ASCII), "a whole number")
_REAL = (float, re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII), "a number")


def decode(body: bytes, signature: Signature) -> dict[str, np.ndarray]:
    """Return ``{input name: array}``, in the signature's dtype and a shape that it allows.

    Raises BadRequestError with the problem, its row and column, and what was expected.
    """
    if len(signature.inputs) != 1:
        names = ", ".join(signature.inputs)
        raise BadRequestError(f"This format carries one input, X; the model has {len(signature.inputs)}: {names}.")
    [(name, spec)] = signature.inputs.items()
    large = json_rows.parse(body)
    rows = large.get("X") if large else None
    if isinstance(rows, NumberRows) and (array := rows.to_tensor(spec)) is not None:
        return {name: array}
    value = _member_x(json_tensors.parse(body))
    return {name: _from_text(value, spec) if type(value) is str else json_tensors.to_tensor(value, "X", spec)}


def encode(outputs: Mapping[str, np.ndarray], classifier: Classifier | None = None) -> bytes:
    """Return ``{"labels": ...}``: nested lists for a single output, else an object of nested lists by output name.

    With a classifier, ``classes`` has the name of each row's class beside them. Raises PredictionError for NaN and
    infinities, which JSON can't represent.
    """
    texts = {name: json_tensors.to_json(array, name) for name, array in outputs.items()}
    if len(texts) == 1:
        [labels] = texts.values()
    else:
        labels = b"{%b}" % b", ".join(b"%b: %b" % (json.dumps(name).encode(), text) for name, text in texts.items())
    if classifier is None or not classifier.names:
        return b'{"labels": %b}' % labels
    return b'{"labels": %b, "classes": %b}' % (labels, json.dumps(classifier.names_of(outputs)).encode())


def _member_x(document: Any) -> str | list:
    if type(document) is not dict:
        raise BadRequestError(f"The body must be a JSON object such as {_EXAMPLE}.")
    if "X" not in document:
        raise BadRequestError(f'The object has no member "X"; expected {_EXAMPLE}.')
    value = document["X"]
    if type(value) not in (str, list):
        raise BadRequestError(f"X must be a string or a list of rows; expected {_EXAMPLE}.", input="X")
    if not value or (type(value) is str and not value.strip()):
        raise BadRequestError(f"X is empty; expected {_EXAMPLE}.", input="X")
    return value


def _from_text(text: str, spec: TensorSpec) -> np.ndarray:
    if len(text) > _PIECE_CHARACTERS:
        try:
            return np.concatenate([_from_piece(piece, spec) for piece in _pieces(text)])
        except BadRequestError:
            pass  # raised again below, with its row in the whole text
    return _from_piece(text, spec)


def _pieces(text: str) -> Iterator[str]:
    """Yield parts of a text, cut between rows: all words at once would take several times the memory of the text."""
    start = 0
    while (end := text.find("|", start + _PIECE_CHARACTERS)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def _from_piece(text: str, spec: TensorSpec) -> np.ndarray:
    if spec.dtype_name in ("string", "bool") or (spec.accepted_shape is not None and len(spec.accepted_shape) != 2):
        raise BadRequestError("X must be nested lists; a string can only be a table of numbers.", input="X")
    words, shape = json_tensors.flatten([row.split() for row in text.split("|")], "X", spec)
    convert, pattern, expected = _WHOLE if spec.dtype.kind in "iu" else _REAL
    if "_" in text or not text.isascii():  # which int and float accept
        _check_words(words, pattern, expected, shape)
    try:
        values = list(map(convert, words))
    except ValueError:
        _check_words(words, pattern, expected, shape)
        raise
    return json_tensors.to_numbers(values, shape, "X", spec)


def _check_words(words: Sequence[str], pattern: re.Pattern[str], expected: str, shape: tuple[int, ...]) -> None:
    for index, word in enumerate(words):
        if not pattern.fullmatch(word):
            raise json_tensors.wrong_value(expected, word, "X", index, shape)
