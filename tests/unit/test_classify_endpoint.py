"""The endpoint for pictures from end to end, on a model that averages its pixels."""

import asyncio
import base64
import json

import azure.functions as func
import numpy as np
import pytest

from serving.endpoints.classify import Classify
from serving.http import handle
from tests.unit.picture_files import encoded, write_recipe

DARK, LIGHT = (encoded(np.full((9, 9, 3), value, np.uint8)) for value in (51, 204))


def call(path="shade/classify", body=LIGHT, content_type="image/png", method="POST", **query):
    request = func.HttpRequest(
        method=method,
        url=f"https://app/api/models/{path}",
        headers={"content-type": content_type},
        params=query,
        route_params={"path": path},
        body=body,
    )
    response = asyncio.run(handle(request, Classify()))
    return response.status_code, json.loads(response.get_body())


def prediction(name, index, score):
    return {"class": name, "index": index, "score": pytest.approx(score, abs=1e-6)}


@pytest.mark.usefixtures("shade")
@pytest.mark.parametrize(("path", "version"), [("shade/classify", 2), ("/shade/versions/1/classify/", 1)])
def test_a_picture_is_answered_by_names_and_scores(path, version):
    assert call(path) == (
        200,
        {
            "predictions": [[prediction("light", 1, 0.8), prediction("dark", 0, 0.2)]],
            "model": "shade",
            "version": version,
        },
    )


@pytest.mark.usefixtures("shade")
def test_several_pictures_are_answered_in_their_order():
    body = json.dumps({"images": [base64.b64encode(picture).decode() for picture in (DARK, LIGHT)]}).encode()

    status, answer = call(body=body, content_type="application/json", top="1")

    assert (status, answer["predictions"]) == (200, [[prediction("dark", 0, 0.8)], [prediction("light", 1, 0.8)]])


@pytest.mark.usefixtures("shade")
def test_what_the_model_saw_is_returned_where_it_is_wanted():
    _, answer = call(pictures="true")

    [picture] = answer["pictures"]
    assert picture.startswith("data:image/png;base64,")
    assert call(body=json.dumps({"image": picture}).encode(), content_type="application/json")[0] == 200
    assert "pictures" not in call()[1]


@pytest.mark.usefixtures("shade", "adder")
@pytest.mark.parametrize(
    ("request_", "status", "detail"),
    [
        ({"method": "GET"}, 405, "Method GET is not allowed; use POST."),
        ({"path": "shade"}, 404, "Expected a path such as models/NAME/classify or models/NAME/versions/1/classify."),
        ({"path": "none/classify"}, 404, "There is no model 'none'."),
        ({"path": "shade/versions/7/classify"}, 404, "Model shade has no version 7; it has: 1, 2."),
        (
            {"path": "adder/classify"},
            400,
            "Model adder/3 does not say how a picture becomes its input; add preprocessing",
        ),
        ({"body": b"x"}, 400, "Picture 1 is not a picture in a format that is read: JPEG, PNG, GIF, BMP, WEBP."),
        ({"content_type": "text/plain"}, 415, "The Content-Type is text/plain; expected image/*"),
        ({"top": "0"}, 400, "top: expected a whole number above 0, got '0'."),
        ({"top": "all"}, 400, "top: expected a whole number above 0, got 'all'."),
    ],
)
def test_a_mistake_is_a_problem_that_says_what_would_be_right(request_, status, detail):
    got, problem = call(**request_)

    assert (got, problem["status"]) == (status, status)
    assert problem["detail"].startswith(detail)


def test_a_file_that_does_not_fit_its_model_is_a_reason_not_to_load_it(put, models, caplog):
    put("wrong", lambda x: x)
    write_recipe(models / "wrong", {"classes": ["a", "b", "c"]})

    assert call("wrong/classify")[0] == 503
    assert "expected one output of 3 scores for each row; the model has y of 2" in caplog.text


def test_a_model_that_takes_more_than_a_picture_is_refused(saved_model, models):
    specs = {"image": ((None, 4, 4, 3), "float32"), "more": ((None, 3), "float32")}
    source = saved_model(lambda image, more: {"y": image[:, 0, 0] + more}, **specs)
    (models / "several").mkdir()
    source.rename(models / "several" / "1")
    write_recipe(models / "several", {"image": {"input": "image"}})

    status, problem = call("several/classify")

    assert status == 400
    assert problem["detail"].startswith("Model several/1 takes more than a picture: image, more; use v1/models")


def test_a_model_of_one_number_needs_a_threshold(put, tf, models):
    put("one", lambda x: tf.reduce_mean(x, [1, 2]), shape=(None, 4, 4, 1))
    write_recipe(models / "one", {"image": {}})

    status, problem = call("one/classify")

    assert status == 400
    assert problem["detail"] == (
        "Model one/1 can't classify: output 'y' is one number for each row, which is no class without a threshold."
    )
