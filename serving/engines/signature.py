"""Signatures: the named inputs and outputs of a SavedModel, decoded from its serialized MetaGraphDef.

The few fields that serving needs are decoded by hand, without ``tensorflow`` or ``protobuf``. Field numbers are those
of ``tensorflow/core/protobuf/meta_graph.proto`` and ``tensorflow/core/framework/tensor_shape.proto``; the encoding is
described at protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from serving.engines import dtypes
from serving.engines.protobuf import fields, map_entry, text

_logger = logging.getLogger(__name__)

# TensorFlow writes one for each set of tags, which are two or three at most.
_MOST_META_GRAPHS = 100

DEFAULT_SIGNATURE = "serving_default"

# The tag of a SavedModel's MetaGraph for serving (tensorflow/cc/saved_model/tag_constants.h).
SERVE_TAG = "serve"

# Prefix of signatures that SavedModel uses itself, such as the one that names the init op.
INTERNAL_PREFIX = "__saved_model"

# Asks for so many bytes of memory, for as long as the request is in work; raises ServingError if they can't be had. A
# negative number gives bytes back.
Reserve = Callable[[int], None]


@dataclass(frozen=True)
class Example:
    """Values for an input in C order, or None for zeros; ``is_seen``: not a guess, the model was seen to take them."""

    shape: tuple[int, ...]
    values: tuple[Any, ...] | None
    is_seen: bool = False


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a signature.

    ``tensor`` is its name in the graph, such as ``"serving_default_X:0"``. ``dtype`` is NumPy's type, ``dtype_number``
    and ``dtype_name`` are TensorFlow's. A dimension of None may vary; a ``shape`` of None is of unknown rank. With
    ``any_shape`` the shape is only what the model's author stated, and TensorFlow decides what the graph takes.
    ``decode`` makes the tensor of encoded pictures, where the model's owner says how, and asks for the memory before.
    ``example`` has values for an input; ``has_names``: the values of an output are scores of classes with names.
    """

    tensor: str
    dtype_number: int
    dtype: np.dtype
    dtype_name: str
    shape: tuple[int | None, ...] | None
    any_shape: bool = False
    decode: Callable[[Sequence[bytes], Reserve], np.ndarray] | None = None
    example: Example | None = None
    has_names: bool = False

    @property
    def accepted_shape(self) -> tuple[int | None, ...] | None:
        """The shape that an input must have; None for any."""
        return None if self.any_shape else self.shape

    def typed(self, number: int) -> TensorSpec:
        """Return the spec with the DataType that its tensor has in the graph; raises TypeError if NumPy has none."""
        number = dtypes.base(number)
        if number == self.dtype_number:
            return self
        return replace(self, dtype_number=number, dtype=dtypes.numpy_dtype(number), dtype_name=dtypes.name_of(number))


@dataclass(frozen=True)
class Signature:
    """A function of a SavedModel: its inputs and outputs by name, in alphabetical order."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method_name: str

    @property
    def has_batch_dimension(self) -> bool:
        """Whether the first dimension of every input and output may vary, like that of a batch."""
        specs = (*self.inputs.values(), *self.outputs.values())
        return bool(self.inputs) and all(spec.shape and spec.shape[0] is None for spec in specs)

    def with_strings(self, names: Collection[str]) -> Signature:
        """Return the signature with strings as these outputs."""
        outputs = {key: spec.typed(dtypes.STRING) if key in names else spec for key, spec in self.outputs.items()}
        return replace(self, outputs=outputs)

    def with_any_shape(self) -> Signature:
        """Return the signature with inputs that need not have the stated shapes."""
        return replace(self, inputs={name: replace(spec, any_shape=True) for name, spec in self.inputs.items()})


def shape_fits(shape: tuple[int, ...], expected: tuple[int | None, ...] | None) -> bool:
    """Return whether a TensorSpec's shape allows a shape."""
    if expected is None:
        return True
    if len(shape) != len(expected):
        return False
    # Runs on every request. A generator expression would take three times as long.
    for got, size in zip(shape, expected, strict=True):  # noqa: SIM110
        if size is not None and got != size:
            return False
    return True


def shape_text(shape: tuple[int | None, ...] | None) -> str:
    """Return a TensorSpec's shape for an error message: ``[?, 2]`` or ``any shape``."""
    if shape is None:
        return "any shape"
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def read_signatures(saved_model: bytes | memoryview, tag: str) -> dict[str, Signature]:
    """Return the signatures of the MetaGraph with a tag, from the content of a ``saved_model.pb``.

    Raises ValueError if the bytes are not a SavedModel or no MetaGraph has the tag.
    """
    return decode_signatures(find_meta_graph(saved_model, tag))


