"""Pictures in every format that is read, made by Pillow, and signatures of models that take them."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from serving.engines.signature import Signature, TensorSpec
from serving.preprocessing import FILE

FORMATS = ("jpeg", "png", "gif", "bmp", "webp")


def pixels(height: int = 7, width: int = 5, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Return random uint8 pixels, without the last axis for one channel."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def encoded(array: np.ndarray, file_format: str = "png", **options: Any) -> bytes:
    """Return pixels as the content of a file."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, file_format, **options)
    return file.getvalue()


def spec(*shape: int | None, dtype: str = "float32") -> TensorSpec:
    """Return the spec of a tensor with any number of rows of this shape."""
    number = {"float32": 1, "uint8": 4, "int64": 9, "string": 7}[dtype]
    return TensorSpec("x:0", number, np.dtype(object if dtype == "string" else dtype), dtype, (None, *shape))


def signature(row: tuple[int | None, ...], scores: int = 4, dtype: str = "float32") -> Signature:
    """Return a signature of one input ``x`` and one output ``y``."""
    return Signature({"x": spec(*row, dtype=dtype)}, {"y": spec(scores)}, "")


def write_recipe(model: Path, content: Any) -> None:
    """Write ``preprocessing.json`` into every version of a model."""
    for version in model.iterdir():
        (version / FILE).write_text(json.dumps(content))
