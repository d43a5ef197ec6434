"""What the doctor says of app settings: what fails, what contradicts itself, what has no effect."""

import importlib.util
import json
import shutil

import pytest

from serving.settings import APP_ROOT, Settings
from tools.doctor import app_settings, models
from tools.doctor.app_settings import App, read_environment
from tools.doctor.children import Loaded
from tools.doctor.finding import Level
from tools.doctor.plans import PLANS


@pytest.fixture
def app(tmp_path):
    """A folder with an app that has the XOR model."""
    shutil.copytree(APP_ROOT / "model" / "xor", tmp_path / "model" / "xor")
    return tmp_path


def check(root, environ, plan="premium", has_library=True, is_slim=False, by_rows=True):
    environ = {"SERVING_MODEL_PATH": str(root / "model"), **environ}
    found = models.find(root / "model")
    for version in found:
        version.loaded = Loaded(0.3, 0.1, 300.0, 50.0, by_rows, "")
    app = App(root, PLANS[plan], found, has_library, is_slim, can_export=True)
    return app_settings.check(app, Settings.from_environment(environ), environ)


def test_defaults_are_all_right(app):
    assert check(app, {}) == []


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
    ("environ", "level", "says"),
    [
        ({"SERVING_PRELOADS": "xor"}, Level.WARNING, "SERVING_PRELOADS is not a setting"),
        ({"SERVING_DEFAULT_MODEL": "iris"}, Level.PROBLEM, "SERVING_DEFAULT_MODEL names the model 'iris'"),
        ({"SERVING_PRELOAD": "xor, iris"}, Level.PROBLEM, "SERVING_PRELOAD names the model 'iris'"),
        ({"SERVING_BATCH_ROWS": "iris=4"}, Level.WARNING, "iris=4, but there is no such model"),
        ({"SERVING_ENGINE": "python"}, Level.WARNING, "starts slower"),
        ({"SERVING_CACHE_PATH": "cache"}, Level.WARNING, "relative path 'cache'"),
        ({"PYTHON_THREADPOOL_THREAD_COUNT": "8"}, Level.WARNING, "no effect on this app's HTTP functions"),
        ({"FUNCTIONS_WORKER_RUNTIME": "node"}, Level.PROBLEM, "no function is loaded"),
        ({"FUNCTIONS_WORKER_PROCESS_COUNT": "many"}, Level.PROBLEM, "PROCESS_COUNT is"),
        ({"FUNCTIONS_WORKER_PROCESS_COUNT": "11"}, Level.PROBLEM, "PROCESS_COUNT is"),
    ],
)
def test_a_setting_alone(app, environ, level, says):
    [finding] = check(app, environ)

    assert finding.level is level
    assert says in finding.what


def test_a_misspelt_setting_gets_the_right_name(app):
    [finding] = check(app, {"SERVING_PRELOADS": "xor"})

    assert finding.todo == "did you mean SERVING_PRELOAD?"


def test_batches_for_a_model_whose_signature_does_not_go_by_rows_have_no_effect(app):
    [finding] = check(app, {"SERVING_BATCH_ROWS": "xor=4"}, by_rows=False)

    assert finding.level is Level.WARNING
    assert "has no batch dimension: no effect" in finding.what


def test_batches_for_a_model_whose_rows_may_depend_on_each_other_are_warned_of(app):
    (app / "model" / "xor" / "1" / "export.json").unlink()

    [finding] = check(app, {"SERVING_BATCH_ROWS": "xor=4"})

    assert finding.level is Level.WARNING
    assert "has not shown that its rows are independent" in finding.what


def test_no_batches_for_a_model_need_no_reason(app):
    assert check(app, {"SERVING_BATCH_ROWS": "xor=0"}, by_rows=False) == []


def test_the_c_engine_needs_its_library(app):
    [finding] = check(app, {"SERVING_ENGINE": "c"}, has_library=False)

    assert finding.level is Level.PROBLEM
    assert "C library is missing" in finding.what


def test_the_python_engine_is_not_in_a_slim_package(app):
    [finding] = check(app, {"SERVING_ENGINE": "python"}, is_slim=True)

    assert finding.level is Level.PROBLEM
    assert "no TensorFlow for Python" in finding.what


