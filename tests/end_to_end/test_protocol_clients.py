"""Clients that people already have, against the running host: Triton's, KServe's, OpenVINO's for TensorFlow Serving."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.end_to_end.running_host import RunningHost
from tests.fixtures import PROJECT_ROOT

PYTHON = PROJECT_ROOT / ".venv-clients" / "bin" / "python"

Ask = Callable[[str], Any]

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-clients here; `make test` sets it up")


@pytest.fixture(scope="module")
def labels(app_host: RunningHost) -> Any:
    """What the same rows get in the 2017 format."""
    return httpx.post(f"{app_host.url}/api/PredictParity", json={"X": "1 0|1 1"}).json()["labels"]


@pytest.fixture
def ask(app_host: RunningHost) -> Ask:
    """Return a function that runs a client of ``protocol_clients.py`` and returns its answers."""

    def run(client: str) -> Any:
        script = PROJECT_ROOT / "tests" / "end_to_end" / "protocol_clients.py"
        child = subprocess.run([PYTHON, script, client, app_host.url], capture_output=True, text=True, check=False)
        assert child.returncode == 0, child.stderr
        return json.loads(child.stdout.splitlines()[-1])

    return run


def assert_are(got: list[list[float]], labels: list[list[float]]) -> None:
    for [one], [other] in zip(got, labels, strict=True):
        assert one == pytest.approx(other, rel=1e-6)


def test_tritonclient_asks_with_json_and_binary_tensors(ask: Ask, labels: Any) -> None:
    answers = ask("triton")

    assert (answers["live"], answers["ready"], answers["model ready"]) == (True, True, True)
    assert answers["missing ready"] is False
    assert answers["inputs"] == [
        {
            "name": "X",
            "datatype": "FP32",
            "shape": [-1, 2],
            "parameters": {"example": {"shape": [2, 2], "data": [1.0, 0.0, 0.0, 1.0]}},
        }
    ]
    assert answers["index"] == "parity"
    assert answers["id"] == "7"
    for key in (
        "labels True True",
        "labels True False",
        "labels False True",
        "labels False False",
        "labels by default",
    ):
        assert_are(answers[key], labels)
    assert answers["error"] == ["400", "The model has no input 'Y'; it has: X."]


def test_kserve_s_client_asks_by_v2(ask: Ask, labels: Any) -> None:
    answers = ask("kserve_v2")

    assert (answers["live"], answers["ready"], answers["model ready"]) == (True, True, True)
    assert_are(answers["labels False"], labels)
    assert_are(answers["labels True"], labels)


def test_kserve_s_client_asks_by_v1(ask: Ask, labels: Any) -> None:
    answers = ask("kserve_v1")

    assert answers["model ready"] is True
    assert_are(answers["predictions"], labels)


def test_ovmsclient_asks_as_of_tensorflow_serving(ask: Ask, labels: Any) -> None:
    answers = ask("ovms")

    assert answers["status"] == {"1": "AVAILABLE"}
    assert answers["dtype"] == "DT_FLOAT"
    assert_are(answers["labels"], labels)
