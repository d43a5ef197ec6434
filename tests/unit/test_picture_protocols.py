"""Pictures and class names in the protocols' own ways, on a model that answers how light a picture is."""

import asyncio
import base64
import io
import json

import azure.functions as func
import numpy as np
import pytest

from serving import http
from serving.budget import Share
from serving.endpoints.classify import Classify
from serving.endpoints.open_inference import OpenInference
from serving.endpoints.predict_x import PredictX
from serving.endpoints.tf_serving import TfServing
from serving.errors import BadRequestError
from serving.http import handle
from serving.wire import npy as files
from serving.wire.open_inference import HEADER_LENGTH
from tests.unit.picture_files import encoded, spec, write_recipe

DARK, LIGHT = (encoded(np.full((9, 9, 3), value, np.uint8)) for value in (51, 204))
LARGE = encoded(np.random.default_rng(0).integers(0, 256, (700, 700, 3)).astype(np.uint8))  # over 1 MB
B64 = [{"b64": base64.b64encode(picture).decode()} for picture in (DARK, LIGHT)]
BYTES = {"name": "x", "datatype": "BYTES", "shape": [2]}


@pytest.fixture(autouse=True)
def _shade(shade):
    """Every test has the model."""


def send(endpoint, path, body, **headers):
    request = func.HttpRequest(
        method="POST",
        url="https://app/api",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        route_params={"path": path},
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
    )
    return asyncio.run(handle(request, endpoint))


def call(endpoint, path, body, **headers):
    response = send(endpoint, path, body, **headers)
    return response.status_code, json.loads(response.get_body())


def infer(body, **headers):
    return call(OpenInference(), "models/shade/infer", body, **headers)


def shades(*values):
    return [pytest.approx([value], abs=1e-6) for value in values]


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({"instances": B64}, "predictions"),
        ({"instances": [{"x": one} for one in B64]}, "predictions"),
        ({"inputs": B64}, "outputs"),
        ({"inputs": {"x": B64}}, "outputs"),
    ],
)
def test_base64_is_a_picture_in_tensorflow_servings_protocol(models, body, member):
    assert call(TfServing(), "shade:predict", body) == (200, {member: shades(0.2, 0.8)})


def test_numbers_are_still_taken():
    rows = np.full((1, 4, 4, 1), 0.5).tolist()
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4, 4, 1], "data": rows}

    assert call(TfServing(), "shade:predict", {"instances": rows}) == (200, {"predictions": [[0.5]]})
    assert infer({"inputs": [tensor]})[1]["outputs"][0]["data"] == [0.5]


def test_a_picture_takes_memory_of_the_requests_in_work(monkeypatch):
    monkeypatch.setenv("SERVING_WORK_BYTES", "4000000")
    text = base64.b64encode(encoded(np.zeros((700, 700), np.uint8))).decode()
    tensor = {**BYTES, "shape": [1], "data": [text]}
    requests = [
        (Classify(), "shade/classify", {"image": text}),
        (TfServing(), "shade:predict", {"instances": [{"b64": text}]}),
        (TfServing(), "shade:classify", {"examples": [{"image": {"b64": text}}]}),
        (OpenInference(), "models/shade/infer", {"inputs": [tensor]}),
    ]

    for endpoint, path, body in requests:
        status, problem = call(endpoint, path, body, content_type="application/json")
        assert (status, "needs 4 MB of memory; the limit is 4 MB" in str(problem)) == (413, True), path

    share = Share(http._budget(4_000_000))
    for taken_by_others, status in [(3_999_000, 200), (500, 503)]:  # a picture of 9 x 9 pixels takes 985 bytes
        share.reserve(taken_by_others)
        for endpoint, path, body in requests:
            small = json.dumps(body).replace(text, B64[0]["b64"]).encode()
            assert call(endpoint, path, small, content_type="application/json")[0] == status, path
    share.release()


def test_a_large_picture_is_taken():
    status, answer = call(TfServing(), "shade:predict", {"instances": [{"b64": base64.b64encode(LARGE).decode()}]})

    assert (status, len(answer["predictions"])) == (200, 1)


