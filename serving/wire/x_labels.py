"""The 2017 article's format, for a model with one input: ``{"X": rows}`` in, ``{"labels": rows}`` out.

Rows are ``"1 0|1 1"`` (rows separated by ``|``, values by white space), as the article's clients send them, or
nested lists of any rank.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from serving.engines.signature import DEFAULT_SIGNATURE, Reserve, Signature, TensorSpec
from serving.errors import BadRequestError
from serving.wire import json_rows, json_tensors
from serving.wire.json_rows import NumberRows

if TYPE_CHECKING:
    from serving.preprocessing.classification import Classifier

SIGNATURE = DEFAULT_SIGNATURE

_EXAMPLE = '{"X": "1 0|1 1"} or {"X": [[1, 0], [1, 1]]}'

_PIECE_CHARACTERS = 128 * 1024
_SEPARATOR = re.compile(r"[|\s]")

# A body whose only member is a text: its quotes are those of the member's name and value.
_TEXT = re.compile(rb'\s*{\s*"X"\s*:\s*"')
_QUOTES = 4

_Conversion = tuple[set[type], Callable[[str], Any], re.Pattern[str], str]

# How a word of text becomes a number: the types that JSON has for it, and, for what JSON writes otherwise (+1, .5), a
# converter, a pattern, and what an error message expects. Without the pattern, int and float also accept underscores,
# digits of other scripts and "nan". int accepts at most 4,300 digits.
_WHOLE: _Conversion = ({int}, int, re.compile(r"[+-]?\d{1,4300}", re.ASCII), "a whole number")
_REAL: _Conversion = ({int, float}, float, re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII), "a number")


def decode(body: bytes, signature: Signature, reserve: Reserve = json_tensors.free) -> dict[str, np.ndarray]:
    """Return ``{input name: array}``, in the signature's dtype and a shape that it allows.

    ``reserve`` is asked for the memory of a body that is not read in pieces. Raises BadRequestError with the problem,
    its row and column, and what was expected.
    """
    if len(signature.inputs) != 1:
        names = ", ".join(signature.inputs)
        raise BadRequestError(f"This format carries one input, X; the model has {len(signature.inputs)}: {names}.")
    [(name, spec)] = signature.inputs.items()
    large = json_rows.parse(body)
    rows = large.get("X") if large else None
    if isinstance(rows, NumberRows):
        array = rows.to_tensor(spec, partial(_numbers, spec), partial(json_tensors.refuse_shape, name="X", spec=spec))
        if array is not None:
            return {name: array}
    value = _member_x(_parsed(body, reserve))
    return {name: _from_text(value, spec) if type(value) is str else json_tensors.to_tensor(value, "X", spec)}


def _parsed(body: bytes, reserve: Reserve) -> Any:
    # A text is as large as the body, however many commas it has.
    is_text = _TEXT.match(body) and body.count(b'"') == _QUOTES
    return json_tensors.parse(body, json_tensors.free if is_text else reserve)


def _numbers(
    spec: TensorSpec, leaves: Sequence[Any], shape: tuple[int, ...], first: int, are_numbers: bool
) -> np.ndarray:
    if not are_numbers:
        json_tensors.check_types(leaves, shape, "X", spec, first)
    return json_tensors.numbers(leaves, shape, "X", spec, first)


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
    """Return a table as an array: read in pieces, as all words at once would take many times the memory of the text."""
    if spec.dtype_name in ("string", "bool") or (spec.accepted_shape is not None and len(spec.accepted_shape) != 2):
        raise BadRequestError("X must be nested lists; a string can only be a table of numbers.", input="X")
    table, start = _Table(spec), 0
    # Cut before a separator: of rows or, in a long row, of values.
    while cut := _SEPARATOR.search(text, start + _PIECE_CHARACTERS):
        table.add(text[start : cut.start()])
        start = cut.start()
    table.add(text[start:], is_last=True)
    return table.array()


class _Table:
    """Numbers in rows of equal length, added piece by piece."""

    def __init__(self, spec: TensorSpec) -> None:
        self._spec = spec
        self._rows, self._columns = spec.accepted_shape or (None, None)
        self._convert = _WHOLE if spec.dtype.kind in "iu" else _REAL
        self._values = bytearray()
        self._count = 0  # of values
        self._complete = 0  # rows
        self._last = 0  # values of the row that the next piece goes on with

    def add(self, piece: str, is_last: bool = False) -> None:
        """Add a piece; raises BadRequestError for a row of another length, then for a word that is no number."""
        words = self._words(piece, is_last)
        if words is None:
            rows = [row.split() for row in piece.split("|")]
            lengths = list(map(len, rows))
            lengths[0] += self._last
            self._check(lengths if is_last else lengths[:-1])
            self._complete += len(lengths) - 1
            self._last = lengths[-1]
            words = list(chain.from_iterable(rows))
        if self._columns is None or self._last <= self._columns:
            self._convert_words(piece, words)

    def _words(self, piece: str, is_last: bool) -> list[str] | None:
        """Return a piece's words if its rows have the right length: told by every so many-th being a separator."""
        if self._columns is None or self._last > self._columns:
            return None
        words = piece.replace("|", " | ").split()
        first, step = self._columns - self._last, self._columns + 1
        separators = words[first::step]
        last = self._last + len(words) - step * len(separators)
        if not separators.count("|") == len(separators) == piece.count("|") or (is_last and last != self._columns):
            return None
        del words[first::step]
        self._complete += len(separators)
        self._last = last
        return words

    def array(self) -> np.ndarray:
        """Return the table; raises BadRequestError if it has another number of rows than it must have."""
        if self._rows not in (None, self._complete + 1):
            raise json_tensors.wrong_size(int(self._rows or 0), self._complete + 1, "X", 0, ())
        return np.frombuffer(self._values, self._spec.dtype).reshape(self._complete + 1, -1)

    def _check(self, lengths: Sequence[int]) -> None:
        """Raise BadRequestError for the first of complete rows that has another length than the others."""
        if lengths and self._columns is None:
            self._columns = lengths[0]
        if not set(lengths) <= {self._columns}:
            index = next(i for i, length in enumerate(lengths) if length != self._columns)
            row = self._complete + index
            raise json_tensors.wrong_size(int(self._columns or 0), lengths[index], "X", row, (row + 1,))

    def _convert_words(self, piece: str, words: Sequence[str]) -> None:
        columns = self._columns or max(1, self._count + len(words))
        shape = ((self._count + len(words)) // columns + 1, columns)
        types, convert, pattern, expected = self._convert
        values = _from_json(words, types)
        if values is None:
            if "_" in piece or not piece.isascii():  # which int and float accept
                _check_words(words, pattern, expected, shape, self._count)
            try:
                values = list(map(convert, words))
            except ValueError:
                _check_words(words, pattern, expected, shape, self._count)
                raise
        self._values += json_tensors.numbers(values, shape, "X", self._spec, self._count).tobytes()
        self._count += len(words)


def _from_json(words: Sequence[str], types: set[type]) -> list[Any] | None:
    """Return words as numbers, which JSON reads several times as fast; None if one is no JSON number of these types.

    Minus zero is none: a whole number has no sign of zero.
    """
    text = f"[{','.join(words)}]"
    if "-0" in text and "-0" in words:
        return None
    try:
        values: list[Any] = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return values if len(values) == len(words) and set(map(type, values)) <= types else None


def _check_words(
    words: Sequence[str], pattern: re.Pattern[str], expected: str, shape: tuple[int, ...], first: int
) -> None:
    for index, word in enumerate(words):
        if not pattern.fullmatch(word):
            raise json_tensors.wrong_value(expected, word, "X", first + index, shape)
