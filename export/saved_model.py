"""From a Keras model to a SavedModel: traced, frozen and optimized where that pays, checked against the Keras model."""

from __future__ import annotations

import base64
import gc
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from export import memory
from export.shapes import Shapes
from serving.engines.errors import FailedPreconditionError, InvalidArgumentError, TensorFlowError
from serving.engines.graph import UnsafeGraphError
from serving.engines.options import LoadOptions
from serving.engines.session import Session, load_session
from serving.engines.signature import DEFAULT_SIGNATURE, SERVE_TAG, Signature, TensorSpec
from serving.models import trial
from serving.models.example import MOST_VALUES, pattern, shape_of
from serving.models.export_record import SourceError
from serving.openapi.examples import PICTURE

# A frozen graph loads several times faster and small ones run a third faster, but TensorFlow holds its weights several
# times over: always worth it up to about this size of them (docs/performance.md). For larger ones ``form`` measures.
_LARGEST_FROZEN_BYTES = 32 * 1024 * 1024

_NO_VOCABULARY = (
    "a lookup layer has no vocabulary: JSON and HDF5 files don't store adapted vocabularies. Save the model as .keras"
)

_TOO_SENSITIVE = (
    "WARNING: the model's answers change as much when its inputs change in their last digit, so they could not be "
    "compared more closely with the model's. Untrained deep networks are like this"
)

# Answers may differ by this many times what they move by when each input moves to the next number.
_ROUNDINGS = 10

_Tensors = Mapping[str, np.ndarray]

_BATCH = 3  # rows of random input
_WORDS, _VOCABULARY = 100, [b"the", b"quick", b"brown", b"fox"]  # of a long text
SCALES = (1, 1e-3, 1e3, 1e6)


@dataclass(frozen=True)
class Verified:
    """What an export has shown: its largest difference to the Keras model, and whether a row is alike in any batch.

    ``example`` has inputs to show that it takes; None where none of those that were tried is small, or zeros.
    ``warning`` says that answers could not be compared closely; empty where they could.
    """

    difference: float
    independent_rows: bool
    example: _Tensors | None
    warning: str = ""


def trace(tf: Any, model: Any, rows: int | None) -> Any:
    """Return the model's prediction as a concrete function of named inputs that returns a dict of named outputs.

    ``rows`` fixes the size of the batch. Raises SourceError where the model does not know its inputs' shapes.
    """
    inputs = _inputs(model).items()
    specs = {
        name: tf.TensorSpec((rows or shape[0], *shape[1:]) if shape else shape, dtype, name=name)
        for name, (shape, dtype) in inputs
    }
    try:
        return tf.function(lambda **feeds: _call(model, feeds), autograph=False).get_concrete_function(**specs)
    except AttributeError as error:
        if "idf_weights" in str(error):  # which come with a vocabulary
            raise SourceError(_NO_VOCABULARY) from error
        raise


def write(tf: Any, model: Any, function: Any, folder: Path) -> bool:
    """Write the traced function as a SavedModel with one signature, ``serving_default``.

    Returns whether its graph is frozen and optimized, so that TensorFlow has nothing to optimize when it is loaded.
    """
    if _bytes_of_weights(function) > _LARGEST_FROZEN_BYTES or not write_frozen(
        tf, {DEFAULT_SIGNATURE: function}, folder
    ):
        _write_with_variables(tf, model, function, folder)
        return False
    return True


def _write_with_variables(tf: Any, model: Any, function: Any, folder: Path) -> None:
    module = tf.Module()
    module.function = function
    module.variables_used = list(function.graph.variables)
    handles = {id(variable.handle) for variable in module.variables_used}
    # TensorFlow finds a lookup layer's tables in the model, and would save Keras 3's variables there a second time.
    if any(tensor.dtype == tf.resource and id(tensor) not in handles for tensor, _ in function.graph.captures):
        module.model = model
    tf.saved_model.save(module, str(folder), signatures={DEFAULT_SIGNATURE: function})


