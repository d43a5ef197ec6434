"""``python -m training.train``: train the XOR model and write it to its version folder, ready to export."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from training import files

# Imports that take seconds are within functions, so that --help is instant and Ctrl-C leaves no traceback.
if TYPE_CHECKING:
    from training.network import Trained

_PROJECT = Path(__file__).resolve().parent.parent
_ATTEMPTS = 10
_SEEDS = range(2**32 - _ATTEMPTS)  # the seeds that keras.utils.set_random_seed accepts, for every attempt
_EPOCHS = range(1, 1_000_001)


class NotSolvedError(Exception):
    """No seed led to a network that solves XOR; the message is one line for the user."""


def main(arguments: list[str] | None = None) -> int:
    """Train and write the model; return the exit code: 0, 1 after an error on standard error, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    return run(lambda: _train(options))


def run(train: Callable[[], list[str]]) -> int:
    """Train, and print what ``train`` returns or what has stopped it; return the exit code, as ``main`` does."""
    try:
        prepare_keras()
        lines = train()
    except (NotSolvedError, OSError) as error:
        print(f"Training failed; nothing was written: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; nothing was written.", file=sys.stderr)
        return 130
    print("\n".join(lines))
    return 0


def _train(options: argparse.Namespace) -> list[str]:
    """Train and write the model; return the lines to print."""
    trained = _solve(options.seed, options.epochs)
    _write(trained, options.output, options.plot)
    return [
        *_report(trained),
        f"Wrote model.json and model.h5 to {short(options.output)}, and the plot to {short(options.plot)}.",
        f"Next: python -m export {short(options.output)}",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description="Train the XOR model of the 2017 article; write model.json, model.h5 and a plot of the training.",
    )
    parser.add_argument(
        "--seed",
        type=_whole_number(_SEEDS),
        default=1,
        help="random seed (default: %(default)s); if training does not solve XOR, the next seed is tried, "
        f"up to {_ATTEMPTS} seeds",
    )
    parser.add_argument(
        "--epochs",
        type=_whole_number(_EPOCHS),
        default=400,
        help="number of epochs (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=_PROJECT / "model" / "xor" / "1",
        metavar="FOLDER",
        help="folder for model.json and model.h5 (default: model/xor/1 in this project)",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        default=_PROJECT / "docs" / "training.png",
        metavar="FILE",
        help="PNG file for the plot (default: docs/training.png in this project)",
    )
    return parser


def _whole_number(allowed: range) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isdecimal() and int(text) in allowed):
            raise argparse.ArgumentTypeError(
                f"got {text!r}, expected a whole number from {allowed[0]} to {allowed[-1]}"
            )
        return int(text)

    return parse


def prepare_keras() -> None:
    """Set what Keras and TensorFlow read when they are imported."""
    # Set before TensorFlow is imported, which reads them.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # oneDNN rounds differently on different processors, and prints a paragraph about it.
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
    # Each attempt compiles a network, and TensorFlow warns about the fifth.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _solve(first_seed: int, epochs: int) -> Trained:
    """Return a network that solves XOR. With two hidden units training can get stuck, so this tries several seeds."""
    print("Loading Keras ...", flush=True)
    from training import network, xor

    seeds = range(first_seed, first_seed + _ATTEMPTS)
    for seed in seeds:
        print(f"Training with seed {seed} ...", flush=True)
        trained = network.train(seed, epochs)
        answers = trained.answers(xor.POINTS)
        if xor.is_solved(answers):
            return trained
        print(
            f"Seed {seed} did not solve XOR: after {epochs} epochs the largest error is {xor.worst_error(answers):.2f}."
        )
    raise NotSolvedError(
        f"no seed from {seeds[0]} to {seeds[-1]} solved XOR in {epochs} epochs; try more --epochs or another --seed"
    )


def _write(trained: Trained, folder: Path, image: Path) -> None:
    from training import plot

    files.write_together(
        {
            folder / "model.json": trained.architecture(),
            folder / "model.h5": trained.weights(),
            image: plot.draw(trained.losses, trained.answers),
        }
    )


def _report(trained: Trained) -> list[str]:
    from training import xor

    answers = zip(xor.POINTS, trained.answers(xor.POINTS), strict=True)
    lines = [f"  {x1:.0f} {x2:.0f}  {answer:.5f}" for (x1, x2), (answer,) in answers]
    return [f"Seed {trained.seed} solved XOR in {len(trained.losses)} epochs:", *lines]


def short(path: Path) -> Path:
    """Return a path as a user would type it: relative if it is below the current folder."""
    path = path.resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main())
