"""``tools/scripts/install``: which Python it takes, and what it makes of an installation that was interrupted."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serving.settings import APP_ROOT

# A Python, pip and uv of few words: a new environment has links to this script, and what is asked of them is logged.
FAKE = """#!/bin/sh
echo "$(basename "$0") $*" >>"$LOG"
case "$(basename "$0") $1 $2" in
*" -c "*) echo "$VERSION" ;;
*" -m venv") rm -rf "$4" && mkdir -p "$4/bin" && for name in python pip uv; do ln -s "$FAKE" "$4/bin/$name"; done ;;
"uv pip install") exit "$UV" ;;
esac
"""


@pytest.fixture
def install(tmp_path: Path):
    fake = tmp_path / "fake-python"
    fake.write_text(FAKE)
    fake.chmod(0o755)

    def run(python: str = str(fake), version: str = "3.12", uv: int = 0):
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        known = {**os.environ, "LOG": str(log), "FAKE": str(fake), "VERSION": version, "UV": str(uv)}
        command: list[str | Path] = [APP_ROOT / "tools/scripts/install", tmp_path / "env", python, "a.lock.txt"]
        done = subprocess.run(command, env=known, capture_output=True, text=True, check=False)
        return done, log.read_text() if log.exists() else ""

    return run


@pytest.mark.parametrize(
    ("python", "version", "says"),
    [
        (None, "3.10", "fake-python is 3.10."),
        (None, "3.15", "fake-python is 3.15."),
        ("", "", "This needs Python 3.11, 3.12 or 3.13, and found none (Python"),
        ("no-such-python", "", "no-such-python is not a Python."),
    ],
)
def test_another_python_is_refused_in_one_line(install, tmp_path, python, version, says):
    done, _ = install(**({} if python is None else {"python": python}), version=version)

    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (1, 1, "")
    assert says in done.stdout
    assert not (tmp_path / "env").exists()


def test_an_environment_is_made_once(install):
    _, first = install()
    _, second = install()

    assert "-m venv --clear" in first
    assert "-m venv" not in second
    assert "--require-hashes --no-deps -r a.lock.txt" in second


def test_one_that_was_interrupted_is_made_again(install, tmp_path):
    install()
    (tmp_path / "env/unfinished").touch()

    _, log = install()

    assert "-m venv --clear" in log
    assert not (tmp_path / "env/unfinished").exists()


def test_pip_installs_what_uv_cannot(install, tmp_path):
    done, log = install(uv=1)

    assert done.returncode == 0
    assert log.splitlines()[-1].startswith("pip --quiet")
    assert "--require-hashes" in log.splitlines()[-1]


def test_ctrl_c_is_one_line():
    code = "import tools, signal, os; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code += "; os.kill(os.getpid(), signal.SIGINT); input()"  # a job in the background ignores the signal otherwise
    known = {name: value for name, value in os.environ.items() if name != "MAKELEVEL"}

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=APP_ROOT, env=known, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (-signal.SIGINT, "Interrupted.\n")
