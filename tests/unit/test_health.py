"""Health probes, the warm-up trigger and preloading."""

import asyncio
import json
import threading

import azure.functions as func
import numpy as np
import pytest

import Health
import Warmup
from serving.models import repository


def double(x):
    return x * 2


@pytest.fixture
def details(monkeypatch):
    """The operator wants probes to name the models."""
    monkeypatch.setenv("SERVING_HEALTH_DETAILS", "1")


def send(path="", method="GET"):
    request = func.HttpRequest(method=method, url="https://app/api/health", route_params={"path": path}, body=b"")
    return asyncio.run(Health.main(request))


def get(path="", method="GET"):
    response = send(path, method)
    return response.status_code, json.loads(response.get_body())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_live_touches_no_model(put, method):
    put("model", double)

    assert get("live", method) == (200, {"status": "live"})
    assert repository.shared().loaded("model") is None


@pytest.mark.usefixtures("models")
def test_a_probe_without_a_key_gets_no_name(put, models):
    assert get() == (503, {"status": "not ready"})
    put("secret", double)
    assert get() == (200, {"status": "ready"})
    (models / "secret" / "2").mkdir()
    assert get() == (200, {"status": "ready"})


@pytest.mark.usefixtures("details")
@pytest.mark.parametrize("path", ["", "ready"])
def test_ready_once_the_default_model_has_answered(put, path):
    put("a_model", double)
    put("b_model", double)

    assert get(path) == (
        200,
        {"status": "ready", "model": "a_model/1", "models": {"a_model": {"1": "AVAILABLE"}, "b_model": {"1": "START"}}},
    )
    assert repository.shared().loaded("a_model").has_answered


@pytest.mark.usefixtures("details")
def test_the_default_model_is_a_setting(put, monkeypatch):
    monkeypatch.setenv("SERVING_DEFAULT_MODEL", "b_model")
    put("a_model", double)
    put("b_model", double)

    status, body = get()

    assert (status, body["model"]) == (200, "b_model/1")


@pytest.mark.usefixtures("details")
def test_not_ready_without_a_model(models):
    status, body = get()

    assert (status, body) == (503, {"status": "not ready", "detail": "The app has no models.", "models": {}})


def test_no_cache_keeps_an_answer_and_one_that_is_not_ready_says_when_to_ask_again(models):
    assert dict(send().headers) == {"Cache-Control": "no-store", "Retry-After": "5"}
    assert dict(send("live").headers) == {"Cache-Control": "no-store"}


@pytest.mark.usefixtures("details")
def test_not_ready_while_the_model_cannot_be_loaded_and_ready_once_it_can(put, models):
    put("model", double)
    graph = (models / "model" / "1" / "saved_model.pb").read_bytes()
    (models / "model" / "1" / "saved_model.pb").write_bytes(b"broken")

    status, body = get()
    assert status == 503
    assert body["models"] == {"model": {"1": "END"}}
    assert str(models) not in json.dumps(body)

    (models / "model" / "1" / "saved_model.pb").write_bytes(graph)
    assert get()[0] == 200


@pytest.mark.parametrize(
    ("function", "shape", "dtype"),
    [
        pytest.param(lambda x: x, (None,), "string", id="strings"),
        pytest.param(lambda x: x, (), "int64", id="a scalar"),
        pytest.param(lambda x: x, None, "float32", id="unknown rank"),
        pytest.param("needs 30 columns", (None, None), "float32", id="refuses small shapes"),
        pytest.param("pools by 64", (None, None, None, 1), "float32", id="halves an image six times"),
        pytest.param("refuses zeros", (None,), "float32", id="refuses zeros"),
    ],
)
def test_a_warm_up_suits_any_signature(put, tf, function, shape, dtype):
    def refuse(condition, x):
        with tf.control_dependencies([tf.debugging.Assert(condition, [x])]):
            return tf.identity(x)

    functions = {
        "needs 30 columns": lambda x: refuse(tf.shape(x)[1] >= 30, x),
        "pools by 64": lambda x: tf.reshape(tf.nn.max_pool2d(x, 64, 64, "VALID")[:, 0, 0, 0], [-1]),
        "refuses zeros": lambda x: refuse(tf.reduce_all(x > 0), x),
    }
    put("model", functions.get(function, function), shape, dtype)

    assert get()[0] == 200


@pytest.mark.parametrize(
    ("path", "method", "status", "detail"),
    [
        ("nothing", "GET", 404, "There is no probe 'nothing'; use live or ready."),
        ("", "POST", 405, "Method POST is not allowed; use GET or HEAD."),
    ],
)
def test_a_request_that_is_not_a_probe_is_a_problem(models, path, method, status, detail):
    answered, body = get(path, method)

    assert (answered, body["status"], body["detail"]) == (status, status, detail)


def test_the_warm_up_trigger_loads_the_default_model_and_has_it_answer(put):
    put("model", double)

    Warmup.main(None)

    assert repository.shared().loaded("model").has_answered


def test_the_warm_up_trigger_loads_the_models_that_the_setting_names(put, monkeypatch, caplog):
    monkeypatch.setenv("SERVING_PRELOAD", "b, c ,missing")
    for name in "abc":
        put(name, double)

    Warmup.main(None)

    assert [name for name in "abc" if repository.shared().loaded(name)] == ["b", "c"]
    assert "Model missing could not be preloaded: There is no model 'missing'." in caplog.text


def test_models_to_preload_begin_to_load_when_a_function_is_imported(put, monkeypatch):
    monkeypatch.setenv("SERVING_PRELOAD", "model")
    put("model", double)

    repository.preload_in_background()
    for thread in threading.enumerate():
        if thread.name == "preload":
            thread.join()

    model = repository.shared().loaded("model")
    fetches, _ = asyncio.run(model.predict({"x": np.ones((1, 2), np.float32)}))
    assert fetches["y"].tolist() == [[2, 2]]


def test_nothing_is_preloaded_unless_the_setting_says_so(put):
    put("model", double)

    repository.preload_in_background()

    assert "preload" not in [thread.name for thread in threading.enumerate()]
    assert repository.shared().loaded("model") is None
