"""The OpenAPI document is valid for signatures of every kind, and has each model's shapes and types."""

import json
import re
import subprocess

import numpy as np
import pytest
from openapi_spec_validator import validate

from serving import __version__
from serving.engines.signature import Signature, TensorSpec
from serving.functions import Function
from serving.models import example
from serving.openapi import document as openapi
from serving.openapi import examples, schemas
from serving.openapi.document import ServedSignature
from serving.preprocessing.fitting import fit
from serving.preprocessing.recipe import Image, Recipe
from serving.wire import open_inference, tf_serving, uploads, x_labels
from serving.wire.json_tensors import free
from tests.unit.picture_files import signature as pictured
from tests.unit.specs import signature, spec

SIGNATURES = {
    "one input": signature(x=spec()),
    "several inputs": signature(a=spec(), b=spec("int64", (None,))),
    "several fixed inputs": signature(a=spec(shape=(2,)), b=spec(shape=(3,))),
    "strings": signature(words=spec("string", (None, 3))),
    "a scalar": signature(x=spec("bool", ())),
    "a table of flags": signature(x=spec("bool", (None, 2))),
    "a fixed batch": signature(x=spec("uint8", (1, 4, 4, 3))),
    "unknown rank": signature(x=spec(shape=None)),
    "several outputs": Signature({"x": spec()}, {"a": spec(), "b": spec("string", (None,))}, ""),
}


def function(name, endpoint, route=None, model=None, level="function"):
    return Function(name, {"type": "httpTrigger", "route": route, "authLevel": level}, endpoint, model)


FUNCTIONS = [
    function("PredictIt", "PredictX", model="model"),
    function("A", "TfServing", "v1/models/{*path}"),
    function("B", "OpenInference", "v2/{*path}"),
    function("C", "Health", "health/{path?}", level="anonymous"),
    function("D", "Page", "playground", level="anonymous"),
    function("F", "Classify", "models/{*path}"),
    function("E", "OpenApi", "openapi.json", level="anonymous"),
    function("Own", None),
    Function("Timer", {"type": "timerTrigger"}, None, None),
]


def document(one, **others):
    models = [ServedSignature(name, signature) for name, signature in {"model": one, **others}.items()]
    return openapi.document(models, FUNCTIONS, ".")