def unwritable(app):
    """Return a path that nobody can write to, root neither: below a file."""
    (app / "file").touch(0o777)
    return {"SERVING_CACHE_PATH": str(app / "file" / "cache")}


def test_a_cache_that_cannot_be_written_is_a_problem_where_it_is_needed(app):
    (app / "model" / "xor" / "1" / "saved_model.pb").unlink()

    [finding] = check(app, unwritable(app))

    assert finding.level is Level.PROBLEM
    assert "is not writable; xor/1 would be exported there" in finding.what


def test_and_a_warning_where_it_is_not(app):
    [finding] = check(app, unwritable(app))

    assert finding.level is Level.WARNING
    assert "nothing needs it now" in finding.what


def test_a_cache_in_the_apps_own_folder_cannot_be_written_from_a_package(app):
    (app / "model" / "xor" / "1" / "saved_model.pb").unlink()

    [finding] = check(app, {"SERVING_CACHE_PATH": str(app / "cache")}, plan="flex")

    assert finding.level is Level.PROBLEM
    assert "read-only" in finding.what


def test_an_app_in_a_package_exports_at_each_instance(app):
    (app / "model" / "xor" / "1" / "saved_model.pb").unlink()

    [finding] = check(app, {"WEBSITE_RUN_FROM_PACKAGE": "1"})

    assert finding.level is Level.WARNING
    assert "each instance exports xor/1 again" in finding.what


@pytest.mark.parametrize(
    ("name", "value"), [("WEBSITE_RUN_FROM_PACKAGE", "1"), ("FUNCTIONS_WORKER_PROCESS_COUNT", "2")]
)
def test_what_flex_consumption_does_not_take_is_warned_of(app, name, value):
    [finding] = check(app, {name: value}, plan="flex")

    assert finding.level is Level.WARNING
    assert name in finding.what
    assert "Flex Consumption" in finding.what


def test_linux_on_consumption_runs_a_package_from_a_url_only(app):
    [finding] = check(app, {"WEBSITE_RUN_FROM_PACKAGE": "1"}, plan="consumption")

    assert finding.level is Level.WARNING
    assert check(app, {"WEBSITE_RUN_FROM_PACKAGE": "https://store/app.zip"}, plan="consumption") == []


@pytest.mark.parametrize(("seconds", "findings"), [("10", 1), ("0", 0)])
def test_polling_a_package_is_a_hint(app, seconds, findings):
    found = check(app, {"SERVING_POLL_SECONDS": seconds}, plan="flex")

    assert [finding.level for finding in found] == [Level.OK] * findings


def test_polling_a_share_is_what_it_is_for(app, tmp_path_factory):
    share = shutil.copytree(app / "model", tmp_path_factory.mktemp("share") / "models")

    assert check(app, {"SERVING_POLL_SECONDS": "10", "SERVING_MODEL_PATH": str(share)}, plan="flex") == []


def write_settings(app, **content):
    (app / "local.settings.json").write_text(json.dumps(content))


def test_values_of_local_settings_stand_below_the_environment(app):
    write_settings(app, Values={"SERVING_ENGINE": "c", "SERVING_PRELOAD": "xor", "Secret": "s3cr3t"})

    environ, [finding] = read_environment(app, {"SERVING_ENGINE": "auto"})

    assert environ["SERVING_ENGINE"] == "auto"
    assert environ["SERVING_PRELOAD"] == "xor"
    assert finding.level is Level.OK
    assert "not published" in finding.what
    assert "s3cr3t" not in finding.what


def test_there_need_be_no_local_settings(app):
    environ, [finding] = read_environment(app, {"A": "b"})

    assert environ == {"A": "b"}
    assert finding.level is Level.OK


def test_encrypted_settings_are_left_out_with_a_warning(app):
    write_settings(app, IsEncrypted=True, Values={"SERVING_ENGINE": "c"})

    environ, [finding] = read_environment(app, {})

    assert environ == {}
    assert finding.level is Level.WARNING


def test_settings_that_cannot_be_read_are_a_problem(app):
    (app / "local.settings.json").write_text("{")

    _, [finding] = read_environment(app, {})

    assert finding.level is Level.PROBLEM
    assert "local.settings.json is not JSON" in finding.what
