"""A ``model.tflite`` in LiteRT, and what runs it. Every native object is created and released here."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Iterable, Mapping
from ctypes import Array, c_char_p, c_int, c_size_t, c_void_p
from functools import partial
from pathlib import Path

import numpy as np

from serving.engines.errors import DataLossError, InvalidArgumentError, ResourceExhaustedError
from serving.engines.litert_library import ALIGNMENT, ELEMENT_TYPES, Layout, LiteRt, TensorType, load_library
from serving.engines.signature import Signature, TensorSpec, shape_fits

# Kernels may read a little beyond the end of an input (XNN_EXTRA_BYTES in xnnpack.h).
_SPARE_BYTES = 128

# Followed by a number: the name of a signature that takes batches of this size only. The others take any.
FIXED_ROWS = "rows_"

Shapes = tuple[tuple[int, ...], ...]


def read(path: Path) -> np.ndarray:
    """Return the bytes of a ``model.tflite`` in memory where LiteRT can use them; raises OSError."""
    with path.open("rb") as file:
        content = _aligned(os.fstat(file.fileno()).st_size)
        return content[: file.readinto(content.data)]


class LiteRtModel:
    """A ``model.tflite`` as ``read`` returns it, and its inputs and outputs in its own order, checked by a signature.

    ``fixed_rows`` are the batches that it takes, the largest first; none if it takes any.

    Raises TensorFlowError if it can't be loaded, or is another model's.
    """

    def __init__(self, content: np.ndarray, signature: Signature, threads: int) -> None:
        self.library = load_library()
        self.threads = threads
        self.handle = c_void_p()
        self._content = content  # which LiteRT reads whenever a runner is made
        self.library.LiteRtCreateModelFromBuffer(
            self.library.environment, content.ctypes.data, len(content), self.handle
        )
        weakref.finalize(self, self.library.LiteRtDestroyModel, self.handle).atexit = False
        signatures = self._signatures()
        self.inputs = self._tensors("Input", signature.inputs, signatures.values())
        self.outputs = self._tensors("Output", signature.outputs, signatures.values())
        self._index = {rows: index for index, rows in enumerate(signatures)}
        self.fixed_rows = sorted((rows for rows in signatures if rows), reverse=True)

    def signature_index(self, shapes: Shapes) -> int:
        """Return which signature takes inputs of these shapes."""
        return self._index[shapes[0][0] if self.fixed_rows else None]

    def _signatures(self) -> dict[int | None, c_void_p]:
        """Return the signatures by the rows that they take."""
        count, key, found = c_size_t(), c_char_p(), {}
        self.library.LiteRtGetNumModelSignatures(self.handle, count)
        for index in range(count.value):
            signature = c_void_p()
            self.library.LiteRtGetModelSignature(self.handle, index, signature)
            self.library.LiteRtGetSignatureKey(signature, key)
            _, is_fixed, rows = (key.value or b"").decode().partition(FIXED_ROWS)
            found[int(rows) if is_fixed else None] = signature
        return found

    def _tensors(
        self, kind: str, specs: Mapping[str, TensorSpec], signatures: Iterable[c_void_p]
    ) -> dict[str, TensorSpec]:
        expected = {name: ELEMENT_TYPES.get(spec.dtype_name) for name, spec in specs.items()}
        orders = [self._types(kind, signature) for signature in signatures]
        if any(list(types) != list(orders[0]) or types != expected for types in orders):
            raise DataLossError(f"the {kind.lower()}s of model.tflite are not those of the SavedModel")
        return {name: specs[name] for name in orders[0]}

    def _types(self, kind: str, signature: c_void_p) -> dict[str, int]:
        count = c_size_t()
        getattr(self.library, f"LiteRtGetNumSignature{kind}s")(signature, count)
        return dict(self._tensor(kind, signature, index) for index in range(count.value))

    def _tensor(self, kind: str, signature: c_void_p, index: int) -> tuple[str, int]:
        name, tensor, found = c_char_p(), c_void_p(), TensorType()
        getattr(self.library, f"LiteRtGetSignature{kind}Name")(signature, index, name)
        getattr(self.library, f"LiteRtGetSignature{kind}TensorByIndex")(signature, index, tensor)
        self.library.LiteRtGetRankedTensorType(tensor, found)
        return (name.value or b"").decode(), found.element_type


class Runner:
    """A compiled model with memory for inputs and outputs of certain shapes. One thread at a time may use it."""

    def __init__(self, model: LiteRtModel) -> None:
        self.shapes: Shapes | None = None
        self.bytes_bound = 0
        self._model, self._library = model, model.library
        self._handle = c_void_p()
        self._buffers: list[c_void_p] = []
        options = self._library.compile_options(model.threads)
        try:
            self._library.LiteRtCreateCompiledModel(self._library.environment, model.handle, options, self._handle)
        finally:
            self._library.LiteRtDestroyOptions(options)
        # The model is an argument because it must outlive what was compiled from it.
        weakref.finalize(self, _release, model, self._handle, self._buffers).atexit = False

    def run(self, feeds: Mapping[str, np.ndarray], is_quick: bool) -> dict[str, np.ndarray]:
        """Run on arrays of the shapes that were bound, and return the outputs, by name.

        ``is_quick`` keeps the GIL. Raises TensorFlowError.
        """
        for name, memory in self._inputs:
            memory[...] = feeds[name]
        status = self._quick_run() if is_quick else self._long_run()
        if status:
            raise self._library.error(self._handle, status)
        return {name: memory.copy() for name, memory in self._outputs}

    def bind(self, shapes: Shapes) -> Shapes:
        """Give the inputs these shapes, allocate memory for all tensors, and return the outputs' shapes.

        Raises TensorFlowError.
        """
        self.shapes = None
        _release_buffers(self._library, self._buffers)
        signature = self._model.signature_index(shapes)
        for index, shape in enumerate(shapes):
            if shape:
                dims = (c_int * len(shape))(*shape)
                self._check(
                    self._library.LiteRtCompiledModelResizeInputTensor(self._handle, signature, index, dims, len(dims))
                )
        output_shapes = self._output_shapes(signature)
        specs = [
            *zip(self._model.inputs.items(), shapes, strict=True),
            *zip(self._model.outputs.items(), output_shapes, strict=True),
        ]
        memories = [(name, self._allocate(spec, shape)) for (name, spec), shape in specs]
        count = len(shapes)
        inputs, outputs = (_array(handles) for handles in (self._buffers[:count], self._buffers[count:]))
        self._inputs, self._outputs = memories[:count], memories[count:]
        sizes = c_size_t(len(inputs)), c_size_t(len(outputs))
        arguments = self._handle, c_size_t(signature), sizes[0], inputs, sizes[1], outputs
        self._quick_run = partial(self._library.quick_run, *arguments)
        self._long_run = partial(self._library.LiteRtRunCompiledModel, *arguments)
        self.shapes, self.bytes_bound = shapes, sum(memory.nbytes for _, memory in memories)
        return output_shapes

    def _output_shapes(self, signature: int) -> Shapes:
        layouts = (Layout * len(self._model.outputs))()
        self._check(
            self._library.LiteRtGetCompiledModelOutputTensorLayouts(
                self._handle, signature, len(layouts), layouts, True
            )
        )
        shapes = tuple(tuple(layout.dimensions[: layout.rank]) for layout in layouts)
        for (name, spec), shape in zip(self._model.outputs.items(), shapes, strict=True):
            # LiteRT would write beyond an output's memory without looking at its size.
            if not shape_fits(shape, spec.shape) or min(shape, default=1) < 1:
                raise InvalidArgumentError(f"output {name!r} would have the shape {list(shape)}")
        return shapes

    def _allocate(self, spec: TensorSpec, shape: tuple[int, ...]) -> np.ndarray:
        """Return an array whose memory LiteRT reads or writes."""
        size, handle = math.prod(shape) * spec.dtype.itemsize, c_void_p()
        memory = _aligned(size)
        kind = TensorType(ELEMENT_TYPES[spec.dtype_name], Layout(len(shape)))
        kind.layout.dimensions[: len(shape)] = shape
        self._library.LiteRtCreateTensorBufferFromHostMemory(kind, memory.ctypes.data, size, None, handle)
        self._buffers.append(handle)
        return memory.view(spec.dtype).reshape(shape)

    def _check(self, status: int) -> None:
        if status:
            raise self._library.error(self._handle, status)


def _aligned(size: int) -> np.ndarray:
    try:
        block = np.empty(size + ALIGNMENT + _SPARE_BYTES, np.uint8)
    except MemoryError:
        raise ResourceExhaustedError(f"no memory for a tensor of {size} bytes") from None
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + size]


def _release(model: LiteRtModel, handle: c_void_p, buffers: list[c_void_p]) -> None:
    _release_buffers(model.library, buffers)
    model.library.LiteRtDestroyCompiledModel(handle)


def _release_buffers(library: LiteRt, buffers: list[c_void_p]) -> None:
    while buffers:
        library.LiteRtDestroyTensorBuffer(buffers.pop())


def _array(handles: list[c_void_p]) -> Array[c_void_p]:
    return (c_void_p * len(handles))(*handles)
