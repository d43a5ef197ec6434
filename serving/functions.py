"""The function folders: the one registry of what the app answers, read from the folders themselves.

Azure Functions' v1 model finds a function by its ``function.json``. The endpoint and the model stand in its script as
``PredictX(model_name="xor")``; they are read from the source, so that nothing is imported for it.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ENDPOINTS = "serving.endpoints"

_AUTH_LEVELS = ("anonymous", "function", "admin")


class FunctionError(Exception):
    """Azure could not load this function; the message is one line that says why."""


@dataclass(frozen=True)
class Function:
    """A function folder: its trigger binding, and the endpoint class and model that its script names, if any."""

    name: str
    trigger: dict[str, Any]
    endpoint: str | None
    model: str | None

    @property
    def is_http(self) -> bool:
        """Whether an HTTP request invokes it."""
        return str(self.trigger["type"]).lower() == "httptrigger"

    @property
    def route(self) -> str:
        """The part of its URL below the route prefix, such as ``v1/models/{*path}``."""
        return str(self.trigger.get("route") or self.name)

    @property
    def auth_level(self) -> str:
        """Who may call it: ``anonymous``, ``function`` (with a key, the platform's default) or ``admin``."""
        return str(self.trigger.get("authLevel", "function")).lower()

    @property
    def needs_key(self) -> bool:
        """Whether a request needs a function or host key."""
        return self.auth_level != "anonymous"


def find(app_root: Path) -> list[Function]:
    """Return the functions that Azure can load, by name; those that it can't are left out."""
    found = []
    for folder in folders(app_root):
        try:
            found.append(read(folder))
        except FunctionError:
            continue
    return found


def folders(app_root: Path) -> list[Path]:
    """Return the folders that Azure takes for functions."""
    return sorted(path.parent for path in app_root.glob("*/function.json"))


def read(folder: Path) -> Function:
    """Read one function folder; raises FunctionError."""
    content = read_json(folder / "function.json")
    trigger = _trigger(content)
    script = folder / str(content.get("scriptFile", "__init__.py"))
    try:
        tree = ast.parse(script.read_bytes())
    except OSError:
        raise FunctionError(f"its scriptFile {script.name} does not exist") from None
    except (SyntaxError, ValueError) as error:
        raise FunctionError(f"{script.name} is not Python: {error}") from error
    entry = str(content.get("entryPoint", "main"))
    _check_entry_point(tree, script.name, entry, str(trigger.get("name")))
    endpoint, model = next(_endpoints(tree), (None, None))
    return Function(folder.name, trigger, endpoint, model)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; raises FunctionError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))  # Visual Studio writes a byte order mark
    except OSError as error:
        raise FunctionError(f"{path.name} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise FunctionError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise FunctionError(f"{path.name} does not hold a JSON object")
    return content


def _trigger(content: dict[str, Any]) -> dict[str, Any]:
    bindings = content.get("bindings")
    if not isinstance(bindings, list) or not all(isinstance(binding, dict) for binding in bindings):
        raise FunctionError("function.json has no list of bindings")
    triggers = [binding for binding in bindings if str(binding.get("type", "")).lower().endswith("trigger")]
    if len(triggers) != 1 or triggers[0].get("direction", "in") != "in":
        raise FunctionError(f"function.json must have one trigger with the direction in, but has {len(triggers)}")
    trigger: dict[str, Any] = triggers[0]
    if str(trigger["type"]).lower() == "httptrigger":
        _check_http(trigger, bindings)
    return trigger


def _check_http(trigger: dict[str, Any], bindings: list[dict[str, Any]]) -> None:
    level = trigger.get("authLevel")
    if level is not None and str(level).lower() not in _AUTH_LEVELS:
        raise FunctionError(f"its authLevel is {level!r}; it must be one of {', '.join(_AUTH_LEVELS)}")
    if not any(item.get("type") == "http" and item.get("direction") == "out" for item in bindings):
        raise FunctionError("it has an HTTP trigger but no binding of type http with the direction out")


def _check_entry_point(tree: ast.Module, script: str, entry: str, parameter: str) -> None:
    functions = [item for item in tree.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
    parameters = [[argument.arg for argument in item.args.args] for item in functions if item.name == entry]
    if not parameters:
        raise FunctionError(f"{script} has no function {entry}")
    if parameter not in parameters[-1]:
        raise FunctionError(f"{script}: {entry} has no parameter {parameter!r}, as the trigger is named")


def _endpoints(tree: ast.Module) -> Iterator[tuple[str, str | None]]:
    """Yield the class and the model of each endpoint that a script makes."""
    imported = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_ENDPOINTS)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in imported:
            values = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "model_name")]
            names = [value.value for value in values if isinstance(value, ast.Constant)]
            yield imported[node.func.id], str(names[0]) if names else None
