"""The engine on TensorFlow's C API: loads and runs a SavedModel without importing ``tensorflow``.

``tensorflow_library`` binds the API and names its sources. Every native object is created and released in this file.
"""

from __future__ import annotations

import ctypes
import math
import os
import weakref
from collections.abc import Mapping
from ctypes import c_char_p, c_int64, c_void_p
from functools import cache
from pathlib import Path
from time import perf_counter

import numpy as np

from serving.engines import dtypes, errors
from serving.engines.options import LoadOptions
from serving.engines.session import RunClock, bytes_of
from serving.engines.signature import SERVE_TAG, Signature, TensorSpec, decode_signatures, needs_variables
from serving.engines.tensorflow_library import SIZEOF_TSTRING, Api, Buffer, Output, is_installed, load_api

__all__ = ["Session", "is_available"]

# RunOptions{inter_op_thread_pool: -1} (core/protobuf/config.proto, field 3): ops run in the caller's thread, so no call
# waits for another thread. Large ops still use the intra-op threads.
_RUN_IN_CALLERS_THREAD = b"\x18" + b"\xff" * 9 + b"\x01"

# ConfigProto{graph_options{rewrite_options{disable_meta_optimizer: true}}}: fields 10 and 10 of config.proto, field 19
# of rewriter_config.proto.
_WITHOUT_GRAPH_OPTIMIZER = b"\x52\x05\x52\x03\x98\x01\x01"

# ConfigProto{graph_options{rewrite_options{disable_tfg_optimizer: true}}}, field 32: the one pass of the optimizer that
# crashes on a function whose nodes are connected wrongly, where the others report an error.
_WITHOUT_TFG_OPTIMIZER = b"\x52\x05\x52\x03\x80\x02\x01"

# ConfigProto{allow_soft_placement: true}, field 7: an operation that was placed on a GPU runs on the CPU.
_SOFT_PLACEMENT = b"\x38\x01"

# A run that takes longer uses the pool, which runs branches of the graph in parallel. The hand-over to the pool is then
# at most a hundredth of the run (docs/performance.md has the figures).
_LONG_RUN_SECONDS = 0.005

# A quick run with less keeps the GIL.
_SMALL_BYTES = 16 * 1024


def is_available(options: LoadOptions) -> bool:
    """Return whether this engine can run here."""
    return is_installed()


class _Call:
    """A signature bound to its graph: the arguments that all its calls of TF_SessionRun share."""

    def __init__(self, signature: Signature, input_array: ctypes.Array, output_array: ctypes.Array) -> None:
        self.inputs = list(signature.inputs.items())
        self.input_array = input_array
        self.input_values = c_void_p * len(self.inputs)
        self.outputs = list(signature.outputs.items())
        self.output_array = output_array
        self.output_values = c_void_p * len(self.outputs)
        self.takes_strings = any(spec.dtype_number == dtypes.STRING for _, spec in self.inputs)


