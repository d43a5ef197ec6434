"""What the doctor says of app settings: what fails, what contradicts itself, what has no effect."""

import importlib.util
import json
import re
import shutil

import pytest

from serving.settings import APP_ROOT, Settings
from tools.doctor import app_settings, models
from tools.doctor.app_settings import App, read_environment
from tools.doctor.children import Loaded
from tools.doctor.finding import Level
from tools.doctor.plans import PLANS

PROBLEM, WARNING = Level.PROBLEM, Level.WARNING
BATCHED = {"SERVING_BATCH_ROWS": "xor=4"}
FROM_PACKAGE = {"WEBSITE_RUN_FROM_PACKAGE": "1"}
TWO_PROCESSES = {"FUNCTIONS_WORKER_PROCESS_COUNT": "2"}
UNWRITABLE = {"SERVING_CACHE_PATH": "{app}/file/cache"}  # below a file, where root can't write either
FLEX = {"plan": "flex"}
WITHOUT, UNBUILT = {"packaged": False}, {"packaged": None}


@pytest.fixture
def app(tmp_path):
    """A folder with an app that has the XOR model."""
    shutil.copytree(APP_ROOT / "model" / "xor", tmp_path / "model" / "xor")
    (tmp_path / "file").touch(0o777)
    return tmp_path


def check(root, environ, plan="premium", has_library=True, is_slim=False, by_rows=True, packaged=True):
    environ = {"SERVING_MODEL_PATH": "{app}/model", **environ}
    environ = {name: value.format(app=root) for name, value in environ.items()}
    found = models.find(root / "model")
    for version in found:
        version.loaded = Loaded(0.3, 0.1, 300.0, 50.0, "tensorflow", by_rows, "")
    app = App(root, PLANS[plan], found, has_library, is_slim, can_export=True, packaged=packaged)
    return app_settings.check(app, Settings.from_environment(environ), environ)


def test_every_setting_of_the_app_is_known():
    page = (APP_ROOT / "docs" / "settings.md").read_text(encoding="utf-8")

    own = {name for name in app_settings.known_names() if name.startswith("SERVING_")}
    assert {f"| `{name}` |" for name in own} == {
        line[: line.index("|", 2) + 1] for line in page.splitlines() if line.startswith("| `SERVING_")
    }


def test_telemetry_without_its_packages_is_a_warning(app, monkeypatch):
    telemetry = {"PYTHON_ENABLE_OPENTELEMETRY": "true"}
    assert check(app, telemetry) == []

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    [finding] = check(app, telemetry)
    assert finding.level == "warning"
    assert "make lock" in finding.todo


@pytest.mark.parametrize(
    ("environ", "options", "level", "says"),
    [
        ({"SERVING_PRELOADS": "xor"}, {}, WARNING, "SERVING_PRELOADS is not a setting.*did you mean SERVING_PRELOAD"),
        ({"SERVING_DEFAULT_MODEL": "iris"}, {}, PROBLEM, "SERVING_DEFAULT_MODEL names the model 'iris'"),
        ({"SERVING_PRELOAD": "xor, iris"}, {}, PROBLEM, "SERVING_PRELOAD names the model 'iris'"),
        ({"SERVING_BATCH_ROWS": "iris=4"}, {}, WARNING, "iris=4, but there is no such model"),
        (BATCHED, {"by_rows": False}, WARNING, "has no batch dimension: no effect"),
        ({"SERVING_ENGINE": "python"}, {}, WARNING, "starts slower"),
        ({"SERVING_ENGINE": "python"}, {"is_slim": True}, PROBLEM, "no TensorFlow for Python"),
        ({"SERVING_ENGINE": "c"}, {"has_library": False}, PROBLEM, "C library is missing"),
        ({"SERVING_ENGINE": "litert"}, {}, WARNING, "litert, so TensorFlow in the package is never used"),
        ({"SERVING_ENGINE": "tensorflow"}, WITHOUT, PROBLEM, "no TensorFlow: it serves no model.*WITH_TENSORFLOW=1"),
        ({"SERVING_ENGINE": "c"}, WITHOUT, PROBLEM, "c, but a package has no TensorFlow"),
        ({"SERVING_ENGINE": "python"}, WITHOUT, PROBLEM, "python, but a package has no TensorFlow"),
        ({"SERVING_ENGINE": "tensorflow"}, UNBUILT, WARNING, "leaves TensorFlow out.*WITH_TENSORFLOW=1"),
        ({"SERVING_CACHE_PATH": "cache"}, {}, WARNING, "relative path 'cache'"),
        (UNWRITABLE, {}, WARNING, "nothing needs it now"),
        ({"PYTHON_THREADPOOL_THREAD_COUNT": "8"}, {}, WARNING, "no effect on this app's HTTP functions"),
        ({"FUNCTIONS_WORKER_RUNTIME": "node"}, {}, PROBLEM, "no function is loaded"),
        ({"FUNCTIONS_WORKER_PROCESS_COUNT": "many"}, {}, PROBLEM, "PROCESS_COUNT is"),
        ({"FUNCTIONS_WORKER_PROCESS_COUNT": "11"}, {}, PROBLEM, "PROCESS_COUNT is"),
        (TWO_PROCESSES, FLEX, WARNING, "(?=.*FUNCTIONS_WORKER_PROCESS_COUNT).*Flex Consumption"),
        (FROM_PACKAGE, FLEX, WARNING, "(?=.*WEBSITE_RUN_FROM_PACKAGE).*Flex Consumption"),
        (FROM_PACKAGE, {"plan": "consumption"}, WARNING, "WEBSITE_RUN_FROM_PACKAGE"),
        ({"SERVING_POLL_SECONDS": "10"}, FLEX, Level.OK, "SERVING_POLL_SECONDS"),
    ],
)
def test_a_setting_alone(app, environ, options, level, says):
    [finding] = check(app, environ, **options)

    assert finding.level is level
    assert re.search(says, f"{finding.what}; {finding.todo}")


