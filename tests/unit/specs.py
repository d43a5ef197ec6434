"""TensorSpecs and Signatures for tests, without a SavedModel, and the error of a request that does not fit them."""

import re

import pytest

from serving.engines import dtypes
from serving.engines.signature import Signature, TensorSpec
from serving.errors import BadRequestError

_NUMBERS = {dtypes.name_of(number): number for number in (1, 2, 3, 4, 5, 6, 7, 9, 10, 14, 17, 19, 22, 23)}


def spec(dtype: str = "float32", shape: tuple[int | None, ...] | None = (None, 2)) -> TensorSpec:
    return TensorSpec("x:0", _NUMBERS[dtype], dtypes.numpy_dtype(_NUMBERS[dtype]), dtype, shape)


def signature(**inputs: TensorSpec) -> Signature:
    return Signature(inputs, {"labels": spec(shape=(None, 1))}, "tensorflow/serving/predict")


def refused(says: str) -> pytest.RaisesExc[BadRequestError]:
    """Expect an error of the request whose message contains this text."""
    return pytest.raises(BadRequestError, match=re.escape(says))
