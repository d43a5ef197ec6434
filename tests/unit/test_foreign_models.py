"""SavedModels that were made elsewhere are served as TensorFlow Serving serves them, or refused with a reason."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import azure.functions as func
import numpy as np
import pytest

from serving.endpoints.health import Health
from serving.endpoints.open_inference import OpenInference
from serving.endpoints.openapi import OpenApi
from serving.endpoints.tf_serving import TfServing
from serving.http import Endpoint, handle

pytestmark = pytest.mark.slow

PREDICT = "tensorflow/serving/predict"


@pytest.fixture(params=["c", "python"])
def folder(models: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """The folder of version 123 of ``model``, which one of the engines serves."""
    monkeypatch.setenv("SERVING_ENGINE", request.param)
    monkeypatch.setenv("SERVING_HEALTH_DETAILS", "1")
    (models / "model").mkdir()
    return models / "model" / "00000123"


def ask(endpoint: Endpoint, path: str, document: Any = None) -> tuple[int, Any]:
    method = "GET" if document is None else "POST"
    body = b"" if document is None else json.dumps(document).encode()
    request = func.HttpRequest(method=method, url=f"https://app/api/{path}", route_params={"path": path}, body=body)
    response = asyncio.run(handle(request, endpoint))
    return response.status_code, json.loads(response.get_body())


def predict(document: Any, method: str = "predict") -> tuple[int, Any]:
    return ask(TfServing(), f"model:{method}", document)


def save(tf: Any, folder: Path, build: Callable[[Any, Any], Any]) -> None:
    """Save a graph of TensorFlow 1; ``build`` makes it and returns its signatures."""
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        signatures = build(v1, signature(v1))
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        assets = v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS)
        builder.add_meta_graph_and_variables(
            session, ["serve"], signatures, assets_collection=assets, main_op=v1.tables_initializer()
        )
        builder.save()


def signature(v1: Any) -> Callable[[Any, Any], Any]:
    """Return a function that makes a signature of tensors; inputs may be none."""
    info = v1.saved_model.build_tensor_info

    def build(inputs: Any, outputs: Any) -> Any:
        named = [{name: info(tensor) for name, tensor in tensors.items()} for tensors in (inputs, outputs)]
        return v1.saved_model.build_signature_def(*named, PREDICT)

    return build


@pytest.fixture
def half_plus_two(tf: Any, folder: Path) -> None:
    """Save the graph of TensorFlow Serving's first example: x/2 + 2, of numbers or of ``tf.Example``."""

    def build(v1: Any, signature: Any) -> Any:
        half, two = (
            v1.get_variable(name, initializer=value, use_resource=False) for name, value in (("a", 0.5), ("b", 2.0))
        )
        examples = v1.placeholder("string", name="tf_example")
        x = tf.identity(tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([1], "float32")})["x"], "x")
        y = tf.add(tf.multiply(half, x), two, "y")
        wrong = v1.saved_model.build_tensor_info(examples)
        wrong.dtype = 1  # float, over a tensor of strings
        result = v1.saved_model.build_tensor_info(y)
        return {
            "serving_default": signature({"x": x}, {"y": y}),
            "regress_x_to_y": v1.saved_model.regression_signature_def(examples, y),
            "classify_x_to_y": v1.saved_model.classification_signature_def(examples, None, y),
            # As TensorFlow 2 writes it: every method is called predict.
            "regress": v1.saved_model.build_signature_def({"inputs": wrong}, {"outputs": result}, PREDICT),
        }

    save(tf, folder, build)


@pytest.mark.usefixtures("half_plus_two")
@pytest.mark.parametrize(
    ("instances", "predictions"),
    [([1.0, 2.0, 5.0], [2.5, 3.0, 4.5]), ([[1.0], [2.0]], [[2.5], [3.0]]), ([[[4.0, 6.0]]], [[[4.0, 5.0]]])],
)
def test_tensorflow_decides_which_shapes_a_graph_takes(instances: Any, predictions: Any) -> None:
    assert predict({"instances": instances}) == (200, {"predictions": predictions})


