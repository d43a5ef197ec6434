"""Fixtures that run function apps under Microsoft's worker runtime."""

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fixtures import PROJECT_ROOT, lay_out_app
from tools.worker_host.worker import Worker

StartWorker = Callable[..., Worker]

_HAS_RUNTIME = importlib.util.find_spec("azure_functions_runtime_v1") is not None


def pytest_runtest_setup() -> None:
    """Skip every test of this folder where the runtime is missing; pytest sums them up in one line."""
    if not _HAS_RUNTIME:
        pytest.skip("azure-functions-runtime-v1 is not installed, which needs Python 3.13; see `make contract`")


@pytest.fixture(scope="session")
def app_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tests' own app."""
    return lay_out_app(tmp_path_factory.mktemp("wwwroot"))


@pytest.fixture(scope="session")
def worker(app_root: Path) -> Iterator[Worker]:
    """A worker process that runs the tests' own app; no function is loaded yet."""
    with Worker(app_root) as worker:
        yield worker


@pytest.fixture
def start_worker() -> Iterator[StartWorker]:
    """Start worker processes as ``Worker`` does; they end with the test."""
    with ExitStack() as workers:
        yield lambda app_root, **environment: workers.enter_context(Worker(app_root, environment))


@pytest.fixture
def published_app(tmp_path: Path) -> Path:
    """A copy of what ``func azure functionapp publish`` uploads: of this project without tests, training and so on."""
    # Its lines are names so far, which match at any depth in .funcignore as they do in shutil.
    left_out = (PROJECT_ROOT / ".funcignore").read_text(encoding="utf-8").splitlines()
    app_root = tmp_path / "wwwroot"
    shutil.copytree(PROJECT_ROOT, app_root, ignore=shutil.ignore_patterns(*left_out))
    return app_root
