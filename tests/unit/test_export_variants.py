"""What public repositories hold besides the files that today's Keras writes; each answer is checked with NumPy."""

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from export import load, saved_model
from export.__main__ import main
from export.safety import Trust
from serving.engines.session import load_session
from serving.models.export_record import SourceError
from tests.unit import keras_files

RANDOM = np.random.default_rng(0)


def answer(folder: Path, x: np.ndarray) -> np.ndarray:
    """Load the pair in a folder and predict."""
    model, _ = load.load_model([folder / "model.json", folder / "model.h5"], Trust())
    return np.asarray(model.predict_on_batch(x))


# --- the configuration alone instead of to_json() ---


@pytest.mark.parametrize("is_list", [True, False], ids=["a list of layers", "a Sequential's"])
def test_a_configuration_alone_is_read(tmp_path: Path, is_list: bool) -> None:
    layers = [keras_files.keras2_dense("dense_1", 2, 2), keras_files.keras2_dense("dense_2", 1)]
    keras_files.write_pair(tmp_path, keras_files.sequential(*layers), keras_files.XOR_WEIGHTS, "2.2.4")
    content = layers if is_list else {"name": "sequential_1", "layers": layers}
    (tmp_path / "model.json").write_text(json.dumps(content))
    rows = np.array([[0, 1], [1, 1]], np.float32)

    np.testing.assert_allclose(answer(tmp_path, rows), keras_files.xor_answers(rows), atol=1e-6)


