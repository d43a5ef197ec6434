"""What publishing uploads: exactly the files of ``published.txt`` beside this one."""

import re
import shutil
from pathlib import Path

import pytest

from tools.package.published import published

PROJECT_ROOT = Path(__file__).resolve().parents[2]
LISTED = Path(__file__).with_name("published.txt")

NEVER = re.compile(
    r"(^|/)(tests?|training|benchmarks|docs|\.venv|__pycache__)/|\.(pem|key|pfx|env|pyc)$|local\.settings|secret"
)


def test_exactly_the_listed_files_are_published():
    expected = LISTED.read_text(encoding="utf-8").splitlines()

    # Where a new file belongs in the app, add it to published.txt; else to .funcignore.
    assert published(PROJECT_ROOT) == expected


def test_no_test_secret_or_training_file_is_listed():
    assert [name for name in LISTED.read_text(encoding="utf-8").splitlines() if NEVER.search(name)] == []


@pytest.mark.parametrize(
    "name",
    [
        "local.settings.json",
        ".env",
        "tests/unit/test_x.py",
        "training/train.py",
        ".git/config",
        "serving/x.pyc",
        "__pycache__/x.py",
        ".venv-contract/pyvenv.cfg",
        "docs/x.md",
        "infra/main.bicep",
        "dist/p.zip",
        ".github/w.yml",
    ],
)
def test_what_serving_does_without_stays_here(tmp_path, name):
    shutil.copy(PROJECT_ROOT / ".funcignore", tmp_path)
    for kept in (name, "host.json", "model/xor/1/saved_model.pb"):
        (tmp_path / kept).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / kept).write_text("")

    assert published(tmp_path) == ["host.json", "model/xor/1/saved_model.pb"]


def test_a_stray_file_would_be_published_and_so_noticed(tmp_path):
    shutil.copy(PROJECT_ROOT / ".funcignore", tmp_path)
    (tmp_path / "notes.txt").write_text("")

    assert published(tmp_path) == ["notes.txt"]


def test_a_deployment_pyproject_is_not_needed_for_imports_of_what_is_published():
    """No published module imports one that stays here."""
    kept_here = {"benchmarks", "tools.local_host", "tools.package", "tests", "training", "tools.worker_host"}
    for name in published(PROJECT_ROOT):
        if name.endswith(".py"):
            text = (PROJECT_ROOT / name).read_text(encoding="utf-8")
            assert not kept_here & set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE)), name
