"""``python -m export``: what it accepts, that the SavedModel answers as Keras does, and what it refuses."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from export import form, load, safety, saved_model
from export.__main__ import main
from export.safety import Trust
from serving.engines import litert_library
from serving.engines.session import load_session
from serving.models import export_record
from tests.unit import keras_files

Capture = pytest.CaptureFixture[str]
Change = Callable[[Path], object]

ROWS = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], np.float32)
XOR_ANSWERS = keras_files.xor_answers(ROWS)


@pytest.fixture(scope="module")
def keras() -> Any:
    import keras

    return keras


@pytest.fixture(scope="module")
def tf_keras() -> Any:
    import tf_keras

    return tf_keras


@pytest.fixture(autouse=True)
def without_litert(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is chosen between the engines is in ``test_export_litert``, and takes seconds."""
    monkeypatch.setattr(litert_library, "version", lambda: "")


def serve(folder: Path, x: np.ndarray) -> np.ndarray:
    """Run the export of a model with one input and one output in the engine that serves it."""
    session = load_session(folder, "auto")
    [(key, signature)] = session.signatures.items()
    [answer] = session.run(key, dict.fromkeys(signature.inputs, x)).values()
    session.close()
    return answer


def export_and_serve(folder: Path, x: np.ndarray, *flags: str) -> np.ndarray:
    assert main([str(folder), *flags]) == 0
    return serve(folder, x)


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def save_pair(model: Any, folder: Path) -> None:
    """Save as ``model.json`` and ``model.h5``, in the weights' layout of the Keras at hand."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(model.to_json())
    model.save_weights(folder / "model.weights.h5")
    (folder / "model.weights.h5").rename(folder / "model.h5")


SAVE: dict[str, Callable[[Any, Path], None]] = {
    "pair": save_pair,
    "archive": lambda model, folder: model.save(folder / "model.keras"),
    "whole h5": lambda model, folder: model.save(folder / "model.h5"),
}


# --- what it accepts ---


def test_the_pair_of_2017_answers_as_its_notebook_did(tmp_path: Path) -> None:
    keras_files.write_xor_of_2017(tmp_path)

    np.testing.assert_allclose(export_and_serve(tmp_path, ROWS), XOR_ANSWERS, rtol=0, atol=1e-6)


def test_the_same_pair_as_keras_1_wrote_it_answers_the_same(tmp_path: Path) -> None:
    description = keras_files.sequential(
        keras_files.keras1_dense("dense_1", 2, 2), keras_files.keras1_dense("dense_2", 1), keras_version="1.2.2"
    )
    keras_files.write_pair(tmp_path, description, keras_files.XOR_WEIGHTS)

    np.testing.assert_allclose(export_and_serve(tmp_path, ROWS), XOR_ANSWERS, rtol=0, atol=1e-6)


def test_separate_activation_layers_and_no_version_are_accepted(tmp_path: Path) -> None:
    first, second = keras_files.keras2_dense("dense_1", 2, 2), keras_files.keras2_dense("dense_2", 1)
    for dense in (first, second):
        dense["config"]["activation"] = "linear"
    layers = [first, activation("activation_1"), second, activation("activation_2")]
    names = ("dense_1", "activation_1", "dense_2", "activation_2")
    weights = {name: keras_files.XOR_WEIGHTS.get(name, []) for name in names}
    keras_files.write_pair(tmp_path, keras_files.sequential(*layers), weights)

    np.testing.assert_allclose(export_and_serve(tmp_path, ROWS), XOR_ANSWERS, rtol=0, atol=1e-6)


def activation(name: str) -> keras_files.Config:
    return {"class_name": "Activation", "config": {"name": name, "trainable": True, "activation": "sigmoid"}}


def test_a_whole_model_h5_of_keras_2_is_accepted(tmp_path: Path) -> None:
    description = keras_files.sequential(
        keras_files.keras2_dense("dense_1", 2, 2), keras_files.keras2_dense("dense_2", 1)
    )
    keras_files.write_h5(tmp_path / "model.h5", keras_files.XOR_WEIGHTS, "2.0.8", description)

    np.testing.assert_allclose(export_and_serve(tmp_path, ROWS), XOR_ANSWERS, rtol=0, atol=1e-6)


def test_a_gru_of_2017_keeps_the_reset_gate_of_its_time(tmp_path: Path, tf_keras: Any) -> None:
    layer = tf_keras.layers.GRU(3, reset_after=False, recurrent_activation="hard_sigmoid", name="gru_1")
    model = tf_keras.Sequential([tf_keras.Input((4, 2)), layer])
    config = layer.get_config()
    config = {key: config[key] for key in ("name", "units", "activation", "recurrent_activation", "use_bias")}
    config["batch_input_shape"] = [None, 4, 2]
    description = keras_files.sequential({"class_name": "GRU", "config": config}, keras_version="2.0.8")
    keras_files.write_pair(tmp_path, description, {"gru_1": layer.get_weights()}, "2.0.8")
    x = np.random.default_rng(0).standard_normal((5, 4, 2)).astype(np.float32)

    np.testing.assert_allclose(export_and_serve(tmp_path, x), model(x), atol=1e-6)


def test_a_convolution_of_keras_1_is_translated(tmp_path: Path, tf_keras: Any) -> None:
    model = tf_keras.Sequential(
        [
            tf_keras.Input((6, 5, 1)),
            tf_keras.layers.Conv2D(2, (3, 2), activation="relu", padding="same", name="conv"),
            tf_keras.layers.MaxPooling2D((2, 2)),
            tf_keras.layers.Flatten(),
        ]
    )
    convolution = {
        "name": "conv",
        "nb_filter": 2,
        "nb_row": 3,
        "nb_col": 2,
        "init": "glorot_uniform",
        "activation": "relu",
        "border_mode": "same",
        "subsample": [1, 1],
        "dim_ordering": "tf",
        "bias": True,
        "W_regularizer": None,
        "batch_input_shape": [None, 6, 5, 1],
        "input_dtype": "float32",
        "trainable": True,
    }
    pooling = {"name": "pool", "pool_size": [2, 2], "strides": [2, 2], "border_mode": "valid", "dim_ordering": "tf"}
    description = keras_files.sequential(
        {"class_name": "Convolution2D", "config": convolution},
        {"class_name": "MaxPooling2D", "config": pooling},
        {"class_name": "Flatten", "config": {"name": "flatten"}},
        keras_version="1.2.2",
    )
    weights = {"conv": model.get_layer("conv").get_weights(), "pool": [], "flatten": []}
    keras_files.write_pair(tmp_path, description, weights)
    x = np.random.default_rng(0).standard_normal((3, 6, 5, 1)).astype(np.float32)

    np.testing.assert_allclose(export_and_serve(tmp_path, x), model(x), atol=1e-6)


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize("files", SAVE)
def test_every_kind_of_file_of_keras_2_and_3_is_accepted(
    tmp_path: Path, request: pytest.FixtureRequest, library: Any, files: str
) -> None:
    library = request.getfixturevalue(library)
    model = library.Sequential([library.Input((3,)), library.layers.Dense(4, "relu"), library.layers.Dense(2)])
    SAVE[files](model, tmp_path)
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)

    np.testing.assert_allclose(export_and_serve(tmp_path, x), np.asarray(model(x)), atol=1e-6)


def test_keras_3_weights_under_their_own_name_are_accepted(tmp_path: Path, keras: Any) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    (tmp_path / "model.json").write_text(model.to_json())
    model.save_weights(tmp_path / "model.weights.h5")

    assert main([str(tmp_path)]) == 0

    assert set(export_record.hashes(export_record.find_sources(tmp_path))) == {"model.json", "model.weights.h5"}
    np.testing.assert_allclose(serve(tmp_path, np.ones((1, 3), np.float32)), model(np.ones((1, 3))), atol=1e-6)


@pytest.mark.parametrize("name", ["classifier.keras", "classifier.h5"])
@pytest.mark.parametrize("by_path", [True, False], ids=["the file", "its folder"])
def test_the_only_model_in_a_folder_may_have_any_name(tmp_path: Path, keras: Any, name: str, by_path: bool) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.save(tmp_path / name)

    assert main([str(tmp_path / name if by_path else tmp_path)]) == 0

    assert export_record.is_fresh(tmp_path)
    np.testing.assert_allclose(serve(tmp_path, np.ones((1, 3), np.float32)), model(np.ones((1, 3))), atol=1e-6)


def test_of_two_models_in_a_folder_neither_is_exported(tmp_path: Path, keras: Any, capsys: Capture) -> None:
    for name in ("a.keras", "b.keras"):
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / name)

    assert "and no other model; it has a.keras, b.keras" in refuse(tmp_path, capsys)


# --- any Keras model ---


def keras_models(keras: Any) -> dict[str, Any]:
    layers = keras.layers
    a, b = keras.Input((3,), name="a"), keras.Input((None, 2), name="b-2")
    joined = layers.Concatenate()([a, layers.LSTM(4)(b)])
    normalization = layers.Normalization()
    normalization.adapt(np.random.default_rng(0).standard_normal((50, 3)) * 5 + 2)
    words = keras.Input((1,), dtype="string", name="words")
    return {
        "several inputs and outputs": keras.Model(
            [a, b], [layers.Dense(1, name="score")(joined), layers.Dense(2, "softmax", name="class")(joined)]
        ),
        "convolution": keras.Sequential(
            [
                keras.Input((None, None, 3)),
                layers.Conv2D(4, 3, activation="relu"),
                layers.BatchNormalization(),
                layers.GlobalAveragePooling2D(),
                layers.Dense(2),
            ]
        ),
        "recurrent": keras.Sequential(
            [keras.Input((None, 2)), layers.Bidirectional(layers.GRU(3, return_sequences=True)), layers.LSTM(2)]
        ),
        "embedding": keras.Sequential(
            [keras.Input((None,), dtype="int32"), layers.Embedding(10, 4), layers.GlobalAveragePooling1D()]
        ),
        "normalization": keras.Sequential([keras.Input((3,)), normalization, layers.Dropout(0.5), layers.Dense(2)]),
        "string lookup": keras.Model(
            words, layers.Embedding(4, 2)(layers.StringLookup(vocabulary=["the", "quick", "fox"])(words))
        ),
        "text vectorization": keras.Sequential(
            [words, layers.TextVectorization(vocabulary=["the", "quick"], output_sequence_length=6)]
        ),
        "texts that may be too short": keras.Sequential(
            [
                words,
                layers.TextVectorization(vocabulary=["the", "quick"]),
                layers.Embedding(4, 2),
                layers.Conv1D(3, 5),
                layers.GlobalMaxPooling1D(),
            ]
        ),
        "half precision": keras.Sequential([keras.Input((3,), dtype="float16"), layers.Dense(2, dtype="float16")]),
        "bfloat16": keras.Sequential([keras.Input((3,), dtype="bfloat16"), layers.Dense(2, dtype="bfloat16")]),
        "attention": transformer_block(keras),
        "too large to freeze": keras.Sequential([keras.Input((3000,)), layers.Dense(3000), layers.Dense(1)]),
    }


def transformer_block(keras: Any) -> Any:
    x = keras.Input((5, 8), name="tokens")
    y = keras.layers.LayerNormalization()(x + keras.layers.MultiHeadAttention(2, 4)(x, x))
    return keras.Model(x, keras.layers.Dense(3, "softmax")(keras.ops.mean(y, axis=1)))


@pytest.mark.parametrize(
    "name",
    [
        *("several inputs and outputs", "convolution", "recurrent", "embedding", "normalization", "string lookup"),
        *(
            "text vectorization",
            "texts that may be too short",
            "half precision",
            "bfloat16",
            "attention",
            "too large to freeze",
        ),
    ],
)
def test_any_keras_model_exports_and_is_checked_against_keras(
    tmp_path: Path, keras: Any, name: str, capsys: Capture
) -> None:
    model = keras_models(keras)[name]
    model.save(tmp_path / "model.keras")

    assert main([str(tmp_path)]) == 0, capsys.readouterr().err

    printed = capsys.readouterr().out
    assert printed.index("  comparing its answers with the model's ...\n") < printed.index("largest difference is")
    assert export_record.is_fresh(tmp_path)


def test_a_layer_whose_class_keras_publishes_by_another_name_is_accepted(tmp_path: Path, keras: Any) -> None:
    a = keras.Input((3, 4))
    model = keras.Model(a, keras.layers.GroupQueryAttention(2, 2, 1)(a, a))
    model.save(tmp_path / "model.h5")
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)

    np.testing.assert_allclose(export_and_serve(tmp_path, x), model(x), atol=1e-6)


def test_operations_of_keras_3_in_hdf5_are_known_by_their_names(tmp_path: Path, keras: Any) -> None:
    a = keras.Input((5,), dtype="int32")
    model = keras.Model(a, keras.layers.LSTM(2)(keras.layers.Embedding(4, 3, mask_zero=True)(a)))
    model.save(tmp_path / "model.h5")
    assert '"NotEqual"' in h5py.File(tmp_path / "model.h5").attrs["model_config"]
    x = np.array([[1, 2, 3, 0, 0], [3, 0, 0, 0, 0]], np.int32)

    np.testing.assert_allclose(export_and_serve(tmp_path, x), model.predict_on_batch(x), atol=1e-6)


def test_operations_of_keras_3_may_call_functions_that_only_compute(tmp_path: Path, keras: Any) -> None:
    a = keras.Input((2,))
    rectified = keras.ops.map(keras.ops.relu, a)
    model = keras.Model(a, keras.ops.switch(keras.ops.size(a), [keras.ops.relu, keras.ops.tanh], rectified))
    model.save(tmp_path / "model.keras")

    np.testing.assert_allclose(export_and_serve(tmp_path, ROWS), np.tanh(ROWS), atol=1e-6)


def doubled(x: Any) -> Any:
    return x * 2


def test_operations_of_keras_3_call_functions_of_the_owner_only_if_told_so(
    tmp_path: Path, keras: Any, capsys: Capture
) -> None:
    a = keras.Input((2,))
    keras.Model(a, keras.ops.map(doubled, a)).save(tmp_path / "model.keras")

    assert "uses the custom object 'doubled'" in refuse(tmp_path, capsys)
    model, _ = load.load_model([tmp_path / "model.keras"], Trust(custom_objects={"doubled": doubled}))
    assert np.asarray(model.predict_on_batch(ROWS)).tolist() == (ROWS * 2).tolist()


def test_the_feature_columns_of_keras_2_are_known(tmp_path: Path, tf: Any, tf_keras: Any) -> None:
    a = tf_keras.Input((2,), name="a")
    columns = tf_keras.layers.DenseFeatures([tf.feature_column.numeric_column("a", (2,))])
    tf_keras.Model(a, columns({"a": a})).save(tmp_path / "model.h5")

    assert export_and_serve(tmp_path, ROWS).tolist() == ROWS.tolist()


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_layers_that_keras_has_for_its_applications_only_are_accepted(
    tmp_path: Path, request: pytest.FixtureRequest, library: Any
) -> None:
    library = request.getfixturevalue(library)
    layer = safety.layers_of_applications(library)["LayerScale"](0.5, 2)
    library.Sequential([library.Input((2,)), layer]).save(tmp_path / "model.keras")

    assert export_and_serve(tmp_path, ROWS).tolist() == (ROWS * 0.5).tolist()


def test_inputs_and_outputs_keep_their_names_in_keras(tmp_path: Path, keras: Any) -> None:
    keras_models(keras)["several inputs and outputs"].save(tmp_path / "model.keras")

    main([str(tmp_path)])

    [signature] = load_session(tmp_path, "auto").signatures.values()
    assert list(signature.inputs) == ["a", "b_2"]
    assert signature.inputs["b_2"].shape == (None, None, 2)
    assert list(signature.outputs) == ["class", "score"]


def test_a_stateful_model_is_not_frozen_and_keeps_its_state(tmp_path: Path, keras: Any) -> None:
    model = keras.Sequential([keras.Input((1, 1), batch_size=1), keras.layers.LSTM(2, stateful=True)])
    model.save(tmp_path / "model.keras")

    main([str(tmp_path)])

    session = load_session(tmp_path, "auto")
    feeds = {name: np.ones((1, 1, 1), np.float32) for name in session.signatures["serving_default"].inputs}
    [first], [second] = (session.run("serving_default", feeds).values() for _ in range(2))
    assert not np.array_equal(first, second)


# --- what it records, and how it writes ---


def test_the_record_says_where_the_export_came_from(tmp_path: Path, tf: Any) -> None:
    keras_files.write_xor_of_2017(tmp_path)

    main([str(tmp_path)])

    record = json.loads((tmp_path / "export.json").read_text())
    assert record == {
        "sources": export_record.hashes([tmp_path / "model.json", tmp_path / "model.h5"]),
        "keras": "tf_keras 2.21.0",
        "tensorflow": tf.__version__,
        "independent_rows": True,
        "is_optimized": True,
        "saved_model": hashlib.sha256((tmp_path / "saved_model.pb").read_bytes()).hexdigest(),
        "engine": "LiteRT is not installed here: served by TensorFlow",
        "litert": None,
    }


def test_rows_that_depend_on_each_other_are_noticed(tmp_path: Path, keras: Any) -> None:
    inputs = keras.Input((2,), name="X")
    keras.Model(inputs, inputs - keras.ops.mean(inputs, axis=0)).save(tmp_path / "model.keras")

    main([str(tmp_path)])

    assert json.loads((tmp_path / "export.json").read_text())["independent_rows"] is False


def test_an_optimized_graph_has_its_constants_folded_and_only_public_operations(
    tmp_path: Path, tf: Any, keras: Any
) -> None:
    layers = [keras.Input((8, 8, 3), name="X"), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()]
    keras.Sequential(layers).save(tmp_path / "model.keras")

    main([str(tmp_path)])

    graph = tf.compat.v1.saved_model.load(tf.compat.v1.Session(graph=tf.Graph()), ["serve"], str(tmp_path)).graph_def
    operations = [node.op for node in graph.node]
    assert operations.count("Conv2D") == 1
    assert not {"Rsqrt", "FusedBatchNormV3", "ReadVariableOp"} & set(operations)
    assert not [name for name in operations if name.startswith("_")]


@pytest.mark.parametrize("name", ["dense", "string lookup"])
def test_variables_that_are_not_frozen_are_written_once(
    tmp_path: Path, keras: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """With the model itself TensorFlow would save Keras 3's variables twice; but a lookup layer's tables need it."""
    dense = [keras.Input((100,)), keras.layers.Dense(1000), keras.layers.Dense(100)]
    model = keras_models(keras)[name] if name != "dense" else keras.Sequential(dense)
    model.save(tmp_path / "model.keras")
    monkeypatch.setattr(saved_model, "_LARGEST_FROZEN_BYTES", 0)
    monkeypatch.setattr(form, "freeze_if_better", lambda *rest: "")  # which would measure

    assert main([str(tmp_path)]) == 0

    written = (tmp_path / "variables" / "variables.data-00000-of-00001").stat().st_size
    assert written < 1.1 * 4 * model.count_params() + 4096


def test_an_output_folder_of_its_own_leaves_the_models_folder_alone(tmp_path: Path) -> None:
    folder = keras_files.write_xor_of_2017(tmp_path / "model")
    before = files_of(folder)

    assert main([str(folder), "--output", str(tmp_path / "out")]) == 0

    assert files_of(folder) == before
    assert (tmp_path / "out" / "saved_model.pb").exists()


@pytest.mark.parametrize(
    ("at", "says"),
    [("wine/1", "Serve it with: make start"), ("wine", "such as models/wine/1/: move the folder there")],
)
def test_what_to_do_next_depends_on_where_the_model_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], at: str, says: str
) -> None:
    monkeypatch.setenv("SERVING_MODEL_PATH", str(tmp_path / "models"))
    folder = keras_files.write_xor_of_2017(tmp_path / "models" / at)

    assert main([str(folder)]) == 0

    assert says in capsys.readouterr().out


def test_a_new_export_replaces_all_of_an_old_one(tmp_path: Path, keras: Any) -> None:
    keras_models(keras)["string lookup"].save(tmp_path / "model.keras")
    main([str(tmp_path)])
    assert (tmp_path / "variables").exists()
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "model.keras")
    assert not export_record.is_fresh(tmp_path)

    assert main([str(tmp_path)]) == 0

    assert {path.name for path in tmp_path.iterdir()} == {
        "model.keras",
        "saved_model.pb",
        "example.json",
        "export.json",
    }
    assert export_record.is_fresh(tmp_path)


@pytest.mark.parametrize("fails_at", range(1, 6))
def test_an_export_that_is_interrupted_while_it_moves_files_puts_all_back(
    tmp_path: Path, keras: Any, monkeypatch: pytest.MonkeyPatch, fails_at: int, capsys: Capture
) -> None:
    keras_models(keras)["string lookup"].save(tmp_path / "model.keras")
    main([str(tmp_path)])
    before = files_of(tmp_path)
    moves = 0

    def interrupted(source: Path, target: Path) -> Path:
        nonlocal moves
        moves += 1
        if moves == fails_at:
            raise KeyboardInterrupt
        return replace(source, target)

    replace = Path.replace
    monkeypatch.setattr(Path, "replace", interrupted)

    assert main([str(tmp_path)]) == 130

    assert files_of(tmp_path) == before
    assert "nothing was changed" in capsys.readouterr().err


def test_a_saved_model_that_disagrees_with_keras_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    keras_files.write_xor_of_2017(tmp_path)
    before = files_of(tmp_path)
    predict = saved_model._predict

    def differing(model: Any, feeds: Any) -> dict[str, Any]:
        return {name: value + 0.01 for name, value in predict(model, feeds).items()}

    monkeypatch.setattr(saved_model, "_predict", differing)

    assert main([str(tmp_path)]) == 1

    assert "'dense_2' differs from the model's by up to 0.01" in capsys.readouterr().err
    assert files_of(tmp_path) == before


# --- what it refuses ---


def refuse(folder: Path, capsys: Capture, *flags: str) -> str:
    """Export, expecting one line and exit code 1 with nothing changed; return the line."""
    before = files_of(folder)
    assert main([str(folder), *flags]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Export failed: ")
    assert error.count("\n") == 1
    assert files_of(folder) == before
    return error


def write(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content)


def remove(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def cut_off(folder: Path) -> None:
    (folder / "model.h5").write_bytes((folder / "model.h5").read_bytes()[:3000])


def other_shapes(folder: Path) -> None:
    weights = {**keras_files.XOR_WEIGHTS, "dense_1": [np.zeros((3, 2), np.float32), np.zeros(2, np.float32)]}
    keras_files.write_h5(folder / "model.h5", weights, "2.0.8")


def other_layers(folder: Path) -> None:
    keras_files.write_h5(folder / "model.h5", {"dense_1": keras_files.XOR_WEIGHTS["dense_1"]}, "2.0.8")


@pytest.mark.parametrize(
    ("change", "names", "says"),
    [
        pytest.param(write("model.json", b"{"), "model.json", "Expecting", id="model.json is not JSON"),
        pytest.param(write("model.json", b"\xff\xfe\xfd"), "model.json", "", id="model.json is not text"),
        pytest.param(
            write("model.json", b"[1, 2]"), "model.json", "does not describe a Keras model", id="some other JSON"
        ),
        pytest.param(write("model.json", b""), "model.json", "expected JSON", id="model.json is empty"),
        pytest.param(write("model.h5", b""), "model.h5", "", id="model.h5 is empty"),
        pytest.param(write("model.h5", b"text"), "model.h5", "expected JSON, HDF5", id="model.h5 is not HDF5"),
        pytest.param(cut_off, "model.h5", "truncated", id="model.h5 is cut off"),
        pytest.param(remove("model.h5"), "", "and no other model", id="model.h5 is missing"),
        pytest.param(remove("model.json"), "model.h5", "put the architecture, the JSON", id="model.json is missing"),
        pytest.param(other_shapes, "model.h5", "does not fit model.json", id="weights of other shapes"),
        pytest.param(other_layers, "model.h5", "does not fit model.json", id="weights of other layers"),
    ],
)
def test_a_damaged_pair_is_refused_by_name_and_an_earlier_export_stays(
    tmp_path: Path, change: Change, names: str, says: str, capsys: Capture
) -> None:
    keras_files.write_xor_of_2017(tmp_path)
    main([str(tmp_path)])
    capsys.readouterr()
    change(tmp_path)

    error = refuse(tmp_path, capsys)

    assert f"{tmp_path / names}" in error
    assert says in error


def test_a_damaged_archive_is_refused_by_name(tmp_path: Path, keras: Any, capsys: Capture) -> None:
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "model.keras")
    content = (tmp_path / "model.keras").read_bytes()
    (tmp_path / "model.keras").write_bytes(content[: len(content) // 2])

    assert f"{tmp_path / 'model.keras'}: File is not a zip file" in refuse(tmp_path, capsys)


def test_a_folder_without_a_model_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert "must hold an architecture (.json) with its weights (.h5)" in refuse(tmp_path, capsys)


def test_a_folder_of_several_models_is_refused_with_their_names(tmp_path: Path, capsys: Capture) -> None:
    for name in ("encoder.json", "decoder.json", "encoder.h5", "decoder.h5"):
        (tmp_path / name).write_text('{"class_name": "Sequential"}')

    error = refuse(tmp_path, capsys)

    assert "it has decoder.h5, decoder.json, encoder.h5, encoder.json. Keep the files of one model there" in error


def test_a_folder_of_other_files_is_refused_with_their_names(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "model.pkl").touch()

    assert "its files are: model.pkl" in refuse(tmp_path, capsys)


def test_a_path_that_is_not_a_folder_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert main([str(tmp_path / "nothing")]) == 1

    assert "is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-1", "1e6", "nan", "much"])
def test_a_limit_that_is_not_a_positive_number_is_refused(value: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["model/xor/1", f"--memory={value}"])

    assert f"argument --memory: {value!r} is not a number between 0 and 1,000,000" in capsys.readouterr().err


def test_a_model_without_an_input_shape_is_refused(tmp_path: Path, capsys: Capture) -> None:
    layer = keras_files.keras2_dense("dense_1", 2)
    keras_files.write_pair(tmp_path, keras_files.sequential(layer, keras_version="2.0.8"), {}, "2.0.8")

    refuse(tmp_path, capsys)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "own_function", "mode_type": "function"}, "merges with a function of its own"),
        ({"mode": ["4wEAAAA=", None, None], "mode_type": "lambda"}, "merges with a function of its own"),
        ({"mode": "minus"}, "has the unknown merge mode 'minus'"),
        ({"mode": "dot", "dot_axes": [[1, 2], [1, 2]]}, "merges with 'dot' over several axes"),
    ],
)
def test_a_merge_of_keras_1_that_later_versions_lack_is_named(
    tmp_path: Path, capsys: Capture, options: dict[str, Any], says: str
) -> None:
    dense = {"name": "dense_1", "output_dim": 1, "batch_input_shape": [None, 2]}
    branch = {"class_name": "Sequential", "config": [{"class_name": "Dense", "config": dense}]}
    merge = {"name": "merge_1", "layers": [branch, branch], **options}
    layer = {"class_name": "Merge", "config": merge}
    keras_files.write_pair(tmp_path, keras_files.sequential(layer, keras_version="1.2.2"), {})

    assert f"layer 'merge_1' {says}, which later Keras versions don't support" in refuse(tmp_path, capsys)


def test_what_keras_3_cannot_read_back_is_to_be_saved_as_keras(tmp_path: Path, keras: Any, capsys: Capture) -> None:
    a = keras.Input((4, 3))
    keras.Model(a, keras.layers.Attention()([a, a])).save(tmp_path / "model.h5")

    error = refuse(tmp_path, capsys)

    assert "model.h5: Invalid value for argument score_mode" in error
    assert "If keras wrote it, save the model again: as .keras" in error


def test_weights_of_words_that_hdf5_does_not_hold_are_named(tmp_path: Path, keras: Any, capsys: Capture) -> None:
    layer = keras.layers.TextVectorization(output_mode="tf_idf")
    layer.adapt(["a b", "b"])
    words = keras.Input((1,), dtype="string")
    keras.Model(words, layer(words)).save(tmp_path / "model.h5")

    assert "a lookup layer has no vocabulary" in refuse(tmp_path, capsys)


# --- code that came with a model ---


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize("files", SAVE)
def test_a_lambda_layer_runs_only_with_the_flag(
    tmp_path: Path, request: pytest.FixtureRequest, capsys: Capture, library: Any, files: str
) -> None:
    library = request.getfixturevalue(library)
    model = library.Sequential([library.Input((2,)), library.layers.Lambda(lambda x: x * 3, name="triple")])
    SAVE[files](model, tmp_path)

    error = refuse(tmp_path, capsys)

    assert "layer 'triple' is a Lambda" in error
    assert "--allow-lambda" in error
    assert export_and_serve(tmp_path, ROWS, "--allow-lambda").tolist() == (ROWS * 3).tolist()


def test_a_lambda_inside_a_wrapper_inside_a_model_is_found(tmp_path: Path, keras: Any, capsys: Capture) -> None:
    inner = keras.layers.TimeDistributed(keras.layers.Lambda(lambda x: x, name="hidden_code"))
    model = keras.Sequential([keras.Input((2, 2)), keras.Sequential([keras.Input((2, 2)), inner])])
    model.save(tmp_path / "model.keras")

    assert "layer 'hidden_code' is a Lambda" in refuse(tmp_path, capsys)


CUSTOM = """
import {library}

