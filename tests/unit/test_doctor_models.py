"""What the doctor says of the models, of the memory they take, and of the time they start in."""

import json
import shutil
import sys
from functools import partial

import pytest

from serving.settings import APP_ROOT, BatchRows, Settings
from tools.doctor import children, limits, models
from tools.doctor.children import ChildError, Loaded
from tools.doctor.finding import Level
from tools.doctor.plans import PLANS

PROBLEM, WARNING = Level.PROBLEM, Level.WARNING
XOR = APP_ROOT / "model" / "xor" / "1"


@pytest.fixture
def folder(tmp_path):
    """A model path with the XOR model in it."""
    shutil.copytree(XOR, tmp_path / "models" / "xor" / "1")
    return tmp_path / "models"


@pytest.fixture
def check_function(folder, saved_model):
    """Return a function that puts a TensorFlow function as a model that sorts before XOR, and checks it."""

    def put_and_check(function, shape, dtype, variables=(), **settings):
        source = saved_model(function, variables, x=(shape, dtype))
        shutil.copytree(source, folder / "own" / "1")
        [own, _] = check(folder, **settings)
        return own

    return put_and_check


def check(model_path, can_export=True, load=children.load, **settings):
    return models.check(Settings(**settings), model_path, models.find(model_path), can_export, load)


def loaded(seconds=0.3, import_seconds=0.1, resident_mb=300.0, private_mb=50.0, engine="tensorflow", by_rows=True):
    return Loaded(seconds, import_seconds, resident_mb, private_mb, engine, by_rows, "")


def test_a_model_is_loaded_and_run_with_its_time_and_memory(folder):
    [finding] = check(folder)

    assert finding.level is Level.OK
    assert "xor/1: export matches its files; first answer in " in finding.what
    assert "MB resident" in finding.what
    assert "batches of 64 rows" in finding.what


@pytest.mark.parametrize(
    ("engine", "says"),
    [("litert", "LiteRT: 2 times as fast: served by LiteRT; "), ("tensorflow", "; served by TensorFlow; ")],
)
def test_the_engine_and_its_reason_are_said(folder, engine, says):
    """The reason is that of the export, unless another engine serves: SERVING_ENGINE forces one."""
    record = folder / "xor" / "1" / "export.json"
    content = json.loads(record.read_text()) | {"engine": "LiteRT: 2 times as fast: served by LiteRT"}
    record.write_text(json.dumps(content))

    [finding] = check(folder, load=lambda folders, setting: loaded(engine=engine))

    assert says in finding.what


@pytest.mark.parametrize(
    ("rows", "engine", "says"),
    [
        (0, "litert", "batches of 64 rows"),
        (8, "litert", "batches of 8 rows"),
        (1, "litert", "not batched: it is as fast row by row"),
        (1, "tensorflow", "batches of 64 rows"),
    ],
)
def test_batches_are_as_large_as_they_gain(folder, rows, engine, says):
    record = folder / "xor" / "1" / "export.json"
    content = json.loads(record.read_text()) | {"litert": {"sha256": "", "version": "", "rows": rows}}
    record.write_text(json.dumps(content))

    [finding] = check(folder, load=lambda folders, setting: loaded(engine=engine))

    assert says in finding.what


def test_what_was_seen_of_a_model_is_possible(folder):
    found = models.find(folder)

    models.check(Settings(), folder, found, True)

    seen = found[0].loaded
    assert 0 < seen.import_seconds < seen.seconds
    assert 0 < seen.private_mb < seen.resident_mb
    assert seen.by_rows


@pytest.mark.parametrize(
    ("content", "says"), [(b"\xff" * 50, "truncated protocol buffer"), (b"", "no MetaGraph has the tag 'serve'")]
)
def test_a_corrupt_model_is_a_problem_in_the_engines_words(folder, content, says):
    (folder / "xor" / "1" / "saved_model.pb").write_bytes(content)
    (folder / "xor" / "1" / "export.json").unlink()  # which has the hash of the right one

    [finding] = check(folder)

    assert finding.level is PROBLEM
    assert "xor/1 can't be loaded and run: " in finding.what
    assert says in finding.what
    assert "\n" not in finding.what


