"""A loaded model: checks tensors against a signature and runs it. Knows no wire format and no file layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from serving.engines.errors import InvalidArgumentError, TensorFlowError
from serving.engines.session import Session
from serving.engines.signature import DEFAULT_SIGNATURE, Signature, TensorSpec, shape_fits, shape_text
from serving.errors import BadRequestError, PredictionError, RunTimeoutError
from serving.models import trial
from serving.models.backoff import Backoff
from serving.models.batching import Batcher
from serving.models.threads import DaemonThreads
from serving.preprocessing.fitted import NONE, Preprocessing

if TYPE_CHECKING:
    from serving.preprocessing.classification import Classifier

Tensors = Mapping[str, np.ndarray]

# A client of a probe waits for that long. Azure's front end drops a request after 230 s.
FIRST_RUN_SECONDS = 60

_first_runs = DaemonThreads("warm-up")


class Model:
    """One version of a model, ready to run from many threads at once.

    With ``any_shape``, inputs may have other shapes than its signatures state, as far as the graph takes them. A run
    may take ``run_seconds``, or any time. ``size`` is the memory that the model is taken to need, in bytes.
    ``signatures`` are the session's, with examples.
    """

    def __init__(
        self,
        name: str,
        version: int,
        session: Session,
        batch_rows: int = 1,
        any_shape: bool = False,
        run_seconds: float | None = None,
        size: int = 0,
        preprocessing: Preprocessing = NONE,
        signatures: Mapping[str, Signature] | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.preprocessing = preprocessing
        self.signatures = {  # by name
            key: signature.with_any_shape() if any_shape else signature
            for key, signature in preprocessing.described(signatures or session.signatures).items()
        }
        self.engine = session.engine
        self.has_answered = False  # a prediction, since it was loaded
        self.size = size
        self.last_used = monotonic()
        self._session = session
        self._run_seconds = run_seconds
        self._lock = Lock()
        self._first_run: Future[str] | None = None
        self._backoff = Backoff()
        self._batchers = {
            key: Batcher(
                partial(_run, session, str(self), key),
                session.clocks[key],
                min(batch_rows, session.rows_at_once or batch_rows) if signature.has_batch_dimension else 1,
                run_seconds,
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
        from serving.preprocessing.classification import Classifier

        try:
            return Classifier.of(self.signature().outputs, output)
        except ValueError as error:
            raise BadRequestError(f"Model {self} can't classify: {error}.") from None

    async def predict(self, feeds: Tensors, signature: str = DEFAULT_SIGNATURE) -> tuple[Tensors, int]:
        """Run a signature on arrays by input name, together with waiting requests where the model allows batches.

        Returns the arrays by output name, and the number of rows in the whole run. Raises BadRequestError where the
        feeds don't fit the signature or the graph rejects their values, RunTimeoutError where the run takes too long,
        PredictionError where it fails otherwise.
        """
        self._check(feeds, self.signature(signature).inputs)
        self.last_used = monotonic()
        try:
            answer = await self._batchers[signature].run(feeds)
        except TimeoutError:
            raise RunTimeoutError(f"Model {self} did not answer within {self._run_seconds:g} s.") from None
        self.has_answered = True
        return answer

    def warm_up(self) -> None:
        """Run once, so that what TensorFlow does on the first run is done; see ``first_run``.

        Raises PredictionError where the run fails, or takes too long. Then it goes on.
        """
        with self.failures_of_first_run():
            self.first_run().result(FIRST_RUN_SECONDS)

    def first_run(self) -> Future[str]:
        """Return the run on the example or zeros; start it unless it has been started or has failed a moment ago.

        A graph that rejects the values has run, so that is no failure.
        """
        with self._lock:
            if self._first_run is None or (self._first_run.done() and not self._backoff.seconds_left()):
                key = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in self.signatures else next(iter(self.signatures))
                self._first_run = _first_runs.submit(self._run_first, key)
            return self._first_run

    def _run_first(self, key: str) -> str:
        try:
            rejection = trial.answer_once(self._session, key, self.signatures[key])
        except BaseException:
            self._backoff.fail()
            raise
        self.has_answered = True
        return rejection

    @contextmanager
    def failures_of_first_run(self) -> Iterator[None]:
        """Raise PredictionError for what a wait for the first run raises."""
        try:
            yield
        except TimeoutError:
            raise PredictionError(f"Model {self} did not answer within {FIRST_RUN_SECONDS} s.") from None
        except TensorFlowError as error:
            raise _failure(str(self), error) from error

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
