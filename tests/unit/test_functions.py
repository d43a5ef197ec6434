"""The registry of functions: what it reads of a function folder, and what it refuses."""

import json
from pathlib import Path

import pytest

from serving import functions
from serving.functions import FunctionError

HTTP_IN = {"type": "httpTrigger", "direction": "in", "name": "req"}
HTTP_OUT = {"type": "http", "direction": "out", "name": "$return"}
SCRIPT = """
from serving.endpoints.predict_x import PredictX as Endpoint

_endpoint = Endpoint({})


async def main(req):
    pass
"""


def write(
    root: Path, name: str, script: str = SCRIPT, bindings: object = (HTTP_IN, HTTP_OUT), **content: object
) -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "function.json").write_text(json.dumps({"bindings": bindings, **content}))
    (folder / "__init__.py").write_text(script)
    return folder


@pytest.mark.parametrize("argument", ["'wine'", "model_name='wine'"])
def test_the_endpoint_and_its_model_are_read_from_the_script(tmp_path: Path, argument: str) -> None:
    function = functions.read(write(tmp_path, "PredictWine", SCRIPT.format(argument)))

    assert (function.name, function.endpoint, function.model) == ("PredictWine", "PredictX", "wine")
    assert (function.route, function.is_http, function.needs_key) == ("PredictWine", True, True)


def test_route_and_access_are_read_from_the_trigger(tmp_path: Path) -> None:
    trigger = {**HTTP_IN, "route": "v1/{*path}", "authLevel": "Anonymous"}

    function = functions.read(write(tmp_path, "Any", SCRIPT.format(""), [trigger, HTTP_OUT]))

    assert (function.route, function.needs_key, function.model) == ("v1/{*path}", False, None)


def test_a_function_of_somebody_else_has_no_endpoint(tmp_path: Path) -> None:
    script = "from elsewhere import PredictX\nPredictX('wine')\ndef main(mytimer): pass"

    function = functions.read(write(tmp_path, "Timer", script, [{"type": "timerTrigger", "name": "mytimer"}]))

    assert (function.endpoint, function.model, function.is_http) == (None, None, False)


def test_all_functions_are_found_by_name_but_those_that_azure_cannot_load(tmp_path: Path) -> None:
    write(tmp_path, "B", SCRIPT.format(""))
    write(tmp_path, "A", SCRIPT.format(""))
    write(tmp_path, "Ahead", "def main(:")
    (tmp_path / "serving").mkdir()

    assert [function.name for function in functions.find(tmp_path)] == ["A", "B"]


@pytest.mark.parametrize(
    ("script", "bindings", "content", "says"),
    [
        ("def main(:", [HTTP_IN, HTTP_OUT], {}, "__init__.py is not Python"),
        ("", [HTTP_IN, HTTP_OUT], {}, "__init__.py has no function main"),
        ("def main(req): pass", [HTTP_IN, HTTP_OUT], {"entryPoint": "run"}, "has no function run"),
        ("def main(request): pass", [HTTP_IN, HTTP_OUT], {}, "__init__.py: main has no parameter 'req'"),
        ("", [HTTP_IN, HTTP_OUT], {"scriptFile": "other.py"}, "its scriptFile other.py does not exist"),
        ("", "none", {}, "no list of bindings"),
        ("", {"type": "httpTrigger"}, {}, "no list of bindings"),
        ("", ["httpTrigger"], {}, "no list of bindings"),
        ("", [HTTP_OUT], {}, "must have one trigger with the direction in, but has 0"),
        ("", [HTTP_IN, HTTP_IN, HTTP_OUT], {}, "but has 2"),
        ("", [{**HTTP_IN, "direction": "out"}, HTTP_OUT], {}, "must have one trigger with the direction in"),
        ("", [HTTP_IN], {}, "no binding of type http with the direction out"),
        ("", [HTTP_IN, {**HTTP_OUT, "type": "queue"}], {}, "no binding of type http with the direction out"),
        ("", [{**HTTP_IN, "authLevel": "user"}, HTTP_OUT], {}, "its authLevel is 'user'; it must be one of anonymous"),
    ],
)
def test_a_function_that_azure_cannot_load_is_refused_in_one_line(tmp_path, script, bindings, content, says):
    folder = write(tmp_path, "Function", script, bindings, **content)

    with pytest.raises(FunctionError) as caught:
        functions.read(folder)

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "says"), [("{", "function.json is not JSON"), ("[]", "does not hold a JSON object")])
def test_a_function_json_that_is_no_object_is_refused(tmp_path: Path, text: str, says: str) -> None:
    folder = write(tmp_path, "Function")
    (folder / "function.json").write_text(text)

    with pytest.raises(FunctionError, match=says):
        functions.read(folder)
    (folder / "function.json").unlink()
    with pytest.raises(FunctionError, match=r"function.json can't be read: No such file"):
        functions.read(folder)


def test_a_function_json_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = write(tmp_path, "Function", SCRIPT.format("")) / "function.json"
    file.write_text(file.read_text(), encoding="utf-8-sig")

    assert functions.read(file.parent).is_http