class Session:
    """A SavedModel in a TF_Session; see ``serving.engines.session.Session``."""

    engine = "tensorflow"
    rows_at_once = 0
    signatures: Mapping[str, Signature]

    def __init__(self, saved_model: Path, options: LoadOptions) -> None:
        api = self._api = load_api()
        graph = api.TF_NewGraph()
        try:
            self._session, self.signatures = _load(api, graph, saved_model, options.is_optimized)
        except BaseException:
            api.TF_DeleteGraph(graph)
            raise
        self._statuses: list[int] = []
        self._release = weakref.finalize(self, _release, api, self._session, graph, self._statuses)
        # Not at exit: threads may still be in TF_SessionRun, and the process frees the memory anyway.
        self._release.atexit = False
        self._run_options = _run_options(api)
        self.signatures = {key: self._typed(graph, signature) for key, signature in self.signatures.items()}
        self._calls = {key: self._bind(graph, signature) for key, signature in self.signatures.items()}
        self.clocks = {key: RunClock() for key in self.signatures}

    def close(self) -> None:
        """Release the session, which must not be running, and its graph."""
        self._release()

    def _bind(self, graph: int, signature: Signature) -> _Call:
        inputs, outputs = (self._graph_outputs(graph, specs) for specs in (signature.inputs, signature.outputs))
        return _Call(signature, inputs, outputs)

    def _typed(self, graph: int, signature: Signature) -> Signature:
        """Return the signature with the types that its tensors have in the graph: what it states may be wrong."""

        def typed(specs: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
            type_of = self._api.TF_OperationOutputType
            return {name: spec.typed(type_of(self._output(graph, spec))) for name, spec in specs.items()}

        return Signature(typed(signature.inputs), typed(signature.outputs), signature.method_name)

    def _graph_outputs(self, graph: int, specs: Mapping[str, TensorSpec]) -> ctypes.Array:
        return (Output * len(specs))(*(self._output(graph, spec) for spec in specs.values()))

    def _output(self, graph: int, spec: TensorSpec) -> Output:
        name, _, index = spec.tensor.rpartition(":")
        operation = self._api.TF_GraphOperationByName(graph, name.encode())
        if not operation or not index.isdecimal() or int(index) >= self._api.TF_OperationNumOutputs(operation):
            raise ValueError(f"the signature names the tensor {spec.tensor!r}, which is not in the graph")
        return Output(operation, int(index))

    def run(self, signature: str, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one signature; see ``serving.engines.session.Session.run``. The arrays it returns are read-only."""
        api, call = self._api, self._calls[signature]
        inputs, outputs = call.input_values(), call.output_values()
        clock, input_bytes = self.clocks[signature], bytes_of(feeds)
        expected = clock.expected_seconds(input_bytes)
        run_options = None if _LONG_RUN_SECONDS <= expected < math.inf else self._run_options
        is_quick = clock.is_quick(input_bytes) and input_bytes <= _SMALL_BYTES
        session_run = api.quick_session_run if is_quick else api.TF_SessionRun
        # Statuses are reused: TF_SessionRun overwrites them.
        status = self._statuses.pop() if self._statuses else api.TF_NewStatus()
        try:
            for index, (name, spec) in enumerate(call.inputs):
                inputs[index] = _new_tensor(api, spec, feeds[name])
            start = perf_counter()
            # fmt: off
            session_run(
                self._session, run_options,
                call.input_array, inputs, len(inputs),
                call.output_array, outputs, len(outputs),
                None, 0, None, status,
            )
            # fmt: on
            clock.record(perf_counter() - start, input_bytes)
            api.raise_for(status)
            return {name: _read_tensor(api, spec, outputs[index]) for index, (name, spec) in enumerate(call.outputs)}
        finally:
            self._statuses.append(status)
            if call.takes_strings:
                _delete_strings(api, call, inputs)
            for tensor in (*inputs, *outputs):
                api.TF_DeleteTensor(tensor)


def _load(api: Api, graph: int, saved_model: Path, is_optimized: bool) -> tuple[int, dict[str, Signature]]:
    options, meta_graph_def = api.TF_NewSessionOptions(), api.TF_NewBuffer()
    tags = (c_char_p * 1)(SERVE_TAG.encode())
    try:
        config = _SOFT_PLACEMENT + (_WITHOUT_GRAPH_OPTIMIZER if is_optimized else _WITHOUT_TFG_OPTIMIZER)
        with api.status() as status:
            api.TF_SetConfig(options, config, len(config), status)
        with api.status() as status:
            session = api.TF_LoadSessionFromSavedModel(
                options, None, os.fsencode(saved_model), tags, len(tags), graph, meta_graph_def, status
            )
        try:
            view = _view(meta_graph_def.contents)
            if needs_variables(view) and not (saved_model / "variables" / "variables.index").is_file():
                # TensorFlow loads it nevertheless, and then every run fails.
                raise errors.NotFoundError(f"{saved_model} has no variables/variables.index; copy the whole folder")
            return session, decode_signatures(view)
        except BaseException:
            _delete_session(api, session)
            raise
    finally:
        api.TF_DeleteBuffer(meta_graph_def)
        api.TF_DeleteSessionOptions(options)


def _view(buffer: Buffer) -> memoryview:
    # Not a copy: a frozen graph contains its weights.
    return memoryview((ctypes.c_ubyte * buffer.length).from_address(buffer.data or 0)).cast("B")


@cache
def _run_options(api: Api) -> ctypes._Pointer:
    # Like the library, shared by all sessions and never released.
    return api.TF_NewBufferFromString(_RUN_IN_CALLERS_THREAD, len(_RUN_IN_CALLERS_THREAD))


def _release(api: Api, session: int, graph: int, statuses: list[int]) -> None:
    for status in statuses:
        api.TF_DeleteStatus(status)
    _delete_session(api, session)
    api.TF_DeleteGraph(graph)


def _delete_session(api: Api, session: int) -> None:
    with api.status() as status:
        api.TF_CloseSession(session, status)
    with api.status() as status:
        api.TF_DeleteSession(session, status)


def _new_tensor(api: Api, spec: TensorSpec, array: np.ndarray) -> int:
    """Return a TF_Tensor with a copy of the array."""
    dims = (c_int64 * array.ndim)(*array.shape)
    if spec.dtype_number == dtypes.STRING:
        return _new_string_tensor(api, dims, array)
    tensor = _allocate(api, spec.dtype_number, dims, array.nbytes)
    # NumPy takes longer to return an array's address than to copy a small one. Both are in C order.
    if array.nbytes < _SMALL_BYTES:
        ctypes.memmove(api.TF_TensorData(tensor), array.tobytes(), array.nbytes)
    else:
        contiguous = np.ascontiguousarray(array)  # a name keeps it alive while it is copied
        ctypes.memmove(api.TF_TensorData(tensor), contiguous.ctypes.data, array.nbytes)
    return tensor


def _allocate(api: Api, dtype_number: int, dims: ctypes.Array, size: int) -> int:
    tensor: int | None = api.TF_AllocateTensor(dtype_number, dims, len(dims), size)
    # Without memory TensorFlow returns a tensor whose data is NULL.
    if not tensor or (size and not api.TF_TensorData(tensor)):
        api.TF_DeleteTensor(tensor)
        raise errors.ResourceExhaustedError(f"no memory for a tensor of {size} bytes")
    return tensor


def _new_string_tensor(api: Api, dims: ctypes.Array, array: np.ndarray) -> int:
    tensor = _allocate(api, dtypes.STRING, dims, array.size * SIZEOF_TSTRING)
    place = api.TF_TensorData(tensor)
    for value in array.flat:
        api.TF_StringInit(place)
        api.TF_StringCopy(place, value, len(value))
        place += SIZEOF_TSTRING
    return tensor


def _delete_strings(api: Api, call: _Call, inputs: ctypes.Array) -> None:
    # TF_SessionRun copies the strings. TF_DeleteTensor frees the array of TF_TString, but not their contents.
    for (_, spec), tensor in zip(call.inputs, inputs, strict=True):
        if tensor and spec.dtype_number == dtypes.STRING:
            place = api.TF_TensorData(tensor)
            for _ in range(api.TF_TensorByteSize(tensor) // SIZEOF_TSTRING):
                api.TF_StringDealloc(place)
                place += SIZEOF_TSTRING


def _read_tensor(api: Api, spec: TensorSpec, tensor: int | None) -> np.ndarray:
    """Return a read-only array with a copy of the TF_Tensor."""
    shape = [api.TF_Dim(tensor, axis) for axis in range(api.TF_NumDims(tensor))]
    place, size = api.TF_TensorData(tensor), api.TF_TensorByteSize(tensor)
    if spec.dtype_number == dtypes.STRING:
        return _read_strings(api, place, size // SIZEOF_TSTRING).reshape(shape)
    data = ctypes.string_at(place, size) if size else b""
    return np.frombuffer(data, spec.dtype).reshape(shape)


def _read_strings(api: Api, place: int, count: int) -> np.ndarray:
    array = np.empty(count, object)
    for index in range(count):
        array[index] = ctypes.string_at(api.TF_StringGetDataPointer(place), api.TF_StringGetSize(place))
        place += SIZEOF_TSTRING
    array.flags.writeable = False
    return array
