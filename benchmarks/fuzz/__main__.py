"""``python -m benchmarks.fuzz``: damage thousands of model files, and count what becomes of them.

Each is read as the export or the app reads it, in a process that may crash or hang. Returns 1 if any crashed, hung,
failed with more than a line, or gave a wrong answer where a checksum must show the damage.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from benchmarks.figures import ROOT
from benchmarks.fuzz.originals import FORMATS
from benchmarks.fuzz.worker import Case, serve

_SECONDS = 60  # for one file
_SECONDS_TO_START = 600
_FILES_OF_A_WORKER = 2500  # then a new one: Keras keeps memory of each model

# What may become of a file; the last ones must not.
_GOOD = ("right", "refused", "stopped", "changed")
_BAD = ("crashed", "hung", "traceback", "wrong")


class Worker:
    """A process that reads cases, started anew where it has ended."""

    def __init__(self, originals: Path, folder: Path) -> None:
        self._arguments = (originals, folder)
        self._start()

    def _start(self) -> None:
        context = get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, *self._arguments), daemon=True)
        self._process.start()
        other.close()
        self._left = _FILES_OF_A_WORKER
        if not self._connection.poll(_SECONDS_TO_START) or self._connection.recv() != "ready":
            raise RuntimeError("the worker does not start")

    def run(self, case: Case) -> tuple[str, str]:
        """Return what became of a case, and the message."""
        if not self._left:
            self.close()
            self._start()
        self._left -= 1
        self._connection.send(case)
        try:
            if self._connection.poll(_SECONDS):
                outcome: tuple[str, str] = self._connection.recv()
                return outcome
            result = "hung", f"more than {_SECONDS} s"
        except EOFError:
            self._process.join()
            result = "crashed", f"exit code {self._process.exitcode}"
        self.close()
        self._start()
        return result

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()


def main(arguments: list[str] | None = None) -> int:
    """Run the fuzzing; return 1 if any file had a bad outcome."""
    options = _parser().parse_args(arguments)
    formats = list(FORMATS)
    cases = [Case(formats[number % len(formats)], number, options.seed) for number in range(options.count)]
    cases = [case for case in cases[options.start :] if options.format in case.format]
    counts = {name: Counter[str]() for name in formats if options.format in name}
    with TemporaryDirectory() as folder, suppress(KeyboardInterrupt):  # then the table has the files so far
        _write_originals(Path(folder))
        for case, outcome, message in _run(cases, Path(folder)):
            counts[case.format][outcome] += 1
            if outcome in (*_BAD, "stopped"):
                tqdm.write(f"{case}: {outcome}: {message[:300]}")
    table = _markdown(counts)
    print(table)
    if options.output:
        options.output.write_text(_page(table, sum(count.total() for count in counts.values())), encoding="utf-8")
    return 1 if any(count[name] for count in counts.values() for name in _BAD) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz",
        description="Damage model files of every format, read them, and count what becomes of them.",
    )
    parser.add_argument("--count", type=int, default=10_000, help="how many files (default: %(default)s)")
    parser.add_argument("--start", type=int, default=0, help="leave out the files before this one (default: 0)")
    parser.add_argument("--seed", type=int, default=1, help="another seed makes other files (default: %(default)s)")
    parser.add_argument("--format", default="", help="only those of the files whose format contains this")
    parser.add_argument("--output", type=Path, help="write the page there, such as docs/fuzz.md")
    return parser


def _write_originals(folder: Path) -> None:
    for name, format_ in tqdm(FORMATS.items(), desc="models", unit="format"):
        (folder / name).mkdir()
        format_.write(folder / name)


def _run(cases: list[Case], originals: Path) -> Iterator[tuple[Case, str, str]]:
    damaged = originals / "damaged"
    worker = Worker(originals, damaged)
    for case in tqdm(cases, desc="files", unit="file"):
        outcome, message = worker.run(case)
        if outcome in ("crashed", "hung") and not FORMATS[case.format].is_saved_model:
            outcome, message = _export(case, originals, damaged, message)
        yield case, outcome, message
    worker.close()


def _export(case: Case, originals: Path, folder: Path, cause: str) -> tuple[str, str]:
    """Export in a child process, as ``make export`` does, what has ended a worker: that must be one line too."""
    case.make(originals, folder)
    command = [sys.executable, "-m", "export", str(folder), "--memory", "4", "--minutes", "1"]
    export = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    is_one_line = export.returncode in (0, 1) and export.stderr.count("\n") <= 1
    return ("stopped" if is_one_line else "crashed"), f"{cause}; {export.stderr}"


def _markdown(counts: dict[str, Counter[str]]) -> str:
    columns = (*_GOOD, *_BAD)
    lines = [f"| format | files | {' | '.join(columns)} |", "|---|" + "---:|" * (len(columns) + 1)]
    for name, count in (*counts.items(), ("all", sum(counts.values(), Counter[str]()))):
        cells = (count.total(), *(count[column] for column in columns))
        lines.append(f"| {name} | {' | '.join(f'{cell:,}' for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _page(table: str, count: int) -> str:
    return f"""# Fuzzing

For developers and operators: what becomes of damaged and hostile model files.

{count:,} files were damaged, each in one way: flipped bits, missing or foreign bytes, edited JSON, edited HDF5 objects,
edited zip entries. The export read those of Keras, and the app those of a SavedModel, in a process with 4 GB of memory
and 60 s for each. Measured with `python -m benchmarks.fuzz --count {count} --output docs/fuzz.md`, which makes the same
files again.

{table}
- right: read, with the answers of the original. Many bytes of a file mean nothing to a model.
- refused: one line says what is wrong.
- stopped: Keras crashed or ran out of time in the export's child process, and the export said so in one line.
- changed: read, with other answers. `.h5` and JSON files have no checksum, so an edit can't be noticed.
- wrong: damaged bytes that a checksum covers were read, with other answers.
- crashed, hung, traceback: the reading process died, took more than 60 s, or printed more than a line.
"""


if __name__ == "__main__":
    sys.exit(main())
