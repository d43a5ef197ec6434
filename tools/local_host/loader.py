"""Imports the functions as Azure's Python worker does: as modules of the package ``__app__``."""

import importlib
import inspect
import logging
import sys
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

from tools.local_host.function_app import FunctionApp, FunctionConfig

EntryPoint = Callable[..., Any]

# By the function's name; None for a function that could not be loaded.
EntryPoints = Mapping[str, EntryPoint | None]

_PACKAGE = "__app__"
_HTTP_BINDINGS = {"httptrigger", "http"}

_logger = logging.getLogger(__name__)


class FunctionLoadError(Exception):
    """A function that does not fit its ``function.json``."""


def load(app: FunctionApp) -> EntryPoints:
    """Import every function that is not disabled. As on Azure, a failure is logged and the others are loaded."""
    sys.path.insert(0, str(app.root))
    _install_package(app.root)
    return {config.name: _load_or_log(config, app.root) for config in app.functions if not config.is_disabled}


def _install_package(root: Path) -> None:
    """Make the app's folders importable as ``__app__.<folder>``."""
    spec = ModuleSpec(_PACKAGE, loader=None, is_package=True)
    spec.submodule_search_locations = [str(root)]
    sys.modules[_PACKAGE] = module_from_spec(spec)


def _load_or_log(config: FunctionConfig, root: Path) -> EntryPoint | None:
    try:
        entry_point = _import_entry_point(config, root)
        _check_bindings(config, entry_point)
    except Exception:
        _logger.exception("Function %s could not be loaded; its route answers 500.", config.name)
        return None
    return entry_point


def _import_entry_point(config: FunctionConfig, root: Path) -> EntryPoint:
    script = config.script_file.relative_to(root)
    if script.suffix != ".py":
        raise FunctionLoadError(f"{script} is not a Python file")
    # Importing a package runs its __init__.py; importing that as a module of its own would run it again.
    parts = script.parent.parts if script.stem == "__init__" else script.with_suffix("").parts
    module = importlib.import_module(".".join((_PACKAGE, *parts)))
    entry_point = getattr(module, config.entry_point, None)
    if not callable(entry_point):
        raise FunctionLoadError(f"{script} does not define a function {config.entry_point}")
    return entry_point


def _check_bindings(config: FunctionConfig, entry_point: EntryPoint) -> None:
    """Raise FunctionLoadError if Python and ``function.json`` name different parameters, as Azure does."""
    declared = {binding.name for binding in config.bindings} - {"$return"}
    taken = set(inspect.signature(entry_point).parameters) - {"context"}
    if taken - declared:
        raise FunctionLoadError(f"parameters in Python but not in function.json: {', '.join(taken - declared)}")
    if declared - taken:
        raise FunctionLoadError(f"parameters in function.json but not in Python: {', '.join(declared - taken)}")
    others = {binding.type for binding in config.bindings} - _HTTP_BINDINGS
    if config.http and others:
        raise FunctionLoadError(f"bindings the local host does not support: {', '.join(others)}")