def test_a_saved_model_whose_variables_were_left_behind_is_a_problem(folder, check_function, tf):
    weight = tf.Variable(2.0)
    check_function(lambda x: {"y": x * weight}, [None], "float32", [weight])
    shutil.rmtree(folder / "own" / "1" / "variables")

    [own, _] = check(folder)

    assert own.level is PROBLEM
    assert "variables" in own.what


@pytest.mark.parametrize(
    ("script", "says"), [("kill -SEGV $$", "killed by SIGSEGV"), ("echo no >&2; exit 3", ": no"), ("exit 3", "code 3")]
)
def test_a_process_that_dies_is_a_problem(folder, tmp_path, monkeypatch, script, says):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    [finding] = check(folder)

    assert finding.level is PROBLEM
    assert says in finding.what


@pytest.mark.parametrize(("can_export", "level"), [(True, WARNING), (False, PROBLEM)])
def test_a_missing_or_stale_export_is_as_bad_as_keras_is_far(folder, can_export, level):
    (folder / "xor" / "1" / "model.json").write_text("{}")
    [stale] = check(folder, can_export)
    (folder / "xor" / "1" / "saved_model.pb").unlink()
    [missing] = check(folder, can_export)

    assert stale.level is missing.level is level
    assert "its export does not match its files" in stale.what
    assert "python -m export" in stale.todo
    assert "xor/1: not exported" in missing.what


@pytest.mark.parametrize("can_export", [True, False])
def test_a_changed_saved_model_without_its_sources_is_to_be_copied_again(folder, can_export):
    (folder / "xor" / "1" / "saved_model.pb").write_bytes(b"changed")
    (folder / "xor" / "1" / "model.json").unlink()
    (folder / "xor" / "1" / "model.h5").unlink()

    [finding] = check(folder, can_export)

    assert finding.level is PROBLEM
    assert finding.what == "xor/1: saved_model.pb has changed since it was exported"
    assert finding.todo == "copy the export again"


def test_a_version_without_a_model_is_a_problem_and_a_model_without_a_version_a_warning(folder):
    (folder / "xor" / "2").mkdir()
    (folder / "iris").mkdir()
    (folder / "iris" / "model.keras").touch()

    [iris, second, first] = check(folder)

    assert (iris.level, second.level, first.level) == (WARNING, PROBLEM, Level.OK)
    assert "iris is not served" in iris.what
    assert "iris/1/" in iris.todo
    assert "xor/2: its folder has neither saved_model.pb nor Keras files" in second.what


def test_no_model_at_all_is_a_problem(tmp_path):
    [finding] = check(tmp_path / "nowhere")

    assert finding.level is PROBLEM
    assert "There is no model under" in finding.what


def test_a_saved_model_is_batched_only_if_the_record_of_its_export_shows_independent_rows(folder):
    record = folder / "xor" / "1" / "export.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"independent_rows": False}))
    [dependent] = check(folder, load=lambda _folders, _engine: loaded())
    for path in record.parent.iterdir():
        if path.name != "saved_model.pb":
            path.unlink()
    [elsewhere] = check(folder)

    assert elsewhere.level is Level.OK
    assert "SavedModel made elsewhere" in elsewhere.what
    for finding in (dependent, elsewhere):
        assert "not batched: its rows may depend on each other" in finding.what


def test_a_saved_model_beside_files_that_it_may_not_be_of_is_a_warning(folder):
    (folder / "xor" / "1" / "export.json").unlink()
    (folder / "xor" / "1" / "model.keras").touch()

    [finding] = check(folder, load=lambda _folders, _engine: loaded())

    assert finding.level is WARNING
    assert "SavedModel without export.json beside Keras files" in finding.what
    assert "python -m export" in finding.todo


