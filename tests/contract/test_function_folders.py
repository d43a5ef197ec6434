"""Every function folder of this project, as the runtime loads it."""

import pytest

from tests.fixtures import PROJECT_ROOT

NAMES = sorted(config.parent.name for config in PROJECT_ROOT.glob("*/function.json"))


@pytest.mark.parametrize("name", NAMES)
def test_a_function_folder_loads(worker, name):
    worker.load(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_published_function_folder_loads(published_app, start_worker, name):
    start_worker(published_app).load(name)