@pytest.mark.usefixtures("half_plus_two")
def test_a_column_may_have_any_shape_too() -> None:
    assert predict({"inputs": 1.0}) == (200, {"outputs": 2.5})
    assert predict({"inputs": []}) == (200, {"outputs": []})
    data = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0]}
    assert ask(OpenInference(), "models/model/infer", {"inputs": [data]})[1]["outputs"][0]["data"] == [2.5, 3.0]


@pytest.mark.usefixtures("half_plus_two")
@pytest.mark.parametrize("name", ["regress_x_to_y", "regress"])
def test_examples_are_regressed_whatever_the_signature_says_of_type_and_method(name: str) -> None:
    document = {"signature_name": name, "examples": [{"x": 1.0}, {"x": 2.0}]}

    assert predict(document, "regress") == (200, {"results": [2.5, 3.0]})


@pytest.mark.usefixtures("half_plus_two")
def test_examples_are_classified() -> None:
    document = {"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}]}

    assert predict(document, "classify") == (200, {"results": [[["", 2.5]]]})


@pytest.mark.parametrize("value", [[[1.0, 2.0, 3.0]], [1.0, 2.0], 5.0])
def test_what_the_graph_does_not_take_is_the_clients_mistake(tf: Any, folder: Path, value: Any) -> None:
    weight = tf.Variable([[1.0], [2.0]])
    module = tf.Module()
    module.weight = weight
    module.f = tf.function(lambda x: {"y": tf.matmul(x, weight)}, input_signature=[tf.TensorSpec([None, 2], name="x")])
    tf.saved_model.save(module, str(folder), signatures=module.f)

    assert predict({"instances": [[1.0, 1.0]]}) == (200, {"predictions": [[3.0]]})
    status, body = predict({"inputs": value})
    assert status == 400
    assert "can't take these values" in body["error"]


def test_a_model_that_was_exported_here_has_the_shapes_of_its_signature(tf: Any, folder: Path) -> None:
    def build(v1: Any, signature: Any) -> Any:
        x = v1.placeholder("float32", [None, 2])
        return {"serving_default": signature({"x": x}, {"y": x * 2})}

    save(tf, folder, build)
    (folder / "export.json").write_text('{"sources": {"model.keras": "0"}, "keras": "3", "tensorflow": "2"}')

    status, body = predict({"instances": [1.0, 2.0]})

    assert (status, body["error"]) == (400, "x: expected float of shape [?, 2], got shape [2].")


def test_an_unknown_rank_is_shown_and_not_a_scalar(tf: Any, folder: Path) -> None:
    def build(v1: Any, signature: Any) -> Any:
        x = v1.placeholder("float32", name="x")
        info = v1.saved_model.build_tensor_info(x * 2)
        absent = v1.saved_model.build_tensor_info(x)
        absent.ClearField("tensor_shape")
        return {
            "serving_default": v1.saved_model.build_signature_def({"x": absent}, {"y": info}, PREDICT),
            "scalar": signature({"x": v1.placeholder("float32", [], "scalar")}, {"y": tf.constant(1.0)}),
        }

    save(tf, folder, build)

    _, body = ask(TfServing(), "model/metadata")
    signatures = body["metadata"]["signature_def"]["signature_def"]
    shapes = [signatures[key]["inputs"]["x"]["tensor_shape"] for key in ("serving_default", "scalar")]
    assert shapes == [{"dim": [], "unknown_rank": True}, {"dim": [], "unknown_rank": False}]
    assert signatures["serving_default"]["outputs"]["y"]["tensor_shape"]["unknown_rank"] is True
    assert ask(OpenInference(), "models/model")[1]["inputs"][0]["shape"] == [-1]
    assert "of any rank" in json.dumps(ask(OpenApi(), "openapi.json")[1]["components"]["schemas"])
    assert predict({"instances": [[1.0, 2.0], [3.0, 4.0]]}) == (200, {"predictions": [[2.0, 4.0], [6.0, 8.0]]})
    assert ask(Health(), "")[0] == 200


def test_a_counter_of_reference_variables_on_a_gpu_is_served_on_the_cpu(tf: Any, folder: Path) -> None:
    def build(v1: Any, signature: Any) -> Any:
        with tf.device("/device:GPU:0"):
            counter = v1.get_variable("counter", initializer=1.0, use_resource=False)
            delta = v1.placeholder("float32", [], "delta")
            return {
                "serving_default": signature({}, {"count": counter}),
                "increase": signature({"delta": delta}, {"count": v1.assign_add(counter, delta)}),
            }

    save(tf, folder, build)

    status, body = ask(TfServing(), "model/metadata")
    outputs = body["metadata"]["signature_def"]["signature_def"]["serving_default"]["outputs"]
    assert (status, outputs["count"]["dtype"]) == (200, "DT_FLOAT")
    assert ask(Health(), "") == (
        200,
        {"status": "ready", "model": "model/123", "models": {"model": {"123": "AVAILABLE"}}},
    )
    assert predict({"signature_name": "increase", "inputs": 2.0}) == (200, {"outputs": 3.0})


# --- as Keras and Estimators save them ---


def sequence(layers: Any, inputs: Any) -> list[Any]:
    return [inputs, layers.Bidirectional(layers.LSTM(3)), layers.Dense(1)]


@pytest.mark.parametrize("library", ["keras", "tf_keras", "tf_keras.save"])
def test_a_recurrent_model_of_keras_is_served(tf: Any, folder: Path, library: str) -> None:
    keras = pytest.importorskip(library.partition(".")[0])
    model = keras.Sequential(sequence(keras.layers, keras.layers.Input((None, 2))))
    if library == "tf_keras.save":
        model.save(folder, save_format="tf")
    else:
        model.export(str(folder), **({"verbose": False} if library == "keras" else {}))
    rows = np.random.default_rng(0).standard_normal((2, 5, 2)).astype("float32")

    status, body = predict({"instances": rows.tolist()})

    assert status == 200
    np.testing.assert_allclose(body["predictions"], np.asarray(model(rows)), atol=1e-5)
    assert ask(Health(), "")[0] == 200


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_a_vocabulary_of_keras_is_served(tf: Any, folder: Path, library: str) -> None:
    keras = pytest.importorskip(library)
    lookup = keras.layers.StringLookup()
    lookup.adapt(np.array(["red", "green", "red"]))
    model = keras.Sequential([keras.layers.Input((1,), dtype="string"), lookup])
    model.export(str(folder), **({"verbose": False} if library == "keras" else {}))

    assert predict({"instances": [["red"], ["green"], ["blue"]]}) == (200, {"predictions": [[1], [2], [0]]})


def test_the_signatures_of_an_estimator_take_examples_and_name_classes(tf: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("no\nyes\n")

    def build(v1: Any, signature: Any) -> Any:
        examples = v1.placeholder("string", [None], "input_example_tensor")
        features = {"a": tf.io.FixedLenFeature([1], "float32"), "tags": tf.io.VarLenFeature("string")}
        a = tf.io.parse_example(examples, features)["a"]
        scores = tf.concat([1 - a, a], 1)
        initializer = tf.lookup.TextFileInitializer(
            str(tmp_path / "classes.txt"),
            *("int64", tf.lookup.TextFileIndex.LINE_NUMBER, "string", tf.lookup.TextFileIndex.WHOLE_LINE),
        )
        names = tf.lookup.StaticHashTable(initializer, "?")
        classes = names.lookup(tf.tile(tf.constant([[0, 1]], "int64"), [tf.shape(a)[0], 1]))
        return {
            "serving_default": v1.saved_model.classification_signature_def(examples, classes, scores),
            "predict": signature({"examples": examples}, {"probabilities": scores}),
        }

    save(tf, folder, build)
    (tmp_path / "classes.txt").unlink()

    assert predict({"examples": [{"a": 0.25}]}, "classify") == (200, {"results": [[["no", 0.75], ["yes", 0.25]]]})


# --- refused, with a reason ---


@pytest.fixture
def refusal(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Return a function that has the model refused and returns the line of the log with the reason."""

    def refused() -> str:
        caplog.set_level(logging.WARNING)
        status, body = ask(Health(), "")
        assert (status, body["models"]) == (503, {"model": {"123": "END"}})
        assert predict({"instances": [1.0]})[0] == 503
        line = caplog.records[0].getMessage()
        assert "\n" not in line
        return line

    return refused


def test_a_module_without_signatures_is_refused(tf: Any, folder: Path, refusal: Callable[[], str]) -> None:
    tf.saved_model.save(tf.Module(), str(folder))

    assert "has no signature that can be served" in refusal()


def test_a_module_without_its_variables_is_refused(tf: Any, folder: Path, refusal: Callable[[], str]) -> None:
    module = tf.Module()
    module.weight = tf.Variable(2.0)
    module.f = tf.function(lambda x: {"y": x * module.weight}, input_signature=[tf.TensorSpec([None], name="x")])
    tf.saved_model.save(module, str(folder), signatures=module.f)
    for path in (folder / "variables").iterdir():
        path.unlink()

    assert "variables" in refusal()


@pytest.mark.parametrize("operation", ["BoostedTreesPredict", "SimpleMLInferenceOpWithHandle"])
def test_a_forest_is_refused_by_its_operation(
    tf: Any, folder: Path, refusal: Callable[[], str], operation: str
) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    save(tf, folder, lambda v1, signature: {"serving_default": signature({}, {"y": tf.negative(1.0, "forest")})})
    content = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    [forest] = [node for node in content.meta_graphs[0].graph_def.node if node.name == "forest"]
    forest.op = operation  # TensorFlow no longer has these operations, so it can't save them
    (folder / "saved_model.pb").write_bytes(content.SerializeToString())

    assert f"operation {operation}, which may do more than compute" in refusal()


def test_a_saved_model_as_text_is_refused_with_the_way_out(tf: Any, folder: Path, refusal: Callable[[], str]) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    tf.saved_model.save(tf.Module(), str(folder))
    content = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    (folder / "saved_model.pbtxt").write_text(str(content))
    (folder / "saved_model.pb").unlink()

    assert "saved_model.pbtxt is not read; docs/tf_serving.md says how" in refusal()


def test_a_saved_model_beside_sources_without_a_record_is_not_trusted_silently(
    tf: Any, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module = tf.Module()
    module.f = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([None], name="x")])
    tf.saved_model.save(module, str(folder), signatures=module.f)
    predict({"instances": [1.0]})
    assert "no export.json" not in caplog.text
    (folder.parent / "124").mkdir()
    for path in folder.iterdir():
        path.rename(folder.parent / "124" / path.name)
    folder.rmdir()
    (folder.parent / "124" / "model.keras").touch()

    assert ask(TfServing(), "model/versions/124:predict", {"instances": [1.0]}) == (200, {"predictions": [1.0]})
    assert "without export.json; it may not have been exported from the Keras files beside it" in caplog.text


NEVER_ENDS = """
import asyncio, os
from serving.models import model
model.FIRST_RUN_SECONDS = 1
import azure.functions as func
from serving.endpoints.health import Health
from serving.http import handle
for _ in range(2):
    request = func.HttpRequest(method="GET", url="https://app/api/health", route_params={}, body=b"")
    response = asyncio.run(handle(request, Health()))
    print(response.status_code, response.get_body().decode())
"""


def test_health_answers_for_a_model_that_never_does(tf: Any, folder: Path) -> None:
    module = tf.Module()
    module.f = tf.function(
        lambda x: {"y": tf.while_loop(lambda y: tf.reduce_all(y < 1), lambda y: [y * 1], [x])[0]},
        input_signature=[tf.TensorSpec([None], name="x")],
    )
    tf.saved_model.save(module, str(folder), signatures=module.f)

    # In a process of its own, which ends with the run that does not.
    child = subprocess.run(
        [sys.executable, "-c", NEVER_ENDS], capture_output=True, text=True, env=os.environ, timeout=300, check=True
    )

    assert child.stdout.count("503") == 2
    assert child.stdout.count("Model model/123 did not answer within 1 s.") == 2
