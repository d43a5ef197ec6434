"""The engine on TensorFlow's Python session, for platforms whose wheel has no C library, such as Windows.

It has the interface and the answers of ``tensorflow_c``, but starts slower, since it imports ``tensorflow``.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from serving.engines import dtypes, errors
from serving.engines.errors import EngineNotFoundError
from serving.engines.options import LoadOptions
from serving.engines.session import RunClock, bytes_of
from serving.engines.signature import SERVE_TAG, Signature, TensorSpec, decode_signatures


class Session:
    """A SavedModel in a ``tf.compat.v1.Session``; see ``serving.engines.session.Session``."""

    engine = "tensorflow"
    rows_at_once = 0
    signatures: Mapping[str, Signature]

    def __init__(self, saved_model: Path, options: LoadOptions) -> None:
        tf = self._tf = _import_tensorflow()
        config = tf.compat.v1.ConfigProto()
        config.allow_soft_placement = True
        config.graph_options.rewrite_options.disable_meta_optimizer = options.is_optimized
        config.graph_options.rewrite_options.disable_tfg_optimizer = True  # it crashes: see tensorflow_c.py
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        try:
            with self._session.graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(self._session, [SERVE_TAG], os.fspath(saved_model))
            found = decode_signatures(meta_graph.SerializeToString())
            self.signatures = {key: self._typed(signature) for key, signature in found.items()}
            self._calls: dict[str, Callable[..., list[Any]]] = {}  # bound at their first run, as TF_SessionRun does
            self.clocks = {key: RunClock() for key in self.signatures}
        except BaseException as error:
            self._session.close()
            raise _translated(tf, error) from error

    def close(self) -> None:
        """Release the session, which must not be running."""
        self._session.close()

    def _typed(self, signature: Signature) -> Signature:
        def typed(specs: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
            tensor = self._session.graph.get_tensor_by_name
            return {name: spec.typed(tensor(spec.tensor).dtype.as_datatype_enum) for name, spec in specs.items()}

        return Signature(typed(signature.inputs), typed(signature.outputs), signature.method_name)

    def _bind(self, signature: Signature) -> Callable[..., list[Any]]:
        from tensorflow.core.protobuf import config_pb2

        options = config_pb2.CallableOptions()
        options.feed.extend(spec.tensor for spec in signature.inputs.values())
        options.fetch.extend(spec.tensor for spec in signature.outputs.values())
        # The option that tensorflow_c passes to TF_SessionRun, for the same reason.
        options.run_options.inter_op_thread_pool = -1
        # Unlike make_callable, this leaves it to the graph which shapes it takes, as TF_SessionRun does.
        call: Callable[..., list[Any]] = self._session._make_callable_from_options(options)
        return call

    def run(self, signature: str, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one signature; see ``serving.engines.session.Session.run``."""
        specs = self.signatures[signature]
        start = perf_counter()
        try:
            if signature not in self._calls:
                self._calls[signature] = self._bind(specs)
            fetches = self._calls[signature](*(feeds[name] for name in specs.inputs))
        except self._tf.errors.OpError as error:
            raise _translated(self._tf, error) from error
        self.clocks[signature].record(perf_counter() - start, bytes_of(feeds))
        outputs = zip(specs.outputs.items(), fetches, strict=True)
        return {name: _array(value, spec.dtype_number) for (name, spec), value in outputs}


def is_available(options: LoadOptions) -> bool:
    """Return whether this engine can run here."""
    return _is_installed()


def _is_installed() -> bool:
    return importlib.util.find_spec("tensorflow") is not None


def _import_tensorflow() -> Any:
    if not _is_installed():
        raise EngineNotFoundError("tensorflow is not installed; install the packages in requirements.txt.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as in tensorflow_library
    import tensorflow

    return tensorflow


def _array(value: Any, dtype_number: int) -> np.ndarray:
    # Session.run returns a bytes object or a NumPy scalar for a tensor of rank 0.
    return np.asarray(value, object if dtype_number == dtypes.STRING else None)


def _translated(tf: Any, error: BaseException) -> BaseException:
    if isinstance(error, tf.errors.OpError):
        return errors.error_for(error.error_code, error.message.removeprefix("Graph execution error:\n\n"))
    if isinstance(
        error, KeyError | OSError | RuntimeError | ValueError
    ):  # from the loader, for a folder without a SavedModel
        return errors.NotFoundError(str(error))
    return error
