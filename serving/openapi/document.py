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
from serving.openapi.schemas import (
    Components,
    Schema,
    inference_tensors,
    object_of,
    one_or_by_name,
    reference,
    rows_are_possible,
)
from serving.wire.open_inference import HEADER_LENGTH

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
    """A model and the default signature of its latest version."""

    name: str
    signature: Signature


def document(models: Sequence[ServedSignature], functions: Sequence[Function], server: str = ".") -> dict[str, Any]:
    """Return the document of these functions; ``server`` is the base URL of all paths."""
    paths: dict[str, Any] = {}
    components = Components(Problem=_PROBLEM, Error=_ERROR)
    for function in functions:
        if function.is_http and function.endpoint in OPERATIONS:
            own = OPERATIONS[function.endpoint](function, models, components)
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
        "components": {"securitySchemes": _KEY, "schemas": components.schemas, "responses": _failures()},
        "security": [{"functionKey": []}],
        "paths": paths,
    }


def _without_key(operations: dict[str, Any]) -> dict[str, Any]:
    return {method: {**operation, "security": []} for method, operation in operations.items()}


def _base(function: Function) -> str:
    """Return a function's path without its parameters: ``/v1/models`` for the route ``v1/models/{*path}``."""
    return "/" + function.route.partition("{")[0].rstrip("/")


def _predict_x(function: Function, models: Sequence[ServedSignature], components: Components) -> Paths:
    for model in models:
        if model.name == function.model and examples.fits_x_labels(model.signature):
            return {_base(function): {"post": _predict_x_operation(function, model, components)}}
    return {}


def _predict_x_operation(function: Function, model: ServedSignature, components: Components) -> Schema:
    [spec] = model.signature.inputs.values()
    x: Schema = components.tensor(spec)
    if spec.shape is not None and len(spec.shape) == 2 and spec.dtype_name not in ("string", "bool"):
        text = {"type": "string", "description": "rows separated by |, values by spaces", "examples": ["1 0|1 1"]}
        x = {"anyOf": [x, text]}
    request = components.add(f"{function.name}_request", object_of({"X": x}))
    labels = object_of({"labels": one_or_by_name(model.signature.outputs, components.tensor)})
    return {
        "operationId": f"predict_{function.name}",
        "tags": ["2017 format"],
        "summary": f"Predict with model {model.name}",
        "requestBody": _body(request, examples.x_labels(model.signature), examples.is_guess(model.signature)),
        "responses": _responses(components.add(f"{function.name}_response", labels), _problems()),
    }


def _tf_serving(function: Function, models: Sequence[ServedSignature], components: Components) -> Paths:
    paths: Paths = {}
    for model in models:
        paths |= _tf_serving_model(f"{_base(function)}/{model.name}", model, components)
    return paths


def _tf_serving_model(base: str, model: ServedSignature, components: Components) -> Paths:
    signature = model.signature
    tags = ["TensorFlow Serving REST"]
    columns = object_of({"inputs": one_or_by_name(signature.inputs, components.tensor)})
    answers = [object_of({"outputs": one_or_by_name(signature.outputs, components.tensor)})]
    bodies = [columns]
    if rows_are_possible(signature):
        instance = {"type": "array", "items": one_or_by_name(signature.inputs, components.row)}
        prediction = {"type": "array", "items": one_or_by_name(signature.outputs, components.row)}
        bodies.insert(0, object_of({"instances": instance}))
        answers.insert(0, object_of({"predictions": prediction}))
    for body in bodies:
        body["properties"]["signature_name"] = {"type": "string", "default": DEFAULT_SIGNATURE}
    request = components.add(f"{model.name}_predict_request", {"anyOf": bodies})
    answer = components.add(f"{model.name}_predict_response", {"anyOf": answers})
    predict = {
        "operationId": f"tf_serving_predict_{model.name}",
        "tags": tags,
        "summary": f"Predict with model {model.name}, by rows or by columns",
        "requestBody": _body(request, examples.instances(signature), examples.is_guess(signature)),
        "responses": _responses(answer, _errors()),
    }
    versions = object_of({"model_version_status": {"type": "array", "items": {"type": "object"}}})
    status = components.add("model_status", versions)
    signatures = object_of({"model_spec": {"type": "object"}, "metadata": {"type": "object"}})
    metadata = components.add("model_signatures", signatures)
    return {
        f"{base}:predict": {"post": predict},
        base: {"get": _get(f"tf_serving_status_{model.name}", tags, "State of every version", status, _errors())},
        f"{base}/metadata": {"get": _get(f"tf_serving_metadata_{model.name}", tags, "Signatures", metadata, _errors())},
    }


