"""GET api/health under Microsoft's runtime."""

import pytest


@pytest.fixture(scope="module")
def probe(worker):
    """Return a function that sends a probe; its route is ``health/{path?}``, an absent part no parameter at all."""
    worker.load("Health")

    def probe(path=None, method="GET"):
        route_params = {} if path is None else {"path": path}
        return worker.request("Health", method, path=f"/api/health/{path or ''}", route_params=route_params)

    return probe


@pytest.mark.parametrize(("path", "status"), [(None, "ready"), ("ready", "ready"), ("live", "live")])
def test_a_probe_is_answered(probe, path, status):
    response = probe(path)

    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json()["status"] == status


def test_a_probe_may_ask_for_the_head_only(probe):
    assert probe(method="HEAD").status == 200
