"""The warm-up trigger under Microsoft's runtime."""

from pathlib import Path

from tests.contract.conftest import StartWorker


def test_the_warm_up_loads_the_model_before_the_first_request(start_worker: StartWorker, app_root: Path) -> None:
    worker = start_worker(app_root)
    worker.load("Warmup")
    worker.load("PredictParity")

    logs = worker.warm_up("Warmup")
    response = worker.request("PredictParity", body=b'{"X": "1 0"}')

    assert any(log.message.startswith("Loaded model parity/1") for log in logs)
    assert "load;" not in response.headers["server-timing"]
