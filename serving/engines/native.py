"""Shared libraries whose C functions are called by ctypes. Imports no NumPy."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Collection, Mapping
from ctypes import c_char_p, c_int, c_void_p
from pathlib import Path

from serving.engines.errors import EngineNotFoundError

# name: (result, arguments)
Prototypes = Mapping[str, tuple]


def find_library(package: str, name: str) -> Path | None:
    """Return the path of a library in an installed wheel, without importing the package."""
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / name
        if path.is_file():
            return path
    return None


class Library:
    """The functions of a table of prototypes as attributes, each bound on its first use.

    Those named in ``releasing`` let other Python threads run meanwhile; the others take less time than that would.
    """

    def __init__(self, path: Path, prototypes: Prototypes, releasing: Collection[str]) -> None:
        handle = _dlopen_lazily(path)
        self._with_gil = ctypes.PyDLL(str(path), handle=handle)
        self._without_gil = ctypes.CDLL(str(path), handle=handle)
        self._prototypes = prototypes
        self._releasing = releasing

    def __getattr__(self, name: str) -> ctypes._NamedFuncPointer:
        library = self._without_gil if name in self._releasing else self._with_gil
        function = self._bound(library, name)
        setattr(self, name, function)
        return function

    def keeping_the_gil(self, name: str) -> ctypes._NamedFuncPointer:
        """Return a function that keeps the GIL, for calls that end before another thread would have started."""
        return self._bound(self._with_gil, name)

    def _bound(self, library: ctypes.CDLL, name: str) -> ctypes._NamedFuncPointer:
        function = getattr(library, name)
        function.restype, function.argtypes = self._prototypes[name]
        return function


def _dlopen_lazily(path: Path) -> int:
    # ctypes.CDLL always adds RTLD_NOW, which resolves all symbols at once. A model needs only a few.
    libc = ctypes.CDLL(None)
    libc.dlopen.restype, libc.dlopen.argtypes = c_void_p, [c_char_p, c_int]
    libc.dlerror.restype = c_char_p
    handle = libc.dlopen(os.fsencode(path), os.RTLD_LAZY | os.RTLD_LOCAL)
    if not handle:
        raise EngineNotFoundError(f"{path.name} can't be loaded: {libc.dlerror().decode()}")
    return handle
