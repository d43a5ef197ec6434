"""The naive app: ``import tensorflow``, load the model with Keras, call ``model.predict``.

This is what a search for "keras azure functions" leads to, with the model in a module-level variable as Azure advises.
"""

import json
from pathlib import Path
from typing import Any

import azure.functions as func
import keras
import numpy as np

_FOLDER = Path(__file__).parent.parent / "model" / "xor" / "1"
_model: Any = None


def main(req: func.HttpRequest) -> func.HttpResponse:
    """Answer ``{"X": "1 0|1 1"}`` with ``{"labels": [[...], [...]]}``."""
    global _model
    if _model is None:
        _model = keras.models.model_from_json((_FOLDER / "model.json").read_text())
        _model.load_weights(_FOLDER / "model.h5")
    rows = np.array([[float(value) for value in row.split()] for row in req.get_json()["X"].split("|")])
    labels = _model.predict(rows, verbose=0)
    return func.HttpResponse(json.dumps({"labels": labels.tolist()}), mimetype="application/json")