def test_nor_is_one_whose_signature_does_not_go_by_rows(check_function):
    own = check_function(lambda x: {"y": x * 2}, [2, 2], "float32", batch_rows=BatchRows(by_model={"own": 8}))

    assert own.level is Level.OK
    assert "not batched: its signature has no batch dimension" in own.what


def test_models_of_strings_and_images_are_run_with_values_that_they_take(check_function, folder, tf):
    upper = check_function(lambda x: {"y": tf.strings.upper(x)}, [None], "string")
    shutil.rmtree(folder / "own")
    pool = check_function(lambda x: {"y": tf.nn.max_pool2d(x, 8, 8, "VALID")}, [None, None, None, 1], "float32")

    assert upper.level is pool.level is Level.OK
    assert "example values" not in upper.what + pool.what


def test_values_that_the_graph_refuses_are_no_failure(check_function, tf):
    def look_up(x):
        with tf.control_dependencies([tf.debugging.assert_greater(x, 5)]):
            return {"y": tf.identity(x)}

    picky = check_function(look_up, [None], "int32")

    assert picky.level is Level.OK
    assert "refused the example values" in picky.what


def test_a_model_that_fails_whatever_the_values_is_a_problem(check_function, tf):
    empty = {"key_dtype": tf.string, "value_dtype": tf.string, "shared_name": "never filled"}
    find = partial(tf.raw_ops.LookupTableFindV2, default_value="")
    reader = check_function(
        lambda x: {"y": find(table_handle=tf.raw_ops.HashTableV2(**empty), keys=x)}, [None], "string"
    )

    assert reader.level is PROBLEM
    assert "nothing restores or initializes its table 'never filled'" in reader.what


def test_the_default_model_is_the_only_one_or_that_of_the_setting_and_else_warned_of(folder):
    [only] = models.default(Settings(), models.find(folder))
    put(folder, "iris")
    [first] = models.default(Settings(), models.find(folder))
    [chosen] = models.default(Settings(default_model="xor"), models.find(folder))

    assert (only.level, only.what) == (Level.OK, "xor is the default model: it is the only one")
    assert first.level is WARNING
    assert "iris is the default model only because its name sorts first" in first.what
    assert first.todo == "set SERVING_DEFAULT_MODEL to one of iris, xor"
    assert chosen.level is Level.OK
    assert "SERVING_DEFAULT_MODEL" in chosen.what


def test_no_model_is_no_default(folder, tmp_path):
    assert models.default(Settings(), models.find(tmp_path / "nowhere")) == []
    assert models.default(Settings(default_model="nowhere"), models.find(folder)) == []  # `app_settings` reports it


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ('{"stable": 7}', "'stable' stands for version 7"),
        ('{"latest": {"1": 9, "7": 1}}', "'latest' stands for version 7"),
        ('{"latest": {"1": 0}}', "latest.1: expected a whole number of 1 to 1000000, got 0"),
        ("[1]", "can't be read"),
        ("{", "can't be read"),
    ],
)
def test_labels_that_lead_nowhere_are_a_problem(folder, labels, says):
    (folder / "xor" / "labels.json").write_text(labels)

    [_, finding, *_] = check(folder)

    assert finding.level is PROBLEM
    assert says in finding.what


@pytest.mark.parametrize(
    ("latest", "says"),
    [
        (1, "xor: version 1 is pinned by labels.json, not the highest, 2"),
        (2, "xor: version 2 is pinned by labels.json"),
        ({"1": 2, "2": 1}, "xor: labels.json splits the requests: 66.7% to version 1, 33.3% to version 2"),
    ],
)
def test_what_the_labels_say_of_the_latest_is_said(folder, latest, says):
    shutil.copytree(folder / "xor" / "1", folder / "xor" / "2")
    (folder / "xor" / "labels.json").write_text(json.dumps({"latest": latest}))

    finding = check(folder, load=lambda _folders, _engine: loaded())[-1]

    assert (finding.level, finding.what) == (Level.OK, says)


