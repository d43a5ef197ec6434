"""FastAPI with a concrete function of ``tf.function``, called in the event loop."""

import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from fastapi import FastAPI
from pydantic import BaseModel


def load(name):
    """Load the model and trace it once, for any number of rows."""
    model = keras.models.load_model(Path(os.environ["MODELS"]) / f"{name}.keras")
    return tf.function(model).get_concrete_function(tf.TensorSpec(model.input_shape, tf.float32))


MODELS = {name: load(name) for name in ("xor", "mlp")}

app = FastAPI()


class Rows(BaseModel):
    """The request's body."""

    instances: list[list[float]]


@app.post("/predict/{model}")
async def predict(model: str, rows: Rows) -> dict[str, list[list[float]]]:
    """Return the model's output for every row."""
    labels = MODELS[model](tf.constant(np.array(rows.instances, np.float32)))
    return {"predictions": labels.numpy().tolist()}