def signatures_of_file(path: Path) -> Mapping[str, Signature]:
    """Return the signatures of a ``saved_model.pb`` for serving; a file is read again only after it has changed.

    Raises OSError or ValueError if the file can't be read.
    """
    status = path.stat()
    found = _signatures_of_file(path, status.st_size, status.st_mtime_ns)
    if isinstance(found, ValueError):
        raise ValueError(*found.args)
    return found


@lru_cache(256)
def _signatures_of_file(path: Path, size: int, _: int) -> Mapping[str, Signature] | ValueError:
    # Mapped, not read: a frozen graph contains its weights, which are skipped.
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    try:
        return read_signatures(memoryview(content), SERVE_TAG)
    except ValueError as error:  # kept too: a file that takes long to refuse is refused once
        return ValueError(*error.args)


def find_meta_graph(saved_model: bytes | memoryview, tag: str) -> memoryview:
    """Return the serialized MetaGraphDef with only this tag, which TensorFlow loads, in a ``saved_model.pb``.

    Raises ValueError where there is none.
    """
    found: list[set[str]] = []
    for number, meta_graph in fields(memoryview(saved_model)):
        if number == 2:  # repeated MetaGraphDef meta_graphs (saved_model.proto)
            if len(found) == _MOST_META_GRAPHS:
                raise ValueError(f"it has more than {_MOST_META_GRAPHS} MetaGraphs")
            found.append(_tags(meta_graph))
            if found[-1] == {tag}:
                return memoryview(meta_graph)
    tags = " and ".join(f"[{', '.join(sorted(tags))}]" for tags in found) or "no MetaGraph"
    raise ValueError(f"no MetaGraph has the tag {tag!r} alone; it has {tags}")


def _tags(meta_graph: memoryview) -> set[str]:
    # MetaInfoDef meta_info_def, whose field 4 is repeated string tags
    infos = [meta_info for number, meta_info in fields(meta_graph, once=(1,)) if number == 1]
    return {text(value) for meta_info in infos for number, value in fields(meta_info) if number == 4}


def decode_signatures(meta_graph_def: bytes | memoryview) -> dict[str, Signature]:
    """Return the signatures of a serialized MetaGraphDef by name.

    A signature with a sparse or composite tensor, or with a data type that NumPy lacks, is left out with a warning.
    Raises ValueError if the bytes are not a MetaGraphDef.
    """
    signatures = {}
    for number, entry in fields(memoryview(meta_graph_def)):
        if number == 5:  # map<string, SignatureDef> signature_def
            key, value = map_entry(entry)
            if key.startswith(INTERNAL_PREFIX):
                continue
            try:
                signatures[key] = _signature(value)
            except TypeError as error:
                _logger.warning("Signature %r is left out because it can't be served: %s.", key, error)
    return dict(sorted(signatures.items()))


def needs_variables(meta_graph_def: bytes | memoryview) -> bool:
    """Return whether the graph restores variables, so that the SavedModel must have ``variables/variables.index``."""
    return any(number == 3 for number, _ in fields(memoryview(meta_graph_def)))  # SaverDef saver_def


def _signature(data: memoryview) -> Signature:
    inputs: dict[str, TensorSpec] = {}
    outputs: dict[str, TensorSpec] = {}
    method_name = ""
    for number, value in fields(data):
        if number in (1, 2):  # map<string, TensorInfo> inputs, outputs
            name, info = map_entry(value)
            (inputs if number == 1 else outputs)[name] = _tensor_spec(name, info)
        elif number == 3:
            method_name = text(value)
    return Signature(dict(sorted(inputs.items())), dict(sorted(outputs.items())), method_name)


def _tensor_spec(name: str, data: memoryview) -> TensorSpec:
    tensor, number = "", 0
    shape: tuple[int | None, ...] | None = None
    for field, value in fields(data, once=(1, 2, 3)):
        if field == 1:
            tensor = text(value)
        elif field == 2:
            number = dtypes.base(int(value))
        elif field == 3:
            shape = _shape(value)
        else:  # coo_sparse, composite_tensor
            raise TypeError(f"{name!r} is a sparse or composite tensor; only dense tensors can be served")
    return TensorSpec(tensor, number, dtypes.numpy_dtype(number), dtypes.name_of(number), shape)


def _shape(data: memoryview) -> tuple[int | None, ...] | None:
    dimensions: list[int | None] = []
    for number, value in fields(data):
        if number == 2:  # repeated Dim dim, whose first field is int64 size, -1 for unknown
            size = next((int(size) for field, size in fields(value) if field == 1), 0)
            dimensions.append(None if size >= 1 << 63 else size)
        elif number == 3 and value:  # bool unknown_rank
            return None
    return tuple(dimensions)
