"""The list of functions looks like that of ``func start``."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.local_host import console, function_app

HTTP_ANSWER = {"type": "http", "direction": "out", "name": "$return"}


def lines(root: Path, sample: str | None = None, loaded: bool = True, **function_json: Any) -> list[str]:
    """Return the lines that list a function ``F``."""
    (root / "host.json").write_text("{}", encoding="utf-8")
    (root / "F").mkdir()
    (root / "F" / "function.json").write_text(json.dumps(function_json), encoding="utf-8")
    if sample is not None:
        (root / "F" / "sample.dat").write_text(sample, encoding="utf-8")
    entry_point = (lambda req: "") if loaded else None
    return console.function_list(function_app.read(root), {"F": entry_point}, "http://localhost:7071").split("\n\n")[2:]


def http(**trigger: Any) -> list[dict[str, Any]]:
    return [{"type": "httpTrigger", "direction": "in", "name": "req", **trigger}, HTTP_ANSWER]


@pytest.mark.parametrize(
    ("function", "line"),
    [
        ({"bindings": http()}, "\tF: http://localhost:7071/api/F   (auth level: function, not checked here)\n"),
        (
            {"bindings": http(route="models/{model}", methods=["get", "post"], authLevel="anonymous")},
            "\tF: [GET,POST] http://localhost:7071/api/models/{model}   (auth level: anonymous)\n",
        ),
        ({"bindings": http(), "disabled": True}, "Function F is disabled.\n"),
        ({"bindings": http(), "loaded": False}, "\tF: could not be loaded; see the log\n"),
        ({"bindings": [{"type": "timerTrigger", "name": "timer"}]}, "\tF: timerTrigger\n"),
    ],
    ids=["all methods", "two methods", "disabled", "not loaded", "another trigger"],
)
def test_a_function_is_listed(tmp_path: Path, function: dict[str, Any], line: str) -> None:
    assert lines(tmp_path, **function) == [line]


@pytest.mark.skipif(sys.platform == "win32", reason="the command is quoted for cmd.exe there")
def test_a_sample_request_is_listed_as_a_command(tmp_path: Path) -> None:
    listed = lines(tmp_path, sample='\ufeff{"say": "it\'s"}\n', bindings=http())

    command = """curl -s -H 'Content-Type: application/json' -d '{"say": "it'"'"'s"}' http://localhost:7071/api/F"""
    assert listed[1] == f"\t\t{command}\n"


def test_the_playground_is_named_first(tmp_path: Path) -> None:
    (tmp_path / "Playground").mkdir()
    content = {"bindings": http(route="try")}
    (tmp_path / "Playground" / "function.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "host.json").write_text("{}", encoding="utf-8")
    app = function_app.read(tmp_path)

    listed = console.function_list(app, {"Playground": lambda req: ""}, "http://localhost:7071")

    assert app.home == "/api/try"
    assert listed.split("\n\n")[1] == "Try the models on http://localhost:7071/api/try"
