"""LiteRT's shared library and the functions of its C API. Imports no NumPy.

Names, structures and prototypes are those of ``litert/c/`` in github.com/google-ai-edge/LiteRT, which declares the
structures stable. The wheel ``ai-edge-litert`` contains the library, and needs no part of it for another Python.
"""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import POINTER, c_bool, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint, c_uint32, c_void_p
from functools import cache
from threading import Lock

from serving.engines.errors import EngineNotFoundError, TensorFlowError, error_for
from serving.engines.native import Library, find_library

_PACKAGE, _LIBRARY = "ai_edge_litert", "libLiteRt.dylib" if sys.platform == "darwin" else "libLiteRt.so"

MAX_RANK = 8  # LITERT_TENSOR_MAX_RANK
ALIGNMENT = 64  # LITERT_HOST_MEMORY_BUFFER_ALIGNMENT, in bytes


class Layout(ctypes.Structure):
    """LiteRtLayout: a shape."""

    _fields_ = [
        ("rank", c_uint, 7),
        ("has_strides", c_uint, 1),
        ("dimensions", c_int32 * MAX_RANK),
        ("strides", c_uint32 * MAX_RANK),
    ]


class TensorType(ctypes.Structure):
    """LiteRtRankedTensorType."""

    _fields_ = [("element_type", c_int), ("layout", Layout)]


class _Any(ctypes.Structure):
    """LiteRtAny of an int."""

    _fields_ = [("type", c_int), ("int_value", c_int64)]


class _Option(ctypes.Structure):
    """LiteRtEnvOption."""

    _fields_ = [("tag", c_int), ("value", _Any)]


# LiteRtElementType of each of NumPy's types.
ELEMENT_TYPES = {
    "float32": 1,
    "int32": 2,
    "uint8": 3,
    "int64": 4,
    "bool": 6,
    "int16": 7,
    "int8": 9,
    "float16": 10,
    "float64": 11,
    "uint64": 13,
    "uint32": 16,
    "uint16": 17,
}


class _Status(c_int):
    """LiteRtStatus. A call that returns another than OK raises TensorFlowError."""


# name: (result, arguments)
PROTOTYPES: dict[str, tuple] = {
    "LiteRtCreateEnvironment": (_Status, [c_int, POINTER(_Option), POINTER(c_void_p)]),
    "LiteRtCreateOptions": (_Status, [POINTER(c_void_p)]),
    "LiteRtDestroyOptions": (None, [c_void_p]),
    "LiteRtSetOptionsHardwareAccelerators": (_Status, [c_void_p, c_int]),
    "LiteRtCreateOpaqueOptions": (_Status, [c_char_p, c_void_p, c_void_p, POINTER(c_void_p)]),
    "LiteRtAddOpaqueOptions": (_Status, [c_void_p, c_void_p]),
    "LiteRtCreateModelFromBuffer": (_Status, [c_void_p, c_void_p, c_size_t, POINTER(c_void_p)]),
    "LiteRtDestroyModel": (None, [c_void_p]),
    "LiteRtGetNumModelSignatures": (_Status, [c_void_p, POINTER(c_size_t)]),
    "LiteRtGetModelSignature": (_Status, [c_void_p, c_size_t, POINTER(c_void_p)]),
    "LiteRtGetSignatureKey": (_Status, [c_void_p, POINTER(c_char_p)]),
    "LiteRtGetNumSignatureInputs": (_Status, [c_void_p, POINTER(c_size_t)]),
    "LiteRtGetSignatureInputName": (_Status, [c_void_p, c_size_t, POINTER(c_char_p)]),
    "LiteRtGetSignatureInputTensorByIndex": (_Status, [c_void_p, c_size_t, POINTER(c_void_p)]),
    "LiteRtGetNumSignatureOutputs": (_Status, [c_void_p, POINTER(c_size_t)]),
    "LiteRtGetSignatureOutputName": (_Status, [c_void_p, c_size_t, POINTER(c_char_p)]),
    "LiteRtGetSignatureOutputTensorByIndex": (_Status, [c_void_p, c_size_t, POINTER(c_void_p)]),
    "LiteRtGetRankedTensorType": (_Status, [c_void_p, POINTER(TensorType)]),
    "LiteRtCreateCompiledModel": (_Status, [c_void_p, c_void_p, c_void_p, POINTER(c_void_p)]),
    "LiteRtDestroyCompiledModel": (None, [c_void_p]),
    "LiteRtCreateTensorBufferFromHostMemory": (
        _Status,
        [POINTER(TensorType), c_void_p, c_size_t, c_void_p, POINTER(c_void_p)],
    ),
    "LiteRtDestroyTensorBuffer": (None, [c_void_p]),
    # Those of a compiled model return a plain int: the model has the message.
    "LiteRtCompiledModelResizeInputTensor": (c_int, [c_void_p, c_size_t, c_size_t, POINTER(c_int), c_size_t]),
    "LiteRtGetCompiledModelOutputTensorLayouts": (c_int, [c_void_p, c_size_t, c_size_t, POINTER(Layout), c_bool]),
    # compiled_model, signature_index, num_input_buffers, input_buffers, num_output_buffers, output_buffers: of these
    # types already, since to convert them takes ctypes longer than a small model takes to run.
    "LiteRtRunCompiledModel": (c_int, None),
    "LiteRtCompiledModelGetErrorMessages": (c_int, [c_void_p, POINTER(c_void_p)]),
    "LiteRtCompiledModelClearErrors": (c_int, [c_void_p]),
}

