"""A loaded model: checks tensors against a signature and runs it. Knows no wire format and no file layout."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from threading import Lock, Thread

import numpy as np

from serving.engines.errors import InvalidArgumentError, TensorFlowError
from serving.engines.session import Session
from serving.engines.signature import DEFAULT_SIGNATURE, Signature, TensorSpec, shape_fits, shape_text
from serving.errors import BadRequestError, PredictionError
from serving.models import trial
from serving.models.batching import Batcher
from serving.preprocessing import NONE, Preprocessing
from serving.preprocessing.classification import Classifier

Tensors = Mapping[str, np.ndarray]

# A client of a probe waits for that long. Azure's front end drops a request after 230 s.
FIRST_RUN_SECONDS = 60


class Model:
    """One version of a model, ready to run from many threads at once.

    With ``any_shape``, inputs may have other shapes than its signatures state, as far as the graph takes them.
    """

    def __init__(
        self,
        name: str,
        version: int,
        session: Session,
        batch_rows: int = 1,
        any_shape: bool = False,
        preprocessing: Preprocessing = NONE,
    ) -> None:
        self.name = name
        self.version = version
        self.preprocessing = preprocessing
        self.signatures = {  # by name
            key: signature.with_any_shape() if any_shape else signature
            for key, signature in preprocessing.described(session.signatures).items()
        }
        self.engine = session.engine
        self.has_answered = False  # a prediction, since it was loaded
        self._session = session
        self._lock = Lock()
        self._first_run: Future[str] | None = None
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

    def classifier(self, output: str | None = None) -> Classifier:
        """Return what the scores of an output of the default signature mean; raises BadRequestError if it has none."""
        own = self.preprocessing.classifier
        if own is not None and output in (None, own.output):
            return own
        try:
            return Classifier.of(self.signature().outputs, output)
        except ValueError as error:
            raise BadRequestError(f"Model {self} can't classify: {error}.") from None

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
        """Run once on zeros, so that what TensorFlow does on the first run is done.

        A graph that rejects the values has run, so that is no failure. Raises PredictionError where the run fails, or
        takes too long: a graph with a loop may never end. Then it goes on, and the next call waits for the same run.
        """
        with self._lock:
            if self._first_run is None or self._first_run.done():
                self._first_run = Future()
                Thread(target=self._run_first, args=(self._first_run,), name=f"warm-up-{self}", daemon=True).start()
            first_run = self._first_run
        try:
            first_run.result(FIRST_RUN_SECONDS)
        except TensorFlowError as error:
            raise _failure(str(self), error) from error
        except TimeoutError:
            raise PredictionError(f"Model {self} did not answer within {FIRST_RUN_SECONDS} s.") from None
        self.has_answered = True

    def _run_first(self, answer: Future[str]) -> None:
        key = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in self.signatures else next(iter(self.signatures))
        try:
            answer.set_result(trial.answer_once(self._session, key))
        except BaseException as error:
            answer.set_exception(error)

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
            if not shape_fits(array.shape, spec.accepted_shape):
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
        raise BadRequestError(f"Model {model} can't take these values: {error.message}") from error
    except TensorFlowError as error:
        raise _failure(model, error) from error


def _failure(model: str, error: TensorFlowError) -> PredictionError:
    return PredictionError(f"Model {model} failed: {error.code_name}.")