def write_frozen(tf: Any, functions: Mapping[str, Any], folder: Path, for_litert: bool = False) -> bool:
    """Write functions by signature with their variables as constants, where it can be; return whether it was.

    ``for_litert`` leaves what its converter needs to see: loops as a whole, and GELU's arithmetic. Without it, only one
    function may have loops.
    """
    try:
        frozen = {key: _frozen(tf, function, not for_litert) for key, function in functions.items()}
        if None in frozen.values():
            return False
        _write_graph(tf, functions, frozen, folder, for_litert)
        _free_graphs(*functions.values())
    except (ValueError, TypeError, tf.errors.OpError):  # state that constants can't carry, such as a random generator's
        shutil.rmtree(folder, ignore_errors=True)
        return False
    return True


def lacks_memory(functions: Iterable[Any]) -> str:
    """Say that the functions' weights are too large to be frozen and converted here; nothing if they are not."""
    return memory.lack(sum(map(_bytes_of_weights, functions)))


def verify(model: Any, folder: Path, is_optimized: bool) -> Verified:
    """Run the SavedModel on random inputs in the engine that will serve it, and return what was seen.

    Raises SourceError where it disagrees with the Keras model.
    """
    try:
        session = load_session(folder, "tensorflow", LoadOptions(is_optimized))
    except UnsafeGraphError as error:
        raise SourceError(f"the app would refuse the SavedModel: {error}") from error
    except FailedPreconditionError as error:  # a table that nothing fills
        raise SourceError(_NO_VOCABULARY) from error
    try:
        signature = session.signatures[DEFAULT_SIGNATURE]
        run = partial(session.run, DEFAULT_SIGNATURE)
        _, feeds, fetches = find_inputs(signature, run, _BATCH)
        independent_rows = signature.has_batch_dimension and _has_independent_rows(session, feeds, fetches)
        example = find_example(signature, run, feeds)
        moved = run(nudged(feeds))
    except TensorFlowError as error:
        raise SourceError(f"the SavedModel failed on random inputs of every size tried: {error}") from error
    finally:
        session.close()
    expected = {name: np.asarray(array) for name, array in _predict(model, feeds).items()}
    are_close = [_is_close(name, fetches[name], expected[name], moved[name]) for name in signature.outputs]
    difference = max(largest_difference(fetches[name], expected[name]) for name in signature.outputs)
    return Verified(difference, independent_rows, example, "" if all(are_close) else _TOO_SENSITIVE)


def find_inputs(
    signature: Signature, run: Callable[[_Tensors], _Tensors], rows: int
) -> tuple[trial.Fill, _Tensors, _Tensors]:
    """Return what fills inputs that the model takes, with such inputs and the model's answer.

    Inputs are random numbers, or small whole numbers where it has an embedding; strings are words and a few of them,
    texts that are long enough for convolutions, or pictures.
    """
    random = np.random.default_rng(0)
    fills: list[trial.Fill] = [partial(_random_input, random), partial(_random_indices, random)]
    if any(spec.dtype_name == "string" for spec in signature.inputs.values()):
        fills += [partial(_texts, random), _pictures]
        run = partial(_run_with_rows_alone, run) if rows > 1 else run
    failure: TensorFlowError | None = None
    for fill in fills:
        try:
            return fill, *trial.run(signature, run, fill, rows)
        except TensorFlowError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _run_with_rows_alone(run: Callable[[_Tensors], _Tensors], feeds: _Tensors) -> _Tensors:
    """Run rows, and each alone: a text that is too short for the model may hide beside a longer one."""
    if all(array.ndim for array in feeds.values()):
        for row in range(min(map(len, feeds.values()))):
            run({name: array[row : row + 1] for name, array in feeds.items()})
    return run(feeds)


