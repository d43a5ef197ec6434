"""``python -m training.digits``: train a small network on scikit-learn's pictures of handwritten digits.

Writes the model with its ``preprocessing.json``, ready to export, and one picture of each digit that it was not trained
on. The data are the test set of UCI's "Optical Recognition of Handwritten Digits" (CC BY 4.0).
"""

from __future__ import annotations

import argparse
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.preprocessing import FILE
from serving.preprocessing.recipe import Image, Recipe
from training import files, train
from training.train import NotSolvedError

if TYPE_CHECKING:
    from training.network import Trained

_PROJECT = Path(__file__).resolve().parent.parent
_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_LEAST_ACCURACY = 0.97
_HELD_OUT = 5  # every fifth picture is not trained on
_ENLARGED = 16  # times, so that a person can see them; resizing them takes the same pixels back


@dataclass(frozen=True)
class Pictures:
    """Grey pictures, uint8 (n, 8, 8, 1) with bright ink, and the digits that they show."""

    pixels: np.ndarray
    digits: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The pixels as the model takes them, from 0 to 1."""
        return self.pixels.astype(np.float32) / np.float32(255)


def main(arguments: list[str] | None = None) -> int:
    """Train and write the model; return the exit code: 0, 1 after an error on standard error, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    return train.run(lambda: _trained(options))


def _trained(options: argparse.Namespace) -> list[str]:
    accuracy = _train(options.seed, options.epochs, options.output, options.samples)
    folder = train.short(options.output)
    return [
        f"{accuracy:.1%} of the pictures that it was not trained on are recognized.",
        f"Wrote model.json, model.h5 and {FILE} to {folder}, and a picture of each to {train.short(options.samples)}.",
        f"Next: python -m export {folder}",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.digits", description="Train the model of digits.")
    parser.add_argument("--seed", type=int, default=1, help="random seed (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=30, help="number of epochs (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=_PROJECT / "model" / "digits" / "1", help="the model's folder")
    parser.add_argument("--samples", type=Path, default=_PROJECT / "docs" / "digits", help="folder for the pictures")
    return parser


def _train(seed: int, epochs: int, folder: Path, samples: Path) -> float:
    """Train, check and write the model; return its accuracy. Raises NotSolvedError if that is too low."""
    print("Loading Keras ...", flush=True)
    seen, unseen = _pictures()
    print(f"Training on {len(seen.digits)} pictures ...", flush=True)
    trained = _fit(seen, seed, epochs)
    answers = trained.answers(unseen.values).argmax(axis=1)
    accuracy = float((answers == unseen.digits).mean())
    if accuracy < _LEAST_ACCURACY:
        raise NotSolvedError(f"only {accuracy:.1%} of the pictures are recognized; expected {_LEAST_ACCURACY:.0%}")
    contents = {
        folder / "model.json": trained.architecture(),
        folder / "model.h5": trained.weights(),
        folder / FILE: Recipe(Image(scale=(0.0, 1.0)), classes=_NAMES).to_json().encode(),
    }
    right = {digit: int(np.flatnonzero((unseen.digits == digit) & (answers == digit))[0]) for digit in range(10)}
    contents |= {samples / f"{digit}.png": _png(unseen.pixels[index, ..., 0]) for digit, index in right.items()}
    files.write_together(contents)
    return accuracy


def _pictures() -> tuple[Pictures, Pictures]:
    """Return the pictures to train on, and those to test with."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.rint(data.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    held_out = np.arange(len(pixels)) % _HELD_OUT == 0
    return Pictures(pixels[~held_out], data.target[~held_out]), Pictures(pixels[held_out], data.target[held_out])


def _fit(pictures: Pictures, seed: int, epochs: int) -> Trained:
    import keras

    from training.network import Trained

    keras.utils.set_random_seed(seed)
    model = _build(keras)
    history = model.fit(pictures.values, pictures.digits, batch_size=32, epochs=epochs, verbose=0)
    return Trained(model, seed, np.array(history.history["loss"]))


def _build(keras: Any) -> Any:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="picture"),
            layers.Conv2D(16, 3, activation="relu", padding="same", name="edges"),
            layers.MaxPooling2D(name="half"),
            layers.Conv2D(32, 3, activation="relu", name="shapes"),
            layers.Flatten(name="flat"),
            layers.Dropout(0.3, name="dropout"),
            layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="digits",
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    return model


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.fromarray(pixels.repeat(_ENLARGED, 0).repeat(_ENLARGED, 1)).save(file, "png", optimize=True)
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
