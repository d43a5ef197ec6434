"""The requests in each peer's format, and how answers are read and checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import orjson

from benchmarks.peers import models
from benchmarks.peers.models import Case

_BINARY_LENGTH = "Inference-Header-Content-Length"
_JSON = {"Content-Type": "application/json"}

# Returns the labels in an answer, given its headers (names in lower case) and body.
Read = Callable[[Mapping[str, str], bytes], np.ndarray]


@dataclass(frozen=True)
class Request:
    """A request that is sent repeatedly."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    read: Read


def _rows_of(case: Case) -> np.ndarray:
    with np.load(models.FOLDER / f"{case.name}.npz") as arrays:
        rows: np.ndarray = arrays["rows"]
        return rows


def is_right(case: Case, labels: np.ndarray) -> bool:
    """Tell whether the labels are correct: XOR's by its truth table, the others' by Keras's answer."""
    with np.load(models.FOLDER / f"{case.name}.npz") as arrays:
        expected = arrays["labels"]
    if labels.shape != expected.shape:
        return False
    if case.model == "xor":
        return bool(labels[0, 0] > 0.95 and labels[1, 0] < 0.05)
    return bool(np.allclose(labels, expected, rtol=1e-3, atol=1e-6))


def by_rows(case: Case, path: str, key: str = "instances", answer: str = "predictions", **more: str) -> Request:
    """Return a request with nested lists in the member ``key``, answered in the member ``answer``."""
    # orjson writes float32 with the fewest digits, as clients do.
    body = orjson.dumps({**more, key: _rows_of(case)}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Request(path, _JSON, body, lambda _, content: np.array(json.loads(content)[answer]))


def bare_rows(case: Case, path: str) -> Request:
    """Return a request with the rows in ``instances``, answered by bare nested lists."""
    request = by_rows(case, path)
    return Request(path, _JSON, request.body, lambda _, content: np.array(json.loads(content)))


def open_inference(case: Case, path: str) -> Request:
    """Return a request of the Open Inference Protocol with a tensor as a flat list."""
    rows = _rows_of(case)
    content = {"inputs": [{**_tensor(rows), "data": rows.ravel()}]}
    return Request(path, _JSON, orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), _read_tensor)


def open_inference_binary(case: Case, path: str) -> Request:
    """Return a request of the Open Inference Protocol with binary tensors, both ways."""
    rows = _rows_of(case)
    tensor = {**_tensor(rows), "parameters": {"binary_data_size": rows.nbytes}}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", _BINARY_LENGTH: str(len(header))}
    return Request(path, headers, header + rows.tobytes(), _read_binary)


def _tensor(rows: np.ndarray) -> dict[str, object]:
    return {"name": "X", "datatype": "FP32", "shape": list(rows.shape)}


def _read_tensor(_: Mapping[str, str], content: bytes) -> np.ndarray:
    [tensor] = json.loads(content)["outputs"]
    return np.array(tensor["data"]).reshape(tensor["shape"])


def _read_binary(headers: Mapping[str, str], content: bytes) -> np.ndarray:
    length = int(headers[_BINARY_LENGTH.lower()])
    [tensor] = json.loads(content[:length])["outputs"]
    return np.frombuffer(content[length:], "<f4").reshape(tensor["shape"])
