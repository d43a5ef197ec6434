"""Files that belong together are written all or none, and a reader never takes an old one with a new one."""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from training import files

NAMES = ("model.json", "model.h5", "plot.png")


@pytest.fixture(params=["over earlier files", "over some earlier files", "into an empty folder"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    earlier: dict[str, tuple[str, ...]] = {
        "over earlier files": NAMES,
        "over some earlier files": NAMES[1:2],
        "into an empty folder": (),
    }
    for name in earlier[request.param]:
        (tmp_path / name).write_bytes(b"old " + name.encode())
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write(folder: Path) -> None:
    files.write_together({folder / name: b"new " + name.encode() for name in NAMES})


def before_renaming(number: int, action: Callable[[], NoReturn]) -> Callable[[Path, Path], Path]:
    """Return a Path.replace that calls the action instead of renaming, the given number of calls from now."""
    rename = Path.replace
    calls: list[Path] = []

    def replace(source: Path, target: Path) -> Path:
        calls.append(target)
        return action() if len(calls) == number else rename(source, target)

    return replace


def raiser(error: BaseException) -> Callable[[], NoReturn]:
    def action() -> NoReturn:
        raise error

    return action


def test_all_files_get_their_new_content_and_nothing_else_stays(folder: Path) -> None:
    write(folder)

    assert contents(folder) == {name: b"new " + name.encode() for name in NAMES}


def test_missing_folders_are_made(tmp_path: Path) -> None:
    files.write_together({tmp_path / "a" / "b" / "file": b"content"})

    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"content"


@pytest.mark.parametrize("renaming", [1, 2, 3])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("the disk is gone")], ids=["Ctrl-C", "an error"])
def test_whatever_stops_the_writing_leaves_all_files_as_they_were(folder, monkeypatch, renaming, error):
    before = contents(folder)
    monkeypatch.setattr(Path, "replace", before_renaming(renaming, raiser(error)))

    with pytest.raises(type(error)):
        write(folder)

    assert contents(folder) == before


@pytest.mark.parametrize("renaming", [1, 2, 3])
def test_while_files_are_replaced_the_first_is_missing(folder, monkeypatch, renaming):
    seen: list[bool] = []

    def look() -> NoReturn:
        seen.append((folder / NAMES[0]).exists())
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", before_renaming(renaming, look))
    with pytest.raises(KeyboardInterrupt):
        write(folder)

    assert seen == [False]


def test_a_folder_in_the_place_of_a_file_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").write_bytes(b"precious")

    with pytest.raises(IsADirectoryError, match="folder"):
        files.write_together({tmp_path / "file": b"new", tmp_path / "folder": b"new"})

    assert contents(tmp_path / "folder") == {"kept": b"precious"}
    assert not (tmp_path / "file").exists()
