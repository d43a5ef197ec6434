"""Functions are imported as on Azure, and those that do not fit their function.json are refused."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.local_host import function_app, loader

HTTP_TRIGGER = {"type": "httpTrigger", "direction": "in", "name": "req"}
HTTP_ANSWER = {"type": "http", "direction": "out", "name": "$return"}


@pytest.fixture(autouse=True)
def _imports_are_undone() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in [name for name in sys.modules if name.partition(".")[0] == "__app__"]:
        del sys.modules[name]


def load(root: Path, code: str, script: str = "__init__.py", **function_json: Any) -> loader.EntryPoint | None:
    """Load a function ``F`` with this code in this script; by default an HTTP function."""
    (root / "host.json").write_text("{}")
    (root / "F").mkdir()
    (root / "F" / script).write_text(code)
    content = {"scriptFile": script, "bindings": [HTTP_TRIGGER, HTTP_ANSWER]} | function_json
    (root / "F" / "function.json").write_text(json.dumps(content))
    return loader.load(function_app.read(root))["F"]


@pytest.mark.parametrize(
    ("script", "module"),
    [("__init__.py", "__app__.F"), ("predict.py", "__app__.F.predict"), ("../beside.py", "__app__.beside")],
)
def test_a_function_is_a_module_of_the_app_package_that_can_import_from_its_root(tmp_path, script, module):
    (tmp_path / "beside_the_functions.py").write_text("answer = 42")
    code = "import beside_the_functions as b\ndef predict(req): return __name__, b.answer"

    entry_point = load(tmp_path, code, script, entryPoint="predict")

    assert entry_point is not None
    assert entry_point(None) == (module, 42)


def test_a_function_may_take_a_context_without_a_binding(tmp_path: Path) -> None:
    assert load(tmp_path, "def main(req, context): pass") is not None


def test_a_disabled_function_is_not_imported(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        load(tmp_path, "raise Exception", disabled=True)


@pytest.mark.parametrize(
    ("code", "bindings", "reason"),
    [
        ("import no_such_module", [HTTP_TRIGGER, HTTP_ANSWER], "No module named 'no_such_module'"),
        ("def other(req): pass", [HTTP_TRIGGER, HTTP_ANSWER], "does not define a function main"),
        ("main = 'text'", [HTTP_TRIGGER, HTTP_ANSWER], "does not define a function main"),
        ("def main(): pass", [HTTP_TRIGGER, HTTP_ANSWER], "in function.json but not in Python: req"),
        ("def main(req, blob): pass", [HTTP_TRIGGER, HTTP_ANSWER], "in Python but not in function.json: blob"),
        (
            "def main(req, q): pass",
            [HTTP_TRIGGER, {"type": "queue", "direction": "out", "name": "q"}],
            "bindings the local host does not support: queue",
        ),
    ],
)
def test_a_function_that_can_not_be_loaded_is_logged_with_the_reason(tmp_path, caplog, code, bindings, reason):
    with caplog.at_level(logging.ERROR):
        assert load(tmp_path, code, bindings=bindings) is None

    assert "Function F could not be loaded" in caplog.text
    assert reason in caplog.text
