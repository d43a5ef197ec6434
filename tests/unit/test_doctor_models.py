"""What the doctor says of the models, of the memory they take, and of the time they start in."""

import json
import shutil
import sys

import pytest

from serving.settings import APP_ROOT, BatchRows, Settings
from tools.doctor import children, limits, models
from tools.doctor.children import ChildError, Loaded
from tools.doctor.finding import Level
from tools.doctor.plans import PLANS

XOR = APP_ROOT / "model" / "xor" / "1"


@pytest.fixture
def folder(tmp_path):
    """A model path with the XOR model in it."""
    shutil.copytree(XOR, tmp_path / "models" / "xor" / "1")
    return tmp_path / "models"


def check(model_path, can_export=True, load=children.load, **settings):
    return models.check(Settings(model_path=model_path, **settings), models.find(model_path), can_export, load)


def loaded(seconds=0.3, import_seconds=0.1, resident_mb=300.0, private_mb=50.0, by_rows=True):
    return Loaded(seconds, import_seconds, resident_mb, private_mb, by_rows, "")


def test_a_model_is_loaded_and_run_with_its_time_and_memory(folder):
    [finding] = check(folder)

    assert finding.level is Level.OK
    assert "xor/1: export matches its files; first answer in " in finding.what
    assert "MB resident" in finding.what
    assert "batches of 64 rows" in finding.what


def test_what_was_seen_of_a_model_is_possible(folder):
    found = models.find(folder)

    models.check(Settings(model_path=folder), found, True)

    seen = found[0].loaded
    assert 0 < seen.import_seconds < seen.seconds
    assert 0 < seen.private_mb < seen.resident_mb
    assert seen.by_rows


@pytest.mark.parametrize(
    ("content", "says"), [(b"\xff" * 50, "Can't parse saved_model.pb"), (b"", "Could not find meta graph")]
)
def test_a_corrupt_model_is_a_problem_in_the_engines_words(folder, content, says):
    (folder / "xor" / "1" / "saved_model.pb").write_bytes(content)

    [finding] = check(folder)

    assert finding.level is Level.PROBLEM
    assert "xor/1 can't be loaded and run: " in finding.what
    assert says in finding.what
    assert "\n" not in finding.what


def test_a_saved_model_whose_variables_were_left_behind_is_a_problem(folder, saved_model, tf):
    weight = tf.Variable(2.0)
    source = saved_model(lambda x: {"y": x * weight}, variables=[weight], x=([None], "float32"))
    shutil.rmtree(source / "variables")
    shutil.copytree(source, folder / "scale" / "1")

    [scale, _] = check(folder)

    assert scale.level is Level.PROBLEM
    assert "variables" in scale.what


@pytest.mark.parametrize(
    ("script", "says"), [("kill -SEGV $$", "killed by SIGSEGV"), ("echo no >&2; exit 3", ": no"), ("exit 3", "code 3")]
)
def test_a_process_that_dies_is_a_problem(folder, tmp_path, monkeypatch, script, says):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    [finding] = check(folder)

    assert finding.level is Level.PROBLEM
    assert says in finding.what


@pytest.mark.parametrize(("can_export", "level"), [(True, Level.WARNING), (False, Level.PROBLEM)])
def test_a_stale_export_is_as_bad_as_keras_is_far(folder, can_export, level):
    (folder / "xor" / "1" / "model.json").write_text("{}")

    [finding] = check(folder, can_export)

    assert finding.level is level
    assert "its export is older than its files" in finding.what
    assert "python -m export" in finding.todo


@pytest.mark.parametrize(("can_export", "level"), [(True, Level.WARNING), (False, Level.PROBLEM)])
def test_so_is_a_missing_one(folder, can_export, level):
    (folder / "xor" / "1" / "saved_model.pb").unlink()

    [finding] = check(folder, can_export)

    assert finding.level is level
    assert "xor/1: not exported" in finding.what


def test_an_empty_version_folder_is_a_problem(folder):
    (folder / "xor" / "2").mkdir()

    [second, first] = check(folder)

    assert second.level is Level.PROBLEM
    assert "xor/2: no model in its folder" in second.what
    assert first.level is Level.OK


def test_a_model_without_a_version_folder_is_warned_of(folder):
    (folder / "iris").mkdir()
    (folder / "iris" / "model.keras").touch()

    [finding, _] = check(folder)

    assert finding.level is Level.WARNING
    assert "iris is not served" in finding.what
    assert "iris/1/" in finding.todo