def test_a_graphs_configuration_alone_is_read(tmp_path: Path) -> None:
    source = {"name": "x", "batch_input_shape": [None, 2], "dtype": "float32", "sparse": False}
    layers = [
        {"class_name": "InputLayer", "name": "x", "config": source, "inbound_nodes": []},
        {**keras_files.keras2_dense("dense_1", 2), "name": "dense_1", "inbound_nodes": [[["x", 0, 0, {}]]]},
        {**keras_files.keras2_dense("dense_2", 1), "name": "dense_2", "inbound_nodes": [[["dense_1", 0, 0, {}]]]},
    ]
    content = {"name": "net", "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [["dense_2", 0, 0]]}
    keras_files.write_pair(tmp_path, content, {"x": [], **keras_files.XOR_WEIGHTS}, "2.0.8")
    rows = np.array([[0, 1], [1, 1]], np.float32)

    np.testing.assert_allclose(answer(tmp_path, rows), keras_files.xor_answers(rows), atol=1e-6)


# --- layers for GPUs, and other names ---


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def cudnn_weights(gates: int, columns: int, units: int) -> tuple[list[np.ndarray], list[Any]]:
    """Return weights as CuDNNLSTM and CuDNNGRU keep them, and what cuDNN makes of each gate's.

    ``_canonical_to_params`` in ``keras/layers/cudnn_recurrent.py`` of Keras 2.2: a gate's numbers, in the order that
    they are kept, are a matrix of units by inputs.
    """
    shapes = (columns, gates * units), (units, gates * units), (2 * gates * units,)
    kernel, recurrent, bias = arrays = [RANDOM.standard_normal(shape).astype(np.float32) for shape in shapes]
    kernels = [part.reshape(units, columns).T for part in np.split(kernel, gates, 1)]
    recurrents = [part.reshape(units, units).T for part in np.split(recurrent, gates, 1)]
    return arrays, [kernels, recurrents, np.split(bias, 2 * gates)]


def lstm(x: np.ndarray, kernels: Any, recurrents: Any, bias: Any) -> np.ndarray:
    h = c = np.zeros((len(x), kernels[0].shape[1]))
    for step in np.moveaxis(x, 1, 0):
        i, f, g, o = (step @ kernels[n] + bias[n] + h @ recurrents[n] + bias[n + 4] for n in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return h


def gru(x: np.ndarray, kernels: Any, recurrents: Any, bias: Any) -> np.ndarray:
    h = np.zeros((len(x), kernels[0].shape[1]))
    for step in np.moveaxis(x, 1, 0):
        inputs = [step @ kernels[n] + bias[n] for n in range(3)]
        states = [h @ recurrents[n] + bias[n + 3] for n in range(3)]
        z, r = (sigmoid(inputs[n] + states[n]) for n in range(2))
        h = z * h + (1 - z) * np.tanh(inputs[2] + r * states[2])
    return h


@pytest.mark.parametrize(("class_name", "gates", "reference"), [("CuDNNLSTM", 4, lstm), ("CuDNNGRU", 3, gru)])
def test_a_recurrent_layer_for_gpus_answers_as_cudnn_did(
    tmp_path: Path, class_name: str, gates: int, reference: Any
) -> None:
    arrays, parts = cudnn_weights(gates, 3, 2)
    config = {"name": "rnn", "batch_input_shape": [None, 4, 3], "units": 2, "return_sequences": False}
    layer = {"class_name": class_name, "config": config}
    keras_files.write_pair(tmp_path, keras_files.sequential(layer, keras_version="2.2.4"), {"rnn": arrays}, "2.2.4")
    x = RANDOM.standard_normal((5, 4, 3)).astype(np.float32)

    np.testing.assert_allclose(answer(tmp_path, x), reference(x, *parts), atol=1e-5)


def test_a_batch_normalization_of_tensorflow_1_13_is_read(tmp_path: Path) -> None:
    config = {"name": "norm", "batch_input_shape": [None, 2], "axis": [1], "epsilon": 0.5}
    layer = {"class_name": "BatchNormalizationV1", "config": config}
    gamma, beta, mean, variance = (np.array(pair, np.float32) for pair in ([1, 2], [3, 4], [5, 6], [7, 8]))
    description = keras_files.sequential(layer, keras_version="2.2.4-tf")
    keras_files.write_pair(tmp_path, description, {"norm": []}, "2.2.4-tf")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        file["norm"].attrs["weight_names"] = [f"norm/{name}:0".encode() for name in names]
        for name, array in zip(names, (gamma, beta, mean, variance), strict=True):
            file["norm"][f"norm/{name}:0"] = array
    x = np.array([[1, 2], [3, 4]], np.float32)

    expected = (x - mean) / np.sqrt(variance + 0.5) * gamma + beta
    np.testing.assert_allclose(answer(tmp_path, x), expected, atol=1e-5)


# --- groups of .keras files ---


@pytest.mark.parametrize("separator", ["/", "\\"], ids=["Linux", "Windows"])
def test_the_numbers_that_keras_2_12_to_2_14_gave_layers_are_read(tmp_path: Path, separator: str) -> None:
    import tf_keras

    layers = [tf_keras.layers.Dense(2), tf_keras.layers.ReLU(), tf_keras.layers.Dense(3), tf_keras.layers.ReLU()]
    model = tf_keras.Sequential([tf_keras.Input((2,)), *layers, tf_keras.layers.Dense(1)])
    model.save(tmp_path / "saved.keras")
    with zipfile.ZipFile(tmp_path / "saved.keras") as saved:
        saved.extract("model.weights.h5", tmp_path)
        config = saved.read("config.json")
    with h5py.File(tmp_path / "model.weights.h5", "r+") as file:
        for name, of_2_13 in {"dense_2": "dense_4", "dense_1": "dense_2"}.items():
            file["layers"].move(name, of_2_13)
        for name in list(file["layers"]):
            file.move(f"layers/{name}", f"_layer_checkpoint_dependencies{separator}{name}")
        del file["layers"]
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as copy:
        copy.writestr("metadata.json", '{"keras_version": "2.13.1"}')
        copy.writestr("config.json", config)
        copy.write(tmp_path / "model.weights.h5", "model.weights.h5")
    x = RANDOM.standard_normal((4, 2)).astype(np.float32)

    loaded, _ = load.load_model([tmp_path / "model.keras"], Trust())

    np.testing.assert_allclose(loaded.predict_on_batch(x), model.predict_on_batch(x), atol=1e-6)


# --- the numbers that Keras 3.0 to 3.2 gave calls ---


def renumbered(value: Any) -> Any:
    """Number calls as if other models had called each layer before: once, then once between any two calls."""
    if isinstance(value, list):
        return [renumbered(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "keras_history" in value:
        name, node, tensor = value["keras_history"]
        return {**value, "keras_history": [name, 2 * node + 1, tensor]}
    return {key: renumbered(item) for key, item in value.items()}


def test_calls_are_found_of_layers_that_other_models_called_too(tmp_path: Path) -> None:
    import keras

    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    shared, once = keras.layers.Dense(3, name="shared"), keras.layers.Dense(2, name="once")
    inner = keras.Input((3,))
    inside = keras.Model(inner, keras.layers.ReLU()(keras.layers.Dense(3)(inner)))
    joined = keras.layers.subtract([inside(shared(a)), shared(once(b))])
    model = keras.Model([a, b], [keras.layers.Dense(1)(joined), joined])
    (tmp_path / "model.json").write_text(json.dumps(renumbered(json.loads(model.to_json()))))
    model.save_weights(tmp_path / "model.weights.h5")
    x = [RANDOM.standard_normal((4, 2)).astype(np.float32) for _ in "ab"]

    loaded, _ = load.load_model([tmp_path / "model.json", tmp_path / "model.weights.h5"], Trust())

    for got, expected in zip(loaded.predict_on_batch(x), model.predict_on_batch(x), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_calls_that_the_file_does_not_tell_apart_are_refused(tmp_path: Path) -> None:
    import keras

    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    shared = keras.layers.Dense(3, name="shared")
    model = keras.Model([a, b], [keras.layers.ReLU()(shared(a)), shared(b)])  # nothing refers to the second call
    model.save(tmp_path / "model.keras")
    load.load_model([tmp_path / "model.keras"], Trust())  # today's Keras numbers them right
    with zipfile.ZipFile(tmp_path / "model.keras") as saved, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in saved.namelist():
            old.writestr(name, '{"keras_version": "3.0.5"}' if name == "metadata.json" else saved.read(name))

    with pytest.raises(SourceError, match=r"old\.keras: layer 'shared' is shared, and Keras 3\.0 did not write"):
        load.load_model([tmp_path / "old.keras"], Trust())


# --- what Keras 3 computes otherwise in a graph ---


@pytest.mark.parametrize("shape", [(2, 7, 3), (7, 2, 3), (1, 1, 3)], ids=str)
def test_a_layer_is_applied_to_every_step_of_any_number(tmp_path: Path, shape: tuple[int, ...]) -> None:
    import keras

    kernel, bias = (RANDOM.standard_normal(size).astype(np.float32) for size in ((3, 2), (2,)))
    dense = keras.layers.TimeDistributed(keras.layers.Dense(2))
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.Masking(), dense])
    model.set_weights([kernel, bias])
    model.save(tmp_path / "model.keras")
    assert main([str(tmp_path)]) == 0
    x = RANDOM.standard_normal(shape).astype(np.float32)

    session = load_session(tmp_path, "c")
    [signature] = session.signatures.values()
    [got] = session.run("serving_default", dict.fromkeys(signature.inputs, x)).values()
    np.testing.assert_allclose(got, x @ kernel + bias, atol=1e-5)
    session.close()


def test_the_shapes_of_a_layer_applied_to_images_may_be_open(tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    inner = keras.Sequential([keras.Input((None, None, 1)), keras.layers.MaxPooling2D()])
    model = keras.Sequential([keras.Input((None, None, None, 1)), keras.layers.TimeDistributed(inner)])
    model.save(tmp_path / "model.keras")
    loaded, _ = load.load_model([tmp_path / "model.keras"], Trust())
    x = RANDOM.standard_normal((2, 3, 4, 6, 1)).astype(np.float32)

    function = saved_model.trace(tf, loaded, None)
    [got] = function(**dict.fromkeys(function.structured_input_signature[1], tf.constant(x))).values()
    np.testing.assert_array_equal(got, x.reshape(2, 3, 2, 2, 3, 2, 1).max((3, 5)))
