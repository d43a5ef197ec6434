"""Checks the function folders and ``host.json`` by the rules of Azure Functions' v1 model for Python."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from serving import functions as registry
from serving.functions import Function, FunctionError
from tools.doctor.finding import Finding, ok, problem, warning

# Meant to be open: monitors and browsers send no key, and these endpoints answer no prediction.
_MEANT_TO_BE_OPEN = ("Health", "Page")


def check(root: Path, model_names: Collection[str]) -> list[Finding]:
    """Check for each function folder whether Azure can load it, who may call it, and whether its model exists."""
    functions, findings = [], []
    for folder in registry.folders(root):
        try:
            functions.append(registry.read(folder))
        except FunctionError as mistake:
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


def _by_level(functions: list[Function]) -> str:
    """Return the functions' names, grouped by who may call them."""
    groups: dict[str, list[str]] = {}
    for function in functions:
        who = {"anonymous": "open to anyone", "admin": "needs the master key"}.get(function.auth_level, "needs a key")
        groups.setdefault(who if function.is_http else "not HTTP", []).append(function.name)
    return "; ".join(f"{', '.join(names)} ({who})" for who, names in groups.items())


def _keys(function: Function) -> list[Finding]:
    if not function.is_http:
        return []
    level = function.trigger.get("authLevel")
    if level is None:
        return [
            warning(
                f"{function.name} does not state its authLevel", 'write "authLevel": "function" into its function.json'
            )
        ]
    if not function.needs_key and function.endpoint not in _MEANT_TO_BE_OPEN:
        what = f"{function.name} is anonymous: anyone who knows its URL may call it"
        return [
            warning(what, 'set "authLevel": "function", unless a gateway in front of the app authenticates callers')
        ]
    return []


def _missing_models(function: Function, model_names: Collection[str]) -> list[Finding]:
    if function.model is None or function.model in model_names:
        return []
    what = f"{function.name} names the model {function.model!r}, which does not exist"
    return [problem(what, "add the model or change the name")]


def check_inputs(root: Path, inputs: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Check that the models of functions in the 2017 format have one input; ``inputs`` are those of models by name."""
    findings = []
    for function in registry.find(root):
        names = inputs.get(function.model or "", ())
        if function.endpoint == "PredictX" and len(names) > 1:
            why = f"the 2017 format takes one input, and {function.model} has {', '.join(names)}"
            todo = f"remove the folder {function.name}; the other protocols serve the model"
            findings.append(problem(f"{function.name} will answer every request with 400: {why}", todo))
    return findings


def _shared_routes(functions: list[Function]) -> list[Finding]:
    names: dict[str, list[str]] = {}
    for function in functions:
        if function.is_http:
            names.setdefault(function.route.lower(), []).append(function.name)
    return [
        problem(f"{' and '.join(sharing)} have the same route {route!r}", "give each a route of its own")
        for route, sharing in names.items()
        if len(sharing) > 1
    ]


def _host_json(root: Path) -> list[Finding]:
    try:
        content = registry.read_json(root / "host.json")
    except FunctionError as error:
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
