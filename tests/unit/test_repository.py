"""Models are found, loaded once, kept, and tried again after a failure; without an export one is made."""

import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from serving.errors import ModelUnavailableError
from serving.repository import Repository
from serving.settings import Settings
from tests.unit import keras_files


@pytest.fixture
def folder(tmp_path):
    """The model folder of an app, empty."""
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def repository(folder, tmp_path):
    return Repository(Settings(model_path=folder, cache_path=tmp_path / "cache"))


@pytest.fixture
def put(folder, saved_model):
    """Return a function that puts a model which multiplies by ``factor`` under a name and version."""

    def put_model(name, version, factor=1.0):
        source = saved_model(lambda x: {"y": x * factor}, x=([None], "float32"))
        shutil.copytree(source, folder / name / version)
        shutil.rmtree(source)

    return put_model


def answer(model):
    return model.predict({"x": np.array([1], np.float32)})["y"].tolist()


def test_nothing_is_loaded_before_it_is_asked_for(repository, put):
    put("double", "1", 2)

    assert repository.loaded("double") is None


def test_a_loaded_model_is_kept(repository, put):
    put("double", "1", 2)

    model = repository.load("double")

    assert answer(model) == [2]
    assert repository.load("double") is model
    assert repository.loaded("double") is model


@pytest.mark.parametrize(
    ("versions", "latest"), [(["1", "2"], 2), (["9", "10"], 10), (["00000123", "7"], 123), (["1", "x", "tmp2"], 1)]
)
def test_the_highest_version_is_served(repository, put, versions, latest):
    for version in versions:
        put("model", version)

    assert repository.load("model").version == latest


def test_requests_that_arrive_together_load_it_once(repository, put, caplog):
    caplog.set_level(logging.INFO)
    put("double", "1", 2)
    barrier = Barrier(32)

    def load(_):
        barrier.wait()
        return repository.load("double")

    with ThreadPoolExecutor(32) as pool:
        models = set(pool.map(load, range(32)))

    assert len(models) == 1
    assert caplog.text.count("Loaded model double/1") == 1


def test_a_failed_load_is_told_to_all_who_wait_logged_once_and_tried_again(repository, folder, put, caplog):
    put("double", "1", 2)
    graph = (folder / "double" / "1" / "saved_model.pb").read_bytes()
    (folder / "double" / "1" / "saved_model.pb").write_bytes(b"corrupt")

    with pytest.raises(ModelUnavailableError, match="Model double could not be loaded"):
        repository.load("double")
    assert caplog.text.count("Model double could not be loaded") == 1
    assert str(folder / "double") in caplog.text
    assert "tensorflow_errors.OutOfRangeError" in caplog.text

    (folder / "double" / "1" / "saved_model.pb").write_bytes(graph)
    assert answer(repository.load("double")) == [2]


@pytest.mark.parametrize("prepare", [lambda folder: None, lambda folder: (folder / "m" / "1").mkdir(parents=True)])
def test_a_model_that_is_not_there_says_in_the_log_what_was_expected(repository, folder, prepare, caplog):
    prepare(folder)

    with pytest.raises(ModelUnavailableError) as caught:
        repository.load("m")

    assert str(folder) in caplog.text
    assert str(folder) not in str(caught.value)


def test_without_an_export_one_is_made_in_the_cache_and_used_from_then_on(repository, folder, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    keras_files.write_xor_of_2017(folder / "xor" / "1")
    rows = np.array([[1, 1], [1, 0]], np.float32)

    model = repository.load("xor")

    [name] = model.signature().inputs
    [labels] = model.predict({name: rows}).values()
    np.testing.assert_allclose(labels, keras_files.xor_answers(rows), atol=1e-6)
    assert "run `python -m serving.export" in caplog.text
    assert {path.name for path in (folder / "xor" / "1").iterdir()} == {"model.json", "model.h5"}
    [export] = (tmp_path / "cache" / "xor").iterdir()
    written = (export / "saved_model.pb").stat().st_mtime_ns

    again = Repository(repository.settings)
    again.load("xor")

    assert [path.name for path in (tmp_path / "cache" / "xor").iterdir()] == [export.name]
    assert (export / "saved_model.pb").stat().st_mtime_ns == written


def test_where_keras_is_not_deployed_the_log_says_to_run_the_export(repository, folder, tmp_path, monkeypatch, caplog):
    keras_files.write_xor_of_2017(folder / "xor" / "1")
    without_keras = tmp_path / "without_keras"
    without_keras.mkdir()
    for library in ("keras", "tf_keras"):
        (without_keras / f"{library}.py").write_text("raise ImportError('not deployed')")
    monkeypatch.syspath_prepend(without_keras)

    with pytest.raises(ModelUnavailableError):
        repository.load("xor")

    assert "Export it where the model is developed" in caplog.text
    assert list((tmp_path / "cache" / "xor").iterdir()) == []


def test_a_corrupt_source_leaves_nothing_in_the_cache(repository, folder, tmp_path, caplog):
    keras_files.write_xor_of_2017(folder / "xor" / "1")
    (folder / "xor" / "1" / "model.h5").write_bytes(b"corrupt")

    with pytest.raises(ModelUnavailableError):
        repository.load("xor")

    assert "model.h5: " in caplog.text
    assert list((tmp_path / "cache" / "xor").iterdir()) == []
