"""A loaded model, with a session that needs no TensorFlow: what it checks, runs, and makes of errors."""

import asyncio
import weakref
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest

from serving.engines.errors import InternalError, InvalidArgumentError, ResourceExhaustedError
from serving.engines.session import RunClock
from serving.engines.signature import Signature
from serving.errors import BadRequestError, PredictionError
from serving.models import model as model_module
from serving.models import trial
from serving.models.model import Model
from tests.unit.specs import refused, signature, spec

ROWS = np.ones((1, 2), np.float32)


def session(error=None, **signatures):
    """A session that doubles x, or raises an error; it keeps what it was asked."""
    asked = []

    def run(key, feeds):
        asked.append((key, feeds["x"].shape))
        if error:
            raise error
        return {"labels": feeds["x"] * 2}

    signatures = signatures or {"serving_default": signature(x=spec())}
    clocks = {key: RunClock() for key in signatures}
    return SimpleNamespace(engine="litert", rows_at_once=0, signatures=signatures, clocks=clocks, run=run, asked=asked)


def predict(model, feeds, *key):
    return asyncio.run(model.predict(feeds, *key))


def test_a_prediction_is_the_sessions_answer():
    model = Model("m", 3, session(), batch_rows=64)

    fetches, rows = predict(model, {"x": ROWS})

    assert (fetches["labels"].tolist(), rows) == ([[2, 2]], 1)
    assert (str(model), model.name, model.version, model.engine) == ("m/3", "m", 3, "litert")
    assert model.has_answered


@pytest.mark.parametrize(("rows_at_once", "asked"), [(0, [5]), (2, [2, 2, 1]), (1, [1, 1, 1, 1, 1])])
def test_requests_are_joined_as_far_as_the_engine_gains_from_it(rows_at_once, asked):
    one = session()
    one.rows_at_once = rows_at_once
    model = Model("m", 3, one, batch_rows=64)

    async def ask_at_once():
        return await asyncio.gather(*(model.predict({"x": ROWS * number}) for number in range(5)))

    answers = asyncio.run(ask_at_once())

    assert [fetches["labels"].tolist() for fetches, _ in answers] == [[[2 * number] * 2] for number in range(5)]
    assert [rows for _, (rows, _) in one.asked] == asked


def test_shapes_are_the_graphs_business_where_they_may_be_any():
    one = session()

    predict(Model("m", 3, one, any_shape=True), {"x": ROWS.T})

    assert one.asked == [("serving_default", (2, 1))]


def test_a_signature_is_chosen_by_its_name():
    one = session(serving_default=signature(x=spec()), other=signature(x=spec(shape=(None, 3))))
    model = Model("m", 3, one)

    predict(model, {"x": np.ones((1, 3), np.float32)}, "other")

    assert one.asked == [("other", (1, 3))]
    assert model.signature() is one.signatures["serving_default"]
    with refused("Model m/3 has no signature 'no'; it has: serving_default, other.") as caught:
        model.signature("no")
    assert caught.value.extra == {"signature": "no"}


@pytest.mark.parametrize(
    ("feeds", "says", "place"),
    [
        ({}, "Model m/3 expects the inputs x; got none.", {}),
        ({"z": ROWS, "x": ROWS}, "Model m/3 expects the inputs x; got x, z.", {}),
        ({"x": ROWS.astype(int)}, "Input 'x' of model m/3 has dtype int64; expected float32.", {"input": "x"}),
        ({"x": ROWS.T}, "Input 'x' of model m/3 has shape [2, 1]; expected [?, 2].", {"input": "x"}),
    ],
)
def test_feeds_that_do_not_fit_the_signature_never_reach_the_session(feeds, says, place):
    one = session()
    model = Model("m", 3, one)

    with refused(says) as caught:
        predict(model, feeds)

    assert caught.value.extra == place
    assert one.asked == []
    assert not model.has_answered


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (InvalidArgumentError("5 is not in [0, 2)\n\t[[{{node x}}]]"), BadRequestError, "values: 5 is not in [0, 2)"),
        (ResourceExhaustedError("/a/path"), PredictionError, "Model m/3 failed: RESOURCE_EXHAUSTED."),
    ],
)
def test_errors_of_a_run_are_the_clients_or_the_models(error, kind, says):
    model = Model("m", 3, session(error))

    with pytest.raises(kind) as caught:
        predict(model, {"x": ROWS})

    assert str(caught.value).endswith(says)
    assert not model.has_answered


@pytest.mark.parametrize(
    ("error", "answered"), [(None, True), (InvalidArgumentError("zeros"), True), (InternalError("broken"), False)]
)
@pytest.mark.parametrize("key", ["serving_default", "other"])
def test_a_warm_up_runs_the_default_or_the_first_signature_on_zeros(error, answered, key):
    others = {"z" if key == "other" else "a": signature(x=spec(shape=(None, 3)))}
    one = session(error, **dict(sorted({**others, key: signature(x=spec())}.items())))
    model = Model("m", 3, one)

    if answered:
        model.warm_up()
    else:
        with pytest.raises(PredictionError, match="Model m/3 failed: INTERNAL"):
            model.warm_up()

    assert one.asked == [(key, (1, 2))]
    assert model.has_answered is answered


def test_a_first_run_that_does_not_end_is_awaited_for_a_while_and_goes_on(monkeypatch):
    monkeypatch.setattr(model_module, "FIRST_RUN_SECONDS", 0)
    one, may_end = session(), Event()
    answers = one.run
    one.run = lambda key, feeds: may_end.wait(10) and answers(key, feeds)
    model = Model("m", 3, one)

    with pytest.raises(PredictionError, match=r"^Model m/3 did not answer within 0 s\.$"):
        model.warm_up()
    assert not model.has_answered
    monkeypatch.setattr(model_module, "FIRST_RUN_SECONDS", 60)
    may_end.set()
    model.warm_up()

    assert model.has_answered
    assert len(one.asked) == 1


def test_a_graph_that_rejects_the_values_of_a_trial_says_why_in_one_line():
    assert trial.answer_once(session(InvalidArgumentError("first\nsecond")), "serving_default") == "first"
    assert trial.answer_once(session(), "serving_default") == ""


@pytest.mark.parametrize(("shape", "runs"), [((None, 2), [(1, 2), (2, 2)]), ((1, 2), [(1, 2)] * 3)])
def test_only_a_signature_with_a_batch_dimension_is_batched(shape, runs):
    one = session(serving_default=Signature({"x": spec(shape=shape)}, {"labels": spec(shape=shape)}, ""))
    one.clocks["serving_default"].record(1e-6, 8)
    model = Model("m", 3, one, batch_rows=64)

    async def together():
        await asyncio.gather(*(model.predict({"x": ROWS}) for _ in range(3)))

    asyncio.run(together())

    assert one.asked == [("serving_default", run) for run in runs]


def test_a_model_is_released_with_its_last_user():
    model = Model("m", 3, session())
    predict(model, {"x": ROWS})
    released = weakref.ref(model)

    del model

    assert released() is None