def test_the_versions_that_the_labels_name_are_counted(folder):
    for version in ("2", "3"):
        shutil.copytree(folder / "xor" / "1", folder / "xor" / version)
    found = put(folder)
    for latest, counted in [(None, [3]), (1, [1]), ({"1": 9, "2": 1}, [2, 1]), (7, [3]), ("wrong", [3])]:
        (folder / "xor" / "labels.json").write_text(json.dumps({"latest": latest} if latest else {}))
        assert [version.number for version in models.served(found)] == counted


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
        ("flex", 512, 400, WARNING, "the Functions host and requests need the rest"),
        ("flex", 512, 600, PROBLEM, "600 MB of an instance's 512 MB"),
        ("flex", 512, 600, PROBLEM, "--instance-memory 2048"),
        ("consumption", None, 1400, WARNING, "1536 MB"),
        ("premium", None, 3600, PROBLEM, "3584 MB"),
        ("container", None, 9000, Level.OK, "pass --memory"),
        ("container", 8000, 9000, PROBLEM, "8000 MB"),
    ],
)
def test_memory_is_held_against_an_instances(tmp_path, plan, memory_mb, resident_mb, level, says):
    found = put(tmp_path, "xor", resident_mb=float(resident_mb))

    [_, finding] = memory(found, plan, memory_mb)

    assert finding.level is level
    assert says in f"{finding.what}; {finding.todo}"


def test_flex_has_instances_of_certain_sizes(tmp_path):
    [finding, *_] = memory(put(tmp_path, "xor"), memory_mb=1024)

    assert finding.level is PROBLEM
    assert "no instances of 1024 MB" in finding.what
    assert "512, 2048, 4096" in finding.todo


def test_each_worker_process_has_models_of_its_own_and_shares_the_library(tmp_path):
    found = put(tmp_path, "xor", resident_mb=1000.0, private_mb=700.0)

    [_, finding] = memory(found, "premium", environ={"FUNCTIONS_WORKER_PROCESS_COUNT": "5"})

    assert finding.level is PROBLEM
    assert "in 5 worker processes take 3800 MB" in finding.what


def test_several_models_are_measured_in_one_process(tmp_path):
    found = put(tmp_path, "a", "b", resident_mb=1500.0)

    def fail(_folders, _engine):
        raise ChildError("the process that loaded it was killed by SIGKILL")

    [_, finding] = memory(found, together=loaded(resident_mb=1900.0))
    [_, failure] = limits.check(PLANS["flex"], None, {}, found, "auto", fail)

    assert finding.level is WARNING
    assert "1900 MB" in finding.what
    assert failure.level is PROBLEM
    assert "not all of them in one process" in failure.what


def test_only_the_latest_version_that_loads_is_counted(tmp_path):
    shutil.copytree(XOR, tmp_path / "xor" / "2")
    latest, old = put(tmp_path, "xor", resident_mb=400.0)
    old.loaded = loaded(resident_mb=5000.0)

    [_, finding] = memory([latest, old])

    assert (latest.number, finding.level) == (2, Level.OK)
    assert "400 MB" in finding.what
    latest.loaded = None
    assert models.served([latest, old]) == [old]


@pytest.mark.parametrize(("plan", "level"), [("flex", PROBLEM), ("premium", Level.OK)])
def test_flex_gives_an_app_half_a_minute_to_start(tmp_path, plan, level):
    finding = memory(put(tmp_path, "xor", seconds=36.0, import_seconds=35.0), plan)[0]

    assert finding.level is level
    assert "imported in 35.00 s" in finding.what


def test_a_slow_cold_start_is_warned_of(tmp_path):
    [_, finding, _] = memory(put(tmp_path, "xor", seconds=40.0))

    assert finding.level is WARNING
    assert "xor/1 waits 40 s" in finding.what