def resolved(value, content):
    """Return a part of a document with what its references stand for."""
    if isinstance(value, dict) and "$ref" in value:
        [component] = [content["components"][kind][name] for kind, name in [value["$ref"].split("/")[2:]]]
        return resolved(component, content)
    if isinstance(value, dict):
        return {key: resolved(member, content) for key, member in value.items()}
    return [resolved(member, content) for member in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", SIGNATURES)
def test_it_is_valid_open_api_3_1(name):
    validate(json.loads(json.dumps(document(SIGNATURES[name]))))


def brief(schema):
    """Return a schema in one line, such as ``{X: [[number]*2]}``: ``*2`` is a list's length, ``?`` may be missing."""
    if "anyOf" in schema:
        return " | ".join(map(brief, schema["anyOf"]))
    if "const" in schema:
        return repr(schema["const"])
    kind = schema.get("type", "any")
    if kind == "array":
        assert schema.get("minItems") == schema.get("maxItems")
        return f"[{brief(schema['items'])}]" + (f"*{schema['minItems']}" if "minItems" in schema else "")
    if kind == "object" and "properties" in schema:
        members = (
            f"{name}{'?' * (name not in schema['required'])}: {brief(member)}"
            for name, member in schema["properties"].items()
        )
        return f"{{{', '.join(members)}}}"
    return kind + (f">={schema['minimum']}" if "minimum" in schema else "")


X = "[[number]*2]"
MEMBERS = "{a: [[number]*2], b: [string]}"
INFERENCE = "name: {}, datatype: {}, shape: [integer>=0], data: [any]"
IN, A, B = (
    INFERENCE.format(repr(name), repr(datatype)) for name, datatype in (("x", "FP32"), ("a", "FP32"), ("b", "BYTES"))
)
COLUMNS = f"{{instances: {X}, signature_name?: string}} | {{inputs: {X}, signature_name?: string}}"
PREDICTED = f"{{predictions: [{{a: [number]*2, b: string}}]}} | {{outputs: {MEMBERS}}}"
STATE, TYPES = "{status: string}", {"Problem": "application/problem+json", "Error": "application/json"}

# The id, the body of a request, the answer and the form of errors of each operation.
OPERATIONS = {
    "post /PredictIt": ("predict_PredictIt", f"{{X: {X} | string}}", f"{{labels: {MEMBERS}}}", "Problem"),
    "post /v1/models/model:predict": ("tf_serving_predict_model", COLUMNS, PREDICTED, "Error"),
    "get /v1/models/model": ("tf_serving_status_model", None, "{model_version_status: [object]}", "Error"),
    "get /v1/models/model/metadata": (
        *("tf_serving_metadata_model", None, "{model_spec: object, metadata: object}", "Error"),
    ),
    "get /v2": ("server_metadata", None, "{name: string, version: string}", "Error"),
    "get /v2/health/live": ("server_live", None, "{live: boolean}", "Error"),
    "get /v2/health/ready": ("server_ready", None, "{ready: boolean}", "Error"),
    "post /v2/repository/index": ("repository_index", None, "[{name: string, state: string}]", "Error"),
    "post /v2/models/model/infer": (
        "infer_model",
        f"{{inputs: [{{{IN}}}], id?: string}}",
        f"{{model_name: 'model', model_version: string, outputs: [{{{A}}} | {{{B}}}]}}",
        "Error",
    ),
    "get /v2/models/model": ("model_metadata_model", None, "{name: string, platform: string}", "Error"),
    "get /v2/models/model/ready": ("model_ready_model", None, "{name: string, ready: boolean}", "Error"),
    "get /health": ("probe_ready_default", None, STATE, "Problem"),
    "get /health/ready": ("probe_ready", None, STATE, "Problem"),
    "get /health/live": ("probe_live", None, STATE, "Problem"),
    "get /playground": ("D", None, "string", ""),
    "get /openapi.json": ("openapi", None, "object", "Problem"),
}


def test_every_operation_has_its_schemas():
    found, content = {}, document(SIGNATURES["several outputs"])
    for path, operations in content["paths"].items():
        for method, described in operations.items():
            errors = described["responses"].get("404", {"$ref": ""})["$ref"].rpartition("/")[2].removesuffix("404")
            operation = resolved(described, content)
            body = operation.get("requestBody")
            assert body is None or body["required"] is True
            request = body and brief(body["content"]["application/json"]["schema"])
            [(media_type, answer)] = operation["responses"]["200"]["content"].items()
            assert media_type == ("text/html" if path == "/playground" else "application/json")
            if errors:
                assert list(operation["responses"]["404"]["content"]) == [TYPES[errors]]
            found[f"{method} {path}"] = (operation["operationId"], request, brief(answer["schema"]), errors)

    assert found == OPERATIONS


def test_every_operation_has_the_errors_that_it_can_answer():
    codes, content = {"400", "404", "405", "413", "415", "500", "503"}, document(SIGNATURES["one input"])
    for path, operations in content["paths"].items():
        for operation in resolved(operations, content).values():
            errors = operation["responses"].keys() - {"200"}
            assert errors == (set() if path == "/playground" else codes)
            if path.startswith("/health"):
                not_ready = operation["responses"]["503"]["content"]["application/json"]["schema"]
                assert brief(not_ready) == STATE


def test_the_document_says_where_it_is_served_and_by_which_key():
    content = document(SIGNATURES["one input"])

    assert content["servers"] == [{"url": "."}]
    assert content["info"]["version"] == __version__
    assert content["components"]["securitySchemes"] == {
        "functionKey": {"type": "apiKey", "in": "header", "name": "x-functions-key"}
    }
    assert content["security"] == [{"functionKey": []}]
    without_key = {
        path
        for path, operations in content["paths"].items()
        if [one.get("security") for one in operations.values()] == [[]]
    }
    assert without_key == {"/health", "/health/ready", "/health/live", "/playground", "/openapi.json"}


def test_schemas_have_names_and_models_share_those_that_are_equal():
    content = document(SIGNATURES["one input"], other=SIGNATURES["one input"])

    schemas = content["components"]["schemas"]
    assert brief(schemas["Problem"]) == "{type: string, title: string, status: integer, detail: string}"
    assert brief(schemas["tensor.float32.Nx2"]) == "[[number]*2]"
    assert brief(schemas["tensor.float32.1"]) == "[number]*1"
    own = {name.partition("_")[2] for name in schemas if name.startswith("other")}
    assert own == {"predict_request", "predict_response", "infer_request", "infer_response"}
    media_types = [
        media_type
        for operations in content["paths"].values()
        for operation in operations.values()
        for part in (operation.get("requestBody", {}), operation["responses"]["200"])
        for media_type in part.get("content", {}).values()
        if media_type["schema"] != {"type": "string"}  # of the page
    ]
    assert all(list(media_type["schema"]) == ["$ref"] for media_type in media_types)


IMAGES = Signature({"image": spec(shape=(None, 224, 224, 3))}, {"scores": spec(shape=(None, 1000))}, "")


def test_a_document_of_twelve_image_models_is_small():
    content = document(IMAGES, **{f"model{number}": IMAGES for number in range(11)})

    validate(content)
    assert len(json.dumps(content)) < 128 * 1024
    infer = content["paths"]["/v2/models/model/infer"]["post"]
    assert list(infer["requestBody"]["content"]) == ["application/json", "application/octet-stream"]
    assert [parameter["name"] for parameter in infer["parameters"]] == [open_inference.HEADER_LENGTH]


@pytest.mark.parametrize("shape", [(None, 10**9), (10**9, 10**9), (1,) * 100_000, (0, 10**12)])
def test_no_shape_makes_a_large_document(shape):
    content = document(signature(x=spec(shape=shape)))

    assert len(json.dumps(content)) < 32 * 1024


@pytest.mark.parametrize("one", [IMAGES, signature(a=spec(shape=(None, 300)), b=spec("string", (300,)))])
def test_a_command_makes_what_is_too_long_to_be_written(one):
    for wire_format in examples.FORMATS:
        command = examples.command(wire_format, one, "http://localhost/api")
        if command is None:
            assert wire_format.path == "Predict{Name}"
            assert len(one.inputs) == 2
            continue
        assert len(command) < 400
        made = subprocess.run(["bash", "-c", command.rpartition(" | ")[0]], capture_output=True, check=True).stdout
        length = re.findall(f"{open_inference.HEADER_LENGTH}: ([0-9]+)", command)
        feeds = decode(wire_format.path, made, int(length[0]) if length else None, one)
        assert {name: array.shape for name, array in feeds.items()} == {
            name: spec.example.shape for name, spec in example.guessed(one).inputs.items()
        }


def decode(path, body, length, one):
    if path.startswith("v1"):
        return tf_serving.decode_predict(body, {"serving_default": one}).feeds
    return open_inference.decode_infer(body, length, one).feeds if path.startswith("v2") else x_labels.decode(body, one)


def test_a_request_that_is_too_large_to_be_sent_has_no_command():
    for wire_format in examples.FORMATS:
        command = examples.command(wire_format, signature(x=spec(shape=(None, 10**9))), "http://localhost/api")
        assert command.startswith("# The example is over ")


@pytest.mark.parametrize(
    ("one", "path", "expected"),
    [
        ("strings", "/PredictIt", "{X: [[string]*3]}"),
        ("a table of flags", "/PredictIt", "{X: [[boolean]*2]}"),
        ("a fixed batch", "/PredictIt", "{X: [[[[integer>=0]*3]*4]*4]*1}"),
        ("a scalar", "/v1/models/model:predict", "{inputs: boolean, signature_name?: string}"),
        ("unknown rank", "/v1/models/model:predict", "{instances: [any], signature_name?: string}"),
        (
            "several inputs",
            "/v1/models/model:predict",
            "{instances: [{a: [number]*2, b: integer>=-9223372036854775808}], signature_name?: string}",
        ),
    ],
)
def test_a_body_has_the_shape_and_the_types_of_the_signature(one, path, expected):
    assert brief(schema(path, SIGNATURES[one])).split(" | {")[0] == expected


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_example_of_a_body_can_be_sent(name):
    one, paths = SIGNATURES[name], document(SIGNATURES[name])["paths"]
    bodies = {
        path: json.dumps(operations["post"]["requestBody"]["content"]["application/json"]["example"]).encode()
        for path, operations in paths.items()
        if "requestBody" in operations.get("post", {})
    }

    feeds = [tf_serving.decode_predict(bodies["/v1/models/model:predict"], {"serving_default": one}).feeds]
    feeds.append(open_inference.decode_infer(bodies["/v2/models/model/infer"], None, one).feeds)
    if "/PredictIt" in bodies:
        feeds.append(x_labels.decode(bodies["/PredictIt"], one))
    shapes = {key: spec.example.shape for key, spec in example.guessed(one).inputs.items()}
    assert [{key: array.shape for key, array in found.items()} for found in feeds] == [shapes] * len(feeds)


def test_a_model_that_takes_pictures_has_a_path_for_them():
    takes_pictures = fit(Recipe(Image()), {"serving_default": pictured((8, 8, 1))})
    described = takes_pictures.described({"serving_default": pictured((8, 8, 1))})["serving_default"]

    operation = document(described)["paths"]["/models/model/classify"]["post"]

    content = operation["requestBody"]["content"]
    assert list(content) == ["application/json", "application/octet-stream", "multipart/form-data"]
    body = json.dumps(content["application/json"]["example"]).encode()
    assert takes_pictures.picture.decode(uploads.decode(body, "application/json"), free).shape == (1, 8, 8, 1)
    assert "/models/model/classify" not in document(pictured((8, 8, 1)))["paths"]
    validate(json.loads(json.dumps(document(described))))


def test_every_model_has_its_paths():
    models = [ServedSignature(name, SIGNATURES["one input"]) for name in ("a", "model", "z")]

    paths = openapi.document(models, FUNCTIONS, ".")["paths"]

    assert "/PredictIt" in paths
    for name in ("a", "model", "z"):
        assert {f"/v1/models/{name}:predict", f"/v2/models/{name}/infer"} <= paths.keys()


def test_a_model_without_a_datatype_has_no_open_inference_paths():
    paths = document(signature(x=TensorSpec("x:0", 8, np.dtype(np.complex64), "complex64", (None,))))["paths"]

    assert "/v2" in paths
    assert "/v2/models/model" not in paths


def schema(path, one=SIGNATURES["one input"]):
    content = document(one)
    body = content["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return resolved(body, content)


def test_the_2017_format_takes_rows_as_lists_or_text():
    lists, text = schema("/PredictIt")["properties"]["X"]["anyOf"]

    row = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    assert lists == {"type": "array", "items": row}
    assert text["type"] == "string"


@pytest.mark.parametrize("name", SIGNATURES)
def test_only_a_model_of_one_input_that_is_a_list_has_a_2017_endpoint(name):
    assert ("/PredictIt" in document(SIGNATURES[name])["paths"]) == (
        len(SIGNATURES[name].inputs) == 1 and name != "a scalar"
    )


def test_rows_are_left_out_where_the_batch_is_fixed():
    bodies = schema("/v1/models/model:predict", SIGNATURES["a fixed batch"])["anyOf"]

    assert [next(iter(body["properties"])) for body in bodies] == ["inputs"]


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_integers_have_the_range_of_their_type(dtype):
    limits = np.iinfo(dtype)

    assert schemas.value(dtype) == {"type": "integer", "minimum": limits.min, "maximum": limits.max}


@pytest.mark.parametrize("name", SIGNATURES)
def test_every_operation_has_an_id_of_its_own(name):
    operations = [operation for path in document(SIGNATURES[name])["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]

    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("one", "body"),
    [
        (SIGNATURES["one input"], {"instances": [[1.0, 0.0], [0.0, 1.0]]}),
        (SIGNATURES["several inputs"], {"instances": [{"a": [1.0, 0.0], "b": 1}, {"a": [0.0, 1.0], "b": 0}]}),
        (SIGNATURES["a scalar"], {"inputs": False}),
        (SIGNATURES["strings"], {"instances": [["a", "b", "a"], ["b", "a", "b"]]}),
    ],
)
def test_examples_have_the_form_that_the_signature_asks_for(one, body):
    assert examples.instances(one) == body
