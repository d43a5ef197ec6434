"""The peers, this app included: how to start each one, and what to send it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.figures import ROOT
from benchmarks.peers import environments, models, requests
from benchmarks.peers.models import CASES, Case
from benchmarks.peers.requests import Request


@dataclass(frozen=True)
class Peer:
    """One row of the tables.

    ``command`` starts the peer. In it and in the environment ``variables``, ``{bin}`` stands for the programs' folder
    and ``{port}``, ``{port2}`` and ``{port3}`` for free ports. ``request`` makes the request of a case; ``models`` are
    those that the peer serves.
    """

    name: str
    title: str
    command: str
    request: Callable[[Case], Request]
    variables: Mapping[str, str] = field(default_factory=dict)
    installed_as: str = ""
    working_folder: Path | None = None
    models: tuple[str, ...] = ("xor", "mlp")

    @property
    def environment(self) -> str:
        """The name of its environment, which rows can share."""
        return self.installed_as or self.name

    @property
    def folder(self) -> Path:
        """Its working folder: that of its app by default."""
        return self.working_folder or environments.APPS / self.name

    @property
    def cases(self) -> list[Case]:
        """What is sent to it."""
        return [case for case in CASES if case.model in self.models]


_ALL_MODELS = ("xor", "mlp", "mobilenet")


def _below(prefix: str, case: Case) -> Request:
    return requests.by_rows(case, f"{prefix}{case.model}")


def _fastapi(name: str, title: str, **options: Any) -> Peer:
    command = "{bin}/uvicorn app:app --host 127.0.0.1 --port {port} --workers 1 --no-access-log --log-level warning"
    return Peer(name, title, command, partial(_below, "/predict/"), **options)


_NO_REQUEST_LOG = {"AzureFunctionsJobHost__logging__logLevel__default": "Warning"}


def _json(case: Case) -> Request:
    if case.model == "xor":
        return requests.by_rows(case, "/api/PredictXor", key="X", answer="labels")
    return requests.by_rows(case, f"/api/v1/models/{case.model}:predict")


def _binary(case: Case) -> Request:
    return requests.open_inference_binary(case, f"/api/v2/models/{case.model}/infer")


def _ours(
    name: str,
    title: str,
    request: Callable[[Case], Request] = _json,
    variables: Mapping[str, str] = _NO_REQUEST_LOG,
    installed_as: str = "ours",
) -> Peer:
    variables = {"SERVING_MODEL_PATH": str(models.FOLDER / "ours"), **variables}
    command = "{bin}/python -m tools.local_host --port {port}"
    return Peer(name, title, command, request, variables, installed_as, ROOT, _ALL_MODELS)


_MLSERVER_PORTS = {"HTTP": "{port}", "GRPC": "{port2}", "METRICS": "{port3}"}

PEERS = (
    _ours("ours", "this app"),
    _ours("ours-logs", "this app, which logs each request", variables={}),
    _ours("ours-binary", "this app, binary tensors", _binary),
    _ours(
        "ours-tensorflow",
        "this app, TensorFlow's engine",
        variables={**_NO_REQUEST_LOG, "SERVING_ENGINE": "tensorflow"},
        installed_as="ours-tensorflow",
    ),
    _fastapi("fastapi-litert-tuned", "FastAPI, LiteRT, tuned", models=_ALL_MODELS),
    _fastapi("fastapi-onnxruntime-tuned", "FastAPI, ONNX Runtime, tuned", models=_ALL_MODELS),
    _fastapi("fastapi-litert", "FastAPI, LiteRT"),
    _fastapi("fastapi-onnxruntime", "FastAPI, ONNX Runtime"),
    _fastapi("fastapi-keras-function", "FastAPI, concrete function"),
    _fastapi("fastapi-keras-predict", "FastAPI, `model.predict`"),
    Peer(
        "mlserver",
        "MLServer, concrete function",
        "{bin}/mlserver start .",
        lambda case: requests.open_inference(case, f"/v2/models/{case.model}/infer"),
        {f"MLSERVER_{protocol}_PORT": port for protocol, port in _MLSERVER_PORTS.items()},
    ),
    Peer(
        "litserve",
        "LitServe, concrete function",
        "{bin}/python app.py",
        lambda case: requests.by_rows(case, "/predict", model=case.model),
    ),
    Peer(
        "bentoml",
        "BentoML, concrete function",
        "{bin}/bentoml serve app:Keras --host 127.0.0.1 --port {port}",
        lambda case: requests.bare_rows(case, f"/{case.model}"),
        {"BENTOML_DO_NOT_TRACK": "True"},
    ),
    Peer(
        "ray-serve",
        "Ray Serve, concrete function",
        "{bin}/python app.py",
        partial(_below, "/"),
        {"RAY_USAGE_STATS_ENABLED": "0"},
    ),
)
