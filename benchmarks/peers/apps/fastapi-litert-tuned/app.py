"""FastAPI with LiteRT, tuned: no pydantic model, orjson both ways, long runs in a thread."""

import asyncio
import os
from functools import cache
from pathlib import Path

import numpy as np
import orjson
from ai_edge_litert.interpreter import Interpreter
from fastapi import FastAPI, Request, Response

LONG = {"mobilenet"}  # takes milliseconds, for which the event loop must not stand still
CORES = os.cpu_count()

app = FastAPI(openapi_url=None)


class Model:
    """One interpreter, which one thread at a time may use."""

    def __init__(self, name: str) -> None:
        path = str(Path(os.environ["MODELS"]) / f"{name}.tflite")
        self.interpreter = Interpreter(path, num_threads=CORES if name in LONG else 1)
        self.source = self.interpreter.get_input_details()[0]["index"]
        self.target = self.interpreter.get_output_details()[0]["index"]
        self.shape = None
        self.lock = asyncio.Lock()

    def run(self, values: np.ndarray) -> np.ndarray:
        """Return the model's output for every row."""
        if self.shape != values.shape:  # tensors are allocated for a number of rows
            self.interpreter.resize_tensor_input(self.source, values.shape)
            self.interpreter.allocate_tensors()
            self.shape = values.shape
        self.interpreter.set_tensor(self.source, values)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.target)


model = cache(Model)


@app.post("/predict/{name}")
async def predict(name: str, request: Request) -> Response:
    """Answer with the model's output for every row."""
    values = np.array(orjson.loads(await request.body())["instances"], np.float32)
    if name in LONG:
        async with model(name).lock:
            labels = await asyncio.to_thread(model(name).run, values)
    else:
        labels = model(name).run(values)
    body = orjson.dumps({"predictions": labels}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json")
