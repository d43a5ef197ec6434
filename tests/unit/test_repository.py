"""Models are found, loaded once, kept, tried again after a failure, and exported if necessary."""

import asyncio
import gc
import logging
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from threading import enumerate as enumerate_threads

import numpy as np
import pytest

from serving.errors import ModelNotFoundError, ModelUnavailableError
from serving.models.repository import Repository
from serving.settings import Settings
from tests.unit import keras_files


@pytest.fixture
def repository(models, tmp_path):
    return Repository(Settings(model_path=models, cache_path=tmp_path / "cache", poll_seconds=0))


@pytest.fixture
def polling(models):
    """A repository that looks for newer versions all the time."""
    repository = Repository(Settings(model_path=models, poll_seconds=0.01))
    yield repository
    repository.close()


@pytest.fixture
def put(put):
    """Return a function that saves a model that multiplies by ``factor`` under a name and version."""
    return lambda name, version, factor=1.0: put(name, lambda x: x * factor, [None], version=version)


def answer(model):
    fetches, _ = asyncio.run(model.predict({"x": np.array([1], np.float32)}))
    return fetches["y"].tolist()


def test_nothing_is_loaded_before_it_is_requested(repository, put):
    put("double", "1", 2)

    assert repository.loaded("double") is None


def test_a_loaded_model_is_kept(repository, put):
    put("double", "1", 2)

    model = repository.get("double")

    assert answer(model) == [2]
    assert repository.get("double") is model
    assert repository.loaded("double") is model


@pytest.mark.parametrize(
    ("versions", "latest"), [(["1", "2"], 2), (["9", "10"], 10), (["00000123", "7"], 123), (["1", "x", "tmp2"], 1)]
)
def test_the_highest_version_is_served(repository, put, versions, latest):
    for version in versions:
        put("model", version)

    assert repository.get("model").version == latest


def test_concurrent_requests_load_a_model_once(repository, put, caplog):
    caplog.set_level(logging.INFO)
    put("double", "1", 2)
    barrier = Barrier(32)

    def load(_):
        barrier.wait()
        return repository.get("double")

    with ThreadPoolExecutor(32) as pool:
        models = set(pool.map(load, range(32)))

    assert len(models) == 1
    assert caplog.text.count("Loaded model double/1") == 1


def test_a_failed_load_is_logged_once_and_tried_again(repository, models, put, caplog):
    put("double", "1", 2)
    graph = (models / "double" / "1" / "saved_model.pb").read_bytes()
    (models / "double" / "1" / "saved_model.pb").write_bytes(b"corrupt")

    with pytest.raises(ModelUnavailableError, match="Model double could not be loaded"):
        repository.get("double")
    assert caplog.text.count("Model double/1 could not be loaded") == 1
    assert str(models / "double") in caplog.text
    assert "DataLossError: DATA_LOSS" in caplog.text
    assert "Traceback" not in caplog.text

    (models / "double" / "1" / "saved_model.pb").write_bytes(graph)
    assert answer(repository.get("double")) == [2]


@pytest.mark.parametrize("name", ["m", "", "..", ".", "a/b", "../models/double", ".hidden", "double/1", "x\0y"])
def test_an_unknown_or_invalid_name_is_not_found(repository, put, name):
    put("double", 1)

    with pytest.raises(ModelNotFoundError, match="There is no model"):
        repository.get(name)


def test_a_version_folder_without_a_model_is_unavailable(repository, models, caplog):
    (models / "m" / "1").mkdir(parents=True)

    with pytest.raises(ModelUnavailableError) as caught:
        repository.get("m")

    assert "has neither a SavedModel nor Keras files" in caplog.text
    assert str(models) not in str(caught.value)


# --- versions ---


def test_an_older_version_is_loaded_when_it_is_requested(repository, put):
    put("model", 1, 10)
    put("model", 2, 20)

    assert answer(repository.get("model")) == [20]
    assert states(repository) == {2: "AVAILABLE", 1: "START"}
    assert answer(repository.get("model", 1)) == [10]
    assert states(repository) == {2: "AVAILABLE", 1: "AVAILABLE"}


def test_the_error_for_an_unknown_version_lists_those_that_exist(repository, put):
    put("model", 1)
    put("model", 3)

    with pytest.raises(ModelNotFoundError, match=r"no version 2; it has: 1, 3"):
        repository.get("model", 2)


