"""The engine on TensorFlow's C API: loads a SavedModel and runs it without importing ``tensorflow``.

The one place that knows C. The wheel ships the API in two shared libraries and documents it in its own
``tensorflow/include/tensorflow/c/`` (``c_api.h``, ``tf_tensor.h``, ``tf_tstring.h``, ``tf_status.h``, ``tf_buffer.h``);
names and prototypes below are theirs. Every native object is created and released in this file.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import perf_counter

import numpy as np

from serving import dtypes, tensorflow_errors
from serving.engine import SERVE_TAG, EngineNotFoundError
from serving.signature import Signature, TensorSpec, decode_signatures, needs_variables

_LIBRARY = "libtensorflow_cc.2.dylib" if sys.platform == "darwin" else "libtensorflow_cc.so.2"

# RunOptions{inter_op_thread_pool: -1} (core/protobuf/config.proto, field 3): ops run in the caller's thread, which
# spares each call the hand-over to a pool and back. Ops that are worth it still spread over the intra-op threads.
_RUN_IN_CALLERS_THREAD = b"\x18" + b"\xff" * 9 + b"\x01"

# Where a run takes longer than this, the hand-over is no more than a hundredth of it, and the pool can run the
# branches of a graph side by side (docs/performance.md has the figures).
_LONG_RUN_SECONDS = 0.005


class _Buffer(ctypes.Structure):
    """TF_Buffer."""

    _fields_ = [("data", c_void_p), ("length", c_size_t), ("data_deallocator", c_void_p)]


class _Output(ctypes.Structure):
    """TF_Output: the index-th output of an operation."""

    _fields_ = [("operation", c_void_p), ("index", c_int)]


_SIZEOF_TSTRING = 24  # sizeof(TF_TString), core/platform/ctstring_internal.h

# name: (result, arguments). Checked against the headers and the library by tests/unit/test_tensorflow_c.py.
PROTOTYPES: dict[str, tuple] = {
    "TF_Version": (c_char_p, []),
    "TF_NewStatus": (c_void_p, []),
    "TF_DeleteStatus": (None, [c_void_p]),
    "TF_GetCode": (c_int, [c_void_p]),
    "TF_Message": (c_char_p, [c_void_p]),
    "TF_NewBuffer": (POINTER(_Buffer), []),
    "TF_NewBufferFromString": (POINTER(_Buffer), [c_char_p, c_size_t]),
    "TF_DeleteBuffer": (None, [POINTER(_Buffer)]),
    "TF_NewSessionOptions": (c_void_p, []),
    "TF_DeleteSessionOptions": (None, [c_void_p]),
    "TF_NewGraph": (c_void_p, []),
    "TF_DeleteGraph": (None, [c_void_p]),
    "TF_GraphOperationByName": (c_void_p, [c_void_p, c_char_p]),
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        [
            c_void_p,
            POINTER(_Buffer),
            c_char_p,
            POINTER(c_char_p),
            c_int,
            c_void_p,
            POINTER(_Buffer),
            c_void_p,
        ],
    ),
    "TF_CloseSession": (None, [c_void_p, c_void_p]),
    "TF_DeleteSession": (None, [c_void_p, c_void_p]),
    "TF_SessionRun": (
        None,
        [
            *(c_void_p, POINTER(_Buffer)),  # session, run_options
            *(POINTER(_Output), POINTER(c_void_p), c_int),  # inputs, input_values, ninputs
            *(POINTER(_Output), POINTER(c_void_p), c_int),  # outputs, output_values, noutputs
            *(POINTER(c_void_p), c_int),  # target_opers, ntargets
            *(POINTER(_Buffer), c_void_p),  # run_metadata, status
        ],
    ),
    "TF_AllocateTensor": (c_void_p, [c_int, POINTER(c_int64), c_int, c_size_t]),
    "TF_DeleteTensor": (None, [c_void_p]),
    "TF_TensorData": (c_void_p, [c_void_p]),
    "TF_TensorByteSize": (c_size_t, [c_void_p]),
    "TF_NumDims": (c_int, [c_void_p]),
    "TF_Dim": (c_int64, [c_void_p, c_int]),
    "TF_StringInit": (None, [c_void_p]),
    "TF_StringCopy": (None, [c_void_p, c_char_p, c_size_t]),
    "TF_StringDealloc": (None, [c_void_p]),
    "TF_StringGetDataPointer": (c_void_p, [c_void_p]),
    "TF_StringGetSize": (c_size_t, [c_void_p]),
}

# These work for long, and other Python threads go on meanwhile. The rest take less than handing over the
# interpreter lock and taking it back would.
_RELEASE_THE_GIL = {"TF_LoadSessionFromSavedModel", "TF_CloseSession", "TF_DeleteSession", "TF_SessionRun"}


def find_library() -> Path | None:
    """Return the path of TensorFlow's C library in the installed wheel, without importing ``tensorflow``."""
    spec = importlib.util.find_spec("tensorflow")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / _LIBRARY
        if path.is_file():
            return path
    return None


