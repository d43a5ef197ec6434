"""Keras models of all kinds, exported as an owner would, and Keras's own answers to compare with."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class KerasModel(NamedTuple):
    """A Keras model, feeds for it by input name, and Keras's answers by output name."""

    model: Any
    feeds: dict[str, np.ndarray]
    answers: dict[str, np.ndarray]


def build() -> dict[str, KerasModel]:
    """Return the models by name; all have a variable batch dimension, and feeds of three rows."""
    import keras

    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    layers = keras.layers
    a, b = keras.Input((3,), name="a"), keras.Input((None, 2), name="b")
    joined = layers.Concatenate()([a, layers.LSTM(4)(b)])
    text = keras.Input((), dtype="string", name="text")
    words = keras.Input((2,), dtype="string", name="words")
    image = keras.Input((6, 6, 3), dtype="uint8", name="image")
    normalization = layers.Normalization()
    normalization.adapt(random.standard_normal((50, 3)) * 5 + 2)

    def floats(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    lookup = layers.StringLookup(vocabulary=["the", "quick", "fox"])
    cases = {
        "several": (
            keras.Model(
                [a, b], [layers.Dense(1, name="score")(joined), layers.Dense(2, "softmax", name="kind")(joined)]
            ),
            {"a": floats(3, 3), "b": floats(3, 5, 2)},
        ),
        "normalized": (
            keras.Sequential([keras.Input((3,), name="x"), normalization, layers.Dense(2, name="y")]),
            {"x": floats(3, 3)},
        ),
        "image": (
            keras.Model(
                image,
                layers.Dense(2, name="y")(layers.Flatten()(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(image)))),
            ),
            {"image": random.integers(0, 256, (3, 6, 6, 3)).astype(np.uint8)},
        ),
        "recurrent": (
            keras.Sequential([keras.Input((None, 2), name="x"), layers.Bidirectional(layers.GRU(3), name="y")]),
            {"x": floats(3, 7, 2)},
        ),
        "embedding": (
            keras.Sequential(
                [
                    keras.Input((None,), dtype="int32", name="x"),
                    layers.Embedding(10, 4),
                    layers.GlobalMaxPooling1D(name="y"),
                ]
            ),
            {"x": random.integers(0, 10, (3, 4)).astype(np.int32)},
        ),
        "lookup": (
            keras.Model(words, lookup(words)),
            {"words": np.array([["the", "fox"], ["dog", "quick"], ["", "grün"]], object)},
        ),
        "vectorized": (
            keras.Model(text, layers.TextVectorization(vocabulary=["the", "fox"], output_sequence_length=4)(text)),
            {"text": np.array(["The fox!", "the dog and the fox", ""], object)},
        ),
    }
    return {name: KerasModel(model, feeds, _answers(model, feeds)) for name, (model, feeds) in cases.items()}


def _answers(model: Any, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import tensorflow as tf

    values = [tf.constant(feed.tolist()) if feed.dtype == object else feed for feed in feeds.values()]
    outputs = model(values[0] if len(values) == 1 else values, training=False)
    flat = outputs if isinstance(outputs, list) else [outputs]
    names = getattr(model, "output_names", None) or [model.layers[-1].name]
    return {name: np.asarray(output) for name, output in zip(names, flat, strict=True)}


def export(models: dict[str, KerasModel], folder: Path) -> None:
    """Save each model as Keras does, as version 1 under its name, and export it."""
    from export.__main__ import main

    for name, model in models.items():
        version = folder / name / "1"
        version.mkdir(parents=True)
        model.model.save(version / "model.keras")
        assert main([str(version)]) == 0