def test_no_model_at_all_is_a_problem(tmp_path):
    [finding] = check(tmp_path / "nowhere")

    assert finding.level is Level.PROBLEM
    assert "There is no model under" in finding.what


def test_a_saved_model_from_elsewhere_is_not_batched(folder):
    (folder / "xor" / "1" / "export.json").unlink()

    [finding] = check(folder)

    assert finding.level is Level.OK
    assert "SavedModel made elsewhere" in finding.what
    assert "not batched: its rows may depend on each other" in finding.what


def test_nor_is_one_whose_signature_does_not_go_by_rows(folder, saved_model):
    source = saved_model(lambda x: {"y": x * 2}, x=([2, 2], "float32"))
    shutil.copytree(source, folder / "double" / "1")

    [double, _] = check(folder, batch_rows=BatchRows(by_model={"double": 8}))

    assert double.level is Level.OK
    assert "not batched: its signature has no batch dimension" in double.what


def test_a_model_of_strings_is_run_too(folder, saved_model, tf):
    source = saved_model(lambda x: {"y": tf.strings.upper(x)}, x=([None], "string"))
    shutil.copytree(source, folder / "upper" / "1")

    [upper, _] = check(folder)

    assert upper.level is Level.OK


def test_a_model_of_images_is_run_at_a_size_that_it_takes(folder, saved_model, tf):
    source = saved_model(lambda x: {"y": tf.nn.max_pool2d(x, 8, 8, "VALID")}, x=([None, None, None, 1], "float32"))
    shutil.copytree(source, folder / "pool" / "1")

    [pool, _] = check(folder)

    assert pool.level is Level.OK
    assert "example values" not in pool.what


def test_values_that_the_graph_refuses_are_no_failure(folder, saved_model, tf):
    def look_up(x):
        with tf.control_dependencies([tf.debugging.assert_greater(x, 5)]):
            return {"y": tf.identity(x)}

    shutil.copytree(saved_model(look_up, x=([None], "int32")), folder / "picky" / "1")

    [picky, _] = check(folder)

    assert picky.level is Level.OK
    assert "refused the example values" in picky.what


def test_a_model_that_fails_whatever_the_values_is_a_problem(folder, saved_model, tf):
    source = saved_model(lambda x: {"y": tf.io.read_file(x)}, x=([], "string"))
    shutil.copytree(source, folder / "reader" / "1")

    [reader, _] = check(folder)

    assert reader.level is Level.PROBLEM
    assert "NOT_FOUND" in reader.what


def test_the_only_model_is_the_default(folder):
    [finding] = models.default(Settings(), models.find(folder))

    assert (finding.level, finding.what) == (Level.OK, "xor is the default model: it is the only one")


def test_a_model_that_is_the_default_only_by_its_name_is_warned_of(folder):
    put(folder, "iris")

    [finding] = models.default(Settings(), models.find(folder))

    assert finding.level is Level.WARNING
    assert "iris is the default model only because its name sorts first" in finding.what
    assert finding.todo == "set SERVING_DEFAULT_MODEL to one of iris, xor"


def test_the_setting_names_the_default_model(folder):
    put(folder, "iris")

    [finding] = models.default(Settings(default_model="xor"), models.find(folder))

    assert finding.level is Level.OK
    assert "SERVING_DEFAULT_MODEL" in finding.what


def test_no_model_is_no_default(folder, tmp_path):
    assert models.default(Settings(), models.find(tmp_path / "nowhere")) == []
    assert models.default(Settings(default_model="nowhere"), models.find(folder)) == []  # `app_settings` reports it


@pytest.mark.parametrize(
    ("labels", "says"),
    [('{"stable": 7}', "'stable' stands for version 7"), ("[1]", "can't be read"), ("{", "can't be read")],
)
def test_labels_that_lead_nowhere_are_a_problem(folder, labels, says):
    (folder / "xor" / "labels.json").write_text(labels)

    [_, finding] = check(folder)

    assert finding.level is Level.PROBLEM
    assert says in finding.what


def put(folder, *names, **figures):
    """Put copies of the XOR model under these names and return them as if they had been loaded."""
    for name in names:
        shutil.copytree(XOR, folder / name / "1")
    found = models.find(folder)
    for version in found:
        version.loaded = loaded(**figures)
    return found


