"""A trial run finds sizes that a model takes."""

import numpy as np
import pytest

from serving.engines.errors import InternalError, InvalidArgumentError
from serving.models import trial
from tests.unit.specs import signature, spec


def at_least(size):
    def call(feeds):
        if min(feeds["x"].shape[1:]) < size:
            raise InternalError(f"{feeds['x'].shape} is too small")
        return feeds["x"].shape

    return call


@pytest.mark.parametrize(("least", "found"), [(1, 32), (33, 64), (200, 256), (300, 512)])
def test_the_first_size_that_works_is_found(least, found):
    feeds, shape = trial.run(signature(x=spec(shape=(None, None, None, 3))), at_least(min(least, 3)), trial.zeros)
    assert shape == (1, 32, 32, 3)

    feeds, shape = trial.run(signature(x=spec(shape=(None, None, None))), at_least(least), trial.zeros, rows=2)

    assert shape == (2, found, found)
    assert feeds["x"].dtype == np.float32


def test_where_no_size_works_the_first_error_is_raised():
    assert trial.run(signature(x=spec(shape=(None, None))), at_least(33), trial.zeros)[1] == (1, 64)
    with pytest.raises(InternalError, match=r"\(1, 32\) is too small"):
        trial.run(signature(x=spec(shape=(None, None))), at_least(1000), trial.zeros)


def test_a_shape_without_open_dimensions_is_tried_once():
    calls = []

    def call(feeds):
        calls.append(feeds)
        raise InvalidArgumentError("no")

    with pytest.raises(InvalidArgumentError):
        trial.run(signature(x=spec(shape=(None, 3))), call, trial.zeros)

    assert len(calls) == 1


def test_strings_are_filled_with_empty_strings():
    feeds, _ = trial.run(signature(x=spec("string", (None, 2))), lambda feeds: None, trial.zeros)

    assert feeds["x"].tolist() == [[b"", b""]]
    assert feeds["x"].dtype == object
