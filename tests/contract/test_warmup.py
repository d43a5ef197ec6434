"""The warm-up trigger under Microsoft's runtime."""

from tests.contract.conftest import PROJECT_ROOT


def test_the_warm_up_loads_the_model_ahead_of_the_first_request(start_worker):
    worker = start_worker(PROJECT_ROOT)
    worker.load("Warmup")
    worker.load("PredictXor")

    logs = worker.warm_up("Warmup")
    response = worker.request("PredictXor", body=b'{"X": "1 0"}')

    assert any(log.message.startswith("Loaded model xor/1") for log in logs)
    assert "load;" not in response.headers["server-timing"]
