"""SavedModels for the unit tests, made with TensorFlow's Python API: the reference that the engines are held to."""

import os

import pytest

from serving.models import repository

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def tf():
    import tensorflow

    return tensorflow


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The model folder that the app serves from, empty; the module-level cache is fresh before and after."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("SERVING_MODEL_PATH", str(folder))
    monkeypatch.setenv("SERVING_POLL_SECONDS", "0")
    repository.shared.cache_clear()
    yield folder
    repository.shared.cache_clear()


@pytest.fixture
def saved_model(tf, tmp_path):
    """Return a function that saves a TensorFlow function of named tensors as a SavedModel and returns its folder."""

    def save(function, variables=(), **specs):
        module = tf.Module()
        module.variables_of_the_test = list(variables)
        module.function = tf.function(lambda **feeds: function(**feeds), autograph=False)
        folder = tmp_path / "saved_model"
        signature = module.function.get_concrete_function(
            **{name: tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in specs.items()}
        )
        tf.saved_model.save(module, str(folder), signatures={"serving_default": signature})
        return folder

    return save
