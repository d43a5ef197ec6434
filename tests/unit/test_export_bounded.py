"""The child process of an export: what it gets, what ends it, and that nothing of it remains."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE

import pytest

from export import install, snapshot
from serving.models.export_record import SourceError
from tests.unit import keras_files
from tests.unit.dense_files import FORMATS, Node, layer

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits and signals of POSIX")

ROOT = Path(__file__).parents[2]


def take_signals() -> None:
    """Undo what tests in the background inherit: ignored signals."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Export:
    """A model, and a module of the owner's that stands for what Keras or TensorFlow may do with it."""

    def __init__(self, folder: Path, module: str = "") -> None:
        self.folder, self.temporary = folder / "model" / "1", folder / "tmp"
        self.temporary.mkdir()
        keras_files.write_xor_of_2017(self.folder)
        self.flags = ["--custom-objects", str(folder / "module.py")] if module else []
        (folder / "module.py").write_text(module)

    def start(self, *flags: str, **environment: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "export", str(self.folder), *self.flags, *flags]
        variables = os.environ | {"TMPDIR": str(self.temporary)} | environment
        return subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=PIPE, stderr=PIPE, text=True, preexec_fn=take_signals
        )

    def fail(self, *flags: str, **environment: str) -> str:
        """Export, expecting exit code 1 and one line; return the line."""
        with self.start(*flags, **environment) as process:
            _, error = process.communicate()
        assert process.returncode == 1
        assert error.startswith("Export failed: ")
        assert error.count("\n") == 1
        self.expect_no_remains()
        return error

    def expect_no_remains(self) -> None:
        assert list(self.temporary.iterdir()) == []
        assert list(self.folder.glob(".export-*")) == []


def test_the_child_has_no_secrets_and_limits_that_outlive_its_parent(tmp_path: Path) -> None:
    seen = tmp_path / "seen.json"
    module = f"""
import json, os, pathlib, resource, signal
limits = [resource.getrlimit(getattr(resource, name))[0] for name in ("RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_CORE")]
seen = {{"environment": dict(os.environ), "limits": limits, "timer": signal.getitimer(signal.ITIMER_REAL)[0]}}
first = pathlib.Path("/proc/self/oom_score_adj")
seen["ended first"] = first.read_text().strip() if first.exists() else "1000"
pathlib.Path({str(seen)!r}).write_text(json.dumps(seen))
raise ValueError("seen")
"""
    export = Export(tmp_path, module)

    export.fail("--memory", "2", "--minutes", "3", AzureWebJobsStorage="a secret", TF_VAR_key="a secret", TZ="UTC")

    content = json.loads(seen.read_text())
    assert "a secret" not in content["environment"].values()
    assert content["environment"]["TZ"] == "UTC"
    assert content["limits"] == [2 * 2**30, 2 * 2**30, 0]
    assert 180 < content["timer"] <= 190
    assert content["ended first"] == "1000"


LITTER = """
import os, pathlib, signal, sys, tempfile, time
(pathlib.Path({folder!r}) / f".export-{{os.getpid()}}-abc").mkdir()
tempfile.mkdtemp()
"""

GIVES_UP = ". If the model needs more than 8 GB of memory, raise the limit with --memory."

