"""What developers and operators do with a store: upload to it, and check it."""

import asyncio
import json
import shutil
import sys
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import pytest

import Health
from serving.models import repository
from serving.settings import Settings
from serving.store_url import StoreUrl
from tests.fixtures import MODEL
from tests.fixtures.store import WHY_NOT, environment, says
from tools.doctor import store as check
from tools.doctor.finding import Level

needs_azurite = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can be run")


@pytest.fixture
def upload(monkeypatch, proxy, container, capsys):
    """Return a function that runs the command, and returns its exit code and what it wrote."""
    from tools.store import upload

    for name, value in environment(proxy.endpoint, container.name).items():
        monkeypatch.setenv(name, value)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["upload", *map(str, arguments)])
        code = upload.main()
        written = capsys.readouterr()
        return code, written.out + written.err

    return run


@pytest.fixture
def version(tmp_path):
    return shutil.copytree(MODEL / "1", tmp_path / "parity" / "3")


def stored(container):
    return {blob.name for blob in container.client.list_blobs()}


@needs_azurite
def test_a_version_is_proven_and_uploaded_with_its_record_last(upload, version, container, proxy):
    code, written = upload(version)

    assert code == 0, written
    assert "Loaded and run with" in written
    puts = [line.partition("?")[0].rpartition("/")[2] for line in proxy.seen if line.startswith("PUT")]
    assert puts == ["saved_model.pb", "export.json"]
    assert stored(container) == {"parity/3/saved_model.pb", "parity/3/export.json"}


@needs_azurite
def test_a_version_that_exists_is_replaced_only_if_asked_for(upload, version, container, proxy):
    assert upload(version)[0] == 0
    code, written = upload(version)
    assert (code, "parity/3/ exists" in written) == (1, True)
    proxy.seen.clear()

    assert upload(version, "--replace")[0] == 0

    changes = [line.partition("?")[0].rpartition("/")[2] for line in proxy.seen if line.startswith(("PUT", "DELETE"))]
    assert changes == ["export.json", "saved_model.pb", "saved_model.pb", "export.json"]


@needs_azurite
def test_what_can_t_be_loaded_is_not_uploaded(upload, version, container):
    (version / "saved_model.pb").write_bytes(b"no model")

    code, written = upload(version)

    assert (code, "can't be loaded and run" in written) == (1, True)
    assert stored(container) == set()


@needs_azurite
def test_labels_are_uploaded_alone(upload, version, container):
    (version.parent / "labels.json").write_text('{"stable": 3}')

    assert upload(version.parent / "labels.json")[0] == 0
    assert stored(container) == {"parity/labels.json"}


@needs_azurite
@pytest.mark.parametrize("at", ["nowhere", "parity"])
def test_what_is_no_version_is_refused(upload, tmp_path, at):
    assert upload(tmp_path / at) == (
        1,
        f"Nothing was uploaded, or not all: {tmp_path / at} is not a version's folder, such as model/xor/1\n",
    )


def mirrored(proxy, container, tmp_path, **settings):
    variables = {**environment(proxy.endpoint, container.name), **settings}
    (tmp_path / "doctor").mkdir()
    return check.mirror(Settings.from_environment(variables), tmp_path / "doctor")


@needs_azurite
def test_the_doctor_downloads_all_versions_and_adds_up_their_sizes(proxy, container, tmp_path):
    container.put()
    container.put("parity/2")
    container.write("parity/labels.json", b'{"stable": 2}')

    findings = mirrored(proxy, container, tmp_path)

    assert [finding.level for finding in findings] == [Level.OK, Level.OK]
    assert "can be listed: 1 models" in findings[0].what
    models = tmp_path / "doctor" / check.MODELS / "parity"
    assert sorted(path.name for path in models.iterdir()) == ["1", "2", "labels.json"]
    assert (models / "2" / "saved_model.pb").read_bytes() == (MODEL / "1" / "saved_model.pb").read_bytes()


@needs_azurite
def test_the_doctor_names_the_role_that_is_missing(proxy, container, tmp_path):
    proxy.faults["comp=list"] = says(403)

    [finding] = mirrored(proxy, container, tmp_path)

    assert finding.level is Level.PROBLEM
    assert 'role "Storage Blob Data Reader"' in finding.todo


@needs_azurite
def test_the_doctor_finds_a_container_without_models_and_a_version_that_can_t_be_read(proxy, container, tmp_path):
    assert mirrored(proxy, container, tmp_path)[0].what.endswith("can be listed, but has no model")
    container.put()
    proxy.faults["/saved_model.pb"] = says(404)
    shutil.rmtree(tmp_path / "doctor")

    findings = mirrored(proxy, container, tmp_path)

    [unread] = [finding.what for finding in findings if finding.level is Level.PROBLEM]
    assert unread.startswith("parity/1: ")


@pytest.mark.parametrize(
    ("megabytes", "level"), [(100, Level.OK), (60, Level.WARNING), (40, Level.PROBLEM)], ids=["two", "one", "none"]
)
def test_the_cache_should_have_room_for_two_versions_of_the_largest_model(megabytes, level):
    [finding] = check._sizes(Settings(store_cache_mb=megabytes), [50 * 2**20, 1])

    assert finding.level is level


@pytest.mark.parametrize(
    ("path", "has_store", "levels"),
    [
        ("https://a.blob.core.windows.net/models", False, [Level.PROBLEM]),
        ("https://a.blob.core.windows.net/models", True, []),
        ("/models", True, [Level.WARNING]),
        ("/models", False, []),
    ],
)
def test_a_package_should_have_what_reads_a_store_if_there_is_one(path, has_store, levels):
    settings = Settings.from_environment({"SERVING_MODEL_PATH": path})
    package: Any = SimpleNamespace(name="a.zip", is_built=True, has_store=has_store)

    assert [finding.level for finding in check.check_package(settings, [package])] == levels


@needs_azurite
@pytest.mark.parametrize("details", [True, False])
def test_health_says_what_is_wrong_with_the_store_to_those_who_may_know(proxy, container, monkeypatch, details):
    for name, value in environment(proxy.endpoint, container.name).items():
        monkeypatch.setenv(name, value)
    if details:
        monkeypatch.setenv("SERVING_HEALTH_DETAILS", "1")
    proxy.faults["comp=list"] = says(503, Retry_After="17")
    repository.shared.cache_clear()

    request = func.HttpRequest(method="GET", url="https://app/api/health", route_params={"path": ""}, body=b"")
    response = asyncio.run(Health.main(request))

    repository.shared.cache_clear()
    body = json.loads(response.get_body())
    assert (response.status_code, response.headers["Retry-After"]) == (503, "17")
    assert ("the storage account is busy" in body.get("store", "")) is details
    assert details or body == {"status": "not ready"}


def test_an_address_is_shown_as_it_was_set():
    assert (
        str(StoreUrl.parse("https://a.blob.core.windows.net/models/x/")) == "https://a.blob.core.windows.net/models/x"
    )
