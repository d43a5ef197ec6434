"""BentoML with concrete functions: one service with one API per model."""

import os
from pathlib import Path
from typing import Annotated

import bentoml
import keras
import numpy as np
import tensorflow as tf
from bentoml.validators import DType, Shape


def load(name):
    """Load the model and trace it once, for any number of rows."""
    model = keras.models.load_model(Path(os.environ["MODELS"]) / f"{name}.keras")
    return tf.function(model).get_concrete_function(tf.TensorSpec(model.input_shape, tf.float32))


@bentoml.service(logging={"access": {"enabled": False}})
class Keras:
    """Serves all models."""

    def __init__(self):
        self.models = {name: load(name) for name in ("xor", "mlp")}

    @bentoml.api
    def xor(self, instances: Annotated[np.ndarray, DType("float32"), Shape((-1, 2))]) -> np.ndarray:
        """Return the model's output for every row."""
        return self.models["xor"](tf.constant(instances)).numpy()

    @bentoml.api
    def mlp(self, instances: Annotated[np.ndarray, DType("float32"), Shape((-1, 784))]) -> np.ndarray:
        """Return the model's output for every row."""
        return self.models["mlp"](tf.constant(instances)).numpy()