ENDS: dict[str, tuple[str, list[str], str]] = {
    "too much memory": (
        "x = bytearray(2**30)", ["--memory", "0.5"], "the model needs more than 0.5 GB of memory. If you trust it",
    ),
    "no memory for C++": ("os.abort()", ["--memory", "0.5"], "If the model needs more than 0.5 GB"),
    "an error after noise": ("os.write(2, b'noise\\n'); raise ValueError('wrong')", [], "can't be imported: wrong."),
    "a crash": ("os.kill(os.getpid(), signal.SIGSEGV)", [], "killed by SIGSEGV" + GIVES_UP),
    "the system has no memory": ("os.kill(os.getpid(), signal.SIGKILL)", [], "killed by SIGKILL" + GIVES_UP),
    "no end": ("time.sleep(1000)", ["--minutes", "0.03"], "than 0.03 minutes. Allow more time with --minutes."),
    "no end, deaf to its parent": ("os.kill(os.getpid(), signal.SIGALRM)", [], "took longer than 30 minutes"),
    "a file without end": (
        "open(tempfile.gettempdir() + '/x', 'wb').truncate(2**30)", ["--memory", "0.5"], "File too large",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_whatever_ends_the_child_is_one_line_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    code, flags, says = ENDS[name]
    export = Export(tmp_path, LITTER.format(folder=str(tmp_path / "model" / "1")) + code)

    assert says in export.fail(*flags)


# A few hundred bytes that ask for more than any machine has. On a slow machine, time may end first.
LIMITS = r"needs more than 2 GB of memory|took longer than|failed on random inputs"
EXTREMES: dict[str, list[Node]] = {
    "units": [layer("Dense", units=10**9)],
    "a size only when it runs": [layer("RepeatVector", n=10**9), layer("Flatten")],
    "a size that overflows": [layer("RepeatVector", n=10**12), layer("GlobalAveragePooling1D")],
    "classes": [layer("CategoryEncoding", num_tokens=10**11, output_mode="multi_hot")],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXTREMES)
def test_what_asks_for_too_much_ends_at_a_limit(tmp_path: Path, name: str) -> None:
    nodes = [{**node, "config": {**node["config"], "name": f"x{index}"}} for index, node in enumerate(EXTREMES[name])]
    export = Export(tmp_path)
    shutil.rmtree(export.folder)
    FORMATS["model.json + .h5 of Keras 2"].write(export.folder, nodes)

    assert re.search(LIMITS, export.fail("--memory", "2", "--minutes", "2"))


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interrupt_is_one_line_and_output_is_seen_before_the_end(tmp_path: Path, name: str) -> None:
    module = LITTER.format(folder=str(tmp_path / "model" / "1")) + "print('x', flush=True); time.sleep(99)"
    export = Export(tmp_path, module)

    with export.start() as process:
        assert process.stdout.readline() == "x\n"
        process.send_signal(getattr(signal, name))
        output, error = process.communicate()

    assert (process.returncode, output, error) == (130, "", "Interrupted; nothing was changed.\n")
    export.expect_no_remains()


def test_an_export_removes_what_earlier_ones_left_when_they_were_killed(tmp_path: Path) -> None:
    for name, age in (("old", 10**6), ("running", 0)):
        (tmp_path / f".export-1-{name}").mkdir()
        os.utime(tmp_path / f".export-1-{name}", (time.time() - age,) * 2)

    install.remove_remains(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == [".export-1-running"]


# --- files that change while they are read ---


def swap_for_link(path: Path, secret: Path) -> None:
    path.unlink()
    path.symlink_to(secret)


def swap_for_pipe(path: Path, secret: Path) -> None:
    path.unlink()
    os.mkfifo(path)


SWAPS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "a link": (swap_for_link, "is a link to a file outside of its folder"),
    "a pipe": (swap_for_pipe, "is not a regular file"),
    "nothing": (lambda path, secret: path.unlink(), "No such file or directory"),
}


@pytest.mark.parametrize("name", SWAPS)
def test_a_file_that_is_swapped_after_it_was_found_is_refused(tmp_path: Path, name: str) -> None:
    swap, says = SWAPS[name]
    (tmp_path / "secret").write_text("secret")
    path = tmp_path / "1" / "model.keras"
    path.parent.mkdir()
    path.write_text("model")
    swap(path, tmp_path / "secret")

    with pytest.raises(SourceError, match=says), snapshot.of([path]):
        pass


def test_what_is_read_is_what_was_checked_whatever_becomes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_text("checked")

    with snapshot.of([path]) as [copy]:
        path.write_text("swapped")
        assert copy.read_text() == "checked"
        assert copy.name == path.name
    assert not copy.exists()

    with pytest.raises(SourceError, match=f"^{path}: wrong$"), snapshot.of([path]) as [copy]:
        raise SourceError(f"{copy}: wrong")
