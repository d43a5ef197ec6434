"""SavedModels for the unit tests, made with TensorFlow's Python API: the reference that the engines are held to."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.models import repository
from serving.models.repository import Repository
from serving.settings import Settings
from tests.fixtures.store import WHY_NOT, Container, environment, faulty_proxy
from tests.unit.picture_files import write_recipe
from tools.store import azurite

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as in the app

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
def put(models: Path, saved_model: SaveModel) -> Callable[..., None]:
    """Return a function that saves a TensorFlow function of ``x`` as a version of a model in the model folder."""

    def save(name: str, function: Any, shape: Any = (None, 2), dtype: str = "float32", version: object = 1) -> None:
        source = saved_model(lambda x: {"y": function(x)}, x=(shape, dtype))
        (models / name).mkdir(exist_ok=True)
        source.rename(models / name / str(version))

    return save


@pytest.fixture
def adder(put: Callable[..., None], tf: Any) -> None:
    """Put a model named ``adder``, version 3, into the model folder: it adds the two columns of its rows."""
    put("adder", lambda x: tf.reduce_sum(x, 1, keepdims=True), version=3)


@pytest.fixture
def shade(put: Callable[..., None], tf: Any, models: Path) -> None:
    """Put a model named ``shade``, versions 1 and 2, into the model folder: it answers how light a picture is."""
    for version in (1, 2):
        put("shade", lambda x: tf.reduce_mean(x, [1, 2]), shape=(None, 4, 4, 1), version=version)
    write_recipe(models / "shade", {"image": {"scale": [0, 1]}, "classes": ["dark", "light"]})


_ONE_RETRY = {"retry_total": 1, "initial_backoff": 0, "increment_base": 0, "random_jitter_range": 0}


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory):
    """Azurite, which the tests of models in a store share."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    with azurite.running(tmp_path_factory.mktemp("azurite")) as endpoint:
        yield endpoint


@pytest.fixture
def proxy(endpoint, monkeypatch):
    """A proxy in front of it; what fails is tried once more, at once."""
    from serving.store import blobs

    monkeypatch.setattr(blobs, "_RETRIES", _ONE_RETRY)
    with faulty_proxy(endpoint.port) as proxy:
        yield proxy


@pytest.fixture
def container(endpoint, tmp_path):
    """An empty container."""
    container = Container(endpoint, tmp_path / "uploads")
    yield container
    container.service.close()


@pytest.fixture
def connect(proxy, container, tmp_path):
    """Return a function that makes the repository of a process with these settings."""

    def make(**settings: Any) -> Repository:
        variables = {
            **environment(proxy.endpoint, container.name),
            "SERVING_CACHE_PATH": str(tmp_path / "cache"),
            "SERVING_POLL_SECONDS": "0",
            **settings,
        }
        return Repository(Settings.from_environment(variables))

    return make
