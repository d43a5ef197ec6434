"""The Open Inference Protocol from end to end: server, model and index, inference in JSON and in binary, errors."""

import asyncio
import gzip
import json

import azure.functions as func
import numpy as np
import pytest

from serving import __version__
from serving.endpoints.open_inference import OpenInference
from serving.http import handle
from serving.wire.open_inference import HEADER_LENGTH

ROWS = np.array([[1, 2], [3, 4]], np.float32)
TENSOR = {"name": "x", "datatype": "FP32", "shape": [2, 2]}
BODY = json.dumps({"inputs": [{**TENSOR, "data": ROWS.ravel().tolist()}]}).encode()


@pytest.fixture
def scales(put):
    """A model ``scale`` with versions 1 and 3, each of which multiplies by its number."""
    for version in (1, 3):
        put("scale", lambda x, factor=version: x * factor, version=version)


def send(path, body=b"", method="POST", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"https://app/api/v2/{path}"
    request = func.HttpRequest(method=method, url=url, headers=headers, route_params={"path": path}, body=body)
    return asyncio.run(handle(request, OpenInference()))


def call(path, body=b"", method="POST", **headers):
    response = send(path, body, method, **headers)
    assert response.mimetype == "application/json"
    return response.status_code, json.loads(response.get_body())


@pytest.mark.usefixtures("scales")
@pytest.mark.parametrize(
    ("path", "version"),
    [("models/scale/infer", 3), ("models/scale/versions/1/infer", 1), ("/models/scale/infer/", 3)],
)
def test_a_version_is_chosen_by_the_path(path, version):
    status, answer = call(path, BODY, content_encoding="identity")

    assert (status, answer["model_name"], answer["model_version"]) == (200, "scale", str(version))
    assert answer["outputs"][0]["data"] == (ROWS * version).ravel().tolist()


@pytest.mark.usefixtures("scales")
def test_binary_tensors_are_answered_by_binary_tensors():
    inputs = [{**TENSOR, "parameters": {"binary_data_size": ROWS.nbytes}}]
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()

    response = send("models/scale/infer", header + ROWS.tobytes(), **{HEADER_LENGTH: str(len(header))})

    assert (response.status_code, response.mimetype) == (200, "application/octet-stream")
    size = int(response.headers[HEADER_LENGTH])
    assert json.loads(response.get_body()[:size])["outputs"][0]["parameters"] == {"binary_data_size": ROWS.nbytes}
    assert response.get_body()[size:] == (ROWS * 3).tobytes()


@pytest.mark.usefixtures("scales")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (
            "",
            {"name": "keras-functions", "version": __version__, "extensions": ["binary_tensor_data", "classification"]},
        ),
        ("health/live", {"live": True}),
        ("health/ready", {"ready": True, "live": True}),
        ("models/scale/ready", {"name": "scale", "ready": True}),
        ("models/scale/versions/1/ready", {"name": "scale", "ready": True}),
    ],
)
def test_server_and_models_are_described(path, method, answer):
    assert call(path, method=method) == (200, answer)


@pytest.mark.usefixtures("scales")
def test_a_models_metadata_have_its_versions_and_tensors(put):
    put("other", lambda x: x, version=7)

    status, answer = call("models/scale/versions/1", method="GET")

    assert (status, answer["name"], answer["versions"]) == (200, "scale", ["1", "3"])
    example = {"shape": [2, 2], "data": [1.0, 0.0, 0.0, 1.0]}
    described = {"name": "x", "datatype": "FP32", "shape": [-1, 2], "parameters": {"example": example}}
    assert answer["inputs"] == [described]


@pytest.mark.usefixtures("scales")
@pytest.mark.parametrize("method", ["POST", "GET", "HEAD"])
def test_the_index_has_every_version_or_only_those_that_are_ready(method):
    assert call("models/scale/versions/1/infer", BODY)[0] == 200

    def states(body):
        return {entry["version"]: entry["state"] for entry in call("repository/index", body, method)[1]}

    assert states(b"") == {"3": "UNAVAILABLE", "1": "READY"}
    assert states(b'{"ready": true}') == {"1": "READY"}


@pytest.mark.usefixtures("scales")
@pytest.mark.parametrize(
    ("path", "method", "status", "says"),
    [
        ("models/scale/predict", "POST", 404, "The protocol has no path v2/models/scale/predict."),
        ("models/nothing/infer", "POST", 404, "There is no model 'nothing'."),
        ("models/nothing/ready", "GET", 404, "There is no model 'nothing'."),
        ("models/nothing", "GET", 404, "There is no model 'nothing'."),
        ("models/scale/versions/2/infer", "POST", 404, "no version 2; it has: 1, 3."),
        ("models/scale/versions/2", "GET", 404, "no version 2; it has: 1, 3."),
        ("models/scale/versions/2/ready", "GET", 404, "no version 2; it has: 1, 3."),
        ("models/scale/infer", "POST", 400, "not JSON"),
        ("models/scale/infer", "GET", 405, "use POST"),
        ("repository/index", "PUT", 405, "use POST or GET or HEAD"),
        ("models/scale", "POST", 405, "use GET or HEAD"),
        ("", "POST", 405, "use GET or HEAD"),
    ],
)
def test_errors_have_the_protocols_form(path, method, status, says):
    answered, body = call(path, method=method)

    assert answered == status
    assert list(body) == ["error"]
    assert says in body["error"]


@pytest.mark.usefixtures("scales")
def test_a_body_is_unzipped_and_another_encoding_is_refused():
    assert call("models/scale/infer", gzip.compress(BODY), content_encoding="gzip")[0] == 200
    status, body = call("models/scale/infer", BODY, content_encoding="br")

    assert (status, body) == (415, {"error": "The Content-Encoding is br; expected gzip or none."})


@pytest.mark.parametrize("model", ["", "broken"])
def test_what_cannot_be_loaded_is_not_ready(models, model):
    if model:
        (models / model / "1").mkdir(parents=True)
        (models / model / "1" / "saved_model.pb").write_bytes(b"no model")
        assert call(f"models/{model}/ready", method="GET") == (503, {"name": model, "ready": False})

    assert call("health/ready", method="GET") == (503, {"ready": False, "live": False})
