"""A loaded model: checks tensors against a signature and runs it. Knows no wire format and no file layout."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from serving.engines.errors import InvalidArgumentError, TensorFlowError
from serving.engines.session import Session
from serving.engines.signature import DEFAULT_SIGNATURE, Signature, TensorSpec, shape_fits, shape_text
from serving.errors import BadRequestError, PredictionError
from serving.models.batching import Runner


class Model:
    """One version of a model, ready to run from many threads at once."""

    def __init__(self, name: str, version: int, session: Session, batch_rows: int = 1) -> None:
        self.name = name
        self.version = version
        self.signatures = session.signatures  # by name
        self.has_answered = False  # a prediction, since it was loaded
        self._session = session
        self._runners = {
            key: Runner(partial(_run, session, str(self), key), batch_rows if signature.goes_by_rows else 1)
            for key, signature in session.signatures.items()
        }

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"

    def signature(self, key: str = DEFAULT_SIGNATURE) -> Signature:
        """Return one signature; raises BadRequestError naming those there are where it isn't one of them."""
        signature = self.signatures.get(key)
        if signature is None:
            known = ", ".join(self.signatures)
            raise BadRequestError(f"Model {self} has no signature {key!r}; it has: {known}.", signature=key)
        return signature

    def predict(self, feeds: Mapping[str, np.ndarray], signature: str = DEFAULT_SIGNATURE) -> dict[str, np.ndarray]:
        """Run a signature: arrays by input name in, arrays by output name out.

        Raises BadRequestError where the feeds don't fit the signature or the graph refuses their values,
        PredictionError where TensorFlow fails otherwise.
        """
        self._check(feeds, self.signature(signature).inputs)
        fetches = _run(self._session, str(self), signature, feeds)
        self.has_answered = True
        return fetches

    async def predict_batched(
        self, feeds: Mapping[str, np.ndarray], signature: str = DEFAULT_SIGNATURE
    ) -> tuple[Mapping[str, np.ndarray], int]:
        """Run a signature from an event loop, in one batch with requests that wait for it too, where it takes batches.

        Returns the arrays by output name, and how many rows the whole run had; raises what ``predict`` does.
        """
        self._check(feeds, self.signature(signature).inputs)
        answer = await self._runners[signature](feeds)
        self.has_answered = True
        return answer

    def warm_up(self) -> None:
        """Answer a prediction of zeros, so that what TensorFlow does on the first run is done; raises PredictionError.

        Values that the graph refuses are no failure: it has run. Dimensions that may vary are tried small, then at
        what Keras's image models take at least: windows larger than an image fail in other ways.
        """
        failure = None
        key = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in self.signatures else next(iter(self.signatures))
        inputs = self.signatures[key].inputs
        for size in (1, 32):
            try:
                self.predict({name: _zeros(spec, size) for name, spec in inputs.items()}, key)
            except BadRequestError:
                continue
            except PredictionError as error:
                failure = error
                continue
            return
        if failure:
            raise failure
        self.has_answered = True

    def _check(self, feeds: Mapping[str, np.ndarray], inputs: Mapping[str, TensorSpec]) -> None:
        if feeds.keys() != inputs.keys():
            got = ", ".join(sorted(feeds)) or "none"
            raise BadRequestError(f"Model {self} expects the inputs {', '.join(inputs)}; got {got}.")
        for name, spec in inputs.items():
            array = feeds[name]
            if array.dtype != spec.dtype:
                raise BadRequestError(
                    f"Input {name!r} of model {self} has dtype {array.dtype}; expected {spec.dtype_name}.",
                    input=name,
                )
            if not shape_fits(array.shape, spec.shape):
                raise BadRequestError(
                    f"Input {name!r} of model {self} has shape {list(array.shape)}; expected {shape_text(spec.shape)}.",
                    input=name,
                )


def _run(session: Session, model: str, signature: str, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a signature; raises the errors that ``Model.predict`` does for what TensorFlow fails with."""
    try:
        return session.run(signature, feeds)
    except InvalidArgumentError as error:
        # Such as an embedding's index out of its range: the graph knows what the signature can't say.
        detail = error.message.splitlines()[0]
        raise BadRequestError(f"Model {model} can't take these values: {detail}") from error
    except TensorFlowError as error:
        raise PredictionError(f"Model {model} failed with TensorFlow's {error.code_name}.") from error


def _zeros(spec: TensorSpec, size: int) -> np.ndarray:
    """Return one row of zeros, or of empty strings, with ``size`` for each further dimension that may vary."""
    dimensions = spec.shape or ()
    shape = [(1 if axis == 0 else size) if length is None else length for axis, length in enumerate(dimensions)]
    return np.full(shape, b"", object) if spec.dtype_name == "string" else np.zeros(shape, spec.dtype)
