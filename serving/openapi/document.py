"""The OpenAPI 3.1 document of all that the app answers, with each model's real inputs and outputs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.engines.signature import DEFAULT_SIGNATURE, Signature
from serving.openapi import examples
from serving.openapi.schemas import Schema, inference_tensors, object_of, one_or_by_name, row, rows_are_possible, tensor
from serving.wire.open_inference_tensors import DATATYPES

_KEY = {"functionKey": {"type": "apiKey", "in": "header", "name": "x-functions-key"}}

_PROBLEM = object_of(
    {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
    description="RFC 9457; further members name the place of a mistake",
)
_ERROR = object_of({"error": {"type": "string"}})


@dataclass(frozen=True)
class ServedSignature:
    """A model's latest version and its default signature, as the document tells of it."""

    name: str
    version: int
    signature: Signature


def document(models: list[ServedSignature], endpoints: Mapping[str, str], server: str) -> dict[str, Any]:
    """Return the document.

    ``endpoints`` are the functions of the 2017 format with the model each serves, ``server`` the URL below which all
    paths lie.
    """
    by_name = {model.name: model for model in models}
    paths: dict[str, Any] = {}
    for endpoint, name in endpoints.items():
        if name in by_name and len(by_name[name].signature.inputs) == 1:
            paths[f"/{endpoint}"] = _predict_x(by_name[name], endpoint)
    for model in models:
        paths |= _tensorflow_serving(model) | _open_inference(model)
    paths |= _open_inference_server() | _health() | _pages()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Keras models on Azure Functions",
            "version": "1.0.0",
            "description": "One engine behind three wire formats: the 2017 article's, TensorFlow Serving's REST API "
            "and the Open Inference Protocol v2.",
        },
        "servers": [{"url": server}],
        "components": {"securitySchemes": _KEY, "schemas": {"Problem": _PROBLEM, "Error": _ERROR}},
        "security": [{"functionKey": []}],
        "paths": paths,
    }


def _predict_x(model: ServedSignature, endpoint: str) -> Schema:
    [spec] = model.signature.inputs.values()
    x: Schema = tensor(spec)
    if spec.shape is not None and len(spec.shape) == 2 and spec.dtype_name not in ("string", "bool"):
        text = {"type": "string", "description": "rows separated by |, values by spaces", "examples": ["1 0|1 1"]}
        x = {"anyOf": [x, text]}
    return {
        "post": {
            "operationId": f"predict_{endpoint}",
            "tags": ["2017 format"],
            "summary": f"Predict with model {model.name}",
            "requestBody": _body(object_of({"X": x}), examples.x_labels(model.signature)),
            "responses": _responses(
                object_of({"labels": one_or_by_name(model.signature.outputs, tensor)}), _problems(415)
            ),
        }
    }


def _tensorflow_serving(model: ServedSignature) -> dict[str, Any]:
    signature, base = model.signature, f"/v1/models/{model.name}"
    tags = ["TensorFlow Serving REST"]
    columns = object_of({"inputs": one_or_by_name(signature.inputs, tensor)})
    answers = [object_of({"outputs": one_or_by_name(signature.outputs, tensor)})]
    bodies = [columns]
    if rows_are_possible(signature):
        instance = {"type": "array", "items": one_or_by_name(signature.inputs, row)}
        prediction = {"type": "array", "items": one_or_by_name(signature.outputs, row)}
        bodies.insert(0, object_of({"instances": instance}))
        answers.insert(0, object_of({"predictions": prediction}))
    for body in bodies:
        body["properties"]["signature_name"] = {"type": "string", "default": DEFAULT_SIGNATURE}
    predict = {
        "operationId": f"tf_serving_predict_{model.name}",
        "tags": tags,
        "summary": f"Predict with model {model.name}, by rows or by columns",
        "requestBody": _body({"anyOf": bodies}, examples.instances(signature)),
        "responses": _responses({"anyOf": answers}, _errors()),
    }
    status = object_of({"model_version_status": {"type": "array", "items": {"type": "object"}}})
    metadata = object_of({"model_spec": {"type": "object"}, "metadata": {"type": "object"}})
    return {
        f"{base}:predict": {"post": predict},
        base: {"get": _get(f"tf_serving_status_{model.name}", tags, "State of every version", status, _errors())},
        f"{base}/metadata": {"get": _get(f"tf_serving_metadata_{model.name}", tags, "Signatures", metadata, _errors())},
    }


