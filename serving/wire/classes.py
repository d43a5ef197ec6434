"""Classes with their names and scores, in each format that carries them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from serving.preprocessing.classification import Class, Classifier


def encode(
    fetches: Mapping[str, np.ndarray],
    classifier: Classifier,
    count: int,
    model: str,
    version: int,
    pictures: Sequence[bytes] = (),
) -> bytes:
    """Return ``{"predictions": [[{"class": ..., "index": ..., "score": ...}, ...]], "model": ..., "version": ...}``.

    ``pictures``, PNG files of what the model saw, are added as ``data:`` URLs if there are any.
    """
    content: dict[str, Any] = {
        "predictions": [[_member(one) for one in row] for row in classifier.top(fetches, count)],
        "model": model,
        "version": version,
    }
    if pictures:
        content["pictures"] = [f"data:image/png;base64,{base64.b64encode(picture).decode()}" for picture in pictures]
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def encode_results(fetches: Mapping[str, np.ndarray], classifier: Classifier) -> bytes:
    """Return TensorFlow Serving's ``{"results": [[[label, score], ...], ...]}``, all classes in the model's order."""
    rows = [sorted(row, key=lambda one: one.index) for row in classifier.top(fetches, _ALL)]
    results = [[[one.name, one.score] for one in row] for row in rows]
    return orjson.dumps({"results": results}, option=orjson.OPT_SERIALIZE_NUMPY)


def as_tensor(fetches: Mapping[str, np.ndarray], classifier: Classifier, count: int) -> np.ndarray:
    """Return Triton's ``score:index:name`` for the highest classes of each row, as bytes of shape [rows, classes]."""
    rows = [[_triton(one, bool(classifier.names)) for one in row] for row in classifier.top(fetches, count)]
    array = np.empty((len(rows), len(rows[0]) if rows else 0), object)
    array[:] = rows
    return array


_ALL = 2**31 - 1


def _member(one: Class) -> dict[str, Any]:
    return {"class": one.name, "index": one.index, "score": one.score}


def _triton(one: Class, has_names: bool) -> bytes:
    # With six digits, as std::to_string in Triton's classification.cc.
    return f"{one.score:f}:{one.index}{f':{one.name}' * has_names}".encode()
