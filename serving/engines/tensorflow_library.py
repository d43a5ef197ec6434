"""Finds and loads TensorFlow's shared library and binds the functions of its C API. Imports no NumPy.

The wheel contains the library and its headers: names and
prototypes below are those of ``c_api.h``, ``tf_tensor.h``, ``tf_tstring.h``, ``tf_status.h`` and ``tf_buffer.h`` in
``tensorflow/include/tensorflow/c/``.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cached_property
from pathlib import Path
from threading import Lock

from serving.engines import errors, native
from serving.engines.errors import EngineNotFoundError
from serving.engines.native import Library

_LIBRARY = "libtensorflow_cc.2.dylib" if sys.platform == "darwin" else "libtensorflow_cc.so.2"


class Buffer(ctypes.Structure):
    """TF_Buffer."""

    _fields_ = [("data", c_void_p), ("length", c_size_t), ("data_deallocator", c_void_p)]


class Output(ctypes.Structure):
    """TF_Output: the index-th output of an operation."""

    _fields_ = [("operation", c_void_p), ("index", c_int)]


SIZEOF_TSTRING = 24  # sizeof(TF_TString), core/platform/ctstring_internal.h

# name: (result, arguments). tests/unit/test_tensorflow_library.py compares them with the headers and the library.
PROTOTYPES: dict[str, tuple] = {
    "TF_Version": (c_char_p, []),
    "TF_NewStatus": (c_void_p, []),
    "TF_DeleteStatus": (None, [c_void_p]),
    "TF_GetCode": (c_int, [c_void_p]),
    "TF_Message": (c_char_p, [c_void_p]),
    "TF_NewBuffer": (POINTER(Buffer), []),
    "TF_NewBufferFromString": (POINTER(Buffer), [c_char_p, c_size_t]),
    "TF_DeleteBuffer": (None, [POINTER(Buffer)]),
    "TF_NewSessionOptions": (c_void_p, []),
    "TF_DeleteSessionOptions": (None, [c_void_p]),
    "TF_SetConfig": (None, [c_void_p, c_char_p, c_size_t, c_void_p]),
    "TF_NewGraph": (c_void_p, []),
    "TF_DeleteGraph": (None, [c_void_p]),
    "TF_GraphOperationByName": (c_void_p, [c_void_p, c_char_p]),
    "TF_OperationNumOutputs": (c_int, [c_void_p]),
    "TF_OperationOutputType": (c_int, [Output]),
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        [
            c_void_p,
            POINTER(Buffer),
            c_char_p,
            POINTER(c_char_p),
            c_int,
            c_void_p,
            POINTER(Buffer),
            c_void_p,
        ],
    ),
    "TF_CloseSession": (None, [c_void_p, c_void_p]),
    "TF_DeleteSession": (None, [c_void_p, c_void_p]),
    "TF_SessionRun": (
        None,
        [
            *(c_void_p, POINTER(Buffer)),  # session, run_options
            *(POINTER(Output), POINTER(c_void_p), c_int),  # inputs, input_values, ninputs
            *(POINTER(Output), POINTER(c_void_p), c_int),  # outputs, output_values, noutputs
            *(POINTER(c_void_p), c_int),  # target_opers, ntargets
            *(POINTER(Buffer), c_void_p),  # run_metadata, status
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

# These take long, so other Python threads run meanwhile. The others take less time than releasing the GIL would.
_RELEASE_THE_GIL = {"TF_LoadSessionFromSavedModel", "TF_CloseSession", "TF_DeleteSession", "TF_SessionRun"}


def find_library() -> Path | None:
    """Return the path of TensorFlow's C library in the installed wheel, without importing ``tensorflow``."""
    return native.find_library("tensorflow", _LIBRARY)


def is_installed() -> bool:
    """Return whether TensorFlow's C library is here."""
    return hasattr(os, "RTLD_LAZY") and find_library() is not None


_api: Api | None = None
_loading = Lock()


class Api(Library):
    """The functions of PROTOTYPES."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, PROTOTYPES, _RELEASE_THE_GIL)

    @cached_property
    def quick_session_run(self) -> ctypes._NamedFuncPointer:
        """TF_SessionRun without releasing the GIL, for runs that end before another thread would have started."""
        return self.keeping_the_gil("TF_SessionRun")

    @contextmanager
    def status(self) -> Iterator[int]:
        """Yield a TF_Status to pass to a call; afterwards raise its error, if any."""
        status = self.TF_NewStatus()
        try:
            yield status
            self.raise_for(status)
        finally:
            self.TF_DeleteStatus(status)

    def raise_for(self, status: int) -> None:
        """Raise the TensorFlowError for the code in a TF_Status, unless that is OK."""
        code = self.TF_GetCode(status)
        if code:
            raise errors.error_for(code, self.TF_Message(status).decode(errors="replace"))


def load_api() -> Api:
    """Load TensorFlow's C library, once per process. Raises EngineNotFoundError if it is not installed."""
    global _api
    with _loading:
        if _api is None:
            _api = _load()
        return _api


def _load() -> Api:
    path = find_library()
    if path is None:
        raise EngineNotFoundError(f"TensorFlow's {_LIBRARY} was not found; install the packages in requirements.txt.")
    # TensorFlow reads it while it loads. 1 hides information such as the CPU's features, not warnings and errors.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    # Off by default on some CPUs, where convolutions in channels_first could not be computed then.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    return Api(path)