@pytest.mark.parametrize("feature", ["image/encoded", "x"])
def test_classify_of_tensorflow_serving_answers_names(feature):
    status, answer = call(TfServing(), "shade:classify", {"examples": [{feature: one} for one in B64]})

    dark, light = answer["results"]
    assert status == 200
    assert dark == [["dark", pytest.approx(0.8)], ["light", pytest.approx(0.2)]]
    assert light == [["dark", pytest.approx(0.2)], ["light", pytest.approx(0.8)]]


@pytest.mark.parametrize(
    ("method", "body", "problem"),
    [
        ("predict", {"instances": [{"b64": "QQ=="}]}, "Picture 1 is not a picture in a format that is read"),
        ("predict", {"instances": [B64[0], {"b64": "Q"}]}, "x: Unable to base64 decode"),
        ("predict", {"instances": [B64[0], 1]}, 'x: JSON Value: {"b64": '),
        (
            "classify",
            {"examples": [{"a": 1}]},
            "Expecting 'examples' to be a list of objects with one",
        ),
        (
            "classify",
            {"examples": [{"a": B64[0], "b": B64[0]}]},
            "Expecting 'examples' to be a list of objects with one",
        ),
        ("classify", {"instances": []}, "Expecting 'examples' to be a list of objects with one picture"),
        ("classify", {"examples": []}, "Expecting 'examples' to be a list of objects"),
    ],
)
def test_a_mistake_is_reported_in_tensorflow_servings_form(method, body, problem):
    status, answer = call(TfServing(), f"shade:{method}", body)

    assert status == 400
    assert answer["error"].startswith(problem)


def test_bytes_are_pictures_in_the_open_inference_protocol():
    data = [one["b64"] for one in B64]
    assert infer({"inputs": [{**BYTES, "data": data}]})[1]["outputs"][0]["data"] == pytest.approx([0.2, 0.8])

    raw = b"".join(len(picture).to_bytes(4, "little") + picture for picture in (DARK, LIGHT))
    entry = {**BYTES, "shape": [2, 1], "parameters": {"binary_data_size": len(raw)}}
    header = json.dumps({"inputs": [entry]}).encode()
    answer = infer(header + raw, **{HEADER_LENGTH: str(len(header))})[1]
    assert answer["outputs"][0]["data"] == pytest.approx([0.2, 0.8])


def test_the_metadata_say_that_pictures_are_taken():
    request = func.HttpRequest("GET", "https://app/api", route_params={"path": "models/shade"}, body=b"")

    metadata = json.loads(asyncio.run(handle(request, OpenInference())).get_body())

    [tensor] = metadata["inputs"]
    assert tensor["parameters"].pop("example")["shape"] == [2, 4, 4, 1]
    assert tensor == {
        "name": "x",
        "datatype": "FP32",
        "shape": [-1, 4, 4, 1],
        "parameters": {"content_type": "image"},
    }
    assert [output.get("parameters") for output in metadata["outputs"]] == [{"classification": True}]


def with_classes(count, **more):
    return {
        "inputs": [{**BYTES, "data": [one["b64"] for one in B64]}],
        "outputs": [{"name": "y", "parameters": {"classification": count, **more}}],
    }


def test_tritons_classification_is_answered_with_names():
    [output] = infer(with_classes(2))[1]["outputs"]

    assert (output["datatype"], output["shape"]) == ("BYTES", [2, 2])
    assert output["data"] == ["0.800000:0:dark", "0.200000:1:light", "0.800000:1:light", "0.200000:0:dark"]


def test_tritons_classification_can_be_binary():
    response = send(OpenInference(), "models/shade/infer", with_classes(1, binary_data=True))

    size = int(response.headers[HEADER_LENGTH])
    texts = (b"0.800000:0:dark", b"0.800000:1:light")
    assert response.get_body()[size:] == b"".join(len(text).to_bytes(4, "little") + text for text in texts)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (with_classes(0), "classification of output 'y': expected a whole number above 0, got 0."),
        (with_classes("2"), "classification of output 'y': expected a whole number, got \"2\"."),
        ({"inputs": [{**BYTES, "data": ["QQ==", "Q"]}]}, 'x: expected base64 of a picture, got "Q", in row 2.'),
        ({"inputs": [{**BYTES, "data": ["QQ==", "QQ=="]}]}, "Picture 1 is not a picture in a format that is read"),
        (
            {"inputs": [{**BYTES, "datatype": "INT8", "data": []}]},
            "Input 'x' has datatype 'INT8'; expected 'FP32' or, for pictures, 'BYTES'.",
        ),
        (
            {"inputs": [{**BYTES, "data": [], "parameters": {"classification": 1}}]},
            "classification of input 'x' is not supported.",
        ),
    ],
)
def test_a_mistake_is_reported_in_the_open_inference_form(body, problem):
    status, answer = infer(body)

    assert status == 400
    assert answer["error"].startswith(problem)


