"""A trial run of a signature: inputs that the model takes, where its shapes leave dimensions open.

A signature says which dimensions may vary, not which sizes work: a text model may need a few steps, an image model a
few hundred pixels. So sizes are tried, here and nowhere else, unless the model has an example (``example``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar

import numpy as np

from serving.engines.errors import InvalidArgumentError, TensorFlowError
from serving.engines.session import Session
from serving.engines.signature import Signature, TensorSpec
from serving.models import example

# For every dimension that may vary but the first. 32 is the least that Keras's image models take; then what is cheap,
# and then what networks need that halve an image up to nine times.
SIZES = (32, 1, 8, 64, 128, 256, 512)

Feeds = Mapping[str, np.ndarray]
Fill = Callable[[tuple[int, ...], TensorSpec], np.ndarray]
_Result = TypeVar("_Result")


def run(signature: Signature, call: Callable[[Feeds], _Result], fill: Fill, rows: int = 1) -> tuple[Feeds, _Result]:
    """Call with the first feeds that work, and return them with the result.

    ``fill`` makes an array of a shape. Raises the TensorFlowError of the first size where no size works.
    """
    failure: TensorFlowError | None = None
    for candidate in _candidates(signature, fill, rows):
        try:
            return candidate, call(candidate)
        except TensorFlowError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def answer_once(session: Session, key: str, signature: Signature | None = None) -> str:
    """Run a signature once on its example, or on zeros. Return why the graph rejected the values, or nothing.

    ``signature`` is the session's, with what its folder says about it.

    Raises the TensorFlowError of a run that failed for another reason than its values.
    """
    try:
        run(signature or session.signatures[key], partial(session.run, key), zeros)
    except InvalidArgumentError as error:
        return error.message
    return ""


def _candidates(signature: Signature, fill: Fill, rows: int) -> Iterator[Feeds]:
    seen = {name: spec for name, spec in signature.inputs.items() if spec.example and spec.example.is_seen}
    if seen and seen.keys() == signature.inputs.keys():
        yield {name: example.array(spec.example, spec) for name, spec in seen.items() if spec.example}
        return
    for size in SIZES if is_open(signature) else SIZES[:1]:
        yield feeds(signature, fill, rows, size)


def is_open(signature: Signature) -> bool:
    """Return whether an input has a dimension that may vary besides the first."""
    return any(None in (spec.shape or ())[1:] for spec in signature.inputs.values())


def feeds(signature: Signature, fill: Fill, rows: int, size: int) -> Feeds:
    """Return feeds with these rows, and this size for each further dimension that may vary."""
    return {name: fill(example.shape_of(spec, rows, size), spec) for name, spec in signature.inputs.items()}


def zeros(shape: tuple[int, ...], spec: TensorSpec) -> np.ndarray:
    """Return zeros, or empty strings."""
    return np.full(shape, b"", object) if spec.dtype_name == "string" else np.zeros(shape, spec.dtype)
