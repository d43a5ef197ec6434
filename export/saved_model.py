"""From a Keras model to a SavedModel: traced, frozen and optimized where that pays, checked against the Keras model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from serving.engines.errors import TensorFlowError
from serving.engines.session import Session, load_session
from serving.engines.signature import DEFAULT_SIGNATURE, SERVE_TAG, TensorSpec
from serving.models import trial
from serving.models.export_record import SourceError

# A frozen graph loads several times faster and small ones run a third faster, but TensorFlow holds its weights several
# times over: worth it up to about this size of them (docs/performance.md has the figures).
_LARGEST_FROZEN_BYTES = 32 * 1024 * 1024

_Tensors = Mapping[str, np.ndarray]

_BATCH = 3  # rows of random input


@dataclass(frozen=True)
class Verified:
    """What an export has shown: its largest difference to the Keras model, and whether a row is alike in any batch."""

    difference: float
    independent_rows: bool


def trace(tf: Any, model: Any) -> Any:
    """Return the model's prediction as a concrete function of named inputs that returns a dict of named outputs.

    Raises SourceError where the model does not know its inputs' shapes.
    """
    if not getattr(model, "inputs", None):
        raise SourceError("the model was saved before its input shape was known; call it once, and save it again")
    specs = {
        name: tf.TensorSpec(tuple(tensor.shape), tensor.dtype, name=name)
        for name, tensor in zip(_input_names(model), model.inputs, strict=True)
    }
    return tf.function(lambda **feeds: _call(model, feeds), autograph=False).get_concrete_function(**specs)


def write(tf: Any, model: Any, function: Any, folder: Path) -> bool:
    """Write the traced function as a SavedModel with one signature, ``serving_default``.

    Returns whether its graph is frozen and optimized, so that TensorFlow has nothing to optimize when it is loaded.
    """
    frozen = _frozen(tf, function) if _bytes_of_weights(model) <= _LARGEST_FROZEN_BYTES else None
    if frozen is None:
        module = tf.Module()
        module.model, module.function = model, function
        # Keras 3 wraps its variables in a class that TensorFlow does not look into.
        module.variables_used = list(function.graph.variables)
        tf.saved_model.save(module, str(folder), signatures={DEFAULT_SIGNATURE: function})
        return False
    _write_graph(tf, function, frozen, folder)
    return True


def verify(model: Any, folder: Path, is_optimized: bool) -> Verified:
    """Run the SavedModel on random inputs in the engine that will serve it, and return what was seen.

    Raises SourceError where it disagrees with the Keras model.
    """
    session = load_session(folder, "auto", is_optimized)
    try:
        signature = session.signatures[DEFAULT_SIGNATURE]
        random = np.random.default_rng(0)
        run = partial(session.run, DEFAULT_SIGNATURE)
        feeds, fetches = trial.run(signature, run, partial(_random_input, random), _BATCH)
        independent_rows = signature.has_batch_dimension and _has_independent_rows(session, feeds, fetches)
    except TensorFlowError as error:
        raise SourceError(f"the SavedModel can't be run on random inputs of any size tried: {error}") from error
    finally:
        session.close()
    expected = _call(model, feeds)
    difference = max(_difference(name, fetches[name], np.asarray(expected[name])) for name in signature.outputs)
    return Verified(difference, independent_rows)


def _has_independent_rows(session: Session, feeds: _Tensors, fetches: _Tensors) -> bool:
    """Tell whether each row of a batch gets the answer that it gets alone."""
    for row in range(_BATCH):
        alone = session.run(DEFAULT_SIGNATURE, {name: array[row : row + 1] for name, array in feeds.items()})
        for name, array in alone.items():
            in_batch = fetches[name][row : row + 1]
            if array.shape != in_batch.shape or not _agree(array, in_batch):
                return False
    return True


def _call(model: Any, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Call the Keras model on its inputs by name; return its outputs by name."""
    values = [feeds[name] for name in _input_names(model)]
    outputs = model(values[0] if len(values) == 1 else values, training=False)
    if isinstance(outputs, dict):
        return dict(outputs)
    flat = outputs if isinstance(outputs, list | tuple) else [outputs]
    names = getattr(model, "output_names", None) or [model.layers[-1].name]
    return dict(zip(_unique(names), flat, strict=True))


def _input_names(model: Any) -> list[str]:
    return _unique(str(tensor.name).partition(":")[0] for tensor in model.inputs)


def _unique(names: Iterable[str]) -> list[str]:
    """Return names that can be Python's and TensorFlow's arguments: letters, digits and underscores, none twice."""
    unique: list[str] = []
    for name in names:
        clean = candidate = re.sub(r"\W", "_", name, flags=re.ASCII)
        count = 1
        while candidate in unique:
            candidate = f"{clean}_{count}"
            count += 1
        unique.append(candidate)
    return unique


