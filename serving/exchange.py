"""One request and its reply, as a protocol sees them, and what is noted about them on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from serving.errors import MethodNotAllowedError, UnsupportedMediaTypeError
from serving.model import Model
from serving.repository import Repository
from serving.signature import Signature
from serving.stopwatch import Stopwatch

Feeds = Mapping[str, np.ndarray]
Fetches = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Reply:
    """What a protocol answers: status, body with its content type, and further headers."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Exchange:
    """One request: its method, the rest of its path, its headers (by name in any case) and its body.

    ``facts`` and ``stopwatch`` gather what the log line and the response's headers tell of it.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    models: Repository
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    facts: dict[str, object] = field(default_factory=dict)

    def allow(self, *methods: str) -> None:
        """Raise MethodNotAllowedError unless the request's method is one of these."""
        if self.method not in methods:
            expected = " or ".join(methods)
            raise MethodNotAllowedError(f"{self.method} is not answered here; send {expected}.", ", ".join(methods))

    def expect_json(self) -> None:
        """Raise UnsupportedMediaTypeError where the request says that its body is something else than JSON."""
        content_type = self.headers.get("content-type")
        if not content_type:
            return
        media_type = content_type.partition(";")[0].strip().lower()
        if media_type not in ("application/json", "text/json") and not media_type.endswith("+json"):
            raise UnsupportedMediaTypeError(f"The content type is {content_type}; expected application/json.")

    def model(self, name: str, version: int | None = None) -> Model:
        """Return a model, loading it where it isn't loaded; raises what ``Repository.get`` does."""
        self.facts["model"] = name
        model = self.models.loaded(name, version)
        if model is None:
            model = self.models.get(name, version)
            self.stopwatch.lap("load")
        self.facts["version"] = model.version
        return model

    def predict(
        self,
        model: Model,
        signature: str,
        decode: Callable[[Signature], Feeds],
        encode: Callable[[Fetches], bytes],
    ) -> bytes:
        """Decode the feeds, run the model, encode the fetches, and note what each took; raises what they do."""
        feeds = decode(model.signature(signature))
        self.stopwatch.lap("parse")
        body = encode(self.run(model, signature, feeds))
        self.stopwatch.lap("encode")
        return body

    def run(self, model: Model, signature: str, feeds: Feeds) -> Fetches:
        """Run the model, and note what it took and how many rows there were; raises what ``Model.predict`` does."""
        fetches = model.predict(feeds, signature)
        self.stopwatch.lap("predict")
        self.facts["rows"] = max((len(array) for array in feeds.values() if array.ndim), default=1)
        return fetches
