"""The OpenAPI 3.1 document of the app, with the inputs and outputs of its models.

To describe a new endpoint, add a row to OPERATIONS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from serving import __version__
from serving.engines.signature import DEFAULT_SIGNATURE, Signature
from serving.functions import Function
from serving.openapi import examples
from serving.openapi.schemas import Schema, inference_tensors, object_of, one_or_by_name, row, rows_are_possible, tensor

_KEY = {"functionKey": {"type": "apiKey", "in": "header", "name": "x-functions-key"}}

_PROBLEM = object_of(
    {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
    description="RFC 9457; further members give the place of the mistake",
)
_ERROR = object_of({"error": {"type": "string"}})

Paths = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class ServedSignature:
    """A model's latest version and its default signature."""

    name: str
    version: int
    signature: Signature


def document(models: Sequence[ServedSignature], functions: Sequence[Function], server: str) -> dict[str, Any]:
    """Return the document of these functions; ``server`` is the base URL of all paths."""
    paths: dict[str, Any] = {}
    for function in functions:
        if function.is_http and function.endpoint in OPERATIONS:
            own = OPERATIONS[function.endpoint](function, models)
            if not function.needs_key:
                own = {path: _without_key(items) for path, items in own.items()}
            paths |= own
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Keras models on Azure Functions",
            "version": __version__,
            "description": "Predictions in three wire formats: the 2017 article's, TensorFlow Serving's REST API and "
            "the Open Inference Protocol v2.",
        },
        "servers": [{"url": server}],
        "components": {"securitySchemes": _KEY, "schemas": {"Problem": _PROBLEM, "Error": _ERROR}},
        "security": [{"functionKey": []}],
        "paths": paths,
    }


def _without_key(operations: dict[str, Any]) -> dict[str, Any]:
    return {method: {**operation, "security": []} for method, operation in operations.items()}


def _base(function: Function) -> str:
    """Return a function's path without its parameters: ``/v1/models`` for the route ``v1/models/{*path}``."""
    return "/" + function.route.partition("{")[0].rstrip("/")


def _predict_x(function: Function, models: Sequence[ServedSignature]) -> Paths:
    for model in models:
        if model.name == function.model and examples.x_labels(model.signature):
            return {_base(function): {"post": _predict_x_operation(function, model)}}
    return {}


def _predict_x_operation(function: Function, model: ServedSignature) -> Schema:
    [spec] = model.signature.inputs.values()
    x: Schema = tensor(spec)
    if spec.shape is not None and len(spec.shape) == 2 and spec.dtype_name not in ("string", "bool"):
        text = {"type": "string", "description": "rows separated by |, values by spaces", "examples": ["1 0|1 1"]}
        x = {"anyOf": [x, text]}
    labels = object_of({"labels": one_or_by_name(model.signature.outputs, tensor)})
    return {
        "operationId": f"predict_{function.name}",
        "tags": ["2017 format"],
        "summary": f"Predict with model {model.name}",
        "requestBody": _body(object_of({"X": x}), examples.x_labels(model.signature)),
        "responses": _responses(labels, _problems(415)),
    }


def _tf_serving(function: Function, models: Sequence[ServedSignature]) -> Paths:
    paths: Paths = {}
    for model in models:
        paths |= _tf_serving_model(f"{_base(function)}/{model.name}", model)
    return paths


def _tf_serving_model(base: str, model: ServedSignature) -> Paths:
    signature = model.signature
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


def _open_inference(function: Function, models: Sequence[ServedSignature]) -> Paths:
    paths = _open_inference_server(_base(function))
    for model in models:
        if examples.infer(model.signature):  # else one of its types has no datatype in the protocol
            paths |= _open_inference_model(f"{_base(function)}/models/{model.name}", model)
    return paths


def _open_inference_model(base: str, model: ServedSignature) -> Paths:
    signature, tags = model.signature, ["Open Inference Protocol v2"]
    request = object_of({"inputs": inference_tensors(signature.inputs)})
    request["properties"]["id"] = {"type": "string"}
    answer = object_of(
        {
            "model_name": {"const": model.name},
            "model_version": {"type": "string"},
            "outputs": inference_tensors(signature.outputs),
        }
    )
    infer = {
        "operationId": f"infer_{model.name}",
        "tags": tags,
        "summary": f"Predict with model {model.name}; the binary tensor extension is supported too",
        "requestBody": _body(request, examples.infer(signature)),
        "responses": _responses(answer, _errors()),
    }
    metadata = object_of({"name": {"const": model.name}, "platform": {"type": "string"}})
    ready = object_of({"name": {"const": model.name}, "ready": {"type": "boolean"}})
    return {
        f"{base}/infer": {"post": infer},
        base: {"get": _get(f"model_metadata_{model.name}", tags, "Inputs and outputs", metadata, _errors())},
        f"{base}/ready": {"get": _get(f"model_ready_{model.name}", tags, "Whether it is ready", ready, _errors())},
    }


