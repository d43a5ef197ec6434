"""Checks the function folders and ``host.json`` by the rules of Azure Functions' v1 model for Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.doctor import json_file
from tools.doctor.finding import Finding, ok, problem, warning

# Meant to be open: monitors and browsers send no key, and these functions answer no prediction.
_MEANT_TO_BE_OPEN = ("Health", "OpenApi", "Playground")

_AUTH_LEVELS = ("anonymous", "function", "admin")


class _MistakeError(Exception):
    """Azure can't load a function; the message is one line."""


@dataclass(frozen=True)
class _Function:
    """A function folder that Azure can load: its trigger binding, its route, and the models that it names."""

    name: str
    trigger: dict[str, Any]
    models: tuple[str, ...]

    @property
    def is_http(self) -> bool:
        return str(self.trigger["type"]).lower() == "httptrigger"

    @property
    def route(self) -> str:
        return str(self.trigger.get("route") or self.name).lower()


def check(root: Path, model_names: Collection[str]) -> list[Finding]:
    """Check for each function folder whether Azure can load it, who may call it, and whether its model exists."""
    functions, findings = [], []
    for folder in sorted(path.parent for path in root.glob("*/function.json")):
        try:
            functions.append(_read(folder))
        except (_MistakeError, json_file.JsonFileError) as mistake:
            findings.append(problem(f"{folder.name}: {mistake}", "fix it: Azure will not load this function"))
    for function in functions:
        findings += _keys(function)
        findings += _missing_models(function, model_names)
    findings += _shared_routes(functions)
    if functions:
        findings.insert(0, ok(f"{len(functions)} functions: {_by_level(functions)}"))
    elif not findings:
        findings.append(problem("There is no function folder", "publish the folder that contains host.json"))
    return [*findings, *_host_json(root)]


def _by_level(functions: list[_Function]) -> str:
    """Return the functions' names, grouped by who may call them."""
    groups: dict[str, list[str]] = {}
    for function in functions:
        level = str(function.trigger.get("authLevel", "function")).lower()
        who = {"anonymous": "open to anyone", "admin": "needs the master key"}.get(level, "needs a key")
        groups.setdefault(who if function.is_http else "not HTTP", []).append(function.name)
    return "; ".join(f"{', '.join(names)} ({who})" for who, names in groups.items())


def _read(folder: Path) -> _Function:
    content = json_file.read(folder / "function.json")
    script = folder / str(content.get("scriptFile", "__init__.py"))
    if not script.is_file():
        raise _MistakeError(f"its scriptFile {script.name} does not exist")
    bindings = content.get("bindings")
    if not isinstance(bindings, list) or not all(isinstance(binding, dict) for binding in bindings):
        raise _MistakeError("function.json has no list of bindings")
    triggers = [binding for binding in bindings if str(binding.get("type", "")).lower().endswith("trigger")]
    if len(triggers) != 1 or triggers[0].get("direction", "in") != "in":
        raise _MistakeError(f"function.json must have one trigger with the direction in, but has {len(triggers)}")
    if str(triggers[0]["type"]).lower() == "httptrigger":
        _check_http(triggers[0], bindings)
    return _Function(folder.name, triggers[0], _check_script(script, content, triggers[0]))


def _check_http(trigger: dict[str, Any], bindings: list[dict[str, Any]]) -> None:
    level = trigger.get("authLevel")
    if level is not None and str(level).lower() not in _AUTH_LEVELS:
        raise _MistakeError(f"its authLevel is {level!r}; it must be one of {', '.join(_AUTH_LEVELS)}")
    if not any(item.get("type") == "http" and item.get("direction") == "out" for item in bindings):
        raise _MistakeError("it has an HTTP trigger but no binding of type http with the direction out")


def _check_script(script: Path, content: dict[str, Any], trigger: dict[str, Any]) -> tuple[str, ...]:
    """Return the models that the script names; raises _MistakeError where Azure's worker can't call it."""
    entry = str(content.get("entryPoint", "main"))
    try:
        tree = ast.parse(script.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise _MistakeError(f"{script.name} is not Python: {error}") from error
    functions = [item for item in tree.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
    parameters = [[argument.arg for argument in item.args.args] for item in functions if item.name == entry]
    if not parameters:
        raise _MistakeError(f"{script.name} has no function {entry}")
    name = str(trigger.get("name"))
    if name not in parameters[-1]:
        raise _MistakeError(f"{script.name}: {entry} has no parameter {name!r}, as the trigger is named")
    return tuple(_named_models(tree))


def _named_models(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "model_name" and isinstance(node.value, ast.Constant):
            yield str(node.value.value)


def _keys(function: _Function) -> list[Finding]:
    if not function.is_http:
        return []
    level = function.trigger.get("authLevel")
    if level is None:
        return [
            warning(
                f"{function.name} does not state its authLevel", 'write "authLevel": "function" into its function.json'
            )
        ]
    if str(level).lower() == "anonymous" and function.name not in _MEANT_TO_BE_OPEN:
        what = f"{function.name} is anonymous: anyone who knows its URL may call it"
        return [
            warning(what, 'set "authLevel": "function", unless a gateway in front of the app authenticates callers')
        ]
    return []


def _missing_models(function: _Function, model_names: Collection[str]) -> list[Finding]:
    return [
        problem(f"{function.name} names the model {name!r}, which does not exist", "add the model or change the name")
        for name in function.models
        if name not in model_names
    ]


def _shared_routes(functions: list[_Function]) -> list[Finding]:
    names: dict[str, list[str]] = {}
    for function in functions:
        if function.is_http:
            names.setdefault(function.route, []).append(function.name)
    return [
        problem(f"{' and '.join(sharing)} have the same route {route!r}", "give each a route of its own")
        for route, sharing in names.items()
        if len(sharing) > 1
    ]


def _host_json(root: Path) -> list[Finding]:
    try:
        content = json_file.read(root / "host.json")
    except json_file.JsonFileError as error:
        return [problem(str(error), "fix it: without host.json Azure does not find the app")]
    if content.get("version") != "2.0":
        return [problem(f"host.json has the version {content.get('version')!r}", 'write "version": "2.0"')]
    bundle = content.get("extensionBundle")
    if not isinstance(bundle, dict) or not bundle.get("id") or not bundle.get("version"):
        return [problem("host.json names no extension bundle, which the warm-up trigger needs", _ADD_BUNDLE)]
    lowest = re.match(r"[\[(]\s*(\d+)", str(bundle["version"]))
    # Flex Consumption needs 4 (learn.microsoft.com/azure/azure-functions/flex-consumption-plan, Considerations).
    if lowest is None or int(lowest[1]) < 4:
        return [warning(f"host.json names an old extension bundle, {bundle['version']}", _ADD_BUNDLE)]
    return [ok(f"host.json: version 2.0, extension bundle {bundle['version']}")]


_ADD_BUNDLE = 'write "extensionBundle": {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"}'
