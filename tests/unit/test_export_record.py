"""Whether an export matches its sources."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from serving.engines.options import LiteRtProof, LoadOptions
from serving.models import export_record
from serving.models.export_record import ExportRecord

SOURCES = ("model.json", "model.h5")


@pytest.fixture
def folder(tmp_path):
    """A version folder with sources and a fresh export of them."""
    (tmp_path / "model.json").write_text("{}")
    (tmp_path / "model.h5").write_bytes(b"weights")
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    sources = export_record.find_sources(tmp_path)
    ExportRecord(export_record.hashes(sources), "keras 3.15.1", "2.21.0").write(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda folder: None, id="nothing"),
        pytest.param(
            lambda folder: (folder / "model.h5").write_bytes(b"weights"), id="a source's time, not its content"
        ),
        pytest.param(lambda folder: [(folder / name).unlink() for name in SOURCES], id="no sources beside it"),
        pytest.param(lambda folder: (folder / "export.json").unlink(), id="no record"),
    ],
)
def test_an_export_is_fresh_after(folder, change):
    change(folder)

    assert export_record.is_fresh(folder)


def replace_by_another_kind(folder):
    (folder / "model.json").unlink()
    (folder / "model.h5").rename(folder / "model.keras")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda folder: (folder / "model.json").write_text("changed"), id="a changed model.json"),
        pytest.param(lambda folder: (folder / "model.h5").write_bytes(b"changed"), id="a changed model.h5"),
        pytest.param(replace_by_another_kind, id="a source of another kind"),
        pytest.param(export_record.mark_incomplete, id="the beginning of another export"),
        pytest.param(lambda folder: (folder / "saved_model.pb").unlink(), id="the loss of its SavedModel"),
    ],
)
def test_an_export_is_stale_after(folder, change):
    change(folder)

    assert not export_record.is_fresh(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"sources": 5}', "[" * 10**5])
def test_an_unreadable_record_makes_it_stale(folder, content):
    (folder / "export.json").write_text(content)

    assert not export_record.is_fresh(folder)


@pytest.mark.parametrize("member", ["sources", "keras", "engine", "independent_rows", "saved_model"])
def test_only_the_proof_of_litert_may_be_null(folder, member):
    content = json.loads((folder / "export.json").read_bytes())
    assert content["litert"] is None
    assert ExportRecord.read(folder) != ExportRecord({}, "", "")

    (folder / "export.json").write_text(json.dumps(content | {member: None}))

    assert ExportRecord.read(folder) == ExportRecord({}, "", "")


def test_an_engine_learns_what_the_export_has_found_out_and_only_the_operator_allows_any_operation():
    proof = LiteRtProof("hash", "2.1.6", parallel=True)
    record = ExportRecord({}, "", "", is_optimized=True, litert=proof)

    assert record.load_options() == LoadOptions(is_optimized=True, any_op=False, litert=proof)
    assert record.load_options(any_op=True) == LoadOptions(is_optimized=True, any_op=True, litert=proof)
    assert ExportRecord({}, "", "").load_options() == LoadOptions()


def test_a_saved_model_beside_sources_is_unrecorded_without_a_record(folder):
    assert not export_record.is_unrecorded(folder)

    (folder / "export.json").unlink()
    assert export_record.is_unrecorded(folder)

    (folder / "model.h5").unlink()
    assert not export_record.is_unrecorded(folder)


def test_the_hash_of_litert_is_that_of_its_file(folder):
    assert export_record.litert_hash(folder) == ""

    (folder / "model.tflite").write_bytes(b"flat buffer")

    assert export_record.litert_hash(folder) == hashlib.sha256(b"flat buffer").hexdigest()


def test_hashes_are_sha_256(folder):
    assert export_record.hashes([folder / "model.h5"]) == {"model.h5": hashlib.sha256(b"weights").hexdigest()}


@pytest.mark.parametrize(
    ("files", "sources"),
    [
        (["model.h5", "model.json", "model.keras"], ["model.json", "model.h5"]),
        (["model.json", "model.weights.h5"], ["model.json", "model.weights.h5"]),
        (["model.keras", "model.h5"], ["model.keras"]),
        (["model.h5"], ["model.h5"]),
        (["saved_model.pb", "notes.txt"], []),
    ],
)
def test_sources_are_found_by_name(tmp_path, files, sources):
    for name in files:
        (tmp_path / name).touch()

    assert [path.name for path in export_record.find_sources(tmp_path)] == sources


ARCHITECTURE = b'{"class_name": "Sequential"}'


@pytest.mark.parametrize(
    ("files", "sources"),
    [
        ({"net.json": ARCHITECTURE, "net.hdf5": b""}, ["net.json", "net.hdf5"]),
        ({"net.json": b'{"layers": []}', "labels.json": ARCHITECTURE, "net.h5": b""}, ["net.json", "net.h5"]),
        ({"labels.json": ARCHITECTURE, "net.h5": b""}, ["net.h5"]),
        ({"words.json": b"{}", "net.h5": b""}, ["net.h5"]),
        ({"words.json": b" " * 16 * 1024 + ARCHITECTURE, "net.h5": b""}, ["net.h5"]),
        ({"folder.json/file": b"", "net.keras": b"", "net.h5": b""}, ["net.keras"]),
        ({"a.h5": b"", "b.hdf5": b""}, []),
    ],
)
def test_sources_of_other_names_are_found_if_there_is_one_of_a_kind(tmp_path, files, sources):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)

    assert [path.name for path in export_record.find_sources(tmp_path)] == sources


def test_a_record_is_read_as_it_was_written(folder):
    written = ExportRecord({"model.h5": "0"}, "keras 3.15.1", "2.21.0", independent_rows=True, is_optimized=True)

    written.write(folder)

    graph = hashlib.sha256(b"graph").hexdigest()
    assert ExportRecord.read(folder) == dataclasses.replace(written, saved_model=graph)
    (folder / "export.json").unlink()
    assert ExportRecord.read(folder) == ExportRecord({}, "", "")


@pytest.mark.parametrize(
    "change",
    [{"litert": True}, {"litert": {"sha256": 1}}, {"engine": 5}, {"independent_rows": "yes"}, {"sources": 1}],
    ids=str,
)
def test_a_record_with_another_type_is_as_good_as_none(folder, change):
    ExportRecord({"model.h5": "0"}, "keras", "2.21.0").write(folder)
    content = json.loads((folder / "export.json").read_text()) | change
    (folder / "export.json").write_text(json.dumps(content))

    assert ExportRecord.read(folder) == ExportRecord({}, "", "")


def test_a_record_of_a_size_that_no_export_writes_is_as_good_as_none(folder):
    ExportRecord({"model.h5": "0"}, "keras", "2.21.0").write(folder)
    with (folder / "export.json").open("a") as file:
        file.write(" " * 2**20)

    assert ExportRecord.read(folder) == ExportRecord({}, "", "")


def test_a_record_of_a_later_version_is_read(folder):
    proof = LiteRtProof("0", "2.3.0", parallel=True)
    ExportRecord({"model.h5": "0"}, "keras", "2.21.0", litert=proof).write(folder)
    content = json.loads((folder / "export.json").read_text())
    content |= {"later": 1, "litert": content["litert"] | {"later": 2}}
    (folder / "export.json").write_text(json.dumps(content))

    assert ExportRecord.read(folder).sources == {"model.h5": "0"}
    assert ExportRecord.read(folder).litert == proof


def test_an_export_whose_graph_has_changed_is_not_fresh(folder: Path) -> None:
    graph = folder / "saved_model.pb"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)

    assert not export_record.is_fresh(folder)


def test_a_link_to_a_file_elsewhere_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.h5").write_bytes(b"weights")
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.h5").symlink_to(tmp_path / "elsewhere.h5")

    assert export_record.find_sources(tmp_path / "1") == []
