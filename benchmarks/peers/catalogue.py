"""The peers, this app included: how to start each one, and what to send it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.figures import ROOT
from benchmarks.peers import environments, models, requests
from benchmarks.peers.requests import Request


@dataclass(frozen=True)
class Peer:
    """One row of the table.

    ``command`` starts the peer. In it and in the environment ``variables``, ``{bin}`` stands for the programs' folder
    and ``{port}``, ``{port2}`` and ``{port3}`` for free ports. ``request`` makes the request for a model's name.
    """

    name: str
    title: str
    command: str
    request: Callable[[str], Request]
    variables: Mapping[str, str] = field(default_factory=dict)
    installed_as: str = ""
    working_folder: Path | None = None

    @property
    def environment(self) -> str:
        """The name of its environment, which rows can share."""
        return self.installed_as or self.name

    @property
    def folder(self) -> Path:
        """Its working folder: that of its app by default."""
        return self.working_folder or environments.APPS / self.name


def _below(prefix: str, name: str) -> Request:
    return requests.by_rows(name, f"{prefix}{name}")


def _fastapi(name: str, title: str) -> Peer:
    command = "{bin}/uvicorn app:app --host 127.0.0.1 --port {port} --workers 1 --no-access-log --log-level warning"
    return Peer(name, title, command, partial(_below, "/predict/"))


def _ours(name: str, title: str, request: Callable[[str], Request]) -> Peer:
    variables = {
        "SERVING_MODEL_PATH": str(models.FOLDER / "ours"),
        "AzureFunctionsJobHost__logging__logLevel__default": "Warning",
    }
    return Peer(name, title, "{bin}/python -m tools.local_host --port {port}", request, variables, "ours", ROOT)


def _ours_json(name: str) -> Request:
    if name == "xor":
        return requests.by_rows(name, "/api/PredictXor", key="X", answer="labels")
    return requests.by_rows(name, f"/api/v1/models/{name}:predict")


_MLSERVER_PORTS = {"HTTP": "{port}", "GRPC": "{port2}", "METRICS": "{port3}"}

PEERS = (
    _ours("ours", "this app", _ours_json),
    _ours(
        "ours-binary",
        "this app, binary tensors",
        lambda name: requests.open_inference_binary(name, f"/api/v2/models/{name}/infer"),
    ),
    _fastapi("fastapi-onnxruntime", "FastAPI, ONNX Runtime"),
    _fastapi("fastapi-litert", "FastAPI, LiteRT"),
    _fastapi("fastapi-keras-function", "FastAPI, concrete function"),
    _fastapi("fastapi-keras-predict", "FastAPI, `model.predict`"),
    Peer(
        "mlserver",
        "MLServer, concrete function",
        "{bin}/mlserver start .",
        lambda name: requests.open_inference(name, f"/v2/models/{name}/infer"),
        {f"MLSERVER_{protocol}_PORT": port for protocol, port in _MLSERVER_PORTS.items()},
    ),
    Peer(
        "litserve",
        "LitServe, concrete function",
        "{bin}/python app.py",
        lambda name: requests.by_rows(name, "/predict", model=name),
    ),
    Peer(
        "bentoml",
        "BentoML, concrete function",
        "{bin}/bentoml serve app:Keras --host 127.0.0.1 --port {port}",
        lambda name: requests.bare_rows(name, f"/{name}"),
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
