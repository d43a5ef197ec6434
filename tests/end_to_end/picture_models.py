"""Models of pictures for the end-to-end tests, exported as an owner would."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image


def picture(value: int, size: int = 20, file_format: str = "png") -> bytes:
    """Return a picture of one shade of grey."""
    file = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), value, np.uint8)).save(file, file_format)
    return file.getvalue()


DARK, LIGHT = picture(51), picture(204)


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def export(folder: Path) -> None:
    """Export ``shade``, which tells dark from light pictures, ``named``, whose three numbers are dark if the first is
    larger than the second, and ``large``, which answers thousands of values.
    """
    import keras

    layers = keras.layers
    kind = layers.Dense(2, "softmax", name="kind")
    averages = layers.GlobalAveragePooling2D()
    shade = keras.Sequential([keras.Input((8, 8, 3), name="picture"), averages, kind])
    kind.set_weights([np.array([[-1.0, 1.0]] * 3), np.array([1.5, -1.5])])
    large = keras.Sequential([keras.Input((40, 40, 3), name="x"), layers.ReLU(name="y")])
    shades = layers.Dense(2, "softmax", name="kind")
    named = keras.Sequential([keras.Input((3,), name="numbers"), shades])
    shades.set_weights([np.array([[1.0, -1.0], [-1.0, 1.0], [0.0, 0.0]]), np.zeros(2)])
    classes = f"--classes={folder / 'classes.txt'}"
    (folder / "classes.txt").write_text("dark\nlight\n")
    for name, model, own in (
        ("shade", shade, ["--scale=0..1", classes]),
        ("named", named, [classes]),
        ("large", large, []),
    ):
        version = folder / name / "1"
        version.mkdir(parents=True)
        model.save(version / "model.keras")
        assert _export([str(version), *own]) == 0


def _export(arguments: list[str]) -> int:
    from export.__main__ import main

    return main(arguments)
