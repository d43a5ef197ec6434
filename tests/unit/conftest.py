"""SavedModels for the unit tests, made with TensorFlow's Python API: the reference that the engines are held to."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.models import repository

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SaveModel = Callable[..., Path]


@pytest.fixture(scope="session")
def tf() -> Any:
    import tensorflow

    return tensorflow


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The model folder that the app serves from, empty; the module-level cache is fresh before and after."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("SERVING_MODEL_PATH", str(folder))
    monkeypatch.setenv("SERVING_POLL_SECONDS", "0")
    repository.shared.cache_clear()
    yield folder
    repository.shared.cache_clear()


@pytest.fixture
def saved_model(tf: Any, tmp_path: Path) -> SaveModel:
    """Return a function that saves a TensorFlow function of named tensors as a SavedModel and returns its folder."""

    def save(function: Callable[..., Any], variables: Iterable[Any] = (), **specs: tuple[Any, Any]) -> Path:
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


@pytest.fixture
def adder(models: Path, saved_model: SaveModel, tf: Any) -> None:
    """Put a model named ``adder``, version 3, into the model folder: it adds the two columns of its rows."""
    source = saved_model(lambda x: {"y": tf.reduce_sum(x, 1, keepdims=True)}, x=([None, 2], "float32"))
    (models / "adder").mkdir()
    source.rename(models / "adder" / "3")