def find_example(signature: Signature, run: Callable[[_Tensors], _Tensors], taken: _Tensors) -> _Tensors | None:
    """Return inputs that the model takes and that are easily read: few values, or zeros; ``taken`` where none is."""
    sizes = trial.SIZES if trial.is_open(signature) else (1,)
    for fill, rows, size in (*product([pattern], [2, 1], [3, *sizes]), *product([trial.zeros], [1], sizes)):
        shapes = [shape_of(spec, rows, size) for spec in signature.inputs.values()]
        if (sum(map(prod, shapes)) > MOST_VALUES) != (fill is trial.zeros):
            continue
        feeds = trial.feeds(signature, fill, rows, size)
        with suppress(TensorFlowError):
            run(feeds)
            return feeds
    return taken if sum(array.size for array in taken.values()) <= MOST_VALUES else None


def _has_independent_rows(session: Session, feeds: _Tensors, fetches: _Tensors) -> bool:
    """Return whether each row of a batch gets the answer that it gets alone, whatever the sizes of the numbers."""
    for scale in SCALES:
        rescaled = {name: scaled(array, scale) for name, array in feeds.items()}
        try:
            together = fetches if scale == 1 else session.run(DEFAULT_SIGNATURE, rescaled)
        except InvalidArgumentError:  # no longer among an embedding's indices
            continue
        if not _has_same_rows_alone(session, rescaled, together):
            return False
    return True


def scaled(array: np.ndarray, scale: float) -> np.ndarray:
    """Return rows of another size, of which two are the same."""
    if scale == 1 or not array.ndim or array.dtype.kind not in "fiu":
        return array
    if array.dtype.kind != "f":
        scale = min(scale, 100)  # which every whole number's type can hold
    with np.errstate(over="ignore"):  # infinity is a value like others here
        result: np.ndarray = (array * scale).astype(array.dtype)
    result[-1] = result[0]
    return result


def _has_same_rows_alone(session: Session, feeds: _Tensors, fetches: _Tensors) -> bool:
    for row in range(_BATCH):
        alone = session.run(DEFAULT_SIGNATURE, {name: array[row : row + 1] for name, array in feeds.items()})
        for name, array in alone.items():
            in_batch = fetches[name][row : row + 1]
            if array.shape != in_batch.shape or not agree(array, in_batch):
                return False
    return True