def _open_inference_server(base: str) -> Paths:
    tags = ["Open Inference Protocol v2"]
    live, ready = object_of({"live": {"type": "boolean"}}), object_of({"ready": {"type": "boolean"}})
    server = object_of({"name": {"type": "string"}, "version": {"type": "string"}})
    index = {"type": "array", "items": object_of({"name": {"type": "string"}, "state": {"type": "string"}})}
    return {
        base: {"get": _get("server_metadata", tags, "Name, version and extensions", server, _errors())},
        f"{base}/health/live": {"get": _get("server_live", tags, "Whether the server is live", live, _errors())},
        f"{base}/health/ready": {"get": _get("server_ready", tags, "Whether the models are ready", ready, _errors())},
        f"{base}/repository/index": {
            "post": {
                "operationId": "repository_index",
                "tags": tags,
                "summary": "All models and their states",
                "responses": _responses(index, _errors()),
            }
        },
    }


def _classify(function: Function, models: Sequence[ServedSignature]) -> Paths:
    return {
        f"{_base(function)}/{model.name}/classify": {"post": _classify_operation(model)}
        for model in models
        if [spec.decode is not None for spec in model.signature.inputs.values()] == [True]
    }


def _classify_operation(model: ServedSignature) -> Schema:
    member = object_of({"class": {"type": "string"}, "index": {"type": "integer"}, "score": {"type": "number"}})
    classes = {"type": "array", "items": {"type": "array", "items": member}}
    answer = object_of({"predictions": classes, "model": {"const": model.name}, "version": {"type": "integer"}})
    top = {"name": "top", "in": "query", "schema": {"type": "integer", "minimum": 1, "default": 5}}
    file = {"type": "string", "format": "binary"}
    body = _body(object_of({"image": {"type": "string", "contentEncoding": "base64"}}), examples.PICTURE)
    body["content"] |= {
        "image/*": {"schema": file},
        "multipart/form-data": {"schema": object_of({"image": {"type": "array", "items": file}})},
    }
    return {
        "operationId": f"classify_{model.name}",
        "tags": ["pictures"],
        "summary": f"Classify pictures with model {model.name}",
        "parameters": [{**top, "description": "how many classes to return for each picture"}],
        "requestBody": body,
        "responses": _responses(answer, _problems(415)),
    }


def _health(function: Function, _: Sequence[ServedSignature]) -> Paths:
    state = object_of({"status": {"type": "string"}})
    paths = {}
    for path, what in (("", "ready"), ("/ready", "ready"), ("/live", "live")):
        operation = _get(
            f"probe_{what}{'_default' * (not path)}", ["health"], f"Whether the app is {what}", state, _problems()
        )
        operation["responses"]["503"] = _response("not ready", state)
        paths[_base(function) + path] = {"get": operation}
    return paths


def _page(function: Function, _: Sequence[ServedSignature]) -> Paths:
    page = {"200": {"description": "the page", "content": {"text/html": {"schema": {"type": "string"}}}}}
    operation = {"operationId": function.name, "tags": ["pages"], "summary": "Try the models", "responses": page}
    return {_base(function): {"get": operation}}


def _openapi(function: Function, _: Sequence[ServedSignature]) -> Paths:
    return {_base(function): {"get": _get("openapi", ["pages"], "This document", {"type": "object"}, _problems())}}


def _get(operation_id: str, tags: list[str], summary: str, schema: Schema, errors: dict[str, Any]) -> dict[str, Any]:
    return {"operationId": operation_id, "tags": tags, "summary": summary, "responses": _responses(schema, errors)}


def _body(schema: Schema, example: Any) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def _responses(schema: Schema, errors: dict[str, Any]) -> dict[str, Any]:
    return {"200": _response("the answer", schema), **errors}


def _response(description: str, schema: Schema, media_type: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}


_DESCRIPTIONS = {
    400: "the request is invalid; the message says where",
    404: "there is no such path, model or version",
    405: "the method is not allowed; Allow has those that are",
    413: "the body is larger than the app's limit",
    415: "the content type is not JSON",
    500: "the model or the app failed; the log has the cause",
    503: "the model can't be loaded now; Retry-After has the seconds to wait",
}


def _problems(*further: int) -> dict[str, Any]:
    return _failures("Problem", "application/problem+json", *further)


def _errors() -> dict[str, Any]:
    return _failures("Error", "application/json")


def _failures(schema: str, media_type: str, *further: int) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    codes = (400, 404, 405, 413, *further, 500, 503)
    return {str(code): _response(_DESCRIPTIONS[code], reference, media_type) for code in codes}


# What describes the paths of a function, by the class of its endpoint.
OPERATIONS: dict[str, Callable[[Function, Sequence[ServedSignature]], Paths]] = {
    "PredictX": _predict_x,
    "TfServing": _tf_serving,
    "OpenInference": _open_inference,
    "Classify": _classify,
    "Health": _health,
    "Page": _page,
    "OpenApi": _openapi,
}
