"""Plays the parts of the Functions host that a function can notice: how ``function.json`` and requests become messages.

Pure functions between HTTP and messages. The originals are in Azure/azure-functions-host: ``ToRpcHttp`` in
``GrpcMessageConversionExtensions.cs`` for requests, ``HttpBinding.cs`` and ``RawScriptResult.cs`` for responses.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tools.worker_host.messages import (
    BindingInfo,
    DataType,
    Direction,
    InvocationRequest,
    ParameterBinding,
    RpcFunctionMetadata,
    RpcHttp,
    RpcLog,
    TypedData,
)

_ORIGIN = "https://app.azurewebsites.net"


@dataclass(frozen=True)
class Request:
    """An HTTP request. ``Host`` and ``Content-Length`` are added to its headers, as clients do."""

    method: str = "POST"
    # With the query; empty stands for /api/<function>. No route is matched: ``route_params`` gives the result.
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    route_params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Response:
    """An HTTP response and the logs of its invocation. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    invocation_id: str
    logs: Sequence[RpcLog]

    def json(self) -> Any:
        """Return the body's value."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Function:
    """A function as the host knows it."""

    metadata: RpcFunctionMetadata
    # The name of the binding that starts it.
    trigger: str
    # In upper case; empty for a function without an HTTP trigger.
    methods: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> Function:
        """Read the ``function.json`` in a folder."""
        config = json.loads((folder / "function.json").read_text(encoding="utf-8"))
        [trigger] = [binding for binding in config["bindings"] if binding["type"].endswith("Trigger")]
        metadata = RpcFunctionMetadata(
            name=folder.name,
            directory=str(folder),
            script_file=str(folder / config.get("scriptFile", "__init__.py")),
            entry_point=config.get("entryPoint", ""),
            bindings={binding["name"]: _binding_info(binding) for binding in config["bindings"]},
        )
        methods = tuple(method.upper() for method in trigger.get("methods", []))
        return cls(metadata, trigger["name"], methods)


def _binding_info(binding: Mapping[str, str]) -> BindingInfo:
    return BindingInfo(
        type=binding["type"],
        direction=Direction[binding["direction"]],
        data_type=DataType[binding.get("dataType", "undefined")],
    )


def http_invocation(function: Function, request: Request) -> InvocationRequest:
    """Return the message that asks a function to answer a request.

    Raises ValueError for a method that ``function.json`` does not list: the host answers it with 404.
    """
    if request.method not in function.methods:
        raise ValueError(f"{function.metadata.name} allows {', '.join(function.methods)}, not {request.method}.")
    http = _rpc_http(request, request.path or f"/api/{function.metadata.name}")
    # The host also adds the scalar members of a JSON body. HTTP functions see none of this.
    trigger_metadata = {"Headers": http.headers, "Query": http.query}
    return _invocation(function, TypedData(http=http), trigger_metadata)


def warmup_invocation(function: Function) -> InvocationRequest:
    """Return the message that runs a function with a warm-up trigger."""
    return _invocation(function, TypedData(json="{}"), {})


def _invocation(function: Function, data: TypedData, trigger_metadata: Mapping[str, object]) -> InvocationRequest:
    return InvocationRequest(
        invocation_id=str(uuid.uuid4()),
        function_id=function.metadata.name,
        input_data=[ParameterBinding(name=function.trigger, data=data)],
        trigger_metadata={name: TypedData(json=json.dumps(value)) for name, value in trigger_metadata.items()},
    )


def _rpc_http(request: Request, path: str) -> RpcHttp:
    url = urlsplit(_ORIGIN + path)
    headers = {"host": url.netloc, **{name.lower(): value for name, value in request.headers.items()}}
    body = TypedData()
    # As on Azure, a request without a length, such as a chunked one, loses its body.
    if request.body:
        headers["content-length"] = str(len(request.body))
        # Bytes for every content type, because the runtime announces the capability RawHttpBodyBytes.
        body = TypedData(bytes=request.body)
    return RpcHttp(
        method=request.method,
        url=url.geturl(),
        headers=headers,
        params=dict(request.route_params),
        query=_query(url.query),
        body=body,
    )


def _query(text: str) -> dict[str, str]:
    """Return the parameters, without empty ones; the values of repeated ones are joined by commas."""
    values: dict[str, list[str]] = {}
    for name, value in parse_qsl(text):
        values.setdefault(name, []).append(value)
    return {name: ",".join(repeated) for name, repeated in values.items()}


def response(invocation_id: str, value: TypedData, logs: Sequence[RpcLog]) -> Response:
    """Return the response for what a function returned: an ``HttpResponse`` or a str.

    Raises UnicodeEncodeError for a header that is not ASCII: the host's web server refuses to send it.
    """
    if value.http is None:
        # The host treats text that is JSON in a special way, which is not played here.
        body = (value.string or "").encode()
        return Response(200, {"content-type": "text/plain; charset=utf-8"}, body, invocation_id, logs)
    headers = {name.lower(): text for name, text in value.http.headers.items()}
    for text in headers.values():
        text.encode("ascii")
    return Response(int(value.http.status_code), headers, value.http.body.bytes or b"", invocation_id, logs)
