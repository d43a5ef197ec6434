"""What a function gets as ``context``: an object with the attributes of ``azure.functions.Context``."""

import threading
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TraceContext:
    """The W3C trace context of the request's headers."""

    trace_parent: str
    trace_state: str
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RetryContext:
    """Which retry this is; HTTP functions are never retried."""

    retry_count: int = 0
    max_retry_count: int = 0
    exception: None = None


@dataclass(frozen=True)
class Context:
    """One invocation of a function."""

    invocation_id: str
    function_name: str
    function_directory: str
    trace_context: TraceContext
    retry_context: RetryContext
    # Its ``invocation_id`` is this invocation's in the thread which runs the function.
    thread_local_storage: threading.local
