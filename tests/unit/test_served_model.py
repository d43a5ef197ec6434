"""The versions of a model, with a loader that needs no TensorFlow: what is loaded, waited for, served and reported."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest

from serving.engines.errors import EngineNotFoundError
from serving.errors import ModelNotFoundError, ModelUnavailableError
from serving.models.served_model import ServedModel
from serving.status import State


class Disk:
    """Version folders that can be loaded, or not: those in ``broken`` fail."""

    def __init__(self, root, *versions):
        self.root = root
        self.broken = set()
        self.loads = []
        self.started, self.gate = Event(), Event()
        self.gate.set()
        self.put(*versions)

    def put(self, *versions):
        for version in versions:
            (self.root / str(version)).mkdir()
            (self.root / str(version) / "saved_model.pb").touch()

    def find(self):
        return {int(path.name): path for path in self.root.iterdir()}

    def load(self, name, folder):
        version = int(Path(folder).name)
        self.loads.append(version)
        self.started.set()
        self.gate.wait(30)
        if version in self.broken:
            raise ValueError("a path")
        return SimpleNamespace(name=name, version=version)


@pytest.fixture
def disk(tmp_path):
    return Disk(tmp_path, 1, 2)


@pytest.fixture
def served(disk):
    return ServedModel("m", disk.find, disk.load)


def states(served):
    assert {status.name for status in served.status()} == {"m"}
    return {status.version: status.state for status in served.status()}


def test_a_version_that_is_loading_says_so(disk, served):
    disk.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(served.get, 1)
        assert disk.started.wait(30)
        assert states(served) == {2: State.START, 1: State.LOADING}
        assert served.loaded(1) is None
        disk.gate.set()
        model = future.result()

    assert (model.name, model.version) == ("m", 1)
    assert states(served) == {2: State.START, 1: State.AVAILABLE}
    assert served.get(1) is served.loaded(1) is model
    assert served.latest is None
    assert disk.loads == [1]


def test_a_version_that_fails_is_tried_again_by_the_next_request_for_it(disk, served):
    disk.broken = {1}
    for _ in range(2):
        with pytest.raises(ModelUnavailableError, match="Model m/1 could not be loaded; the server's log says why"):
            served.get(1)
    [_, status] = served.status()
    assert (status.name, status.version, status.state) == ("m", 1, State.END)
    assert status.error == "ValueError; the log says why"

    disk.broken = set()
    assert served.get(1).version == 1
    assert states(served)[1] is State.AVAILABLE
    assert disk.loads == [1, 1, 1]


def test_an_engine_that_is_not_installed_is_one_line_in_the_log(disk, caplog):
    def load(name, folder):
        raise EngineNotFoundError("No engine can run this model.")

    with pytest.raises(ModelUnavailableError):
        ServedModel("m", disk.find, load).get(1)

    assert "Model m/1 could not be loaded" in caplog.text
    assert "EngineNotFoundError: No engine can run this model." in caplog.text
    assert "Traceback" not in caplog.text


def test_the_latest_is_the_highest_that_loads(disk, served):
    disk.broken = {2}

    assert served.get().version == 1
    assert served.get() is served.loaded() is served.loaded(1)
    assert disk.loads == [2, 1]


def test_without_a_version_that_loads_the_model_is_unavailable(disk, served):
    disk.broken = {1, 2}

    with pytest.raises(ModelUnavailableError, match="Model m could not be loaded; the server's log says why"):
        served.get()


def test_what_is_not_there_is_not_found(disk, served):
    with pytest.raises(ModelNotFoundError, match=r"Model m has no version 3; it has: 1, 2\.") as caught:
        served.get(3)
    assert caught.value.extra == {"model": "m", "version": 3}
    for folder in disk.find().values():
        (folder / "saved_model.pb").unlink()
        folder.rmdir()
    with pytest.raises(ModelNotFoundError, match=r"Model m has no version 1; it has: none\."):
        served.get(1)
    with pytest.raises(ModelNotFoundError, match=r"There is no model 'm'\.") as caught:
        served.get()
    assert caught.value.extra == {"model": "m"}


def test_a_version_that_was_removed_while_it_is_served_is_still_reported(disk, served):
    served.get(1)
    (disk.root / "1" / "saved_model.pb").unlink()
    (disk.root / "1").rmdir()

    assert states(served) == {2: State.START, 1: State.AVAILABLE}


def test_an_upgrade_takes_the_highest_newer_version_that_loads_and_drops_the_old_one(disk, served):
    served.get()
    disk.put(3, 4, 5)
    disk.broken = {5}

    served.upgrade()
    assert (served.latest.version, disk.loads) == (2, [2])  # their files may still be changing
    served.upgrade()
    assert (served.latest.version, disk.loads) == (4, [2, 5, 4])
    assert (served.loaded(2), served.loaded(4)) == (None, served.latest)
    for _ in range(2):
        served.upgrade()
    assert disk.loads == [2, 5, 4]  # 3 is older, 5 has not changed

    disk.broken = set()
    (disk.root / "5" / "saved_model.pb").write_bytes(b"whole")
    served.upgrade()
    assert served.latest.version == 4
    served.upgrade()
    assert served.latest.version == 5


def test_an_upgrade_gives_a_model_that_had_no_version_its_first(tmp_path):
    disk = Disk(tmp_path, 0)
    served = ServedModel("m", disk.find, disk.load)

    served.upgrade()
    served.upgrade()

    assert served.latest.version == 0