def _open_inference(function: Function, models: Sequence[ServedSignature], components: Components) -> Paths:
    paths = _open_inference_server(_base(function), components)
    for model in models:
        if examples.fits_infer(model.signature):
            paths |= _open_inference_model(f"{_base(function)}/models/{model.name}", model, components)
    return paths


def _open_inference_model(base: str, model: ServedSignature, components: Components) -> Paths:
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
    infer: dict[str, Any] = {
        "operationId": f"infer_{model.name}",
        "tags": tags,
        "summary": f"Predict with model {model.name}; the binary tensor extension is supported too",
        "requestBody": _body(
            components.add(f"{model.name}_infer_request", request),
            examples.infer(signature),
            examples.is_guess(signature),
        ),
        "responses": _responses(components.add(f"{model.name}_infer_response", answer), _errors()),
    }
    if not examples.is_short(signature):
        infer["parameters"] = [_JSON_LENGTH]
        infer["requestBody"]["content"]["application/octet-stream"] = {"schema": _BINARY}
    metadata = components.add("model_metadata", object_of({"name": {"type": "string"}, "platform": {"type": "string"}}))
    ready = components.add("model_ready", object_of({"name": {"type": "string"}, "ready": {"type": "boolean"}}))
    return {
        f"{base}/infer": {"post": infer},
        base: {"get": _get(f"model_metadata_{model.name}", tags, "Inputs and outputs", metadata, _errors())},
        f"{base}/ready": {"get": _get(f"model_ready_{model.name}", tags, "Whether it is ready", ready, _errors())},
    }


# How an input that is too large for an example is sent.
_BINARY = {"type": "string", "format": "binary"}
_JSON_LENGTH = {
    "name": HEADER_LENGTH,
    "in": "header",
    "description": "bytes of JSON before the raw little-endian values of the inputs; 0 where the body is only the raw "
    "values of the single input",
    "schema": {"type": "integer", "minimum": 0},
}


def _open_inference_server(base: str, components: Components) -> Paths:
    tags = ["Open Inference Protocol v2"]
    live = components.add("server_live", object_of({"live": {"type": "boolean"}}))
    ready = components.add("server_ready", object_of({"ready": {"type": "boolean"}}))
    about = object_of({"name": {"type": "string"}, "version": {"type": "string"}})
    server = components.add("server_metadata", about)
    entry = object_of({"name": {"type": "string"}, "state": {"type": "string"}})
    index = components.add("repository_index", {"type": "array", "items": entry})
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


def _classify(function: Function, models: Sequence[ServedSignature], components: Components) -> Paths:
    return {
        f"{_base(function)}/{model.name}/classify": {"post": _classify_operation(model, components)}
        for model in models
        if [spec.decode is not None for spec in model.signature.inputs.values()] == [True]
    }