def memory(found, plan="flex", memory_mb=None, environ=None, together=None):
    return limits.check(PLANS[plan], memory_mb, environ or {}, found, "auto", lambda _folders, _engine: together)


@pytest.mark.parametrize(
    ("plan", "memory_mb", "resident_mb", "level", "says"),
    [
        ("flex", None, 400, Level.OK, "400 MB of an instance's 2048 MB"),
        ("flex", 512, 400, Level.WARNING, "the Functions host and requests need the rest"),
        ("flex", 512, 600, Level.PROBLEM, "600 MB of an instance's 512 MB"),
        ("consumption", None, 1400, Level.WARNING, "1536 MB"),
        ("premium", None, 3600, Level.PROBLEM, "3584 MB"),
        ("container", None, 9000, Level.OK, "pass --memory"),
        ("container", 8000, 9000, Level.PROBLEM, "8000 MB"),
    ],
)
def test_memory_is_held_against_an_instances(tmp_path, plan, memory_mb, resident_mb, level, says):
    found = put(tmp_path, "xor", resident_mb=float(resident_mb))

    [_, finding] = memory(found, plan, memory_mb)

    assert finding.level is level
    assert says in finding.what


def test_flex_has_instances_of_certain_sizes(tmp_path):
    [finding, *_] = memory(put(tmp_path, "xor"), memory_mb=1024)

    assert finding.level is Level.PROBLEM
    assert "no instances of 1024 MB" in finding.what
    assert "512, 2048, 4096" in finding.todo


def test_a_larger_instance_is_named_where_there_is_one(tmp_path):
    [_, finding] = memory(put(tmp_path, "xor", resident_mb=600.0), memory_mb=512)

    assert "--instance-memory 2048" in finding.todo


def test_each_worker_process_has_models_of_its_own_and_shares_the_library(tmp_path):
    found = put(tmp_path, "xor", resident_mb=1000.0, private_mb=700.0)

    [_, finding] = memory(found, "premium", environ={"FUNCTIONS_WORKER_PROCESS_COUNT": "5"})

    assert finding.level is Level.PROBLEM
    assert "in 5 worker processes take 3800 MB" in finding.what


def test_several_models_are_measured_in_one_process(tmp_path):
    found = put(tmp_path, "a", "b", resident_mb=1500.0)

    [_, finding] = memory(found, together=loaded(resident_mb=1900.0))

    assert finding.level is Level.WARNING
    assert "1900 MB" in finding.what


def test_versions_that_are_not_the_latest_are_not_counted(tmp_path):
    shutil.copytree(XOR, tmp_path / "xor" / "2")
    latest, old = put(tmp_path, "xor", resident_mb=400.0)
    old.loaded = loaded(resident_mb=5000.0)

    [_, finding] = memory([latest, old])

    assert (latest.number, finding.level) == (2, Level.OK)
    assert "400 MB" in finding.what


def test_an_older_version_is_served_where_the_latest_does_not_load(tmp_path):
    shutil.copytree(XOR, tmp_path / "xor" / "2")
    latest, old = put(tmp_path, "xor")
    latest.loaded = None

    assert models.served([latest, old]) == [old]


def test_models_that_load_alone_but_not_together_are_a_problem(tmp_path):
    def fail(_folders, _engine):
        raise ChildError("the process that loaded it was killed by SIGKILL")

    [_, finding] = limits.check(PLANS["flex"], None, {}, put(tmp_path, "a", "b"), "auto", fail)

    assert finding.level is Level.PROBLEM
    assert "not all of them in one process" in finding.what


@pytest.mark.parametrize(("plan", "level"), [("flex", Level.PROBLEM), ("premium", Level.OK)])
def test_flex_gives_an_app_half_a_minute_to_start(tmp_path, plan, level):
    finding = memory(put(tmp_path, "xor", seconds=36.0, import_seconds=35.0), plan)[0]

    assert finding.level is level
    assert "imported in 35.00 s" in finding.what


def test_a_slow_cold_start_is_warned_of(tmp_path):
    [_, finding, _] = memory(put(tmp_path, "xor", seconds=40.0))

    assert finding.level is Level.WARNING
    assert "xor/1 waits 40 s" in finding.what


def test_the_record_of_an_export_decides_on_batches(folder):
    path = folder / "xor" / "1" / "export.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"independent_rows": False}))

    [finding] = check(folder, load=lambda _folders, _engine: loaded())

    assert "not batched: its rows may depend on each other" in finding.what
