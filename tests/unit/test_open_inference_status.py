"""The Open Inference Protocol apart from inference: URLs, health, metadata, the repository index, errors."""

import json

import numpy as np
import pytest

from serving.engines.signature import Signature, TensorSpec
from serving.errors import BadRequestError
from serving.status import State, VersionStatus
from serving.wire import open_inference_status as status
from serving.wire.open_inference_status import Route
from tests.unit.specs import spec


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("", Route("metadata")),
        ("health/live", Route("live")),
        ("health/ready", Route("ready")),
        ("repository/index", Route("index")),
        ("models/xor", Route("metadata", "xor")),
        ("models/xor/versions/2", Route("metadata", "xor", 2)),
        ("models/xor/ready", Route("ready", "xor")),
        ("models/xor/versions/2/ready", Route("ready", "xor", 2)),
        ("models/xor/infer", Route("infer", "xor")),
        ("models/xor/versions/0/infer", Route("infer", "xor", 0)),
        ("models/x.or_1-b/infer", Route("infer", "x.or_1-b")),
        ("models/infer", Route("metadata", "infer")),
        ("models/versions/versions/1", Route("metadata", "versions", 1)),
    ],
)
def test_a_path_is_parsed_into_a_route(path, route):
    assert status.parse_path(path) == route


@pytest.mark.parametrize(
    "path",
    [
        *("/", "health", "health/", "health/live/", "health/dead", "HEALTH/live", "repository", "repository/index/1"),
        *("models", "models/", "models//infer", "models/xor/", "models/xor/predict", "models/xor/infer/x"),
        *("models/xor/stats", "models/xor/config", "models/xor/generate", "repository/models/xor/load"),
        *("models/xor/versions", "models/xor/versions/", "models/xor/versions/v1", "models/xor/versions/-1"),
        *("models/xor/versions/" + "9" * 5000, "models/xor/versions/１", "models/xor/infer\n", "models/xor\n"),
    ],
)
def test_an_unknown_path_has_no_route(path):
    assert status.parse_path(path) is None


@pytest.mark.parametrize(
    "name", ["..", ".", ".hidden", "%2e%2e", "..%2fxor", "%2fetc", "a/b", "a\\b", "../xor", "a b", "a\0", "ü", "-"]
)
def test_a_name_that_could_leave_the_model_folder_is_never_a_model(name):
    for path in (f"models/{name}", f"models/{name}/infer", f"models/{name}/versions/1/ready"):
        assert status.parse_path(path) is None


@pytest.mark.parametrize(
    ("answer", "arguments", "expected"),
    [
        (status.server_live, (), {"live": True}),
        (status.server_ready, (True,), {"ready": True, "live": True}),
        (status.server_ready, (False,), {"ready": False, "live": False}),
        (status.model_ready, ("xor", True), {"name": "xor", "ready": True}),
        (status.model_ready, ("xor", False), {"name": "xor", "ready": False}),
        (
            status.server_metadata,
            ("keras-functions", "1.0.0"),
            {"name": "keras-functions", "version": "1.0.0", "extensions": ["binary_tensor_data", "classification"]},
        ),
        (status.error_body, ('no "x": \ud800',), {"error": 'no "x": \ud800'}),
        (status.repository_index, ([], False), []),
    ],
)
def test_answers_are_json(answer, arguments, expected):
    assert json.loads(answer(*arguments)) == expected


@pytest.mark.parametrize(
    ("engine", "platform"), [("tensorflow", "tensorflow_savedmodel"), ("litert", "litert_flatbuffer")]
)
def test_metadata_list_a_models_versions_platform_and_tensors(engine, platform):
    signature = Signature(
        {"ids": spec("string", ()), "x": spec("float32", (None, 2))}, {"y": spec("bfloat16", None)}, ""
    )

    assert json.loads(status.model_metadata("xor", [1, 2], engine, signature)) == {
        "name": "xor",
        "versions": ["1", "2"],
        "platform": platform,
        "inputs": [
            {"name": "ids", "datatype": "BYTES", "shape": []},
            {"name": "x", "datatype": "FP32", "shape": [-1, 2]},
        ],
        "outputs": [{"name": "y", "datatype": "BF16", "shape": [-1]}],
    }


def test_metadata_of_a_type_without_a_datatype_are_refused():
    signature = Signature({"x": TensorSpec("x:0", 8, np.dtype(np.complex64), "complex64", ())}, {}, "")

    with pytest.raises(BadRequestError, match="x: the Open Inference Protocol has no datatype for complex64"):
        status.model_metadata("xor", [1], "tensorflow", signature)


def test_the_index_lists_each_version_with_its_state():
    statuses = [
        VersionStatus("a", 1, State.AVAILABLE),
        VersionStatus("b", 3, State.END, "the file is corrupt"),
        VersionStatus("b", 2, State.LOADING),
        VersionStatus("b", 1, State.START),
    ]
    ready = {"name": "a", "version": "1", "state": "READY", "reason": ""}

    assert json.loads(status.repository_index(statuses, ready_only=True)) == [ready]
    assert json.loads(status.repository_index(statuses, ready_only=False)) == [
        ready,
        {"name": "b", "version": "3", "state": "UNAVAILABLE", "reason": "the file is corrupt"},
        {"name": "b", "version": "2", "state": "LOADING", "reason": ""},
        {"name": "b", "version": "1", "state": "UNAVAILABLE", "reason": ""},
    ]


@pytest.mark.parametrize(
    ("body", "ready_only"), [(b"", False), (b"{}", False), (b'{"ready": false}', False), (b'{"ready": true}', True)]
)
def test_the_index_can_be_limited_to_ready_models(body, ready_only):
    assert status.decode_index(body) is ready_only


@pytest.mark.parametrize("body", [b"x", b"[]", b"null", b'{"ready": 1}', b'{"ready": null}', b"[" * 100_000])
def test_an_invalid_request_for_the_index_is_refused(body):
    with pytest.raises(BadRequestError, match=r"must be empty or a JSON object|not JSON|too deeply"):
        status.decode_index(body)
