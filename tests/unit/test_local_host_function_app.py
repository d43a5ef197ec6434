"""The host reads host.json and function.json and reports mistakes in them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools.local_host import function_app
from tools.local_host.errors import HostError
from tools.local_host.function_app import FunctionApp, FunctionConfig

HTTP_TRIGGER = {"type": "httpTrigger", "direction": "in", "name": "req"}
HTTP_ANSWER = {"type": "http", "direction": "out", "name": "$return"}


def read_app(root: Path, host: Any = None, **functions: Any) -> FunctionApp:
    """Write the files and read them; a function that is a string is written unchanged."""
    (root / "host.json").write_text(json.dumps(host or {}), encoding="utf-8")
    for name, content in functions.items():
        (root / name).mkdir()
        text = content if isinstance(content, str) else json.dumps(content)
        (root / name / "function.json").write_text(text, encoding="utf-8")
    return function_app.read(root)


def read_function(root: Path, function_json: Any) -> FunctionConfig:
    return read_app(root, Predict=function_json).functions[0]


def http_function(**trigger: Any) -> dict[str, Any]:
    return {"bindings": [HTTP_TRIGGER | trigger, HTTP_ANSWER]}


@pytest.mark.parametrize(
    ("host", "trigger", "route"),
    [
        ({}, {}, "api/Predict"),
        ({}, {"route": ""}, "api/Predict"),
        ({}, {"route": "models/{model}"}, "api/models/{model}"),
        ({"extensions": {"http": {"routePrefix": ""}}}, {}, "Predict"),
        ({"extensions": {"http": {"routePrefix": "v1/app/"}}}, {}, "v1/app/Predict"),
    ],
)
def test_the_route_is_the_prefix_and_the_trigger_s_route_or_the_function_s_name(tmp_path, host, trigger, route):
    http = read_app(tmp_path, host, Predict=http_function(**trigger)).functions[0].http

    assert http is not None
    assert http.route.template == route


def test_a_trigger_s_methods_are_in_upper_case(tmp_path: Path) -> None:
    http = read_function(tmp_path, http_function(methods=["get", "Post"])).http

    assert http is not None
    assert http.route.methods == ("GET", "POST")


@pytest.mark.parametrize("trigger", [{}, {"methods": []}, {"methods": None}])
def test_a_trigger_without_methods_allows_all(tmp_path: Path, trigger: Any) -> None:
    http = read_function(tmp_path, http_function(**trigger)).http

    assert http is not None
    assert http.route.methods is None


@pytest.mark.parametrize(
    ("function_json", "script"),
    [
        ({}, "Predict/__init__.py"),
        ({"scriptFile": "xor.py"}, "Predict/xor.py"),
        ({"scriptFile": "../xor.py"}, "xor.py"),
    ],
)
def test_the_script_is_found_from_the_function_s_folder(tmp_path: Path, function_json: Any, script: str) -> None:
    config = read_function(tmp_path, http_function() | function_json)

    assert config.script_file == tmp_path / script


@pytest.mark.parametrize(("function_json", "entry_point"), [({}, "main"), ({"entryPoint": "predict"}, "predict")])
def test_the_entry_point_is_main_unless_it_is_named(tmp_path: Path, function_json: Any, entry_point: str) -> None:
    assert read_function(tmp_path, http_function() | function_json).entry_point == entry_point


def test_a_function_with_another_trigger_has_no_route(tmp_path: Path) -> None:
    config = read_function(tmp_path, {"bindings": [{"type": "warmupTrigger", "direction": "in", "name": "warmup"}]})

    assert config.http is None
    assert config.trigger_type == "warmupTrigger"


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    assert read_function(tmp_path, "\ufeff" + json.dumps(http_function())).name == "Predict"


def test_a_folder_without_function_json_is_not_a_function(tmp_path: Path) -> None:
    (tmp_path / "serving").mkdir()

    assert read_app(tmp_path).functions == ()


@pytest.mark.parametrize(
    ("function_json", "problem"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected a JSON object"),
        ({}, '"bindings" has 0 triggers; expected one'),
        ({"bindings": [HTTP_TRIGGER, HTTP_TRIGGER]}, '"bindings" has 2 triggers; expected one'),
        ({"bindings": {}}, '"bindings" is {}; expected a list'),
        ({"bindings": ["httpTrigger"]}, '"bindings" must be a list of objects'),
        ({"bindings": [{"type": "httpTrigger"}]}, 'a binding has no "name"'),
        (http_function() | {"disabled": "yes"}, '"disabled" is "yes"; expected true or false'),
        (http_function() | {"scriptFile": 1}, '"scriptFile" is 1; expected a string'),
        (http_function(route="{"), "\"route\": segment '{' has unbalanced braces"),
    ],
)
def test_an_invalid_function_json_is_reported_in_one_line_that_names_the_file(tmp_path, function_json, problem):
    with pytest.raises(HostError) as caught:
        read_app(tmp_path, Predict=function_json)

    message = str(caught.value)
    assert message.startswith(str(tmp_path / "Predict" / "function.json"))
    assert problem in message
    assert "\n" not in message


def test_a_missing_host_json_is_reported(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"host\.json: No such file"):
        function_app.read(tmp_path)
