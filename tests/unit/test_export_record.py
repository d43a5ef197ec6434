"""Whether an export matches its sources."""

import hashlib
from pathlib import Path

import pytest

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
