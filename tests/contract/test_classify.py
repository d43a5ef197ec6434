"""The function for pictures under Microsoft's runtime: its route, its query, and a body of bytes."""

import json
import shutil
from pathlib import Path

import pytest

from tests.contract.conftest import StartWorker
from tests.fixtures import MODEL
from tools.worker_host.functions_host import Response
from tools.worker_host.worker import Worker

BLACK = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000"
    "000a4944415478da6360000000020001e527defc0000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tests' own model, which takes a picture of two pixels as its two numbers."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(MODEL, folder / "parity")
    recipe = {"image": {"target_size": [1, 2], "scale": [0, 1]}, "classes": ["even", "odd"], "threshold": 0.5}
    (folder / "parity" / "1" / "preprocessing.json").write_text(json.dumps(recipe))
    return folder


def test_a_picture_is_answered_by_names(start_worker: StartWorker, app_root: Path, model_path: Path) -> None:
    worker: Worker = start_worker(app_root, SERVING_MODEL_PATH=str(model_path))
    worker.load("Classify")

    def ask(body: bytes, query: str = "") -> Response:
        headers, path = {"Content-Type": "image/png"}, f"/api/models/parity/classify{query}"
        return worker.request(
            "Classify", path=path, body=body, headers=headers, route_params={"path": "parity/classify"}
        )

    response = ask(BLACK, "?top=1")

    [[best]] = response.json()["predictions"]
    assert (response.status, best["class"], best["index"]) == (200, "even", 0)
    assert response.headers["x-model"] == "parity/1"
    assert len(ask(BLACK).json()["predictions"][0]) == 2
    assert ask(b"no picture").status == 400
