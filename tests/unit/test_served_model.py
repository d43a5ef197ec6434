"""The versions of a model, with a loader that needs no TensorFlow: what is loaded, waited for, served and reported."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, active_count
from types import SimpleNamespace

import pytest

from serving.engines.errors import EngineNotFoundError
from serving.errors import ModelNotFoundError, ModelUnavailableError
from serving.models import backoff, versions
from serving.models.labels import Labels
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
        self.labels = {}
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

    def find(self, name):
        return {int(path.name): path for path in self.root.iterdir()}

    fingerprint = staticmethod(versions.fingerprint)

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
    return ServedModel("m", disk, disk.load, Labels("m", lambda: disk.labels))


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
        ServedModel("m", disk, load, Labels("m", dict)).get(1)

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
    for folder in disk.find("m").values():
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


def test_a_deleted_version_makes_way_for_what_is_on_disk_at_the_second_look(disk, served, caplog):
    caplog.set_level(logging.INFO, "serving")
    served.get()
    disk.delete(2)

    served.upgrade()
    assert served.latest.version == 2  # it may be about to be replaced
    served.upgrade()
    assert (served.latest.version, served.loaded(2)) == (1, None)
    assert states(served) == {1: State.AVAILABLE}
    assert next(text for text in caplog.messages if "instead" in text).endswith("version 2, whose folder was deleted")

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


# --- what labels.json says of the latest ---


def picked(served, keys=range(1000)):
    """Return the versions that serve requests of many keys."""
    models = [served.loaded(None, lambda key=key: f"user-{key}") for key in keys]
    return {model.version if model else None for model in models}


def weights(served):
    return {status.version: status.weight for status in served.status() if status.weight is not None}


def test_the_label_latest_pins_a_version(disk, served):
    disk.labels = {"latest": {1: 1}, "stable": {2: 1}}

    assert served.on_disk()[0] == 1
    served.check_loadable()
    assert served.get().version == 1
    assert (disk.loads, weights(served)) == ([1], {1: 1})
    disk.put(3)
    for _ in range(3):
        served.upgrade()
    assert (disk.loads, served.latest.version) == ([1], 1)


def test_a_pin_and_its_removal_take_effect_at_the_next_look(disk, served):
    served.get()
    disk.labels = {"latest": {1: 1}}
    served.upgrade()
    assert (served.latest.version, served.loaded(2)) == (1, None)
    assert states(served) == {2: State.START, 1: State.AVAILABLE}

    disk.labels = {}
    served.upgrade()
    assert (served.latest.version, served.loaded(1), weights(served)) == (2, None, {})
    assert disk.loads == [2, 1, 2]


def test_the_version_that_serves_goes_on_until_the_pinned_one_is_loaded(disk, served):
    served.get()
    disk.labels = {"latest": {1: 1}}
    disk.started.clear()
    disk.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        look = pool.submit(served.upgrade)
        assert disk.started.wait(30)
        assert served.get().version == served.loaded().version == 2
        disk.gate.set()
        look.result()
    assert served.get().version == 1


def test_several_versions_share_the_requests(disk, served, caplog):
    caplog.set_level(logging.INFO, "serving")
    disk.put(3)
    disk.labels = {"latest": {1: 90, 2: 10}}

    assert served.get() is served.latest
    assert served.latest.version == 1  # the one with the largest share
    assert picked(served) == {1, 2}
    assert served.loaded(None, lambda: "user-1") is served.loaded(None, lambda: "user-1")
    assert {served.loaded(None, lambda: None).version for _ in range(1000)} == {1, 2}
    assert sorted(disk.loads) == [1, 2]
    assert weights(served) == {1: 90, 2: 10}
    for _ in range(3):
        served.upgrade()
    assert sorted(disk.loads) == [1, 2]

    disk.labels = {"latest": {2: 10, 3: 10}}
    served.upgrade()
    assert (picked(served), served.loaded(1)) == ({2, 3}, None)
    disk.labels = {}
    served.upgrade()
    assert (picked(served), served.loaded(2), weights(served)) == ({3}, None, {})
    assert [text for text in caplog.messages if "labels" in text] == [
        "The labels of model m send its requests to version 1 (90 of 100), 2 (10 of 100)",
        "The labels of model m send its requests to version 2 (10 of 20), 3 (10 of 20)",
    ]


def test_what_served_alone_is_kept_where_a_split_ends_with_the_highest(disk, served):
    disk.labels = {"latest": {1: 10, 2: 90}}
    served.get()
    assert served.latest.version == 2
    disk.labels = {}
    served.upgrade()

    assert (picked(served), served.loaded(1), disk.loads.count(2)) == ({2}, None, 1)


@pytest.mark.parametrize("other", [2, 7], ids=["broken", "missing"])
def test_a_version_that_is_not_loaded_takes_no_share_until_its_files_change(disk, served, caplog, other):
    disk.broken = {2}
    disk.labels = {"latest": {1: 10, other: 90}}

    assert served.get().version == 1
    for _ in range(3):
        served.upgrade()
        assert (picked(served), weights(served)) == ({1}, {1: 10})
    assert disk.loads.count(2) == (other == 2)
    said = f"The labels of model m send its requests to version 1; version {other} does not exist or can't be loaded"
    assert caplog.messages.count(said) == 1

    disk.broken = set()
    if other == 7:
        disk.put(7)
    else:
        (disk.root / "2" / "saved_model.pb").write_bytes(b"whole")
        served.upgrade()
        assert picked(served) == {1}  # its files may still be changing
    served.upgrade()
    assert picked(served) == {1, other}


@pytest.mark.parametrize("wanted", [{2: 1}, {7: 1}, {2: 1, 7: 1}])
def test_without_a_version_that_the_labels_name_nothing_else_is_served(disk, served, wanted):
    disk.broken = {2}
    disk.labels = {"latest": wanted}

    for _ in range(2):
        with pytest.raises(ModelUnavailableError, match="Model m could not be loaded; the server's log says why") as e:
            served.get()
        assert e.value.retry_after_seconds == 5
        with pytest.raises(ModelUnavailableError):
            served.check_loadable()
    assert 1 not in disk.loads


def test_a_version_that_serves_stays_where_none_that_the_labels_name_loads(disk, served):
    served.get()
    disk.labels = {"latest": {7: 1}}

    for _ in range(3):
        served.upgrade()
    assert (served.get().version, picked(served)) == (2, {2})


def test_invalid_labels_change_nothing_and_are_refused_where_nothing_is_served_yet(disk):
    def read():
        if disk.labels is None:
            raise ValueError("wrong")
        return disk.labels

    served = ServedModel("m", disk, disk.load, Labels("m", read))
    disk.labels = {"latest": {1: 1}}
    served.get()
    disk.labels = None
    served.upgrade()
    assert served.get().version == 1

    other = ServedModel("m", disk, disk.load, Labels("m", read))
    for ask in (other.get, other.check_loadable, other.on_disk):
        with pytest.raises(ModelUnavailableError):
            ask()
    assert other.get(2).version == 2


@pytest.mark.parametrize("version", [1, 2])
def test_an_evicted_version_of_several_is_loaded_by_its_next_request(disk, served, version):
    disk.labels = {"latest": {1: 50, 2: 50}}
    served.get()
    served.evict(served.loaded(version))

    served.upgrade()
    assert picked(served) == {None, 3 - version}
    assert len(disk.loads) == 2
    assert served.get()
    assert picked(served) == {1, 2}
    assert len(disk.loads) == 3

    served.evict(served.loaded(version))
    disk.labels = {"latest": {3 - version: 1}}
    served.upgrade()
    assert picked(served) == {3 - version}
    assert (served.evicted, len(disk.loads)) == (None, 3)


@pytest.mark.parametrize("version", [1, 2])
def test_a_deleted_version_of_several_leaves_its_share_to_the_others(disk, served, version):
    disk.labels = {"latest": {1: 50, 2: 50}}
    served.get()
    disk.delete(version)

    served.upgrade()
    assert picked(served) == {1, 2}  # it may be about to be replaced
    served.upgrade()
    assert (picked(served), served.loaded(version)) == ({3 - version}, None)


def test_versions_that_share_the_requests_make_no_room_for_each_other(disk, served):
    disk.labels = {"latest": {1: 50, 2: 50}}
    served.get()

    assert served.evictable("m/1") == served.evictable("m/2") == []
    assert {model.version for model in served.evictable("m/3")} == {1, 2}
    assert {model.version for model in served.evictable("other/1")} == {1, 2}