def test_a_broken_version_leaves_the_newest_that_loads_and_says_why(repository, models, put):
    put("model", 1, 10)
    put("model", 2, 20)
    (models / "model" / "2" / "saved_model.pb").write_bytes(b"broken")

    assert answer(repository.get("model")) == [10]
    with pytest.raises(ModelUnavailableError, match="model/2 could not be loaded"):
        repository.get("model", 2)
    [second, first] = repository.status("model")
    assert (first.state, first.error) == ("AVAILABLE", "")
    assert second.state == "END"
    assert "DataLossError" in second.error


def test_a_broken_model_leaves_the_others_alone(repository, models, put):
    put("good", 1, 10)
    put("bad", 1)
    (models / "bad" / "1" / "saved_model.pb").write_bytes(b"broken")

    with pytest.raises(ModelUnavailableError):
        repository.get("bad")

    assert answer(repository.get("good")) == [10]
    assert repository.names() == ["bad", "good"]


def test_labels_stand_for_versions(repository, models, put):
    put("model", 1)
    (models / "model" / "labels.json").write_text('{"stable": 1}')

    assert repository.version_of("model", "stable") == 1
    with pytest.raises(ModelNotFoundError, match="no label 'canary'; it has: stable"):
        repository.version_of("model", "canary")


# --- versions that appear while serving ---


def states(repository, name="model"):
    return {status.version: str(status.state) for status in repository.status(name)}


def test_a_new_version_is_served_once_its_files_stop_changing(repository, put):
    put("model", 1, 10)
    repository.get("model")
    put("model", 2, 20)

    repository.upgrade()
    assert answer(repository.get("model")) == [10]
    repository.upgrade()
    assert answer(repository.get("model")) == [20]


def test_a_folder_that_is_still_being_copied_is_not_served(repository, models, put):
    put("model", 1, 10)
    repository.get("model")
    put("model", 2, 20)
    late = (models / "model" / "2" / "variables" / "variables.index").read_bytes()
    (models / "model" / "2" / "variables" / "variables.index").unlink()

    for size in range(3):
        (models / "model" / "2" / "arriving").write_bytes(b"x" * size)
        repository.upgrade()
        assert states(repository) == {2: "START", 1: "AVAILABLE"}

    (models / "model" / "2" / "variables" / "variables.index").write_bytes(late)
    repository.upgrade()
    repository.upgrade()
    assert answer(repository.get("model")) == [20]


def test_a_new_version_that_is_broken_is_left_alone_until_its_files_change(repository, models, put, caplog):
    put("model", 1, 10)
    repository.get("model")
    put("model", 2, 20)
    graph = (models / "model" / "2" / "saved_model.pb").read_bytes()
    (models / "model" / "2" / "saved_model.pb").write_bytes(b"broken")

    for _ in range(5):
        repository.upgrade()
    assert answer(repository.get("model")) == [10]
    assert states(repository) == {2: "END", 1: "AVAILABLE"}
    assert caplog.text.count("model/2 could not be loaded") == 1

    (models / "model" / "2" / "saved_model.pb").write_bytes(graph)
    repository.upgrade()
    repository.upgrade()
    assert answer(repository.get("model")) == [20]


def test_the_old_version_is_released_with_its_last_user(repository, put):
    put("model", 1, 10)
    old = repository.get("model")
    released = weakref.ref(old)
    put("model", 2, 20)
    repository.upgrade()
    repository.upgrade()

    assert answer(old) == [10]
    del old
    assert released() is None


def test_newer_versions_are_looked_for_in_the_background_and_no_request_fails_meanwhile(polling, put):
    put("model", 1, 1)
    polling.get("model")
    seen, stop = set(), Event()

    def request():
        while not stop.is_set():
            model = polling.get("model")
            assert answer(model) == [model.version]
            seen.add(model.version)

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(request) for _ in range(4)]
        for version in (2, 3, 4):
            put("model", version, version)
            deadline = time.monotonic() + 60
            while version not in seen and time.monotonic() < deadline:
                time.sleep(0.005)
        stop.set()
        for future in futures:
            future.result()

    assert seen == {1, 2, 3, 4}


def test_a_search_that_fails_does_not_end_the_searches(polling, put, monkeypatch, caplog):
    put("model", 1, 10)
    polling.get("model")
    [served] = polling._models.values()
    failed, again = Event(), Event()

    def upgrade():
        if failed.is_set():
            again.set()
        failed.set()
        raise OSError("unreachable")

    monkeypatch.setattr(served, "upgrade", upgrade)

    assert again.wait(60)
    assert "The search for newer versions failed" in caplog.text
    assert "unreachable" in caplog.text