def _classify_operation(model: ServedSignature, components: Components) -> Schema:
    member = object_of({"class": {"type": "string"}, "index": {"type": "integer"}, "score": {"type": "number"}})
    classes = {"type": "array", "items": {"type": "array", "items": member}}
    answer = object_of({"predictions": classes, "model": {"const": model.name}, "version": {"type": "integer"}})
    picture = components.add("picture", object_of({"image": {"type": "string", "contentEncoding": "base64"}}))
    form = components.add("pictures_form", object_of({"image": {"type": "array", "items": _BINARY}}))
    top = {"name": "top", "in": "query", "schema": {"type": "integer", "minimum": 1, "default": 5}}
    body = _body(picture, examples.PICTURE)
    body["content"] |= {"application/octet-stream": {"schema": _BINARY}, "multipart/form-data": {"schema": form}}
    return {
        "operationId": f"classify_{model.name}",
        "tags": ["pictures"],
        "summary": f"Classify pictures with model {model.name}",
        "parameters": [{**top, "description": "how many classes to return for each picture"}],
        "requestBody": body,
        "responses": _responses(components.add(f"{model.name}_classify_response", answer), _problems()),
    }


def _health(function: Function, _: Sequence[ServedSignature], components: Components) -> Paths:
    state = components.add("health", object_of({"status": {"type": "string"}}))
    paths = {}
    for path, what in (("", "ready"), ("/ready", "ready"), ("/live", "live")):
        operation = _get(
            f"probe_{what}{'_default' * (not path)}", ["health"], f"Whether the app is {what}", state, _problems()
        )
        operation["responses"]["503"] = _response("not ready", state)
        paths[_base(function) + path] = {"get": operation}
    return paths


def _page(function: Function, _: Sequence[ServedSignature], __: Components) -> Paths:
    page = {"200": {"description": "the page", "content": {"text/html": {"schema": {"type": "string"}}}}}
    operation = {"operationId": function.name, "tags": ["pages"], "summary": "Try the models", "responses": page}
    return {_base(function): {"get": operation}}


def _openapi(function: Function, _: Sequence[ServedSignature], components: Components) -> Paths:
    schema = components.add("document", {"type": "object"})
    return {_base(function): {"get": _get("openapi", ["pages"], "This document", schema, _problems())}}


def _get(operation_id: str, tags: list[str], summary: str, schema: Schema, errors: dict[str, Any]) -> dict[str, Any]:
    return {"operationId": operation_id, "tags": tags, "summary": summary, "responses": _responses(schema, errors)}


def _body(schema: Schema, example: Any, is_guess: bool = False) -> dict[str, Any]:
    """Return a request's body; ``x-guess`` says that nobody has seen the model take the example."""
    content = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {"required": True, "content": {"application/json": content}, **({"x-guess": True} if is_guess else {})}


def _responses(schema: Schema, errors: dict[str, Any]) -> dict[str, Any]:
    return {"200": _response("the answer", schema), **errors}


def _response(description: str, schema: Schema, media_type: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}


_DESCRIPTIONS = {
    400: "the request is invalid; the message says where",
    404: "there is no such path, model or version",
    405: "the method is not allowed; Allow has those that are",
    413: "the body is larger than the app's limit",
    415: "the content type or the content encoding is not supported",
    500: "the model or the app failed; the log has the cause",
    503: "the model can't be loaded, or the request can't be taken, now; Retry-After has the seconds to wait",
}


_FORMS = {"Problem": "application/problem+json", "Error": "application/json"}


def _problems() -> dict[str, Any]:
    return _references("Problem")


def _errors() -> dict[str, Any]:
    return _references("Error")


def _references(form: str) -> dict[str, Any]:
    return {str(code): reference("responses", f"{form}{code}") for code in _DESCRIPTIONS}


def _failures() -> dict[str, Any]:
    """Return the responses that are errors, in each form."""
    return {
        f"{form}{code}": _response(description, reference("schemas", form), media_type)
        for form, media_type in _FORMS.items()
        for code, description in _DESCRIPTIONS.items()
    }


# What describes the paths of a function, by the class of its endpoint.
OPERATIONS: dict[str, Callable[[Function, Sequence[ServedSignature], Components], Paths]] = {
    "PredictX": _predict_x,
    "TfServing": _tf_serving,
    "OpenInference": _open_inference,
    "Classify": _classify,
    "Health": _health,
    "Page": _page,
    "OpenApi": _openapi,
}