def _call(model: Any, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Call the Keras model on its inputs by name; return its outputs by name."""
    return _outputs(model, model(_arguments(model, feeds), training=False))


def _predict(model: Any, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``model.predict`` answers, as a graph: eager Keras differs in the rounding of integers."""
    model.jit_compile = False  # of Keras 3, where compiling takes longer than the run
    return _outputs(model, model.predict_on_batch(_arguments(model, feeds)))


def _arguments(model: Any, feeds: Mapping[str, Any]) -> Any:
    """Return the inputs in the structure that the model was built with: one, a list, or a dict by its own names."""
    values = [feeds[name] for name in _inputs(model)]
    structure = getattr(model, "_inputs_struct", None)
    if isinstance(structure, dict):
        tensors = list(model.inputs)
        return {key: values[_position(tensor, tensors)] for key, tensor in structure.items()}
    if isinstance(_shape_of_first_call(model), dict):
        return dict(zip(_shapes_of_first_call(model), values, strict=True))
    return values[0] if len(values) == 1 else values


def _position(tensor: Any, tensors: list[Any]) -> int:
    return next(index for index, other in enumerate(tensors) if other is tensor)


def _outputs(model: Any, outputs: Any) -> dict[str, Any]:
    """Return outputs by name: Keras's names of a list, the keys of a dict, joined by ``_`` where they are nested."""
    if isinstance(outputs, dict) or any(isinstance(one, dict | list | tuple) for one in _items(outputs)):
        found = dict(_leaves(outputs, ""))
        return dict(zip(_unique(found), found.values(), strict=True))
    flat = _items(outputs)
    names = getattr(model, "output_names", None) or [model.layers[-1].name if model.layers else "output"]
    if len(names) != len(flat):
        names = [f"output_{index}" for index in range(len(flat))]
    return dict(zip(_unique(names), flat, strict=True))


def _items(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _leaves(outputs: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(outputs, dict | list | tuple):
        named = outputs.items() if isinstance(outputs, dict) else enumerate(outputs)
        for key, value in named:
            yield from _leaves(value, f"{name}_{key}" if name else str(key))
    else:
        yield name, outputs


def _inputs(model: Any) -> dict[str, tuple[tuple[int | None, ...], Any]]:
    """Return shape and dtype of each input by name; raises SourceError where the model does not know them."""
    tensors = getattr(model, "inputs", None)
    if tensors:
        names = _unique(str(tensor.name).partition(":")[0] for tensor in tensors)
        return {name: (tuple(one.shape), one.dtype) for name, one in zip(names, tensors, strict=True)}
    shapes = _shapes_of_first_call(model)
    if not shapes or not all(isinstance(shape, list | tuple) and shape for shape in shapes.values()):
        raise SourceError("the model was saved before its input shape was known; call it once, and save it again")
    names = _unique(shapes)
    return {name: ((None, *shape[1:]), "float32") for name, shape in zip(names, shapes.values(), strict=True)}


def _shapes_of_first_call(model: Any) -> dict[str, Any]:
    """Return the shapes by name of the inputs that a subclassed model was called with: one, a list or a dict."""
    shape = _shape_of_first_call(model)
    if isinstance(shape, dict):
        return shape
    if isinstance(shape, list | tuple) and shape and isinstance(shape[0], list | tuple):
        return {f"input_{index}": one for index, one in enumerate(shape)}
    return {key.removesuffix("_shape"): shape for key, shape in _built(model).items()}


def _shape_of_first_call(model: Any) -> Any:
    built = _built(model)
    return next(iter(built.values())) if len(built) == 1 else None


def _built(model: Any) -> dict[str, Any]:
    return getattr(model, "_build_shapes_dict", None) or {}  # Keras 3 keeps it, and saves it


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


def _bytes_of_weights(function: Any) -> int:
    return sum(variable.shape.num_elements() * variable.dtype.size for variable in function.graph.variables)


def operations(function: Any) -> set[str]:
    """Return the types of a concrete function's operations, and of those that it calls."""
    graph = function.graph.as_graph_def()
    return {node.op for nodes in (graph.node, *(inner.node_def for inner in graph.library.function)) for node in nodes}


def _frozen(tf: Any, function: Any, lowers_loops: bool) -> Any | None:
    """Return the function with its variables as constants, or None where it has state that constants can't carry."""
    # What TensorFlow Lite and ONNX converters use; there is no public name for it.
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    if any(op.startswith("Assign") for op in operations(function)):  # a stateful RNN's, say
        return None
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=lowers_loops)
    # Lookup tables are left, as inputs that hold resources.
    return None if any(tensor.dtype == tf.resource for tensor in frozen.inputs) else frozen


def _write_graph(tf: Any, functions: Mapping[str, Any], frozen: dict[str, Any], folder: Path, for_litert: bool) -> None:
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        signatures = {
            key: _imported(tf, function, frozen.pop(key), key, for_litert) for key, function in functions.items()
        }
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session, [SERVE_TAG], signature_def_map=signatures, strip_default_attrs=True
        )
        builder.save()


def _imported(tf: Any, function: Any, frozen: Any, key: str, for_litert: bool) -> Any:
    """Put a function's graph into the default graph; return its signature there."""
    # TensorFlow flattens arguments and results in the order of their names.
    inputs = _names(function.structured_input_signature[1], frozen.inputs)
    outputs = _names(function.structured_outputs, frozen.outputs)
    scope = "" if key == DEFAULT_SIGNATURE else key
    v1 = tf.compat.v1
    meta_graph = v1.train.export_meta_graph(graph=frozen.graph, graph_def=frozen.graph.as_graph_def())
    del frozen  # it has four times the weights, and the optimizer takes twelve times as much
    _free_graphs(function)
    tf.import_graph_def(_optimized(tf, meta_graph, [*inputs.values(), *outputs.values()], for_litert), name=scope)

    def found(tensors: Mapping[str, str]) -> dict[str, Any]:
        graph, prefix = v1.get_default_graph(), scope and f"{scope}/"
        return {name: graph.get_tensor_by_name(prefix + tensor) for name, tensor in tensors.items()}

    return v1.saved_model.predict_signature_def(found(inputs), found(outputs))


def _free_graphs(*functions: Any) -> None:
    """Free graphs that have been left, which takes the garbage collector 0.2 s: where their weights are large."""
    if max(map(_bytes_of_weights, functions)) > _LARGEST_FROZEN_BYTES:
        gc.collect()


def _names(names: Iterable[str], tensors: Sequence[Any]) -> dict[str, str]:
    return dict(zip(sorted(names), [tensor.name for tensor in tensors], strict=True))


def _optimized(tf: Any, meta_graph: Any, needed: list[str], for_litert: bool) -> Any:
    """Return a frozen graph as TensorFlow's graph optimizer leaves it: constants folded, what is not needed gone.

    It would do this at the first run after every load. Passes whose result is for one machine or one release only
    (fused operations, another memory layout) are left out.
    """
    # What TensorFlow Lite's converter calls; there is no public name for it.
    from tensorflow.python.grappler import tf_optimizer

    config = tf.compat.v1.ConfigProto()
    rewrites = config.graph_options.rewrite_options
    rewrites.remapping = rewrites.layout_optimizer = rewrites.OFF
    rewrites.arithmetic_optimization = rewrites.OFF if for_litert else rewrites.ON
    rewrites.min_graph_nodes = -1  # small graphs too
    # What must stay: the optimizer reads it from the collection of training operations.
    meta_graph.collection_def["train_op"].node_list.value.extend(needed)
    return _with_inferred_sizes(tf, tf_optimizer.OptimizeGraph(config, meta_graph))


def _with_inferred_sizes(tf: Any, graph: Any) -> Any:
    """Write reshapes to ``[size of the batch, 1600]`` as reshapes to ``[-1, 1600]``, which do not look up that size.

    LiteRT knows the shape of the latter's result before it runs, and neither engine computes the former's argument.
    Only where both succeed for every size: otherwise the former ends with an error, and the latter may not.
    """
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(graph, name="")
    shapes = Shapes(tf, imported)
    for node in [node for node in graph.node if node.op == "Reshape"]:
        reshape = imported.get_operation_by_name(node.name)
        looked_up = tf.get_static_value(reshape.inputs[1]) is None
        sizes = (shapes.reshaped(reshape) or []) if looked_up else []
        if sum(bool(size.open) for size in sizes) == 1 and all(size.factor for size in sizes):
            constant = graph.node.add(name=f"{node.name}/inferred", op="Const")
            constant.attr["dtype"].type = tf.int32.as_datatype_enum
            known = [-1 if size.open else size.factor for size in sizes]
            constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(known, tf.int32))
            node.input[1] = constant.name
            node.attr["Tshape"].type = tf.int32.as_datatype_enum
    return graph


