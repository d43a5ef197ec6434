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
MAIN = "import sys; from pathlib import Path; from tools.doctor.__main__ import main; "


@pytest.fixture
def app(tmp_path):
    """An app with one function and the XOR model."""
    app = tmp_path / "app"
    shutil.copytree(APP_ROOT / "model" / "xor", app / "model" / "xor")
    shutil.copytree(APP_ROOT / "PredictXor", app / "PredictXor")
    for name in ("host.json", "requirements.txt"):
        shutil.copy(APP_ROOT / name, app)
    return app


def options(app):
    """Return the options that have the doctor check the app as its own package."""
    return ["--plan", "container", "--package", str(app)]


def run(app, code="sys.exit(main(sys.argv[2:], root=Path(sys.argv[1])))", **environment):
    return subprocess.run(
        [sys.executable, "-c", MAIN + code, app, *options(app)],
        cwd=APP_ROOT,
        env={**os.environ, "SERVING_MODEL_PATH": str(app / "model"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_app_without_problems_ends_with_0(app):
    done = run(app)

    assert done.returncode == 0, done.stdout
    assert "PROBLEM" not in done.stdout
    assert "xor/1: export matches its files" in done.stdout
    assert "xor is the default model: it is the only one" in done.stdout
    assert "Loading xor/1" in done.stderr
    assert "\x1b" not in done.stdout


def test_a_corrupt_model_ends_with_1_and_no_stack_trace(app):
    (app / "model" / "xor" / "1" / "saved_model.pb").write_bytes(b"\xff" * 100)
    (app / "model" / "xor" / "1" / "export.json").unlink()  # which has the hash of the right one

    done = run(app)

    assert done.returncode == 1
    assert "PROBLEM  xor/1 can't be loaded and run:" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_package_that_is_not_there_ends_with_1(capsys):
    assert main(["--package", "nowhere.zip"], {}) == 1

    assert "PROBLEM  nowhere.zip is neither a folder nor a readable zip file" in capsys.readouterr().out


def test_an_invalid_setting_does_not_hide_the_other_findings(app, capsys):
    assert main(options(app), {"SERVING_ENGINE": "rust"}, app) == 1

    printed = capsys.readouterr().out
    assert "SERVING_ENGINE is 'rust'" in printed
    assert "xor/1: export matches its files" in printed


def test_it_imports_neither_tensorflow_nor_keras_nor_numpy(app):
    code = "main(sys.argv[2:], root=Path(sys.argv[1]))"
    code += "; print({'tensorflow', 'keras', 'numpy', 'azure.functions'} & {*sys.modules})"

    child = run(app, code)

    assert child.stdout.splitlines()[-1] == "set()"


def test_serving_does_not_import_it():
    code = "import sys, serving.http; print([name for name in sys.modules if 'doctor' in name])"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=APP_ROOT, check=True)

    assert child.stdout.strip() == "[]"


def test_findings_are_aligned_and_what_to_do_stands_below():
    text = text_of("Models", [ok("a is fine"), warning("b is slow", "speed up b"), problem("c fails", "fix c")])

    assert text.splitlines() == [
        "Models",
        "  ok       a is fine",
        "  warning  b is slow",
        "           to do: speed up b",
        "  PROBLEM  c fails",
        "           to do: fix c",
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
    assert "requirements.txt says ==1.0" in other.what
    assert "orjson" in also.what


def test_requirements_are_those_of_this_python_and_platform(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text(
        "# A==1\nAzure_Functions==1.26.0; python_version < '4'\nazure-functions==9; python_version >= '4'\n"
        "b[x]==2 # c\nd==3 --hash=sha256:0\ne==4 \\\n  --hash=sha256:0\n-r f\n"
    )

    found = {name: str(requirement.specifier) for name, requirement in libraries.read_requirements(path).items()}

    assert found == {"azure-functions": "==1.26.0", "b": "==2", "d": "==3", "e": "==4"}
    assert libraries.read_requirements(tmp_path / "nowhere.txt") == {}


@pytest.mark.parametrize(
    ("tensorflow", "level", "says"),
    [
        (TensorFlow("2.21.0", LIBRARY, False), Level.OK, "the C library only"),
        (TensorFlow("2.21.0", LIBRARY, True), Level.OK, "C library and Python"),
        (TensorFlow("2.20.0", LIBRARY, True), Level.PROBLEM, "two installations are mixed"),
        (TensorFlow("2.21.0", None, True), Level.WARNING, "without its C library"),
        (TensorFlow(None, None, False), Level.PROBLEM, "TensorFlow is missing"),
    ],
)
def test_what_is_installed_of_tensorflow(monkeypatch, tensorflow, level, says):
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