def is_available() -> bool:
    """Tell whether this engine can run here."""
    return hasattr(os, "RTLD_LAZY") and find_library() is not None


class _Api:
    """The functions of PROTOTYPES as attributes, each bound when first used."""

    def __init__(self, path: Path) -> None:
        handle = _dlopen_lazily(path)
        self._with_gil = ctypes.PyDLL(str(path), handle=handle)
        self._without_gil = ctypes.CDLL(str(path), handle=handle)

    def __getattr__(self, name: str) -> ctypes._NamedFuncPointer:
        result, arguments = PROTOTYPES[name]
        function = getattr(self._without_gil if name in _RELEASE_THE_GIL else self._with_gil, name)
        function.restype, function.argtypes = result, arguments
        setattr(self, name, function)
        return function

    @contextmanager
    def status(self) -> Iterator[int]:
        """Give a TF_Status to pass to a call; afterwards raise what it holds, if that isn't OK."""
        status = self.TF_NewStatus()
        try:
            yield status
            self.raise_for(status)
        finally:
            self.TF_DeleteStatus(status)

    def raise_for(self, status: int) -> None:
        """Raise the TensorFlowError for the code in a TF_Status; none for OK."""
        code = self.TF_GetCode(status)
        if code:
            raise tensorflow_errors.error_for(code, self.TF_Message(status).decode(errors="replace"))


@cache
def load_api() -> _Api:
    """Load TensorFlow's C library, once a process. Raises EngineNotFoundError where there is none."""
    path = find_library()
    if path is None:
        raise EngineNotFoundError(
            f"No {_LIBRARY} in an installed tensorflow; install the packages of requirements.txt."
        )
    # Read by TensorFlow while it loads. 1: no line per start about the CPU's features; warnings and errors stay.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    return _Api(path)


def _dlopen_lazily(path: Path) -> int:
    # ctypes.CDLL always adds RTLD_NOW, which resolves some 100,000 symbols of which a model needs a few: half the
    # time the library takes to load.
    libc = ctypes.CDLL(None)
    libc.dlopen.restype, libc.dlopen.argtypes = c_void_p, [c_char_p, c_int]
    libc.dlerror.restype = c_char_p
    handle = libc.dlopen(os.fsencode(path), os.RTLD_LAZY | os.RTLD_LOCAL)
    if not handle:
        raise EngineNotFoundError(f"TensorFlow's library can't be loaded: {libc.dlerror().decode()}")
    return handle


@dataclass
class _Call:
    """A signature bound to its graph: what every TF_SessionRun of it has in common, and how long the latest took."""

    inputs: Mapping[str, TensorSpec]
    input_array: ctypes.Array
    outputs: Mapping[str, TensorSpec]
    output_array: ctypes.Array
    latest_seconds: float = 0.0


