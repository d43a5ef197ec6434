"""What the doctor says of function folders and host.json."""

import json
import shutil

import pytest

from serving.settings import APP_ROOT
from tools.doctor import functions
from tools.doctor.finding import Level

HTTP = {
    "bindings": [
        {"type": "httpTrigger", "direction": "in", "name": "req", "authLevel": "function"},
        {"type": "http", "direction": "out", "name": "$return"},
    ]
}
HTTP_IN = {"type": "http", "direction": "in", "name": "$return"}
OLD_BUNDLE = '{"version": "2.0", "extensionBundle": {"id": "a", "version": "[3.3.0, 4.0.0)"}}'
MAIN = "async def main(req): ..."
PREDICT_XOR = f"from serving.endpoints.predict_x import PredictX\nendpoint = PredictX('xor')\n{MAIN}"
HEALTH = f"from serving.endpoints.health import Health\nendpoint = Health()\n{MAIN}"
WARMUP = {"bindings": [{"type": "warmupTrigger", "direction": "in", "name": "context"}]}


@pytest.fixture
def app(tmp_path):
    """An app with the project's host.json, an HTTP function for the model xor, and a warm-up function, to break."""
    shutil.copy(APP_ROOT / "host.json", tmp_path)
    add(tmp_path / "PredictXor", HTTP, PREDICT_XOR)
    add(tmp_path / "Warmup", WARMUP, "def main(context): ...\n")
    return tmp_path


def add(folder, config, script):
    folder.mkdir()
    (folder / "function.json").write_text(json.dumps(config))
    (folder / "__init__.py").write_text(script)


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_trigger(folder, **values):
    content = json.loads((folder / "function.json").read_text())
    content["bindings"][0] |= values
    (folder / "function.json").write_text(json.dumps(content))


def bad(app):
    return [finding for finding in functions.check(app, {"xor"}) if finding.level is not Level.OK]


def test_functions_without_mistakes_are_listed_by_who_may_call_them(app):
    add(app / "Health", HTTP, HEALTH)
    change_trigger(app / "Health", authLevel="anonymous")
    assert bad(app) == []

    assert functions.check(app, {"xor"})[0].what == (
        "3 functions: Health (open to anyone); PredictXor (needs a key); Warmup (not HTTP)"
    )


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (lambda folder: change(folder / "function.json", bindings=HTTP["bindings"][:1]), "with the direction out"),
        (lambda folder: change(folder / "function.json", bindings=[HTTP["bindings"][0], HTTP_IN]), "direction out"),
        (lambda folder: (folder / "function.json").write_text('{"bindings": ['), "function.json is not JSON"),
        (lambda folder: (folder / "function.json").write_text("[]"), "does not hold a JSON object"),
        (lambda folder: (folder / "__init__.py").unlink(), "scriptFile __init__.py does not exist"),
        (lambda folder: change(folder / "function.json", scriptFile="run.py"), "scriptFile run.py does not exist"),
        (lambda folder: change(folder / "function.json", bindings=[]), "must have one trigger"),
        (lambda folder: change(folder / "function.json", bindings=5), "no list of bindings"),
        (lambda folder: change(folder / "function.json", entryPoint="run"), "no function run"),
        (lambda folder: change_trigger(folder, authLevel="key"), "authLevel is 'key'"),
        (lambda folder: change_trigger(folder, name="request"), "no parameter 'request'"),
        (lambda folder: (folder / "__init__.py").write_text("def main(req:"), "is not Python"),
    ],
)
def test_a_function_that_azure_cannot_load_is_a_problem(app, breaks, says):
    breaks(app / "PredictXor")

    [finding] = bad(app)

    assert finding.level is Level.PROBLEM
    assert finding.what.startswith("PredictXor: ")
    assert says in finding.what


@pytest.mark.parametrize(
    ("level", "says"), [("anonymous", "PredictXor is anonymous"), (None, "does not state its authLevel")]
)
def test_predictions_that_are_or_may_be_open_to_anyone_are_warned_of(app, level, says):
    change_trigger(app / "PredictXor", authLevel=level)

    [finding] = bad(app)

    assert finding.level is Level.WARNING
    assert says in finding.what


def test_a_function_whose_model_is_not_there_is_a_problem(app):
    [finding] = [found for found in functions.check(app, {"iris"}) if found.level is not Level.OK]

    assert finding.level is Level.PROBLEM
    assert "PredictXor names the model 'xor'" in finding.what


def test_a_function_whose_model_has_two_inputs_is_a_problem(app):
    assert functions.check_inputs(app, {"xor": ["X"], "other": ["a", "b"]}) == []
    [finding] = functions.check_inputs(app, {"xor": ["a", "b"]})

    assert finding.level is Level.PROBLEM
    assert "the 2017 format takes one input, and xor has a, b" in finding.what


def test_two_functions_with_one_route_are_a_problem(app):
    shutil.copytree(app / "PredictXor", app / "PredictIris")
    change_trigger(app / "PredictIris", route="predictxor")

    [finding] = bad(app)

    assert finding.level is Level.PROBLEM
    assert "PredictIris and PredictXor have the same route" in finding.what


def test_a_folder_without_functions_is_a_problem(tmp_path):
    shutil.copy(APP_ROOT / "host.json", tmp_path)

    [finding] = bad(tmp_path)

    assert finding.level is Level.PROBLEM
    assert "no function folder" in finding.what


@pytest.mark.parametrize(
    ("content", "level", "says"),
    [
        (None, Level.PROBLEM, "host.json can't be read"),
        ("{", Level.PROBLEM, "host.json is not JSON"),
        ('{"version": "1.0"}', Level.PROBLEM, "version '1.0'"),
        ('{"version": "2.0"}', Level.PROBLEM, "no extension bundle"),
        (OLD_BUNDLE, Level.WARNING, "an old extension bundle"),
    ],
)
def test_host_json(app, content, level, says):
    (app / "host.json").unlink()
    if content is not None:
        (app / "host.json").write_text(content)

    [finding] = bad(app)

    assert finding.level is level
    assert says in finding.what
