"""FastAPI with ONNX Runtime, called in the event loop."""

import os
from pathlib import Path

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

MODELS = {
    name: onnxruntime.InferenceSession(Path(os.environ["MODELS"]) / f"{name}.onnx", providers=["CPUExecutionProvider"])
    for name in ("xor", "mlp")
}

app = FastAPI()


class Rows(BaseModel):
    """The request's body."""

    instances: list[list[float]]


@app.post("/predict/{model}")
async def predict(model: str, rows: Rows) -> dict[str, list[list[float]]]:
    """Return the model's output for every row."""
    session = MODELS[model]
    [labels] = session.run(None, {session.get_inputs()[0].name: np.array(rows.instances, np.float32)})
    return {"predictions": labels.tolist()}
