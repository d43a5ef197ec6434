"""``python -m tools.doctor``: the whole of it, what it prints, Python and libraries."""

import os
import shutil
import subprocess
import sys

import pytest

from serving.settings import APP_ROOT
from tools.doctor import children, interpreter, libraries
from tools.doctor.__main__ import main
from tools.doctor.finding import Level, ok, problem, summary, text_of, warning
from tools.doctor.interpreter import Machine
from tools.doctor.libraries import TensorFlow

LIBRARY = APP_ROOT / "libtensorflow_cc.so.2"


@pytest.fixture
def published(tmp_path):
    """The options that have the doctor look at a package of this app, whatever lies in ``dist``."""
    folder = tmp_path / "published"
    shutil.copytree(APP_ROOT / "model", folder / "model")
    shutil.copy(APP_ROOT / "host.json", folder)
    return ["--plan", "container", "--package", str(folder)]


def run(arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "tools.doctor", *arguments],
        cwd=APP_ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_app_without_problems_ends_with_0(published):
    done = run(published)

    assert done.returncode == 0, done.stdout
    assert "PROBLEM" not in done.stdout
    assert "xor/1: export matches its files" in done.stdout
    assert "Loading xor/1" in done.stderr
    assert "\x1b" not in done.stdout


def test_a_corrupt_model_ends_with_1_and_no_stack_trace(published, tmp_path):
    folder = shutil.copytree(APP_ROOT / "model" / "xor" / "1", tmp_path / "models" / "xor" / "1")
    (folder / "saved_model.pb").write_bytes(b"\xff" * 100)

    done = run(published, SERVING_MODEL_PATH=str(tmp_path / "models"))

    assert done.returncode == 1
    assert "PROBLEM  xor/1 can't be loaded and run:" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_package_that_is_not_there_ends_with_1(capsys):
    assert main(["--package", "nowhere.zip"], {}) == 1

    assert "PROBLEM  nowhere.zip is neither a folder nor a zip file" in capsys.readouterr().out


def test_a_setting_that_cannot_be_read_is_told_with_all_the_rest(published, capsys):
    assert main(published, {"SERVING_ENGINE": "rust"}) == 1

    printed = capsys.readouterr().out
    assert "SERVING_ENGINE is 'rust'" in printed
    assert "xor/1: export matches its files" in printed


def test_it_imports_neither_tensorflow_nor_keras_nor_numpy(published):
    code = "import sys; from tools.doctor.__main__ import main; main(sys.argv[1:])"
    code += "; print({'tensorflow', 'keras', 'numpy', 'azure.functions'} & {*sys.modules})"
    command = [sys.executable, "-c", code, *published]
    child = subprocess.run(command, capture_output=True, text=True, cwd=APP_ROOT, check=True)

    assert child.stdout.splitlines()[-1] == "set()"


def test_serving_does_not_import_it():
    code = "import sys, serving.http; print([name for name in sys.modules if 'doctor' in name])"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=APP_ROOT, check=True)

    assert child.stdout.strip() == "[]"


def test_findings_are_aligned_and_what_to_do_stands_below():
    text = text_of("Models", [ok("a is fine"), warning("b limps", "mend b"), problem("c fails", "mend c")])

    assert text.splitlines() == [
        "Models",
        "  ok       a is fine",
        "  warning  b limps",
        "           to do: mend b",
        "  PROBLEM  c fails",
        "           to do: mend c",
    ]


def test_long_lines_are_broken_between_words():
    command = "python -m export " + "a-very-long-name/" * 8

    lines = text_of("Models", [problem("word " * 40, command)]).splitlines()

    assert len(lines[1]) <= 110
    assert any(line.endswith("a-very-long-name/" * 8) for line in lines)


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([ok("a")], "no problems, no warnings."),
        ([problem("a", "b"), warning("a", "b"), warning("a", "b")], "1 problem, 2 warnings."),
    ],
)
def test_the_last_line_counts(findings, expected):
    assert summary(findings) == expected


@pytest.mark.parametrize(
    ("machine", "level", "says"),
    [
        (Machine((3, 12, 1), True, "Linux", "x86_64"), Level.OK, "as on Azure"),
        (Machine((3, 10, 4), True, "Linux", "x86_64"), Level.PROBLEM, "3.11 to 3.13"),
        (Machine((3, 14, 0), True, "Linux", "x86_64"), Level.PROBLEM, "3.11 to 3.13"),
        (Machine((3, 12, 1), False, "Windows", "x86"), Level.PROBLEM, "32-bit"),
        (Machine((3, 12, 1), True, "Windows", "AMD64"), Level.WARNING, "Python session"),
        (Machine((3, 12, 1), True, "Darwin", "arm64"), Level.WARNING, "C API"),
    ],
)
def test_python_and_machine(machine, level, says):
    [finding] = interpreter.check(machine)

    assert finding.level is level
    assert says in finding.what


def test_the_installed_libraries_are_those_of_the_pins():
    findings = libraries.check(APP_ROOT, TensorFlow.here())

    assert {finding.level for finding in findings} == {Level.OK}
    assert "C library and Python" in findings[1].what


def test_another_version_than_the_pinned_one_is_named(tmp_path):
    (tmp_path / "requirements.txt").write_text("numpy==1.0\norjson==0.1; python_version < '4'\n")

    [other, also] = [found for found in libraries.check(tmp_path, TensorFlow.here()) if found.level is Level.WARNING]

    assert "numpy" in other.what
    assert "pins (1.0)" in other.what
    assert "orjson" in also.what


def test_pins_are_read_by_name_with_all_their_versions(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text(
        "# A==1\nAzure_Functions==1.26.0; python_version < '3.13'\nazure-functions==2.3.0\nb[x]==2 # c\n-r d\n"
    )

    assert libraries.read_pins(path) == {"azure-functions": {"1.26.0", "2.3.0"}, "b": {"2"}}


@pytest.mark.parametrize(
    ("tensorflow", "level", "says"),
    [
        (TensorFlow("2.21.0", LIBRARY, False), Level.OK, "slim"),
        (TensorFlow("2.21.0", LIBRARY, True), Level.OK, "C library and Python"),
        (TensorFlow("2.20.0", LIBRARY, True), Level.PROBLEM, "parts of two installations"),
        (TensorFlow("2.21.0", None, True), Level.WARNING, "without its C library"),
        (TensorFlow(None, None, False), Level.PROBLEM, "TensorFlow is missing"),
    ],
)
def test_tensorflow_is_told_by_what_there_is_of_it(monkeypatch, tensorflow, level, says):
    monkeypatch.setattr(children, "library_version", lambda: "2.21.0")

    [finding] = [found for found in libraries.check(APP_ROOT, tensorflow) if "TensorFlow" in found.what]

    assert finding.level is level
    assert says in finding.what


def test_a_library_that_cannot_be_loaded_is_a_problem(monkeypatch, tmp_path):
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").touch()
    (tmp_path / "tensorflow" / "libtensorflow_cc.so.2").write_bytes(b"cut off")
    monkeypatch.syspath_prepend(tmp_path)

    [finding] = [found for found in libraries.check(APP_ROOT, TensorFlow.here()) if found.level is Level.PROBLEM]

    assert "TensorFlow's library can't be loaded" in finding.what
    assert "file too short" in finding.what or "invalid ELF" in finding.what