# These take long, so other Python threads run meanwhile. The others take less time than releasing the GIL would.
_RELEASE_THE_GIL = {
    "LiteRtCreateCompiledModel",
    "LiteRtCreateModelFromBuffer",
    "LiteRtDestroyCompiledModel",
    "LiteRtGetCompiledModelOutputTensorLayouts",
    "LiteRtRunCompiledModel",
}

_CPU = 1  # kLiteRtHwAcceleratorCpu

# kLiteRtEnvOptionTagAutoRegisterAccelerators, kLiteRtEnvOptionTagMinLoggerSeverity: LiteRT looks for no accelerators in
# the library path, and logs errors only.
_INT = 2  # kLiteRtAnyTypeInt
_ENVIRONMENT = ((24, _Any(_INT, _CPU)), (25, _Any(_INT, 3)))

# LiteRtStatus of a compiled model -> TF_Code; any other is INTERNAL. 3 is a failed run or change of shapes: an index or
# a size is out of range.
_CODES = {1: 3, 2: 8, 3: 3, 4: 3}
_INTERNAL, _DATA_LOSS = 13, 15

_loading = Lock()


class LiteRt(Library):
    """The functions of PROTOTYPES. ``environment`` is the process's only LiteRtEnvironment, never released."""

    def __init__(self) -> None:
        path = find_library(_PACKAGE, _LIBRARY)
        if path is None:
            raise EngineNotFoundError(f"LiteRT's {_LIBRARY} was not found; install the packages in requirements.txt.")
        super().__init__(path, PROTOTYPES, _RELEASE_THE_GIL)
        self.quick_run = self.keeping_the_gil("LiteRtRunCompiledModel")
        self.environment = c_void_p()
        options = (_Option * len(_ENVIRONMENT))(*(_Option(*option) for option in _ENVIRONMENT))
        self.LiteRtCreateEnvironment(len(options), options, self.environment)
        self._libc = ctypes.CDLL(None)
        self._libc.strdup.restype, self._libc.strdup.argtypes = c_void_p, [c_char_p]
        self._libc.free.restype, self._libc.free.argtypes = None, [c_void_p]

    def _bound(self, library: ctypes.CDLL, name: str) -> ctypes._NamedFuncPointer:
        function = super()._bound(library, name)
        if function.restype is _Status:
            function.errcheck = _check  # type: ignore[assignment]
        return function

    def compile_options(self, threads: int) -> c_void_p:
        """Return LiteRtOptions, to be destroyed: the CPU only, threads for one run, errors kept as text."""
        options, opaque = c_void_p(), c_void_p()
        self.LiteRtCreateOptions(options)
        self.LiteRtSetOptionsHardwareAccelerators(options, _CPU)
        # The TOML that litert/c/options/litert_cpu_options.cc and litert_runtime_options.cc write.
        for name, text in (
            (b"xnnpack", b"num_threads = %d\n" % threads),
            (b"runtime_options_string", b"error_reporter_mode = 2\n"),
        ):
            self.LiteRtCreateOpaqueOptions(name, self._libc.strdup(text), self._libc.free, opaque)
            self.LiteRtAddOpaqueOptions(options, opaque)
        return options

    def error(self, compiled_model: c_void_p, status: int) -> TensorFlowError:
        """Return the error for what a function of a compiled model returned, and forget its messages."""
        messages = c_void_p()
        self.LiteRtCompiledModelGetErrorMessages(compiled_model, messages)
        text = ctypes.string_at(messages).decode(errors="replace") if messages else ""
        self._libc.free(messages)
        self.LiteRtCompiledModelClearErrors(compiled_model)
        return error_for(_CODES.get(status, _INTERNAL), text.strip() or f"LiteRT's status {status}")


def _check(status: _Status, function: ctypes._NamedFuncPointer, arguments: tuple) -> None:
    if status.value:
        code = _DATA_LOSS if status.value in (500, 501) else _INTERNAL  # nothing here depends on a request
        raise error_for(code, f"{function.__name__} returned {status.value}")


def version() -> str:
    """Return the version of the installed wheel; nothing if it is not installed, or not for this platform."""
    path = find_library(_PACKAGE, _LIBRARY) if hasattr(os, "RTLD_LAZY") else None
    found = path.parent.parent.glob(f"{_PACKAGE}-*.dist-info") if path else ()
    # Not by importlib.metadata, whose import would take a part of the cold start.
    return next((folder.name.removesuffix(".dist-info").rpartition("-")[2] for folder in found), "")


def load_library() -> LiteRt:
    """Load the library, once per process; raises EngineNotFoundError if it is not installed."""
    with _loading:
        return _load()


@cache
def _load() -> LiteRt:
    return LiteRt()
