"""The OpenAPI document is valid for signatures of every kind, and has each model's shapes and types."""

import json

import pytest
from openapi_spec_validator import validate

from serving.engines.signature import Signature
from serving.functions import Function
from serving.openapi import document as openapi
from serving.openapi import examples
from serving.openapi.document import ServedSignature
from tests.unit.specs import signature, spec

SIGNATURES = {
    "one input": signature(x=spec()),
    "several inputs": signature(a=spec(), b=spec("int64", (None,))),
    "strings": signature(words=spec("string", (None, 3))),
    "a scalar": signature(x=spec("bool", ())),
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
    function("E", "OpenApi", "openapi.json", level="anonymous"),
    function("Own", None),
    Function("Timer", {"type": "timerTrigger"}, None, None),
]


def document(one):
    return openapi.document([ServedSignature("model", 3, one)], FUNCTIONS, ".")


@pytest.mark.parametrize("name", SIGNATURES)
def test_it_is_valid_open_api_3_1(name):
    validate(json.loads(json.dumps(document(SIGNATURES[name]))))


def schema(path, one=SIGNATURES["one input"]):
    return document(one)["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]


def test_the_2017_format_takes_rows_as_lists_or_text():
    lists, text = schema("/PredictIt")["properties"]["X"]["anyOf"]

    row = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    assert lists == {"type": "array", "items": row}
    assert text["type"] == "string"


def test_a_model_of_several_inputs_has_no_2017_endpoint():
    assert "/PredictIt" not in document(SIGNATURES["several inputs"])["paths"]


def test_rows_are_left_out_where_the_batch_is_fixed():
    bodies = schema("/v1/models/model:predict", SIGNATURES["a fixed batch"])["anyOf"]

    assert [next(iter(body["properties"])) for body in bodies] == ["inputs"]


def test_integers_have_the_range_of_their_type():
    [body] = schema("/v1/models/model:predict", SIGNATURES["a fixed batch"])["anyOf"]
    values = body["properties"]["inputs"]["items"]["items"]["items"]["items"]

    assert values == {"type": "integer", "minimum": 0, "maximum": 255}


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
