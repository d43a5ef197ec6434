"""Whether an export matches its sources."""

import hashlib
from pathlib import Path

import pytest

from serving.models import export_record
from serving.models.export_record import ExportRecord


@pytest.fixture
def folder(tmp_path):
    """A version folder with sources and a fresh export of them."""
    (tmp_path / "model.json").write_text("{}")
    (tmp_path / "model.h5").write_bytes(b"weights")
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    sources = export_record.find_sources(tmp_path)
    ExportRecord(export_record.hashes(sources), "keras 3.15.1", "2.21.0").write(tmp_path)
    return tmp_path


def test_an_export_of_the_files_beside_it_is_fresh(folder):
    assert export_record.is_fresh(folder)


def test_freshness_depends_on_content_not_on_time(folder):
    (folder / "model.h5").write_bytes(b"weights")

    assert export_record.is_fresh(folder)


@pytest.mark.parametrize("name", ["model.json", "model.h5"])
def test_a_changed_source_makes_it_stale(folder, name):
    (folder / name).write_bytes(b"changed")

    assert not export_record.is_fresh(folder)


def test_a_source_of_another_kind_makes_it_stale(folder):
    (folder / "model.json").unlink()
    (folder / "model.h5").rename(folder / "model.keras")

    assert not export_record.is_fresh(folder)


def test_an_export_that_was_being_replaced_is_stale(folder):
    export_record.mark_incomplete(folder)

    assert not export_record.is_fresh(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"sources": 5}'])
def test_an_unreadable_record_makes_it_stale(folder, content):
    (folder / "export.json").write_text(content)

    assert not export_record.is_fresh(folder)


def test_a_folder_without_a_saved_model_is_not_fresh(folder):
    (folder / "saved_model.pb").unlink()

    assert not export_record.is_fresh(folder)


def test_an_export_without_its_sources_is_fresh(folder):
    (folder / "model.json").unlink()
    (folder / "model.h5").unlink()

    assert export_record.is_fresh(folder)


def test_a_saved_model_without_a_record_is_fresh(folder):
    (folder / "export.json").unlink()

    assert export_record.is_fresh(folder)


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