def test_an_output_of_one_number_has_no_classes(put, models, tf):
    put("one", lambda x: tf.reduce_sum(x, 1, keepdims=True))
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
    body = {"inputs": [tensor], "outputs": [{"name": "y", "parameters": {"classification": 1}}]}

    status, answer = call(OpenInference(), "models/one/infer", body)

    assert status == 400
    assert answer["error"].startswith("Model one/1 can't classify: output 'y' is one number for each row")


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


ROWS = np.random.default_rng(0).random((3, 4, 4, 1))


@pytest.mark.parametrize(
    "array",
    [ROWS.astype(np.float32), ROWS, ROWS.astype(np.float16), np.asfortranarray(ROWS), np.round(ROWS).astype(int)],
)
def test_a_numpy_file_is_the_only_input_and_output(array):
    headers = {"content_type": "application/x-npy", "accept": "application/x-npy"}

    response = send(OpenInference(), "models/shade/infer", npy(array), **headers)
    in_json = infer(npy(array), content_type="application/x-npy")[1]["outputs"][0]

    assert response.mimetype == "application/x-npy"
    answer = np.load(io.BytesIO(response.get_body()))
    np.testing.assert_allclose(answer, array.astype(np.float32).mean((1, 2)), rtol=1e-5)
    assert (in_json["shape"], in_json["data"]) == ([3, 1], pytest.approx(answer.ravel().tolist()))


def header(text):
    content = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(content).to_bytes(2, "little") + content


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "The body is not a NumPy file such as numpy.save writes."),
        (b"\x93NUMPY\x01\x00\xff\xff", "The body is not a NumPy file"),
        (b"\x93NUMPY\x09\x00\x01\x00 ", "The body is not a NumPy file"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': __import__('os')}"), "The body is not a NumPy file"),
        (header("(" * 117), "The body is not a NumPy file"),
        (npy(np.array([{}], object)), "Input 'x' has dtype object; expected float32."),
        (npy(np.zeros((1, 4, 4, 1), complex)), "Input 'x' has dtype complex128; expected float32."),
        (npy(np.zeros((1, 4, 4, 1), "datetime64[s]")), "Input 'x' has dtype datetime64[s]; expected float32."),
        (npy(np.zeros((1, 4, 4, 1)))[:-1], "x: expected 128 bytes after the header, got 127."),
        (npy(np.full((1, 4, 4, 1), 1e300)), "Input 'x' has values that float32 can't hold."),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (10**20, 4)}"), "The body is not a NumPy file"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 4)}"), "Input 'x' has shape [99999"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 99999999999)}"), "Input 'x' has shape [0, 999"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (0, -1, 4, 1)}"), "Input 'x' has shape [0, -1, "),
    ],
)
def test_a_bad_numpy_file_is_refused(body, problem):
    status, answer = infer(body, content_type="application/x-npy")

    assert status == 400
    assert answer["error"].startswith(problem)


def test_a_numpy_file_must_have_the_shape_of_the_signature():
    with pytest.raises(BadRequestError, match=r"Input 'x' has shape \[3, 4, 4, 1\]; expected \[\?, 4, 4, 2\]\."):
        files.decode(npy(ROWS), "x", spec(4, 4, 2))


def test_names_are_answered_beside_the_labels_of_2017(put, models):
    put("pair", lambda x: x)
    body = {"X": "0.25 0.75|0.5 0.125"}
    without = call(PredictX("pair"), "", body)[1]

    (models / "pair").rename(models / "named")
    write_recipe(models / "named", {"classes": ["cat", "Hündin"]})

    assert without == {"labels": [[0.25, 0.75], [0.5, 0.125]]}
    assert call(PredictX("named"), "", body)[1] == {**without, "classes": ["Hündin", "cat"]}
