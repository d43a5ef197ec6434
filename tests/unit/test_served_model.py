"""The versions of a model, with a loader that needs no TensorFlow: what is loaded, waited for, served and reported."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, active_count
from types import SimpleNamespace

import pytest

from serving.engines.errors import EngineNotFoundError
from serving.errors import ModelNotFoundError, ModelUnavailableError
from serving.models import backoff
from serving.models.served_model import ServedModel
from serving.status import State

# SavedModel{meta_graphs{meta_info_def{tags: "serve"}}}
EMPTY = b"\x12\x09\x0a\x07\x22\x05serve"


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
            (self.root / str(version) / "saved_model.pb").write_bytes(EMPTY)

    def delete(self, version):
        (self.root / str(version) / "saved_model.pb").unlink()
        (self.root / str(version)).rmdir()

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


@pytest.fixture
def clock(monkeypatch):
    """The time that back-offs go by."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(backoff, "monotonic", lambda: clock.now)
    return clock


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


def test_a_version_that_fails_is_tried_again_later_and_later_or_once_its_files_change(disk, served, clock):
    disk.broken = {1}
    for seconds in (5, 10, 20, 40, 80, 160, 300, 300):
        for _ in range(2):  # the second is refused without a load
            with pytest.raises(
                ModelUnavailableError, match="Model m/1 could not be loaded; the server's log"
            ) as caught:
                served.get(1)
            assert caught.value.retry_after_seconds == seconds
            with pytest.raises(ModelUnavailableError):
                served.check_loadable(1)
        clock.now += seconds
    [_, status] = served.status()
    assert (status.name, status.version, status.state) == ("m", 1, State.END)
    assert status.error == "ValueError; the log says why"

    with pytest.raises(ModelUnavailableError):
        served.get(1)
    assert disk.loads == [1] * 9
    disk.broken = set()
    (disk.root / "1" / "saved_model.pb").write_bytes(EMPTY + b"\x08\x01")
    served.check_loadable(1)
    assert served.get(1).version == 1
    assert states(served)[1] is State.AVAILABLE


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


def test_an_upgrade_loads_nothing_of_a_model_that_is_not_in_use(disk, served):
    assert states(served) == {2: State.START, 1: State.START}
    served.check_loadable()

    served.upgrade()
    served.upgrade()

    assert disk.loads == []


def test_a_deleted_version_makes_way_for_what_is_on_disk_at_the_second_look(disk, served):
    served.get()
    disk.delete(2)

    served.upgrade()
    assert served.latest.version == 2  # it may be about to be replaced
    served.upgrade()
    assert (served.latest.version, served.loaded(2)) == (1, None)
    assert states(served) == {1: State.AVAILABLE}

    disk.delete(1)
    served.upgrade()
    served.upgrade()
    assert (served.latest, served.status()) == (None, [])
    with pytest.raises(ModelNotFoundError):
        served.get()


def test_a_version_that_is_back_at_the_second_look_stays(disk, served):
    model = served.get()
    disk.delete(2)
    served.upgrade()
    disk.put(2)
    served.upgrade()
    disk.delete(2)
    served.upgrade()

    assert served.latest is model


def test_an_evicted_version_is_loaded_by_the_next_request_only(disk, served):
    served.evict(served.get())

    assert (served.latest, served.evicted, served.all_loaded()) == (None, 2, [])
    served.upgrade()
    assert disk.loads == [2]
    assert served.get().version == 2
    assert (disk.loads, served.evicted) == ([2, 2], None)


def test_waiting_for_a_load_takes_no_thread(disk, served):
    disk.gate.clear()
    first = served.start(1)
    assert disk.started.wait(30)
    threads = active_count()

    assert all(served.start(1) is first for _ in range(100))
    assert active_count() == threads
    disk.gate.set()
    assert first.result().version == 1