def _bytes_of_weights(model: Any) -> int:
    return sum(int(np.prod(weight.shape)) * np.asarray(weight).itemsize for weight in model.weights)


def _frozen(tf: Any, function: Any) -> Any | None:
    """Return the function with its variables as constants, or None where it has state that constants can't carry."""
    # What TensorFlow Lite and ONNX converters use; there is no public name for it.
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]
    if any(node.op.startswith("Assign") for node in nodes):  # a stateful RNN's, say
        return None
    frozen = convert_variables_to_constants_v2(function)
    # Lookup tables are left, as inputs that hold resources.
    return None if any(tensor.dtype == tf.resource for tensor in frozen.inputs) else frozen


def _write_graph(tf: Any, function: Any, frozen: Any, folder: Path) -> None:
    # TensorFlow flattens arguments and results in the order of their names.
    names = zip(sorted(function.structured_input_signature[1]), frozen.inputs, strict=True)
    inputs = {name: tensor.name for name, tensor in names}
    outputs = {
        name: tensor.name for name, tensor in zip(sorted(function.structured_outputs), frozen.outputs, strict=True)
    }
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        tf.import_graph_def(_optimized(tf, frozen, outputs), name="")
        tensor = session.graph.get_tensor_by_name
        signature = v1.saved_model.predict_signature_def(
            {key: tensor(name) for key, name in inputs.items()}, {key: tensor(name) for key, name in outputs.items()}
        )
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session, [SERVE_TAG], signature_def_map={DEFAULT_SIGNATURE: signature}, strip_default_attrs=True
        )
        builder.save()


def _optimized(tf: Any, frozen: Any, outputs: Mapping[str, str]) -> Any:
    """Return the frozen graph as TensorFlow's graph optimizer leaves it: constants folded, what is not needed gone.

    It would do this at the first run after every load. Passes whose result is for one machine or one release only
    (fused operations, another memory layout) are left out.
    """
    # What TensorFlow Lite's converter calls; there is no public name for it.
    from tensorflow.python.grappler import tf_optimizer

    config = tf.compat.v1.ConfigProto()
    rewrites = config.graph_options.rewrite_options
    rewrites.remapping = rewrites.layout_optimizer = rewrites.OFF
    rewrites.min_graph_nodes = -1  # small graphs too
    meta_graph = tf.compat.v1.train.export_meta_graph(graph=frozen.graph, graph_def=frozen.graph.as_graph_def())
    inputs = [tensor.name for tensor in frozen.inputs]
    # What must stay: the optimizer reads it from the collection of training operations.
    meta_graph.collection_def["train_op"].node_list.value.extend([*inputs, *outputs.values()])
    return tf_optimizer.OptimizeGraph(config, meta_graph)


def _random_input(random: np.random.Generator, shape: tuple[int, ...], spec: TensorSpec) -> np.ndarray:
    if spec.dtype_name == "string":
        return random.choice(np.array([b"a", b"b", b"the quick brown fox", b""], object), shape)
    if spec.dtype.kind in "iub":  # 0 and 1 are indices into any embedding
        return random.integers(0, 2, shape).astype(spec.dtype)
    return random.standard_normal(shape).astype(spec.dtype)


def _difference(name: str, got: np.ndarray, expected: np.ndarray) -> float:
    if got.dtype != expected.dtype or got.shape != expected.shape:
        raise SourceError(
            f"the SavedModel's output {name!r} is {got.dtype}{list(got.shape)}; "
            f"Keras's is {expected.dtype}{list(expected.shape)}"
        )
    difference = _largest(got, expected)
    if not _agree(got, expected):
        by = f" by up to {difference:.3g}" if difference else ""
        raise SourceError(f"the SavedModel's output {name!r} differs from Keras's{by}")
    return difference


def _agree(got: np.ndarray, expected: np.ndarray) -> bool:
    """Tell whether two arrays of one dtype and shape are the same but for the rounding of another order of sums."""
    if got.dtype.kind in "iubO":
        return np.array_equal(got, expected)
    tolerance = 1e-2 if got.dtype.itemsize < 4 else 1e-4
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    return np.allclose(got, expected, rtol=tolerance, atol=tolerance / 10, equal_nan=True)


def _largest(got: np.ndarray, expected: np.ndarray) -> float:
    if got.dtype.kind in "iubO":
        return 0.0
    return float(np.nanmax(np.abs(got.astype(np.float64) - expected.astype(np.float64)), initial=0.0))