@pytest.mark.parametrize(
    ("environ", "options"),
    [
        ({}, {}),
        ({"SERVING_BATCH_ROWS": "xor=0"}, {"by_rows": False}),
        ({"WEBSITE_RUN_FROM_PACKAGE": "https://store/app.zip"}, {"plan": "consumption"}),
        ({"SERVING_POLL_SECONDS": "0"}, FLEX),
        ({"SERVING_ENGINE": "tensorflow"}, {}),
        ({"SERVING_ENGINE": "litert"}, WITHOUT),
        ({"SERVING_ENGINE": "auto"}, WITHOUT),
    ],
)
def test_nothing_is_said_of_what_is_right(app, environ, options):
    assert check(app, environ, **options) == []


@pytest.mark.parametrize(
    ("missing", "environ", "options", "level", "says"),
    [
        ("export.json", BATCHED, {}, WARNING, "has not shown that its rows are independent"),
        ("export.json", {}, WITHOUT, PROBLEM, "xor/1 needs TensorFlow, which a package does not have"),
        ("saved_model.pb", FROM_PACKAGE, {}, WARNING, "each instance exports xor/1 again"),
        ("saved_model.pb", {"SERVING_CACHE_PATH": "{app}/cache"}, FLEX, PROBLEM, "read-only"),
        ("saved_model.pb", UNWRITABLE, {}, PROBLEM, "is not writable; xor/1 would be exported there"),
    ],
)
def test_a_setting_of_a_model_that_lacks_a_file(app, missing, environ, options, level, says):
    (app / "model" / "xor" / "1" / missing).unlink()

    [finding] = check(app, environ, **options)

    assert finding.level is level
    assert says in finding.what


def test_polling_a_share_is_what_it_is_for(app, tmp_path_factory):
    share = shutil.copytree(app / "model", tmp_path_factory.mktemp("share") / "models")

    assert check(app, {"SERVING_POLL_SECONDS": "10", "SERVING_MODEL_PATH": str(share)}, plan="flex") == []


def test_values_of_local_settings_stand_below_the_environment(app):
    values = {"SERVING_ENGINE": "c", "SERVING_PRELOAD": "xor", "Secret": "s3cr3t"}
    (app / "local.settings.json").write_text(json.dumps({"Values": values}))

    environ, [finding] = read_environment(app, {"SERVING_ENGINE": "auto"})

    assert environ["SERVING_ENGINE"] == "auto"
    assert environ["SERVING_PRELOAD"] == "xor"
    assert finding.level is Level.OK
    assert "not published" in finding.what
    assert "s3cr3t" not in finding.what


@pytest.mark.parametrize(
    ("content", "level", "says"),
    [
        (None, Level.OK, ""),
        ('{"IsEncrypted": true, "Values": {"SERVING_ENGINE": "c"}}', WARNING, ""),
        ("{", PROBLEM, "local.settings.json is not JSON"),
    ],
)
def test_local_settings_that_are_missing_encrypted_or_broken_leave_the_environment(app, content, level, says):
    if content is not None:
        (app / "local.settings.json").write_text(content)

    environ, [finding] = read_environment(app, {"A": "b"})

    assert environ == {"A": "b"}
    assert finding.level is level
    assert says in finding.what