def _random_input(random: np.random.Generator, shape: tuple[int, ...], spec: TensorSpec) -> np.ndarray:
    if spec.dtype_name == "string":
        return random.choice(np.array([b"a", b"b", b"the quick brown fox", b""], object), shape)
    if spec.dtype.kind in "iub":
        return _random_indices(random, shape, spec)
    return random.standard_normal(shape).astype(spec.dtype)


def _random_indices(random: np.random.Generator, shape: tuple[int, ...], spec: TensorSpec) -> np.ndarray:
    if spec.dtype_name == "string":
        return _random_input(random, shape, spec)
    return random.integers(0, 2, shape).astype(spec.dtype)  # 0 and 1 are indices into any embedding


def _texts(random: np.random.Generator, shape: tuple[int, ...], spec: TensorSpec) -> np.ndarray:
    if spec.dtype_name != "string":
        return _random_indices(random, shape, spec)
    words = random.choice(_VOCABULARY, (prod(shape), _WORDS))
    texts = [b" ".join(text[: _WORDS - 9 * index % 50]) for index, text in enumerate(words)]
    return np.array(texts, object).reshape(shape)


def _pictures(shape: tuple[int, ...], spec: TensorSpec) -> np.ndarray:
    if spec.dtype_name != "string":
        return trial.zeros(shape, spec)
    return np.full(shape, base64.b64decode(PICTURE["image"]), object)