@{library}.saving.register_keras_serializable("mine")
class Doubling({library}.layers.Layer):
    def call(self, x):
        return x * 2
"""


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_a_custom_layer_needs_the_module_that_defines_it(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    library: Any,
) -> None:
    module = f"custom_layers_of_{library}"
    (tmp_path / f"{module}.py").write_text(CUSTOM.format(library=library))
    monkeypatch.syspath_prepend(tmp_path)
    doubling = __import__(module).Doubling
    library = request.getfixturevalue(library)
    folder = tmp_path / "model"
    save_pair(library.Sequential([library.Input((2,)), doubling(name="twice")]), folder)

    error = refuse(folder, capsys)

    assert "layer 'twice' uses the custom object 'Doubling'" in error
    assert "--custom-objects" in error
    assert export_and_serve(folder, ROWS, "--custom-objects", module).tolist() == (ROWS * 2).tolist()


def test_a_custom_layer_of_2017_is_named(tmp_path: Path, capsys: Capture) -> None:
    layer = {"class_name": "MyLayer", "config": {"name": "mine", "batch_input_shape": [None, 2]}}
    keras_files.write_pair(tmp_path, keras_files.sequential(layer, keras_version="2.0.8"), {}, "2.0.8")

    assert "layer 'mine' uses the custom object 'MyLayer'" in refuse(tmp_path, capsys)


def test_a_custom_activation_of_2017_is_named(tmp_path: Path, capsys: Capture) -> None:
    layer = keras_files.keras2_dense("dense_1", 2, 2)
    layer["config"]["activation"] = "my_activation"
    keras_files.write_pair(tmp_path, keras_files.sequential(layer, keras_version="2.0.8"), {}, "2.0.8")

    assert "layer 'dense_1' uses the custom object 'my_activation'" in refuse(tmp_path, capsys)


@pytest.mark.parametrize(
    "node",
    [
        {"module": "os", "class_name": "system", "config": {"command": "touch pwned"}, "registered_name": "system"},
        {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"name": "x", "filepath": "/tmp"}},
    ],
    ids=["any module's function", "a builtin", "another SavedModel"],
)
def test_a_tampered_archive_is_refused_before_keras_reads_it(
    tmp_path: Path, keras: Any, capsys: Capture, node: keras_files.Config
) -> None:
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="dense")]).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][1]["config"]["activation"] = node
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)

    error = refuse(tmp_path, capsys)

    assert "layer 'dense'" in error or "layer 'x'" in error


def test_an_operator_layer_that_writes_files_is_refused(tmp_path: Path, tf_keras: Any, capsys: Capture) -> None:
    layer = {
        "class_name": "TFOpLambda",
        "config": {"name": "tf.io.write_file", "trainable": True, "dtype": "float32", "function": "io.write_file"},
    }
    keras_files.write_pair(tmp_path, keras_files.sequential(layer, keras_version="2.12.0"), {}, "2.12.0")

    assert "calls TensorFlow's io.write_file, which is not allowed" in refuse(tmp_path, capsys)


def test_operators_on_tensors_in_keras_2_are_accepted(tmp_path: Path, tf_keras: Any) -> None:
    x = tf_keras.Input((2,))
    model = tf_keras.Model(x, tf_keras.layers.Dense(1)((x * 2.0 - 1.0) // 0.7))
    model.save(tmp_path / "model.h5")

    np.testing.assert_allclose(export_and_serve(tmp_path, ROWS), model(ROWS), atol=1e-6)


def test_help_needs_no_keras(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])

    assert caught.value.code == 0
    assert "--allow-lambda" in capsys.readouterr().out


def test_the_weights_of_a_whole_model_may_stand_beside_a_model_json(tmp_path: Path, tf_keras: Any) -> None:
    model = tf_keras.Sequential([tf_keras.Input((2,)), tf_keras.layers.Dense(1)])
    (tmp_path / "model.json").write_text(model.to_json())
    model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5") as file:
        assert "model_weights" in file

    np.testing.assert_allclose(export_and_serve(tmp_path, ROWS), model(ROWS), atol=1e-6)


@pytest.mark.parametrize(
    ("got", "expected", "is_same"),
    [
        ([1.00005], [1], True),
        ([1.0003], [1], False),
        ([2e6, 1], [2e6, 10], True),
        ([2e6, 1], [2e6, 100], False),
        ([np.nan, np.inf, 3e-5], [np.nan, np.inf, 0], False),
    ],
)
def test_answers_are_the_same_where_rounding_explains_the_difference(got, expected, is_same):
    assert saved_model.agree(np.asarray(got, np.float32), np.asarray(expected, np.float32)) is is_same


@pytest.mark.parametrize(("sensitivity", "is_warned"), [(1e6, True), (1, False)])
def test_answers_that_rounding_changes_are_not_compared_more_closely(
    tmp_path: Path, keras: Any, monkeypatch: pytest.MonkeyPatch, capsys: Capture, sensitivity: float, is_warned: bool
) -> None:
    x = keras.Input((2,))
    keras.Model(x, keras.ops.sin(x * sensitivity)).save(tmp_path / "model.keras")
    predict = saved_model._predict
    monkeypatch.setattr(
        saved_model, "_predict", lambda *call: {name: array + 0.01 for name, array in predict(*call).items()}
    )

    if is_warned:
        main([str(tmp_path)])
        assert "WARNING: the model's answers change as much" in capsys.readouterr().out
    else:
        assert "differs from the model's by up to 0.01" in refuse(tmp_path, capsys)
