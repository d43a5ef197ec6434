"""``python -m tools.package.proof ZIP``: the proof that a package works, from its bytes alone.

Unpacks it into an empty folder and starts it with a bare interpreter of its target, under Microsoft's worker runtime
where that exists for the version (3.13), and asks it everything that its OpenAPI document says.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tools.package import wheels
from tools.package.lock import Pin, read
from tools.package.targets import Target

_PROJECT = Path(__file__).resolve().parents[2]
_RUNTIME_LOCK = _PROJECT / "requirements/worker-runtime.lock"
_SECONDS = 120  # a guard against waiting forever; nothing is timed by it


class ProofError(Exception):
    """The package does not work, or can't be tried; the message says which and why."""


class NoInterpreterError(ProofError):
    """There is no bare interpreter here that can run the package."""


@dataclass(frozen=True)
class Proof:
    """What was seen: the runtime's name, seconds from spawn to the first answer, and requests with their statuses."""

    runtime: str
    first_answer_seconds: float
    answers: list[dict[str, Any]]


def prove(package: Path, target: Target, cache: Path) -> Proof:
    """Run a package's zip and return what was seen; raises ProofError."""
    interpreter = bare_interpreter(target)
    with TemporaryDirectory() as scratch:
        app, runtime = Path(scratch) / "wwwroot", Path(scratch) / "runtime"
        with zipfile.ZipFile(package) as archive:
            archive.extractall(app)
        has_runtime = unpack_runtime(runtime, target, cache)
        seen = run_bare(interpreter, app, runtime if has_runtime else None)
    _check(seen["answers"])
    _check_article(seen["answers"][0])
    name = "Microsoft's worker runtime" if has_runtime else "main called directly"
    return Proof(name, seen["first_answer_seconds"], seen["answers"])


def bare_interpreter(target: Target) -> Path:
    """Return a Python that can run the target's package, as ``find_interpreter``; raises NoInterpreterError."""
    if platform.system() != "Linux" or platform.machine() != target.machine:
        raise NoInterpreterError(f"This machine is no Linux on {target.machine}, so the package can't be run here.")
    return find_interpreter(target)


def find_interpreter(target: Target) -> Path:
    """Return a Python of the target's version, outside of any virtual environment; raises NoInterpreterError."""
    done = subprocess.run(
        [_PROJECT / "tools" / "scripts" / "find-python", target.python], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise NoInterpreterError(f"No Python {target.python} found here; install one, on PATH or by pyenv.")
    return _outside_of_environments(Path(done.stdout.strip()))


def _outside_of_environments(python: Path) -> Path:
    code = "import sys; print(sys._base_executable)"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def unpack_runtime(folder: Path, target: Target, cache: Path) -> bool:
    """Put Microsoft's worker runtime, and nothing else, into a folder; return whether there is one for the target."""
    pins: dict[str, Pin] = read(target, _RUNTIME_LOCK.read_text(encoding="utf-8"))
    if not pins:
        return False
    for wheel in wheels.fetch(target, pins.values(), cache):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return True


def run_bare(interpreter: Path, app: Path, runtime: Path | None, *options: str) -> dict[str, Any]:
    """Start an app with the bare interpreter and return what ``tools/package/bare.py`` prints; raises ProofError."""
    # -I: no environment variables, no user's packages; -S: no site-packages of the interpreter.
    command = [str(interpreter), "-I", "-S", "-B", str(_PROJECT / "tools/package/bare.py"), str(app), *options]
    command += ["--runtime", str(runtime)] if runtime else []
    try:
        done = subprocess.run(
            command, cwd="/", check=False, capture_output=True, text=True, timeout=_SECONDS, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise ProofError(f"The app gave no answer within {_SECONDS} s.") from error
    if done.returncode:
        raise ProofError(f"The app ended with status {done.returncode}:\n{done.stderr.strip()}")
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def _check(answers: list[dict[str, Any]]) -> None:
    wrong = [answer for answer in answers if answer["status"] != 200]
    if wrong:
        told = "\n".join(f"{answer['request']}: {answer['status']} {answer['body']}" for answer in wrong)
        raise ProofError(f"The package runs, but {len(wrong)} of {len(answers)} requests failed:\n{told}")


def _check_article(answer: dict[str, Any]) -> None:
    """Check the answer to the request of 2017, where the package has its function: "1 0|1 1" is one and zero."""
    if "PredictXor" in answer["request"]:
        [[one], [zero]] = json.loads(answer["body"])["labels"]
        if not one > 0.5 > zero:
            raise ProofError(f"PredictXor answers 1 0|1 1 with {answer['body']}; expected about 1 and 0.")


def main() -> int:
    """Prove a package; return 0 where it works."""
    parser = argparse.ArgumentParser(prog="python -m tools.package.proof", description=__doc__)
    parser.add_argument("package", type=Path, help="the zip file that `make package` wrote")
    parser.add_argument("--target", type=Target.parse, help="default: what the file's name says")
    options = parser.parse_args()
    cache = options.package.parent / "wheels"
    try:
        proof = prove(options.package, options.target or _target_of(options.package), cache)
    except (OSError, ProofError, wheels.WheelError, zipfile.BadZipFile) as error:
        print(error, file=sys.stderr)
        return 1
    for answer in proof.answers:
        print(f"{answer['status']}  {answer['request']}")
    print(f"Proven: {proof.runtime}, first answer {proof.first_answer_seconds:.2f} s after the start.")
    return 0


def _target_of(package: Path) -> Target:
    python, _, machine = package.stem.partition("-linux-")
    return Target.parse(f"{python.removeprefix('python')}-{machine}")


if __name__ == "__main__":
    sys.exit(main())