def _open_inference(model: ServedSignature) -> dict[str, Any]:
    signature, base = model.signature, f"/v2/models/{model.name}"
    datatypes, tags = DATATYPES, ["Open Inference Protocol v2"]
    request = object_of({"inputs": inference_tensors(signature.inputs, datatypes)})
    request["properties"]["id"] = {"type": "string"}
    answer = object_of(
        {
            "model_name": {"const": model.name},
            "model_version": {"type": "string"},
            "outputs": inference_tensors(signature.outputs, datatypes),
        }
    )
    infer = {
        "operationId": f"infer_{model.name}",
        "tags": tags,
        "summary": f"Predict with model {model.name}; the binary tensor extension is understood too",
        "requestBody": _body(request, examples.infer(signature, datatypes)),
        "responses": _responses(answer, _errors()),
    }
    metadata = object_of({"name": {"const": model.name}, "platform": {"type": "string"}})
    ready = object_of({"name": {"const": model.name}, "ready": {"type": "boolean"}})
    return {
        f"{base}/infer": {"post": infer},
        base: {"get": _get(f"model_metadata_{model.name}", tags, "Inputs and outputs", metadata, _errors())},
        f"{base}/ready": {"get": _get(f"model_ready_{model.name}", tags, "Whether it is ready", ready, _errors())},
    }


def _open_inference_server() -> dict[str, Any]:
    tags = ["Open Inference Protocol v2"]
    live, ready = object_of({"live": {"type": "boolean"}}), object_of({"ready": {"type": "boolean"}})
    server = object_of({"name": {"type": "string"}, "version": {"type": "string"}})
    index = {"type": "array", "items": object_of({"name": {"type": "string"}, "state": {"type": "string"}})}
    return {
        "/v2": {"get": _get("server_metadata", tags, "Name, version and extensions", server, _errors())},
        "/v2/health/live": {"get": _get("server_live", tags, "Whether the server is live", live, _errors())},
        "/v2/health/ready": {"get": _get("server_ready", tags, "Whether the models are ready", ready, _errors())},
        "/v2/repository/index": {
            "post": {
                "operationId": "repository_index",
                "tags": tags,
                "summary": "All models and their states",
                "responses": _responses(index, _errors()),
            }
        },
    }


def _health() -> dict[str, Any]:
    state = object_of({"status": {"type": "string"}})
    paths = {}
    for path, what in (("health", "ready"), ("health/ready", "ready"), ("health/live", "live")):
        operation = _get(
            f"probe_{path.replace('/', '_')}", ["health"], f"Whether the app is {what}", state, _problems()
        )
        operation["security"] = []
        operation["responses"]["503"] = _response("not ready", state)
        paths[f"/{path}"] = {"get": operation}
    return paths


def _pages() -> dict[str, Any]:
    page = {"200": {"description": "the page", "content": {"text/html": {"schema": {"type": "string"}}}}}
    playground = {"operationId": "playground", "tags": ["pages"], "summary": "Try the models", "responses": page}
    own = _get("openapi", ["pages"], "This document", {"type": "object"}, _problems())
    return {
        "/playground": {"get": {**playground, "security": []}},
        "/openapi.json": {"get": {**own, "security": []}},
    }


def _get(operation_id: str, tags: list[str], summary: str, schema: Schema, errors: dict[str, Any]) -> dict[str, Any]:
    return {"operationId": operation_id, "tags": tags, "summary": summary, "responses": _responses(schema, errors)}


def _body(schema: Schema, example: Any) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def _responses(schema: Schema, errors: dict[str, Any]) -> dict[str, Any]:
    return {"200": _response("answered", schema), **errors}


def _response(description: str, schema: Schema, media_type: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}


_DESCRIPTIONS = {
    400: "a mistake in the request; says where it is",
    404: "no such model or version",
    405: "another method is right; Allow says which",
    413: "the body is over the app's limit",
    415: "the body is not JSON by its content type",
    500: "the model or the app failed; the log has the cause",
    503: "the model can't be loaded now; Retry-After says when to try again",
}


def _problems(*further: int) -> dict[str, Any]:
    return _failures("Problem", "application/problem+json", *further)


def _errors() -> dict[str, Any]:
    return _failures("Error", "application/json")


def _failures(schema: str, media_type: str, *further: int) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    codes = (400, 404, 405, 413, *further, 500, 503)
    return {str(code): _response(_DESCRIPTIONS[code], reference, media_type) for code in codes}
