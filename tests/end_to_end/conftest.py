"""Fixtures that run the real host. A failed test shows the log of its host."""

import socket
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end import keras_models, picture_models
from tests.end_to_end.keras_models import KerasModel
from tests.end_to_end.running_host import (
    PATIENCE_SECONDS,
    AppFolder,
    Gate,
    RunningHost,
    Store,
    running_host,
    stores,
    under_test,
)
from tests.fixtures import lay_out_app
from tests.fixtures.store import WHY_NOT
from tools.store import azurite

StartHost = Callable[..., RunningHost]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store", action="store_true", help="serve the same models from Azurite instead of folders")


@pytest.fixture(scope="session", autouse=True)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have every host get its models from Azurite, with ``--store``."""
    if not request.config.getoption("--store"):
        yield
        return
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    with azurite.running(tmp_path_factory.mktemp("azurite")) as endpoint:
        stores.append(Store(endpoint))
        yield
        stores.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.extend(("log of the host", host.log) for host in under_test)
    return report


@pytest.fixture(scope="session")
def app_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tests' own app."""
    return lay_out_app(tmp_path_factory.mktemp("wwwroot"))


@pytest.fixture(scope="session")
def app_host(app_root: Path) -> Iterator[RunningHost]:
    """A host that serves the tests' own app."""
    with running_host(app_root) as host:
        yield host


@pytest.fixture(scope="session")
def models() -> dict[str, KerasModel]:
    """Keras models of all kinds by name, with Keras's own answers."""
    return keras_models.build()


@pytest.fixture(scope="session")
def models_host(models, app_root, tmp_path_factory):
    """A host that serves those models."""
    folder = tmp_path_factory.mktemp("models")
    keras_models.export(models, folder)
    with running_host(app_root, SERVING_MODEL_PATH=folder) as host:
        yield host


@pytest.fixture(scope="session")
def pictures_host(app_root, tmp_path_factory):
    """A host that serves models of pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    picture_models.export(folder)
    with running_host(app_root, SERVING_MODEL_PATH=folder) as host:
        yield host


@pytest.fixture
def app_folder(tmp_path: Path) -> AppFolder:
    """A function app without functions."""
    return AppFolder(tmp_path)


@pytest.fixture
def start_host() -> Iterator[StartHost]:
    """Start hosts as ``running_host`` does; they are stopped when the test has ended."""
    with ExitStack() as hosts:
        yield lambda app, **environment: hosts.enter_context(running_host(app, **environment))


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate in front of which code in the host's process waits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_SECONDS)
        yield Gate(listener)