def _is_close(name: str, got: np.ndarray, expected: np.ndarray, moved: np.ndarray) -> bool:
    """Tell whether an output agrees with the model's; raises SourceError where rounding can't explain a difference."""
    if got.dtype != expected.dtype or got.shape != expected.shape:
        raise SourceError(
            f"the SavedModel's output {name!r} is {got.dtype}{list(got.shape)}; "
            f"the model's is {expected.dtype}{list(expected.shape)}"
        )
    if agree(got, expected):
        return True
    if not relative_difference(got, expected) <= rounding(moved, got):
        difference = largest_difference(got, expected)
        by = f" by up to {difference:.3g}" if difference else ""
        raise SourceError(f"the SavedModel's output {name!r} differs from the model's{by}")
    return False


def nudged(feeds: _Tensors) -> _Tensors:
    """Move each number to the next above or below, at random: moved the same way, they would only be scaled.

    Whole numbers are left: they may be indices.
    """
    random = np.random.default_rng(0)
    return {name: _nudged(random, array) for name, array in feeds.items()}


def _nudged(random: np.random.Generator, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "f" or np.array_equal(array, np.floor(array), equal_nan=True):
        return array
    return np.nextafter(array, random.choice([-np.inf, np.inf], array.shape).astype(array.dtype))


def rounding(moved: np.ndarray, answer: np.ndarray) -> float:
    """Return what rounding may change in an answer, relatively, if nudged inputs give ``moved``."""
    relative = relative_difference(moved, answer)
    return _ROUNDINGS * relative if np.isfinite(relative) else 0.0


def relative_difference(got: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference as a part of the largest number, but of 1 at least; infinity for another kind."""
    if expected.dtype.kind != "f":
        return 0.0 if np.array_equal(got, expected) else np.inf
    numbers = np.isfinite(expected)
    if not np.array_equal(got[~numbers], expected[~numbers], equal_nan=True):
        return np.inf
    scale = np.max(np.abs(expected[numbers]), initial=1)
    return float(np.max(np.abs(got[numbers] - expected[numbers]), initial=0) / scale)


def agree(got: np.ndarray, expected: np.ndarray) -> bool:
    """Tell whether two arrays of one dtype and shape are the same but for the rounding of another order of sums.

    The largest number shows how large the terms of such sums are: those of a small number may have been as large.
    """
    if got.dtype.kind in "iubO":
        return np.array_equal(got, expected)
    tolerance = 1e-2 if got.dtype.itemsize < 4 else 1e-4
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    largest = np.max(np.abs(expected[np.isfinite(expected)]), initial=1)
    return np.allclose(got, expected, rtol=tolerance, atol=tolerance / 10 * largest, equal_nan=True)


def largest_difference(got: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference of two arrays of numbers; 0 for others, which agree or not."""
    if got.dtype.kind in "iubO":
        return 0.0
    return float(np.nanmax(np.abs(got.astype(np.float64) - expected.astype(np.float64)), initial=0.0))
