"""The network of the 2017 article's notebook, built and trained with Keras 3.

Importing this module imports Keras and TensorFlow, which takes seconds.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from tqdm.keras import TqdmCallback

from training import weights_h5, xor


@dataclass(frozen=True)
class Trained:
    """A trained network, its seed, and its mean loss in each epoch: float64 (epochs,)."""

    model: keras.Model
    seed: int
    losses: np.ndarray

    def answers(self, points: np.ndarray) -> np.ndarray:
        """Return the network's answers: float32 (n, 2) in, float32 (n, 1) from 0 to 1 out."""
        # Not predict(): it prepares for data of any size, which takes longer than these few rows.
        return self.model(points).numpy()

    def architecture(self) -> bytes:
        """Return the content of ``model.json``."""
        description = json.loads(self.model.to_json())
        del description["compile_config"]  # else a reader of the model would set up its training
        return (json.dumps(description, indent=2) + "\n").encode()

    def weights(self) -> bytes:
        """Return the content of ``model.h5``."""
        layers = {
            layer.name: {variable.path: variable.numpy() for variable in layer.weights} for layer in self.model.layers
        }
        return weights_h5.encode(layers, keras.__version__)


def train(seed: int, epochs: int) -> Trained:
    """Train a network on XOR, reproducibly for a seed; show a progress bar in a terminal."""
    keras.utils.set_random_seed(seed)
    model = _build()
    # Given arrays, fit() would set up its input pipeline in each epoch, which takes eight times as long as training.
    # This pipeline is set up once. Like the notebook's, it shuffles each epoch and has batches of one.
    points = tf.data.Dataset.from_tensor_slices((xor.POINTS, xor.LABELS))
    points = points.shuffle(len(xor.POINTS), seed=seed).repeat().batch(1)
    progress = TqdmCallback(verbose=0, disable=None)
    with closing(progress.epoch_bar):  # also after Ctrl-C, so that the next output starts on a new line
        history = model.fit(
            points,
            steps_per_epoch=len(xor.POINTS),
            epochs=epochs,
            shuffle=False,  # the pipeline shuffles
            verbose=0,
            callbacks=[progress],
        )
    return Trained(model, seed, np.array(history.history["loss"]))


def _build() -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((2,), name="X"),
            keras.layers.Dense(2, activation="sigmoid", kernel_initializer="glorot_normal", name="hidden"),
            keras.layers.Dense(1, activation="sigmoid", kernel_initializer="glorot_normal", name="labels"),
        ],
        name="xor",
    )
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate=0.1, momentum=0.9, nesterov=True),
        loss="binary_crossentropy",
        steps_per_execution=len(xor.POINTS),  # the same steps, but faster: an epoch is one call of TensorFlow
    )
    return model
