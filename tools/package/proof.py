"""``python -m tools.package.proof ZIP``: proves that a package works, from its bytes alone.

Unpacks it into an empty folder, starts it with a bare interpreter of its target, and sends every request that its own
OpenAPI document describes. It runs under Microsoft's worker runtime where that exists for the Python version (3.13).
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tools.package import lock
from tools.package.errors import NoInterpreterError, PackageError
from tools.package.site_packages import install
from tools.package.targets import Target

_PROJECT = Path(__file__).resolve().parents[2]
_SECONDS = 120  # only a guard against waiting forever


@dataclass(frozen=True)
class Proof:
    """What was seen: the runtime's name, seconds from spawn to the first answer, and each request with its answer.

    ``warnings`` name the requests that a model refused, where nobody has seen it take them.
    """

    runtime: str
    first_answer_seconds: float
    answers: list[dict[str, Any]]
    warnings: list[str] = field(default_factory=list)


def prove(package: Path, target: Target, *settings: str) -> Proof:
    """Run a package's zip with app settings, such as ``NAME=VALUE``; return what was seen. Raises PackageError."""
    interpreter = bare_interpreter(target)
    with TemporaryDirectory() as scratch:
        app, runtime = Path(scratch) / "wwwroot", Path(scratch) / "runtime"
        with zipfile.ZipFile(package) as archive:
            archive.extractall(app)
        has_runtime = install_runtime(runtime, target)
        options = [option for setting in settings for option in ("--setting", setting)]
        seen = run_bare(interpreter, app, runtime if has_runtime else None, *options)
    warnings = _check(seen["answers"])
    _check_article(seen["answers"][0])
    name = "Microsoft's worker runtime" if has_runtime else "main called directly"
    return Proof(name, seen["first_answer_seconds"], seen["answers"], warnings)


def bare_interpreter(target: Target) -> Path:
    """Return a Python that can run the target's package on this machine; raises NoInterpreterError."""
    if platform.system() != "Linux" or platform.machine() != target.machine:
        raise NoInterpreterError(f"The package runs only on Linux on {target.machine}, which this machine is not.")
    return find_interpreter(target)


def find_interpreter(target: Target) -> Path:
    """Return a Python of the target's version that is not in a virtual environment; raises NoInterpreterError."""
    done = subprocess.run(
        [_PROJECT / "tools" / "scripts" / "find-python", target.python], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise NoInterpreterError(f"Python {target.python} was not found on PATH or in pyenv.")
    return _outside_of_environments(Path(done.stdout.strip()))


def _outside_of_environments(python: Path) -> Path:
    code = "import sys; print(sys._base_executable)"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def install_runtime(folder: Path, target: Target) -> bool:
    """Put Microsoft's worker runtime alone into a folder; return whether there is one for the target."""
    pins = lock.read(lock.WORKER_RUNTIME, target)
    if pins:
        install(pins, folder, target)
    return bool(pins)


def run_bare(interpreter: Path, app: Path, runtime: Path | None, *options: str) -> dict[str, Any]:
    """Start an app with a bare interpreter and return what ``tools/package/bare.py`` prints; raises PackageError."""
    # -I: no environment variables, no user's packages; -S: no site-packages of the interpreter.
    command = [str(interpreter), "-I", "-S", "-B", str(_PROJECT / "tools/package/bare.py"), str(app), *options]
    command += ["--runtime", str(runtime)] if runtime else []
    try:
        done = subprocess.run(
            command, cwd="/", check=False, capture_output=True, text=True, timeout=_SECONDS, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise PackageError(f"The app did not answer within {_SECONDS} s.") from error
    if done.returncode:
        raise PackageError(f"The app ended with status {done.returncode}:\n{done.stderr.strip()}")
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def _check(answers: list[dict[str, Any]]) -> list[str]:
    """Return a warning for each guess that a model refused; raises PackageError for any other failure."""
    wrong = [answer for answer in answers if answer["status"] != 200]
    refused = [answer for answer in wrong if answer.get("is_guess") and answer["status"] == 400]
    wrong = [answer for answer in wrong if answer not in refused]
    if wrong:
        failures = "\n".join(f"{answer['request']}: {answer['status']} {answer['body']}" for answer in wrong)
        raise PackageError(f"The package runs, but {len(wrong)} of {len(answers)} requests failed:\n{failures}")
    return [
        f"WARNING: {answer['request']} was not proven: the model refuses the example, a guess from its shapes "
        f"({answer['body']}). Write an input that it takes into example.json in its folder."
        for answer in refused
    ]


def _check_article(answer: dict[str, Any]) -> None:
    """Check that PredictXor, where the package has it, answers 1 0|1 1 with about 1 and 0."""
    if "PredictXor" in answer["request"]:
        [[one], [zero]] = json.loads(answer["body"])["labels"]
        if not one > 0.5 > zero:
            raise PackageError(f"PredictXor answers 1 0|1 1 with {answer['body']}; expected about 1 and 0.")


def main() -> int:
    """Prove a package; return 0 if it works, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tools.package.proof", description=__doc__)
    parser.add_argument("package", type=Path, help="the zip file that `make package` wrote")
    parser.add_argument("--target", type=Target.parse, help="default: what the file's name says")
    options = parser.parse_args()
    try:
        proof = prove(options.package, options.target or _target_of(options.package))
    except (OSError, PackageError, zipfile.BadZipFile) as error:
        print(error, file=sys.stderr)
        return 1
    for answer in proof.answers:
        print(f"{answer['status']}  {answer['request']}")
    for warning in proof.warnings:
        print(warning)
    print(f"Proven: {proof.runtime}, first answer {proof.first_answer_seconds:.2f} s after the start.")
    return 0


def _target_of(package: Path) -> Target:
    python, _, machine = package.stem.partition("-linux-")
    return Target.parse(f"{python.removeprefix('python')}-{machine}")


if __name__ == "__main__":
    sys.exit(main())
