"""TensorFlow Serving's REST API from end to end: status, versions, labels, and models that take examples."""

import asyncio
import json

import azure.functions as func
import pytest

from serving.endpoints.tf_serving import TfServing
from serving.http import handle


@pytest.fixture
def scales(models, put):
    """A model ``scale`` with versions 1 and 3, each of which multiplies by its number, and a label."""
    for version in (1, 3):
        put("scale", lambda x, factor=version: x * factor, version=f"{version:08}")
    (models / "scale" / "labels.json").write_text('{"stable": 1}')


def call(path, document=None, method="POST"):
    body = b"" if document is None else json.dumps(document).encode()
    url = f"https://app/api/v1/models/{path}"
    request = func.HttpRequest(method=method, url=url, route_params={"path": path}, body=body)
    response = asyncio.run(handle(request, TfServing()))
    assert response.mimetype == "application/json"
    return response.status_code, json.loads(response.get_body())


@pytest.mark.usefixtures("scales")
@pytest.mark.parametrize(
    ("path", "factor"),
    [
        ("scale:predict", 3),
        ("scale/versions/1:predict", 1),
        ("scale/versions/3:predict", 3),
        ("scale/versions/0:predict", 3),
        ("scale/labels/stable:predict", 1),
    ],
)
def test_a_version_is_chosen_by_the_path(path, factor):
    assert call(path, {"instances": [[1, 2]]}) == (200, {"predictions": [[factor, factor * 2]]})


@pytest.mark.usefixtures("scales")
@pytest.mark.parametrize(
    ("path", "method", "status", "says"),
    [
        ("nothing:predict", "POST", 404, "There is no model 'nothing'."),
        ("..:predict", "POST", 404, "There is no model '..'."),
        ("nothing", "GET", 404, "There is no model 'nothing'."),
        ("scale/versions/2:predict", "POST", 404, "no version 2; it has: 1, 3."),
        ("scale/versions/2", "GET", 404, "no version 2"),
        ("scale/labels/canary:predict", "POST", 404, "no label 'canary'; it has: stable."),
        ("nothing/labels/canary:predict", "POST", 404, "no label 'canary'; it has: none."),
        ("scale:explain", "POST", 400, "Malformed request: POST /v1/models/scale:explain"),
        ("scale:predict", "GET", 405, "use POST"),
        ("scale", "POST", 405, "use GET or HEAD"),
        ("scale:predict", "POST", 400, "not JSON"),
    ],
)
def test_errors_have_tensorflow_servings_form(path, method, status, says):
    answered, body = call(path, method=method)

    assert answered == status
    assert list(body) == ["error"]
    assert says in body["error"]


@pytest.mark.usefixtures("scales")
def test_the_status_shows_which_versions_are_loaded():
    call("scale:predict", {"instances": [[1, 2]]})

    status, body = call("scale", method="GET")

    assert status == 200
    assert {entry["version"]: entry["state"] for entry in body["model_version_status"]} == {
        "3": "AVAILABLE",
        "1": "START",
    }
    assert [entry["version"] for entry in call("scale/versions/1", method="GET")[1]["model_version_status"]] == ["1"]


@pytest.mark.usefixtures("scales")
def test_metadata_are_of_the_version_in_the_path():
    status, body = call("scale/labels/stable/metadata", method="GET")

    assert (status, body["model_spec"]["version"]) == (200, "1")


def save_with_examples(tf, folder):
    """Save a model of TensorFlow 1 that parses ``tf.Example`` and has a classify and a regress signature."""
    v1 = tf.compat.v1
    constants = v1.saved_model.signature_constants
    with v1.Session(graph=tf.Graph()) as session:
        serialized = v1.placeholder("string", [None], "examples")
        parsed = tf.io.parse_example(serialized, {"x": tf.io.FixedLenFeature([2], "float32")})
        total = tf.reduce_sum(parsed["x"], 1, keepdims=True)
        classes = tf.tile([["sum", "minus"]], [tf.shape(total)[0], 1])
        scores = tf.concat([total, -total], 1)
        signatures = {
            "serving_default": v1.saved_model.classification_signature_def(serialized, classes, scores),
            "regress": v1.saved_model.regression_signature_def(serialized, total),
        }
        assert signatures["regress"].method_name == constants.REGRESS_METHOD_NAME
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


def test_classify_and_regress_are_answered_from_examples(models, tf):
    (models / "examples").mkdir()
    save_with_examples(tf, models / "examples" / "1")
    examples = [{"x": [1.0, 2.5]}, {"x": [0.5, 0.0]}]

    assert call("examples:classify", {"examples": examples}) == (
        200,
        {"results": [[["sum", 3.5], ["minus", -3.5]], [["sum", 0.5], ["minus", -0.5]]]},
    )
    assert call("examples:regress", {"signature_name": "regress", "examples": examples}) == (
        200,
        {"results": [3.5, 0.5]},
    )
    status, body = call("examples:classify", {"examples": [{"y": 1.0}]})
    assert status == 400
    assert "can't take these values" in body["error"]
