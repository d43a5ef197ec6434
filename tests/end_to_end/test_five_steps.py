"""The README's "Your own model in five steps", done in a copy of the project; lint and tests pass there as well.

Takes minutes; ``pytest -m "not five_steps"`` leaves it out.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.running_host import running_host
from tests.fixtures import PROJECT_ROOT

# Sorts before the example's name, so it becomes the default model.
NAME, FUNCTION = "wine", "PredictWine"
# The copy measures no coverage of its own.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}

pytestmark = [
    pytest.mark.five_steps,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not (PROJECT_ROOT / "PredictXor").exists(), reason="the example to copy has been removed"),
    pytest.mark.skipif(
        not (PROJECT_ROOT / ".git").exists(), reason="git lists the project's files; no repository here"
    ),
]


def run(project: Path, *command: str | Path) -> str:
    """Return what a command prints; fails with its output unless it succeeds."""
    done = subprocess.run(
        command, cwd=project, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def make(project: Path, *arguments: str) -> str:
    """Run make with the environment that is there."""
    return run(project, "make", "-o", ".venv/installed", *arguments)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project after the steps that make a model and a function."""
    copy = tmp_path_factory.mktemp("project")
    for name in run(PROJECT_ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (PROJECT_ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT_ROOT / name, copy / name)
    for environment in PROJECT_ROOT.glob(".venv-*"):
        (copy / environment.name).symlink_to(environment.resolve())
    (copy / ".venv").symlink_to(sys.prefix)
    save_model(copy / "model" / NAME / "1")
    make(copy, "export", f"MODEL=model/{NAME}/1")
    add_function(copy)
    return copy


def save_model(folder: Path) -> None:
    import keras

    folder.mkdir(parents=True)
    layers = [keras.Input((13,), name="analysis"), keras.layers.Dense(3, "softmax", name="cultivar")]
    keras.Sequential(layers).save(folder / "model.keras")


def add_function(project: Path) -> None:
    shutil.copytree(project / "PredictXor", project / FUNCTION)
    script = project / FUNCTION / "__init__.py"
    script.write_text(script.read_text().replace('model_name="xor"', f'model_name="{NAME}"'))


def test_the_requests_to_paste_are_answered(project: Path) -> None:
    printed = run(project, sys.executable, "-m", "tools.inspect", f"model/{NAME}/1")
    commands = re.findall(r"curl .+", printed)

    with running_host(project) as host:
        answers = [
            json.loads(run(project, "bash", "-c", command.replace("http://localhost:7071", host.url)))
            for command in commands
        ]
        described = run(project, "curl", "-s", f"{host.url}/api/openapi.json")

    assert FUNCTION in commands[0]
    labels, predictions, [output] = answers[0]["labels"], answers[1]["predictions"], answers[2]["outputs"]
    assert labels == predictions == [output["data"][:3], output["data"][3:]]
    assert f"/{FUNCTION}" in json.loads(described)["paths"]


def test_lint_passes(project: Path) -> None:
    make(project, "lint")


@pytest.mark.parametrize("folder", ["unit", "contract", "end_to_end"])
def test_the_tests_pass(project: Path, folder: str) -> None:
    python = project / ".venv-contract/bin/python" if folder == "contract" else Path(sys.executable)
    if not python.exists():
        pytest.skip("no .venv-contract here; `make contract` sets it up")

    run(project, python, "-m", "pytest", "-q", "-m", "not five_steps and not slow", f"tests/{folder}")
