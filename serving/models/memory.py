"""How much memory a model needs."""

from __future__ import annotations

from pathlib import Path

from serving.engines import MODEL_TFLITE, SAVED_MODEL

# Bytes of memory for each byte of a file, by engine: the most that dense networks of 0.1 to 100 MB took at load and
# first run. TensorFlow holds the weights of a frozen graph several times, and LiteRT once more for each runner.
_FACTORS = {"litert": {MODEL_TFLITE: 3.0}, "tensorflow": {SAVED_MODEL: 5.0, "variables": 1.1}}

# For a model of any size.
_LEAST_BYTES = 2 * 1024 * 1024


def needed_bytes(folder: Path, engine: str) -> int:
    """Return the memory that a model needs, by the size of its export's files."""
    factors = _FACTORS[engine].items()
    return _LEAST_BYTES + round(sum(factor * _size(folder / name) for name, factor in factors))


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir())
    return path.stat().st_size if path.exists() else 0
