"""Versions that share a model's requests, by every protocol: who answers is seen, and is the same for the same key."""

import asyncio
import json
from collections import Counter
from functools import partial

import azure.functions as func
import numpy as np
import pytest

from serving.endpoints.classify import Classify
from serving.endpoints.health import Health
from serving.endpoints.open_inference import OpenInference
from serving.endpoints.predict_x import PredictX
from serving.endpoints.tf_serving import TfServing
from serving.http import handle
from serving.models import repository
from serving.models.labels import choose
from serving.models.repository import Repository
from serving.preprocessing import pictures
from serving.settings import Settings

SPLIT = {1: 50, 2: 50}
TENSOR = {"name": "x", "datatype": "FP32", "shape": [3, 2], "data": [1] * 6}
PROTOCOLS = {
    "tensorflow serving": (TfServing(), "scale:predict", {"instances": [[1, 1]] * 3}),
    "its label": (TfServing(), "scale/labels/latest:predict", {"instances": [[1, 1]] * 3}),
    "open inference": (OpenInference(), "models/scale/infer", {"inputs": [TENSOR]}),
    "2017": (PredictX("scale"), "", {"X": [[1, 1]] * 3}),
    "pictures": (Classify(), "shade/classify", None),
}


def label(models, content, name="scale"):
    (models / name / "labels.json").write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def scale(models, put):
    """A model whose versions 1 and 2 multiply by their number, and share the requests."""
    for version in (1, 2):
        put("scale", lambda x, factor=version: x * factor, version=version)
    label(models, {"latest": SPLIT})


def send(endpoint, path, document=None, key=None, method="POST"):
    picture = pictures.png(np.zeros((4, 4, 1), np.uint8))
    request = func.HttpRequest(
        method=method,
        url=f"https://app/api/{path}",
        route_params={"path": path},
        headers={"X-Split-Key": key} if key else {},
        body=json.dumps(document).encode() if document else picture,
    )
    response = asyncio.run(handle(request, endpoint))
    return response.status_code, response.headers.get("X-Model"), response.get_body()


@pytest.mark.usefixtures("scale", "shade")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_key_chooses_the_version_by_every_protocol(models, protocol):
    endpoint, path, document = PROTOCOLS[protocol]
    name = "scale" if document else "shade"
    label(models, {"latest": SPLIT}, name)

    for key in ("ann", "bob", "cy", "dee", "eve", "flo"):
        status, model, body = send(endpoint, path, document, key)
        version = choose(name, SPLIT, key)
        assert (status, model) == (200, f"{name}/{version}")
        if document:
            assert body.count(b"%d.0" % version) == 6  # all of its rows
    assert len({choose(name, SPLIT, key) for key in ("ann", "bob", "cy", "dee", "eve", "flo")}) == 2
    assert len({send(endpoint, path, document)[1] for _ in range(40)}) == 2


@pytest.mark.usefixtures("scale")
def test_a_version_or_a_label_in_the_path_is_taken_by_its_word(models):
    label(models, {"latest": SPLIT, "stable": 1})
    for path in ("scale/versions/1:predict", "scale/labels/stable:predict"):
        answered = Counter(send(TfServing(), path, {"instances": [[1, 1]]}, key)[1] for key in map(str, range(20)))
        assert answered == {"scale/1": 20}


@pytest.mark.usefixtures("scale")
def test_the_status_shows_the_shares(models, monkeypatch):
    monkeypatch.setenv("SERVING_HEALTH_DETAILS", "1")
    repository.shared.cache_clear()
    label(models, {"latest": {"1": 90, "2": 10}})
    send(TfServing(), "scale:predict", {"instances": [[1, 1]]})

    for path in ("scale", "scale/labels/latest"):
        status = json.loads(send(TfServing(), path, method="GET")[2])["model_version_status"]
        assert {one["version"]: (one["state"], one["weight"]) for one in status} == {
            "1": ("AVAILABLE", 90),
            "2": ("AVAILABLE", 10),
        }
    health = json.loads(send(Health(), "", method="GET")[2])
    assert (health["model"], health["latest"]) == ("scale/1", {"scale": {"1": 90, "2": 10}})
    metadata = json.loads(send(TfServing(), "scale/metadata", method="GET")[2])
    assert metadata["model_spec"]["version"] == "1"  # the largest share


@pytest.mark.usefixtures("scale")
@pytest.mark.parametrize("content", ["{", '{"latest": {"1": 0}}', '{"latest": 7}'])
@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "pictures"])
def test_labels_that_can_not_be_followed_are_refused_and_never_an_unexpected_error(models, protocol, content, caplog):
    label(models, content)

    endpoint, path, document = PROTOCOLS[protocol]
    status, _, body = send(endpoint, path, document)

    if (protocol, content) == ("its label", '{"latest": 7}'):
        assert (status, json.loads(body)) == (404, {"error": "Model scale has no version 7; it has: 1, 2."})
        return
    assert status == 503
    assert b"Model scale could not be loaded; the server's log says why." in body
    assert "Traceback" not in caplog.text
    assert "labels" in caplog.text


@pytest.mark.usefixtures("scale")
@pytest.mark.parametrize("content", ["{", '{"latest": 7}'])
def test_what_looks_at_a_model_refuses_such_labels_too(models, content):
    label(models, content)

    assert send(OpenInference(), "models/scale/ready", method="GET")[0] == 503
    assert send(OpenInference(), "models/scale", method="GET")[0] == 503
    assert send(TfServing(), "scale/metadata", method="GET")[0] == 503
    assert send(TfServing(), "scale", method="GET")[0] == 200
    assert send(TfServing(), "scale/versions/1:predict", {"instances": [[1, 1]]})[:2] == (200, "scale/1")


@pytest.mark.usefixtures("scale")
@pytest.mark.parametrize("fitting", [1, 2, 3])
def test_the_bound_of_memory_holds_both_versions_or_gives_one_all_requests(models, put, monkeypatch, fitting):
    put("other", lambda x: x)
    monkeypatch.setattr("serving.models.memory.needed_bytes", lambda _folder, _engine: 10 * 2**20)
    models_ = Repository(Settings(model_path=models, memory_mb=10 * fitting, poll_seconds=0))

    models_.get("scale")
    shared = {models_.loaded("scale", None, partial(str, key)).version for key in range(40)}
    assert len(shared) == min(fitting, 2)
    for _ in range(3):
        models_.upgrade()
    assert len({one.version for one in models_._models["scale"].all_loaded()}) == min(fitting, 2)

    models_.get("other")
    kept = {str(one) for served in models_._models.values() for one in served.all_loaded()}
    assert len(kept) == fitting
    assert "other/1" in kept
    models_.get("scale")
    kept = {str(one) for served in models_._models.values() for one in served.all_loaded()}
    assert {1: len(kept) == 1, 2: kept == {"scale/1", "scale/2"}, 3: len(kept) == 3}[fitting]