@pytest.mark.parametrize("end", ["close", "forget"])
def test_the_searches_end_with_the_repository(models, put, end):
    put("model", 1)
    repository = Repository(Settings(model_path=models, poll_seconds=0.01))
    others = set(enumerate_threads())
    repository.get("model")
    repository.get("model")
    [search] = [thread for thread in set(enumerate_threads()) - others if thread.name == "poll-versions"]
    assert search.daemon

    if end == "close":
        repository.close()
    del repository

    for _ in range(600):  # a search that is under way keeps the repository
        gc.collect()
        search.join(0.1)
        if not search.is_alive():
            return
    pytest.fail("the thread still runs")


@pytest.mark.parametrize(
    ("default", "names", "chosen"),
    [
        ("b", ("a", "b"), "b, set by SERVING_DEFAULT_MODEL"),
        ("", ("a",), "a, the only model"),
        ("", ("b", "a"), "a, the first by name of a, b; set SERVING_DEFAULT_MODEL to choose another"),
    ],
)
def test_the_log_says_once_which_model_is_the_default_and_why(models, put, caplog, default, names, chosen):
    caplog.set_level(logging.INFO, "serving")
    for name in names:
        put(name, 1)
    repository = Repository(Settings(model_path=models, default_model=default))

    assert repository.default_name() == repository.default_name() == chosen[0]
    said = [record.getMessage() for record in caplog.records if record.name == "serving"]
    assert said == [f"The default model is {chosen}"]


def test_signatures_are_those_of_the_loaded_version_or_else_of_the_highest(repository, put):
    put("model", 1)
    put("model", 2)

    assert repository.signatures("model")[0] == 2
    assert list(repository.all_signatures()["model"][1]["serving_default"].inputs) == ["x"]
    repository.get("model")
    put("model", 3)
    assert repository.signatures("model")[0] == 2
    assert repository.signatures("model")[1] is repository.get("model").signatures
    with pytest.raises(ModelNotFoundError, match=r"There is no model 'none'\."):
        repository.signatures("none")


# --- without an export ---


def test_a_missing_export_is_made_once_in_the_cache(repository, models, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    keras_files.write_xor_of_2017(models / "xor" / "1")
    rows = np.array([[1, 1], [1, 0]], np.float32)

    model = repository.get("xor")

    [name] = model.signature().inputs
    fetches, _ = asyncio.run(model.predict({name: rows}))
    [labels] = fetches.values()
    np.testing.assert_allclose(labels, keras_files.xor_answers(rows), atol=1e-6)
    assert "run `python -m export" in caplog.text
    assert {path.name for path in (models / "xor" / "1").iterdir()} == {"model.json", "model.h5"}
    [export] = (tmp_path / "cache" / "xor").iterdir()
    written = (export / "saved_model.pb").stat().st_mtime_ns

    again = Repository(repository.settings)
    again.get("xor")

    assert [path.name for path in (tmp_path / "cache" / "xor").iterdir()] == [export.name]
    assert (export / "saved_model.pb").stat().st_mtime_ns == written


def test_without_keras_the_log_says_to_run_the_export(repository, models, tmp_path, monkeypatch, caplog):
    keras_files.write_xor_of_2017(models / "xor" / "1")
    without_keras = tmp_path / "without_keras"
    without_keras.mkdir()
    for library in ("keras", "tf_keras"):
        (without_keras / f"{library}.py").write_text("raise ImportError('not deployed')")
    monkeypatch.syspath_prepend(without_keras)

    with pytest.raises(ModelUnavailableError):
        repository.get("xor")

    assert "Export the model on a development machine" in caplog.text
    assert list((tmp_path / "cache" / "xor").iterdir()) == []


def test_a_corrupt_source_leaves_nothing_in_the_cache(repository, models, tmp_path, caplog):
    keras_files.write_xor_of_2017(models / "xor" / "1")
    (models / "xor" / "1" / "model.h5").write_bytes(b"corrupt")

    with pytest.raises(ModelUnavailableError):
        repository.get("xor")

    assert "model.h5 is not a Keras model" in caplog.text
    assert list((tmp_path / "cache" / "xor").iterdir()) == []


def test_a_model_without_a_signature_is_unavailable(repository, models, tf, caplog):
    tf.saved_model.save(tf.Module(), str(models / "empty" / "1"))

    with pytest.raises(ModelUnavailableError):
        repository.get("empty")

    assert "has no signature that can be served" in caplog.text
