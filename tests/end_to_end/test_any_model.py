"""Keras models of all kinds answer as Keras itself does, over every protocol."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import numpy as np
import pytest

from tests.end_to_end.keras_models import KerasModel
from tests.end_to_end.running_host import RunningHost

NAMES = ["several", "normalized", "image", "recurrent", "embedding", "lookup", "vectorized"]
DATATYPES = {"float32": "FP32", "int32": "INT32", "int64": "INT64", "uint8": "UINT8", "object": "BYTES"}


def post(host: RunningHost, path: str, content: bytes, **headers: str) -> httpx.Response:
    response = httpx.post(f"{host.url}/api/{path}", content=content, headers=headers, timeout=60)
    assert response.status_code == 200, response.text
    return response


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def expect(got: Mapping[str, Any], model: KerasModel) -> None:
    assert got.keys() == model.answers.keys()
    for name, answer in model.answers.items():
        np.testing.assert_allclose(np.asarray(got[name]).reshape(answer.shape), answer, rtol=1e-5, atol=1e-6)


def by_name(value: Any, model: KerasModel) -> dict[str, Any]:
    """Give a single output, which TensorFlow Serving answers without its name, that name."""
    return {next(iter(model.answers)): value} if len(model.answers) == 1 else value


@pytest.mark.parametrize("name", NAMES)
def test_tensorflow_serving_by_rows(models_host: RunningHost, models: dict[str, KerasModel], name: str) -> None:
    model = models[name]
    rows = [
        dict(zip(model.feeds, row, strict=True))
        for row in zip(*(f.tolist() for f in model.feeds.values()), strict=True)
    ]

    predictions = post(models_host, f"v1/models/{name}:predict", as_json({"instances": rows})).json()["predictions"]

    columns = [by_name(row, model) for row in predictions]
    expect({output: [row[output] for row in columns] for output in model.answers}, model)


@pytest.mark.parametrize("name", NAMES)
def test_tensorflow_serving_by_columns(models_host: RunningHost, models: dict[str, KerasModel], name: str) -> None:
    model = models[name]
    inputs = {input_name: feed.tolist() for input_name, feed in model.feeds.items()}

    outputs = post(models_host, f"v1/models/{name}/versions/1:predict", as_json({"inputs": inputs})).json()["outputs"]

    expect(by_name(outputs, model), model)


@pytest.mark.parametrize("name", NAMES)
def test_open_inference_with_json_tensors(models_host: RunningHost, models: dict[str, KerasModel], name: str) -> None:
    model = models[name]
    inputs = [
        {"name": key, "datatype": DATATYPES[str(feed.dtype)], "shape": feed.shape, "data": feed.ravel().tolist()}
        for key, feed in model.feeds.items()
    ]

    answer = post(models_host, f"v2/models/{name}/infer", as_json({"id": "7", "inputs": inputs})).json()

    assert (answer["model_name"], answer["model_version"], answer["id"]) == (name, "1", "7")
    expect({output["name"]: np.reshape(output["data"], output["shape"]) for output in answer["outputs"]}, model)


@pytest.mark.parametrize("name", NAMES)
def test_open_inference_with_binary_tensors(models_host: RunningHost, models: dict[str, KerasModel], name: str) -> None:
    model = models[name]
    raw = {key: to_raw(feed) for key, feed in model.feeds.items()}
    inputs = [
        {
            "name": key,
            "datatype": DATATYPES[str(feed.dtype)],
            "shape": feed.shape,
            "parameters": {"binary_data_size": len(raw[key])},
        }
        for key, feed in model.feeds.items()
    ]
    header = as_json({"inputs": inputs, "parameters": {"binary_data_output": True}})
    length = {"Inference-Header-Content-Length": str(len(header))}

    response = post(models_host, f"v2/models/{name}/versions/1/infer", header + b"".join(raw.values()), **length)

    size = int(response.headers["inference-header-content-length"])
    answer, rest, got = json.loads(response.content[:size]), response.content[size:], {}
    for output in answer["outputs"]:
        count = output["parameters"]["binary_data_size"]
        dtype = model.answers[output["name"]].dtype
        assert output["datatype"] == DATATYPES[str(dtype)]
        got[output["name"]] = np.frombuffer(rest[:count], dtype).reshape(output["shape"])
        rest = rest[count:]
    assert rest == b""
    expect(got, model)


def to_raw(feed: np.ndarray) -> bytes:
    if feed.dtype != object:
        return feed.tobytes()
    encoded = [value.encode() for value in feed.ravel()]
    return b"".join(len(value).to_bytes(4, "little") + value for value in encoded)


def test_the_open_api_document_of_these_models_is_valid(models_host, models):
    from openapi_spec_validator import validate

    document = httpx.get(f"{models_host.url}/api/openapi.json").json()

    validate(document)
    assert {f"/v1/models/{name}:predict" for name in models} <= document["paths"].keys()
    assert {f"/v2/models/{name}/infer" for name in models} <= document["paths"].keys()


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_in_the_document_are_answered(models_host, models, name):
    paths = httpx.get(f"{models_host.url}/api/openapi.json").json()["paths"]

    for path in (f"/v1/models/{name}:predict", f"/v2/models/{name}/infer"):
        example = paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]
        if name == "image" and path.startswith("/v1"):
            assert np.shape(example["instances"]) == (2, 6, 6, 3)
        post(models_host, path.removeprefix("/"), as_json(example))
