"""The messages that host and worker exchange: stand-ins for the classes generated from ``FunctionRpc.proto``.

On Azure the proxy worker passes the generated protobuf classes to the runtime as ``protos``. They are not published as
a package, so this module takes their place. Its classes have the names, the fields and, where the runtime reads them,
the defaults of the messages in Azure/azure-functions-language-worker-protobuf. Fields that nothing here reads are left
out. So are the messages for cookies (``RpcHttpCookie``, ``Nullable...``): a function that sets a cookie fails.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import ClassVar

# Marks a field as a member of a protobuf ``oneof`` of that name; None stands for unset.
_DATA = {"oneof": "data"}
_RPC_DATA = {"oneof": "rpc_data"}


@dataclass
class _Oneofs:
    def WhichOneof(self, group: str) -> str | None:  # noqa: N802 - protobuf's name
        """Return the name of the field that is set in a oneof, or None."""
        members = (member.name for member in fields(self) if member.metadata.get("oneof") == group)
        return next((name for name in members if getattr(self, name) is not None), None)


# Results


@dataclass
class RpcException:
    """``RpcException``."""

    message: str = ""
    stack_trace: str = ""


@dataclass
class StatusResult:
    """``StatusResult``, with the values of its enum ``Status``."""

    Failure: ClassVar[int] = 0
    Success: ClassVar[int] = 1

    status: int
    exception: RpcException = field(default_factory=RpcException)


# Start of the worker


@dataclass
class WorkerInitRequest:
    """``WorkerInitRequest``."""

    function_app_directory: str
    capabilities: dict[str, str] = field(default_factory=dict)


@dataclass
class WorkerMetadata:
    """``WorkerMetadata``."""

    runtime_name: str
    runtime_version: str
    worker_version: str
    worker_bitness: str
    custom_properties: dict[str, str]


@dataclass
class WorkerInitResponse:
    """``WorkerInitResponse``."""

    capabilities: dict[str, str]
    worker_metadata: WorkerMetadata
    result: StatusResult


# Functions

Direction = IntEnum("Direction", {"in": 0, "out": 1, "inout": 2})
DataType = IntEnum("DataType", {"undefined": 0, "string": 1, "binary": 2, "stream": 3})


@dataclass
class BindingInfo:
    """``BindingInfo``, with those values of its enums that the runtime reads."""

    out: ClassVar[int] = Direction["out"]
    inout: ClassVar[int] = Direction["inout"]
    undefined: ClassVar[int] = DataType["undefined"]

    type: str
    direction: int
    data_type: int


@dataclass
class RpcFunctionMetadata:
    """``RpcFunctionMetadata``; its paths are absolute."""

    name: str
    directory: str
    script_file: str
    # Empty if function.json names none.
    entry_point: str
    bindings: dict[str, BindingInfo]


@dataclass
class FunctionLoadRequest:
    """``FunctionLoadRequest``."""

    function_id: str
    metadata: RpcFunctionMetadata


@dataclass
class FunctionLoadResponse:
    """``FunctionLoadResponse``."""

    function_id: str
    result: StatusResult


# Invocations


@dataclass
class TypedData(_Oneofs):
    """``TypedData``, with the kinds of data that HTTP functions receive and return."""

    string: str | None = field(default=None, metadata=_DATA)
    json: str | None = field(default=None, metadata=_DATA)
    bytes: bytes | None = field(default=None, metadata=_DATA)
    http: RpcHttp | None = field(default=None, metadata=_DATA)


@dataclass
class RpcHttp:
    """``RpcHttp``: a request or a response."""

    method: str = ""
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    body: TypedData = field(default_factory=TypedData)
    # A string in protobuf, too.
    status_code: str = ""
    enable_content_negotiation: bool = False
    cookies: None = None


@dataclass
class ParameterBinding(_Oneofs):
    """``ParameterBinding``."""

    name: str
    data: TypedData | None = field(default=None, metadata=_RPC_DATA)


@dataclass
class RpcTraceContext:
    """``RpcTraceContext``."""

    trace_parent: str = ""
    trace_state: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass
class RetryContext:
    """``RetryContext``."""

    retry_count: int = 0
    max_retry_count: int = 0
    exception: RpcException | None = None


@dataclass
class InvocationRequest:
    """``InvocationRequest``."""

    invocation_id: str
    function_id: str
    input_data: list[ParameterBinding]
    trigger_metadata: dict[str, TypedData]
    trace_context: RpcTraceContext = field(default_factory=RpcTraceContext)
    retry_context: RetryContext = field(default_factory=RetryContext)


@dataclass
class InvocationResponse:
    """``InvocationResponse``."""

    invocation_id: str
    result: StatusResult
    return_value: TypedData | None = None
    output_data: list[ParameterBinding] = field(default_factory=list)


Request = WorkerInitRequest | FunctionLoadRequest | InvocationRequest

# Logs

Level = IntEnum("Level", {"Trace": 0, "Debug": 1, "Information": 2, "Warning": 3, "Error": 4, "Critical": 5, "None": 6})


@dataclass
class RpcLog:
    """``RpcLog``: a log record as it reaches the host."""

    level: int
    # The name of the logger.
    category: str
    message: str
    # Empty if the worker does not know which invocation logged the record.
    invocation_id: str
