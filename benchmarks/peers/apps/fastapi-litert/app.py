"""FastAPI with LiteRT (TensorFlow Lite), called in the event loop."""

import os
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from fastapi import FastAPI
from pydantic import BaseModel

MODELS = {
    name: Interpreter(str(Path(os.environ["MODELS"]) / f"{name}.tflite"), num_threads=os.cpu_count())
    for name in ("xor", "mlp")
}
for interpreter in MODELS.values():
    interpreter.allocate_tensors()

app = FastAPI()


class Rows(BaseModel):
    """The request's body."""

    instances: list[list[float]]


@app.post("/predict/{model}")
async def predict(model: str, rows: Rows) -> dict[str, list[list[float]]]:
    """Return the model's output for every row."""
    interpreter, values = MODELS[model], np.array(rows.instances, np.float32)
    [source], [target] = interpreter.get_input_details(), interpreter.get_output_details()
    if tuple(source["shape"]) != values.shape:  # tensors are allocated for a number of rows
        interpreter.resize_tensor_input(source["index"], values.shape)
        interpreter.allocate_tensors()
    interpreter.set_tensor(source["index"], values)
    interpreter.invoke()
    return {"predictions": interpreter.get_tensor(target["index"]).tolist()}