class Session:
    """A SavedModel in a TF_Session; see ``serving.engine.Session``."""

    signatures: Mapping[str, Signature]

    def __init__(self, saved_model: Path) -> None:
        api = self._api = load_api()
        graph = api.TF_NewGraph()
        try:
            self._session, self.signatures = _load(api, graph, saved_model)
        except BaseException:
            api.TF_DeleteGraph(graph)
            raise
        self._release = weakref.finalize(self, _release, api, self._session, graph)
        # When the process ends, threads may still be in TF_SessionRun; the memory goes with the process.
        self._release.atexit = False
        self._run_options = _run_options(api)
        self._calls = {key: self._bind(graph, signature) for key, signature in self.signatures.items()}

    def close(self) -> None:
        """Release the session and its graph; nothing may be running in it."""
        self._release()

    def _bind(self, graph: int, signature: Signature) -> _Call:
        return _Call(
            signature.inputs,
            self._graph_outputs(graph, signature.inputs),
            signature.outputs,
            self._graph_outputs(graph, signature.outputs),
        )

    def _graph_outputs(self, graph: int, specs: Mapping[str, TensorSpec]) -> ctypes.Array:
        array = (_Output * len(specs))()
        for place, spec in zip(array, specs.values(), strict=True):
            operation, _, index = spec.tensor.rpartition(":")
            place.operation = self._api.TF_GraphOperationByName(graph, operation.encode())
            place.index = int(index)
            if not place.operation:
                raise ValueError(f"the signature names the tensor {spec.tensor!r}, which is not in the graph")
        return array

    def run(self, signature: str, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one signature; see ``serving.engine.Session.run``. The arrays it returns are read-only."""
        api, call = self._api, self._calls[signature]
        inputs = (c_void_p * len(call.inputs))()
        outputs = (c_void_p * len(call.outputs))()
        run_options = self._run_options if call.latest_seconds < _LONG_RUN_SECONDS else None
        status = api.TF_NewStatus()
        try:
            for index, (name, spec) in enumerate(call.inputs.items()):
                inputs[index] = _new_tensor(api, spec, feeds[name])
            start = perf_counter()
            api.TF_SessionRun(
                *(self._session, run_options),
                *(call.input_array, inputs, len(inputs)),
                *(call.output_array, outputs, len(outputs)),
                *(None, 0, None, status),
            )
            call.latest_seconds = perf_counter() - start
            api.raise_for(status)
            return {
                name: _read_tensor(api, spec, tensor)
                for (name, spec), tensor in zip(call.outputs.items(), outputs, strict=True)
            }
        finally:
            api.TF_DeleteStatus(status)
            for spec, tensor in zip(call.inputs.values(), inputs, strict=True):
                _delete_input(api, spec, tensor)
            for tensor in outputs:
                api.TF_DeleteTensor(tensor)


def _load(api: _Api, graph: int, saved_model: Path) -> tuple[int, dict[str, Signature]]:
    options, meta_graph_def = api.TF_NewSessionOptions(), api.TF_NewBuffer()
    tags = (c_char_p * 1)(SERVE_TAG.encode())
    try:
        with api.status() as status:
            session = api.TF_LoadSessionFromSavedModel(
                options, None, os.fsencode(saved_model), tags, len(tags), graph, meta_graph_def, status
            )
        try:
            view = _view(meta_graph_def.contents)
            if needs_variables(view) and not (saved_model / "variables" / "variables.index").is_file():
                # Loaded all the same, TensorFlow would fail in each run instead.
                raise tensorflow_errors.NotFoundError(f"{saved_model} lacks variables/variables.index; copy it whole")
            return session, decode_signatures(view)
        except BaseException:
            _delete_session(api, session)
            raise
    finally:
        api.TF_DeleteBuffer(meta_graph_def)
        api.TF_DeleteSessionOptions(options)


def _view(buffer: _Buffer) -> memoryview:
    # Not copied: a frozen graph carries its weights in here.
    return memoryview((ctypes.c_ubyte * buffer.length).from_address(buffer.data or 0)).cast("B")


@cache
def _run_options(api: _Api) -> ctypes._Pointer:
    # Shared by all sessions for the life of the process, like the library itself.
    return api.TF_NewBufferFromString(_RUN_IN_CALLERS_THREAD, len(_RUN_IN_CALLERS_THREAD))


def _release(api: _Api, session: int, graph: int) -> None:
    _delete_session(api, session)
    api.TF_DeleteGraph(graph)


def _delete_session(api: _Api, session: int) -> None:
    with api.status() as status:
        api.TF_CloseSession(session, status)
    with api.status() as status:
        api.TF_DeleteSession(session, status)


def _new_tensor(api: _Api, spec: TensorSpec, array: np.ndarray) -> int:
    """Return a TF_Tensor with a copy of the array."""
    dims = (c_int64 * array.ndim)(*array.shape)
    if spec.dtype_number == dtypes.STRING:
        return _new_string_tensor(api, dims, array)
    tensor = api.TF_AllocateTensor(spec.dtype_number, dims, array.ndim, array.nbytes)
    if not tensor:
        raise MemoryError(f"no memory for a tensor of {array.nbytes} bytes")
    # In C order; unlike ascontiguousarray, which makes a scalar a vector.
    source = np.asarray(array, order="C")
    ctypes.memmove(api.TF_TensorData(tensor), source.ctypes.data, array.nbytes)
    return tensor


def _new_string_tensor(api: _Api, dims: ctypes.Array, array: np.ndarray) -> int:
    tensor = api.TF_AllocateTensor(dtypes.STRING, dims, array.ndim, array.size * _SIZEOF_TSTRING)
    place = api.TF_TensorData(tensor)
    for value in array.flat:
        api.TF_StringInit(place)
        api.TF_StringCopy(place, value, len(value))
        place += _SIZEOF_TSTRING
    return tensor


def _delete_input(api: _Api, spec: TensorSpec, tensor: int | None) -> None:
    if tensor and spec.dtype_number == dtypes.STRING:
        # TF_SessionRun copies the strings; TF_DeleteTensor frees the array of them, not what each points to.
        place = api.TF_TensorData(tensor)
        for _ in range(api.TF_TensorByteSize(tensor) // _SIZEOF_TSTRING):
            api.TF_StringDealloc(place)
            place += _SIZEOF_TSTRING
    api.TF_DeleteTensor(tensor)


def _read_tensor(api: _Api, spec: TensorSpec, tensor: int) -> np.ndarray:
    """Return a read-only array with a copy of the TF_Tensor."""
    shape = tuple(api.TF_Dim(tensor, axis) for axis in range(api.TF_NumDims(tensor)))
    place, size = api.TF_TensorData(tensor), api.TF_TensorByteSize(tensor)
    if spec.dtype_number == dtypes.STRING:
        return _read_strings(api, place, size // _SIZEOF_TSTRING).reshape(shape)
    data = ctypes.string_at(place, size) if size else b""
    return np.frombuffer(data, spec.dtype).reshape(shape)


def _read_strings(api: _Api, place: int, count: int) -> np.ndarray:
    array = np.empty(count, object)
    for index in range(count):
        array[index] = ctypes.string_at(api.TF_StringGetDataPointer(place), api.TF_StringGetSize(place))
        place += _SIZEOF_TSTRING
    array.flags.writeable = False
    return array
