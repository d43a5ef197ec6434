"""What publishing uploads: everything that serving needs, and nothing else."""

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.package.published import published

PROJECT_ROOT = Path(__file__).resolve().parents[2]

NEVER = re.compile(
    r"^(tests|training|tools|benchmarks|docs|infra|requirements|dist)/"
    r"|(^|/)(\.|__pycache__/|local\.settings|secrets?\b)"
    r"|\.(pem|key|pfx|env|pyc|md)$"
)
NEEDED = ("host.json", "requirements.txt", "serving/http.py", "model/xor/1/saved_model.pb")


def write(project: Path, *names: str, text: str = "") -> None:
    for name in names:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)


@pytest.fixture
def project(tmp_path):
    """A project with this one's .funcignore and a few files that it needs."""
    shutil.copy(PROJECT_ROOT / ".funcignore", tmp_path)
    write(tmp_path, *NEEDED)
    return tmp_path


def unpublished_imports(project: Path) -> Iterator[str]:
    """Yield what published modules import of the project that is not published itself."""
    names = published(project)
    for name in names:
        if name.endswith(".py"):
            for module in imports_of(ast.parse((project / name).read_bytes())):
                path = module.replace(".", "/")
                files = {f"{path}.py", f"{path}/__init__.py"}
                if any((project / file).is_file() for file in files) and not files & set(names):
                    yield f"{name} imports {module}"


def imports_of(tree: ast.Module) -> Iterator[str]:
    """Yield the absolute names that a module imports, and those that may be modules in a package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "the project imports by absolute names"
            yield from (str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names))


def test_nothing_of_development_and_no_secret_is_published():
    assert [name for name in published(PROJECT_ROOT) if NEVER.search(name)] == []


def test_whatever_a_published_module_imports_is_published():
    assert list(unpublished_imports(PROJECT_ROOT)) == []


def test_every_file_of_a_function_of_serving_and_of_a_model_is_published():
    folders = [path.parent for path in PROJECT_ROOT.glob("*/function.json")]
    folders += [PROJECT_ROOT / name for name in ("serving", "export", "model")]
    files = {path.relative_to(PROJECT_ROOT).as_posix() for folder in folders for path in folder.rglob("*")}
    wanted = {name for name in files if (PROJECT_ROOT / name).is_file() and not NEVER.search(name)}

    assert {*wanted, "host.json", "requirements.txt"} <= set(published(PROJECT_ROOT))


def test_serving_and_export_hold_modules_and_one_list():
    code = [name for name in published(PROJECT_ROOT) if name.startswith(("serving/", "export/"))]

    assert [name for name in code if not name.endswith(".py")] == [
        "serving/engines/allowed_ops.txt",
        "serving/engines/bounded_ops.txt",
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("local.settings.json", ".env", ".git/config", ".github/w.yml", ".devcontainer/devcontainer.json"),
        *("tests/unit/test_x.py", "training/train.py", "tools/doctor/__main__.py", "requirements/dev.txt"),
        *("serving/x.pyc", "__pycache__/x.py", ".venv-contract/pyvenv.cfg"),
        *("docs/x.png", "CHANGELOG.md", "infra/main.bicep", "dist/p.zip"),
    ],
)
def test_what_serving_does_not_need_is_left_out(project, name):
    write(project, name)

    assert published(project) == sorted(NEEDED)


@pytest.mark.parametrize("name", ["Wine/__init__.py", "model/wine/1/model.keras", ".python_packages/lib/x.py", "a.txt"])
def test_what_a_user_adds_is_published(project, name):
    write(project, name)

    assert name in published(project)


@pytest.mark.parametrize(
    ("pattern", "left_out", "kept"),
    [
        ("**/secret.txt", ["secret.txt", "a/secret.txt", "a/b/secret.txt"], ["a/secret.txt.py"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b/c"], ["b", "x/a/b"]),
        ("docs/*.md", ["docs/a.md"], ["docs/b/a.md", "x/docs/a.md", "a.md"]),
        ("/docs", ["docs/a"], ["x/docs"]),
        ("*.txt\n!keep.txt", ["a.txt", "x/a.txt"], ["keep.txt", "x/keep.txt"]),
        ("e/", ["e/f"], ["g/e"]),
    ],
)
def test_patterns_are_those_of_gitignore(tmp_path, pattern, left_out, kept):
    (tmp_path / ".funcignore").write_text(f"# a comment\n{pattern}\n\n")
    for name in [*left_out, *kept]:
        if not (tmp_path / name).is_dir():
            write(tmp_path, name)

    assert published(tmp_path) == sorted(kept)


def test_without_a_funcignore_only_what_core_tools_never_uploads_is_left_out(tmp_path):
    write(tmp_path, "host.json", "local.settings.json", ".git/config")

    assert published(tmp_path) == ["host.json"]


@pytest.mark.parametrize(
    "line", ["import tools.inspect", "from tools import inspect", "def f():\n    from tools.inspect import x"]
)
def test_an_import_of_what_is_not_published_is_found(project, line):
    write(project, "tools/inspect.py", "tools/__init__.py")
    write(project, "Predict/__init__.py", text=f"import json\nfrom serving import http\n{line}\n")

    assert "Predict/__init__.py imports tools.inspect" in list(unpublished_imports(project))
