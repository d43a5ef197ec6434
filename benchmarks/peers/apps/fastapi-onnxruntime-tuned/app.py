"""FastAPI with ONNX Runtime, tuned: no pydantic model, orjson both ways, long runs in a thread."""

import asyncio
import os
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import orjson
from fastapi import FastAPI, Request, Response

LONG = {"mobilenet"}  # takes milliseconds, for which the event loop must not stand still

app = FastAPI(openapi_url=None)


class Model:
    """One session, which several threads may use."""

    def __init__(self, name: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 0 if name in LONG else 1  # 0 stands for all cores
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = Path(os.environ["MODELS"]) / f"{name}.onnx"
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.source = self.session.get_inputs()[0].name

    def run(self, values: np.ndarray) -> np.ndarray:
        """Return the model's output for every row."""
        return self.session.run(None, {self.source: values})[0]


model = cache(Model)


@app.post("/predict/{name}")
async def predict(name: str, request: Request) -> Response:
    """Answer with the model's output for every row."""
    values = np.array(orjson.loads(await request.body())["instances"], np.float32)
    run = model(name).run
    labels = await asyncio.to_thread(run, values) if name in LONG else run(values)
    body = orjson.dumps({"predictions": labels}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json")
