"""A loaded model: checks tensors against a signature and runs it. Knows no wire format and no file layout."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from serving.engines.errors import InvalidArgumentError, TensorFlowError
from serving.engines.session import Session
from serving.engines.signature import DEFAULT_SIGNATURE, Signature, TensorSpec, shape_fits, shape_text
from serving.errors import BadRequestError, PredictionError
from serving.models import trial
from serving.models.batching import Batcher

Tensors = Mapping[str, np.ndarray]


class Model:
    """One version of a model, ready to run from many threads at once."""

    def __init__(self, name: str, version: int, session: Session, batch_rows: int = 1) -> None:
        self.name = name
        self.version = version
        self.signatures = session.signatures  # by name
        self.engine = session.engine
        self.has_answered = False  # a prediction, since it was loaded
        self._session = session
        self._batchers = {
            key: Batcher(
                partial(_run, session, str(self), key),
                session.clocks[key],
                batch_rows if signature.has_batch_dimension else 1,
            )
            for key, signature in session.signatures.items()
        }

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"

    def signature(self, key: str = DEFAULT_SIGNATURE) -> Signature:
        """Return one signature; raises BadRequestError, naming those that exist, where there is no such signature."""
        signature = self.signatures.get(key)
        if signature is None:
            known = ", ".join(self.signatures)
            raise BadRequestError(f"Model {self} has no signature {key!r}; it has: {known}.", signature=key)
        return signature

    async def predict(self, feeds: Tensors, signature: str = DEFAULT_SIGNATURE) -> tuple[Tensors, int]:
        """Run a signature on arrays by input name, together with waiting requests where the model allows batches.

        Returns the arrays by output name, and the number of rows in the whole run. Raises BadRequestError where the
        feeds don't fit the signature or the graph rejects their values, PredictionError where the run fails otherwise.
        """
        self._check(feeds, self.signature(signature).inputs)
        answer = await self._batchers[signature].run(feeds)
        self.has_answered = True
        return answer

    def warm_up(self) -> None:
        """Run once on zeros, so that what TensorFlow does on the first run is done; raises PredictionError.

        A graph that rejects the values has run, so that is no failure.
        """
        key = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in self.signatures else next(iter(self.signatures))
        try:
            trial.answer_once(self._session, key)
        except TensorFlowError as error:
            raise _failure(str(self), error) from error
        self.has_answered = True

    def _check(self, feeds: Tensors, inputs: Mapping[str, TensorSpec]) -> None:
        if feeds.keys() != inputs.keys():
            got = ", ".join(sorted(feeds)) or "none"
            raise BadRequestError(f"Model {self} expects the inputs {', '.join(inputs)}; got {got}.")
        for name, spec in inputs.items():
            array = feeds[name]
            if array.dtype != spec.dtype:
                raise BadRequestError(
                    f"Input {name!r} of model {self} has dtype {array.dtype}; expected {spec.dtype_name}.", input=name
                )
            if not shape_fits(array.shape, spec.shape):
                raise BadRequestError(
                    f"Input {name!r} of model {self} has shape {list(array.shape)}; expected {shape_text(spec.shape)}.",
                    input=name,
                )


def _run(session: Session, model: str, signature: str, feeds: Tensors) -> Tensors:
    # No method: a batcher that held its model would keep both alive until the garbage collector runs.
    try:
        return session.run(signature, feeds)
    except InvalidArgumentError as error:
        # Such as an index beyond an embedding's range: the graph knows what the signature can't say.
        detail = error.message.splitlines()[0]
        raise BadRequestError(f"Model {model} can't take these values: {detail}") from error
    except TensorFlowError as error:
        raise _failure(model, error) from error


def _failure(model: str, error: TensorFlowError) -> PredictionError:
    return PredictionError(f"Model {model} failed with TensorFlow's {error.code_name}.")
