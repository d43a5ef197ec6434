"""Models in Azurite: what is loaded, seen, kept and refused, and that faults of the store take down nothing."""

import asyncio
import gc
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serving.errors import ModelNotFoundError, ModelUnavailableError
from serving.models import backoff
from serving.models.repository import Repository
from tests.fixtures import lay_out_app
from tests.fixtures.store import WHY_NOT, Answer, cuts, damages, environment, says, truncates

pytestmark = [
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can be run"),
    # Azure's library does not close a connection that broke within an answer.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture
def clock(monkeypatch):
    """The time at which the store is listed again, and a load is tried again."""
    from serving.store import store

    clock = SimpleNamespace(now=1000.0)
    for module in (backoff, store):
        monkeypatch.setattr(module, "monotonic", lambda: clock.now)
    return clock


def look(repository: Repository, clock: SimpleNamespace) -> None:
    """Do what polling does twice: a version whose files change is left alone."""
    for _ in range(2):
        clock.now += 10
        repository.upgrade()


def answer(model: Any) -> float:
    fetches, _ = asyncio.run(model.predict({"X": np.array([[1, 0]], np.float32)}))
    return float(fetches["labels"][0, 0])


def cached(tmp_path: Path) -> list[str]:
    """Return what is in the cache of the only store."""
    [root] = (tmp_path / "cache" / "store").iterdir()
    return sorted(path.name for path in root.iterdir() if path.is_dir())


def test_a_version_is_downloaded_when_it_is_loaded_and_answers(connect, container, proxy):
    container.put()
    container.put("other/7")
    models = connect()

    assert models.names() == ["other", "parity"]
    assert [status.version for status in models.status("other")] == [7]
    assert len(proxy.seen) == 1
    assert models.get("parity").version == 1
    assert not [path for path in proxy.seen if "other/7" in path]
    with pytest.raises(ModelNotFoundError, match="There is no model 'none'"):
        models.get("none")


def test_a_version_is_described_without_being_loaded(connect, container):
    container.put()
    models = connect()

    assert models.describe("parity")[0] == 1
    assert models.loaded("parity") is None


def test_a_folder_in_a_container_is_a_store_of_its_own(connect, container, proxy):
    container.put()
    for blob in list(container.client.list_blobs()):
        container.write(f"team/a/{blob.name}", container.client.download_blob(blob.name).readall())
    url = environment(proxy.endpoint, container.name)["SERVING_MODEL_PATH"]

    assert connect(SERVING_MODEL_PATH=f"{url}/team/a/").get("parity").version == 1
    assert connect(SERVING_MODEL_PATH=f"{url}/team").names() == []


def test_labels_follow_their_file(connect, container, clock):
    container.put()
    container.write("parity/labels.json", b'{"stable": 1}')
    models = connect()
    assert models.version_of("parity", "stable") == 1

    container.write("parity/labels.json", b'{"stable": 2}')
    look(models, clock)
    assert models.version_of("parity", "stable") == 2

    container.delete("parity/labels.json")
    look(models, clock)
    with pytest.raises(ModelNotFoundError, match="it has: none"):
        models.version_of("parity", "stable")


def test_a_newer_version_is_loaded_beside_the_old_one_and_swapped(connect, container, clock):
    container.put()
    models = connect()
    models.get("parity")

    container.put("parity/2")
    look(models, clock)

    assert models.loaded("parity").version == 2


def test_half_an_upload_does_not_count(connect, container, clock):
    container.put()
    models = connect()
    models.get("parity")

    container.write("parity/2/saved_model.pb", b"")
    container.write("parity/2/variables/variables.data-00000-of-00001", b"")
    look(models, clock)

    assert [status.version for status in models.status("parity")] == [1]


def test_a_version_with_other_content_replaces_the_one_that_is_loaded(connect, container, clock, tmp_path):
    container.put()
    models = connect()
    first = models.get("parity")

    container.put(note="new", replace=True)
    look(models, clock)

    assert models.loaded("parity") is not first
    assert models.loaded("parity").version == 1
    assert models.loaded("parity", 1) is models.loaded("parity")
    assert len(cached(tmp_path)) == 2


def test_a_deleted_version_is_let_go(connect, container, clock):
    container.put()
    container.put("parity/2")
    models = connect()
    models.get("parity")

    container.delete("parity/2/")
    look(models, clock)
    assert models.loaded("parity").version == 1

    container.delete("parity/1/")
    look(models, clock)
    assert models.loaded("parity") is None


def test_a_restart_reads_no_file_again(connect, container, proxy):
    container.put()
    connect().get("parity")
    proxy.seen.clear()

    assert connect().get("parity").version == 1
    assert [path for path in proxy.seen if "saved_model" in path] == []


def hangs(path: str, reply: Answer) -> None:
    """Answer when the test is over."""
    _OVER.wait(30)


def garbles(path: str, reply: Answer) -> None:
    """Answer with something else."""
    reply.body = b"<html>a proxy's page"


_OVER = Event()

FAULTS = {
    "403": (says(403), "Storage Blob Data Reader"),
    "404": (says(404), "create the container"),
    "500": (says(500), "the storage service has a problem"),
    "503": (says(503, Retry_After="17"), "the storage account is busy"),
    "cut": (cuts, "can't be read"),
    "slow": (hangs, "takes longer than 0.5 s"),
    "no list": (garbles, "can't be read"),
}
FILE_FAULTS = {
    **FAULTS,
    "404": (says(404), "was deleted before it was read"),
    "no list": (garbles, "bytes"),
    "truncated": (truncates, "bytes"),
    "damaged": (damages, "its MD5 differs"),
}


@pytest.fixture
def impatient(monkeypatch):
    """A store that is given up after half a second."""
    from serving.store import store

    monkeypatch.setattr(store, "_LIST_SECONDS", 0.5)
    monkeypatch.setattr(store, "_FETCH_SECONDS", 0.5)
    _OVER.clear()
    yield
    _OVER.set()


def patience_of(name: str, request: pytest.FixtureRequest) -> None:
    if name == "slow":
        request.getfixturevalue("impatient")


@pytest.mark.parametrize("name", FAULTS)
def test_a_store_never_read_is_503_and_then_tried_again(name, connect, container, proxy, clock, caplog, request):
    patience_of(name, request)
    container.put()
    proxy.faults["comp=list"], text = FAULTS[name]
    models = connect()

    for _ in range(3):
        with pytest.raises(ModelUnavailableError, match="The store of models can't be read") as error:
            models.get("parity")
    assert error.value.retry_after_seconds == (17 if name == "503" else 5)
    [line] = [record.getMessage() for record in caplog.records if "Models that are loaded" in record.getMessage()]
    assert text in line
    assert text in models.source.trouble()

    proxy.faults.clear()
    _OVER.set()
    clock.now += 20
    assert models.get("parity").version == 1
    assert models.source.trouble() == ""


@pytest.mark.parametrize("name", FAULTS)
def test_a_store_that_fails_later_takes_down_nothing(name, connect, container, proxy, clock, caplog, request):
    patience_of(name, request)
    container.put()
    container.put("other/1")
    models = connect()
    loaded = models.get("parity")
    proxy.faults["comp=list"], text = FAULTS[name]

    look(models, clock)

    assert models.loaded("parity") is loaded
    assert text in models.source.trouble()
    with pytest.raises(ModelUnavailableError, match="other could not be loaded"):
        models.get("other")
    proxy.faults.clear()
    _OVER.set()
    look(models, clock)
    assert models.get("other").version == 1
    assert len([record for record in caplog.records if "Models that are loaded" in record.getMessage()]) == 1


@pytest.mark.parametrize("name", FILE_FAULTS)
def test_a_file_that_can_t_be_read_whole_is_never_loaded(
    name, connect, container, proxy, clock, caplog, request, tmp_path
):
    patience_of(name, request)
    container.put()
    proxy.faults["/saved_model.pb"], text = FILE_FAULTS[name]
    models = connect()

    with pytest.raises(ModelUnavailableError, match="parity could not be loaded") as error:
        models.get("parity")
    assert error.value.retry_after_seconds == 5
    [line] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert text in line.getMessage()
    assert line.exc_info in (None, False)
    assert cached(tmp_path) == []

    proxy.faults.clear()
    clock.now += 10
    assert answer(models.get("parity")) == pytest.approx(answer(connect().get("parity")))


def test_a_newer_version_that_could_not_be_read_is_tried_again_though_its_files_are_the_same(
    connect, container, proxy, clock
):
    container.put()
    models = connect()
    models.get("parity")
    container.put("parity/2")
    proxy.faults["parity/2/saved_model.pb"] = says(500)
    look(models, clock)
    assert models.loaded("parity").version == 1

    proxy.faults.clear()
    look(models, clock)

    assert models.loaded("parity").version == 2


def test_a_file_that_changes_while_it_is_read_is_noticed_and_read_again(connect, container, proxy, clock, caplog):
    container.put()
    models = connect()
    models.names()

    def change():
        proxy.before.clear()
        container.put(note="other", replace=True)

    proxy.before["/saved_model.pb"] = change
    with pytest.raises(ModelUnavailableError):
        models.get("parity")
    assert "changed while it was read" in caplog.text

    models.upgrade()
    assert models.get("parity").version == 1


def test_what_is_corrupt_in_the_store_is_refused_and_the_old_version_stays(connect, container, clock, caplog):
    container.put()
    models = connect()
    models.get("parity")

    container.put("parity/2")
    container.write("parity/2/saved_model.pb", b"corrupt")
    look(models, clock)

    assert models.loaded("parity").version == 1
    assert "Model parity/2 could not be loaded" in caplog.text


@pytest.mark.parametrize("name", ["../../evil", "a b", "..", "/etc/passwd", "1/2/3/4/5/6/7/8/9", "ü"])
def test_a_version_with_an_odd_name_in_it_is_not_downloaded(name, connect, container, proxy, caplog):
    container.put()
    container.put("parity/2")
    listed = {"parity/2/assets/file": f"parity/2/{name}"}
    container.write("parity/2/assets/file", b"x")

    def rename(path, reply):
        for old, new in listed.items():
            reply.body = reply.body.replace(old.encode(), new.encode())

    proxy.faults["comp=list"] = rename

    assert connect().get("parity").version == 1
    assert "Model parity/2 in the store is not served: it has the file" in caplog.text


def test_a_version_that_lists_a_billion_bytes_is_refused(connect, container, proxy, caplog):
    container.put()

    def enlarge(path, reply):
        head, tag, rest = reply.body.partition(b"<Content-Length>")
        reply.body = head + tag + b"1000000000" + rest[rest.index(b"<") :]

    proxy.faults["comp=list"] = enlarge
    models = connect()
    with pytest.raises(ModelUnavailableError):
        models.get("parity")

    assert "it needs 953.7 MB, and the cache has room for 512.0 MB" in caplog.text
    assert not [path for path in proxy.seen if "saved_model.pb" in path]


def test_where_the_store_states_no_md5_lengths_are_compared(connect, container, proxy, caplog):
    container.put()

    def shorten(path, reply):
        reply.body = reply.body[:-1]

    def state_no_md5(path, reply):
        reply.body = re.sub(rb"<Content-MD5>.*?</Content-MD5>", b"", reply.body)

    proxy.faults |= {"comp=list": state_no_md5, "/saved_model.pb": shorten}
    with pytest.raises(ModelUnavailableError):
        connect().get("parity")

    assert re.search(r"saved_model.pb was cut off after \d+ of \d+ bytes", caplog.text)


def test_a_loaded_version_keeps_its_place_in_the_cache_until_it_is_let_go(connect, container, clock, caplog):
    container.put(note="x" * 600_000)
    container.put("other/1", note="x" * 600_000)
    models = connect(SERVING_STORE_CACHE_MB="1")
    models.get("parity")

    with pytest.raises(ModelUnavailableError):
        models.get("other")
    assert "raise SERVING_STORE_CACHE_MB" in caplog.text

    caplog.set_level(logging.CRITICAL, "serving")  # pytest keeps each line of the log, and what that is about
    container.delete("parity/")
    look(models, clock)
    gc.collect()
    clock.now += 10
    assert models.get("other").version == 1


def test_too_many_files_are_not_listed_to_the_end(connect, container, monkeypatch, caplog):
    from serving.store import blobs

    container.put()
    monkeypatch.setattr(blobs, "_MOST_FILES", 1)

    with pytest.raises(ModelUnavailableError):
        connect().get("parity")
    assert "has more than 1 files" in caplog.text


def test_a_cache_that_others_can_write_to_is_not_used(connect, container, tmp_path, caplog):
    container.put()
    (tmp_path / "cache" / "store").mkdir(parents=True)
    (tmp_path / "cache" / "store").chmod(0o777)

    with pytest.raises(ModelUnavailableError):
        connect().get("parity")
    assert "is writable by other users; set SERVING_CACHE_PATH" in caplog.text


def test_a_connection_string_of_another_account_is_refused(connect, caplog):
    with pytest.raises(ModelUnavailableError):
        connect(SERVING_MODEL_PATH="https://other.blob.core.windows.net/models").get("parity")

    assert "SERVING_STORE_CONNECTION is for http://127.0.0.1" in caplog.text


def test_nothing_of_it_is_imported_for_models_on_disk(tmp_path):
    code = (
        "import sys; from serving.models.repository import shared; assert shared().get('parity').version == 1;"
        "bad = [name for name in sys.modules if name.startswith(('serving.store', 'azure.', 'msal', 'requests'))];"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], cwd=lay_out_app(tmp_path), env=dict(os.environ), check=True)
