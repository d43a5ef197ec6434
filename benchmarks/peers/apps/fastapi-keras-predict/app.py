"""FastAPI with Keras's ``model.predict``, in a function that FastAPI runs in its thread pool, because it blocks."""

import os
from pathlib import Path

import keras
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

MODELS = {name: keras.models.load_model(Path(os.environ["MODELS"]) / f"{name}.keras") for name in ("xor", "mlp")}

app = FastAPI()


class Rows(BaseModel):
    """The request's body."""

    instances: list[list[float]]


@app.post("/predict/{model}")
def predict(model: str, rows: Rows) -> dict[str, list[list[float]]]:
    """Return the model's output for every row."""
    labels = MODELS[model].predict(np.array(rows.instances, np.float32), verbose=0)
    return {"predictions": labels.tolist()}
