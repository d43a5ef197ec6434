"""GET api/health under Microsoft's runtime."""

from collections.abc import Callable

import pytest

from tools.worker_host.functions_host import Response
from tools.worker_host.worker import Worker

Probe = Callable[..., Response]


@pytest.fixture(scope="module")
def probe(worker: Worker) -> Probe:
    """Return a function that sends a probe; its route is ``health/{path?}``, an absent part no parameter at all."""
    worker.load("Health")

    def probe(path: str | None = None, method: str = "GET") -> Response:
        route_params = {} if path is None else {"path": path}
        return worker.request("Health", method, path=f"/api/health/{path or ''}", route_params=route_params)

    return probe


@pytest.mark.parametrize(("path", "status"), [(None, "ready"), ("ready", "ready"), ("live", "live")])
def test_a_probe_is_answered(probe: Probe, path: str | None, status: str) -> None:
    response = probe(path)

    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json()["status"] == status


def test_a_probe_may_ask_for_the_head_only(probe: Probe) -> None:
    assert probe(method="HEAD").status == 200
