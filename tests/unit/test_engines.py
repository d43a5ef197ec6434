"""What every engine does, compared with TensorFlow's Python API."""

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np
import pytest

from serving.engines import errors
from serving.engines.session import RunClock, load_session

KEY = "serving_default"

NUMBERS = {
    "float16": [0.5, -2, 65504],
    "float32": [0.1, -2, 3e38],
    "float64": [0.1, -2, 1e300],
    "bfloat16": [0.5, -2, 3e38],
    "int8": [-128, 0, 127],
    "int16": [-(2**15), 0, 2**15 - 1],
    "int32": [-(2**31), 0, 2**31 - 1],
    "int64": [-(2**63), 0, 2**63 - 1],
    "uint8": [0, 1, 255],
    "uint16": [0, 1, 2**16 - 1],
    "uint32": [0, 1, 2**32 - 1],
    "uint64": [0, 1, 2**64 - 1],
    "bool": [True, False, True],
}


@pytest.fixture(params=["c", "python"])
def load(request):
    """Return a function that loads a SavedModel with one of the engines; sessions are closed after the test."""
    sessions = []

    def load_one(folder):
        sessions.append(load_session(folder, request.param))
        return sessions[-1]

    yield load_one
    for session in sessions:
        session.close()


@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_of_every_dtype_pass_unchanged(load, saved_model, dtype):
    session = load(saved_model(lambda x: {"y": x}, x=([None], dtype)))
    spec = session.signatures[KEY].inputs["x"]
    values = np.array(NUMBERS[dtype], spec.dtype)

    fetched = session.run(KEY, {"x": values})["y"]

    assert spec.dtype_name == dtype
    assert fetched.dtype == values.dtype
    assert fetched.tobytes() == values.tobytes()


def test_nan_and_infinities_pass_unchanged(load, saved_model):
    session = load(saved_model(lambda x: {"y": x}, x=([None], "float32")))
    values = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)

    assert session.run(KEY, {"x": values})["y"].tobytes() == values.tobytes()


def test_strings_pass_unchanged(load, saved_model):
    session = load(saved_model(lambda x: {"y": x}, x=([None, None], "string")))
    values = np.array([[b"", b"a", "grün".encode()], [b"\x00\xff", b"x" * 23, b"y" * 100_000]], object)

    fetched = session.run(KEY, {"x": values})["y"]

    assert fetched.shape == (2, 3)
    assert fetched.tolist() == values.tolist()


@pytest.mark.parametrize("dtype", ["float32", "string"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (1, 2, 3, 4, 1), (0,), (0, 5), (2, 0, 3)], ids=str)
def test_any_shape_passes_unchanged(load, saved_model, shape, dtype):
    session = load(saved_model(lambda x: {"y": x}, x=(None, dtype)))
    count = int(np.prod(shape))
    values = np.arange(count, dtype=np.float32).reshape(shape)
    if dtype == "string":
        values = np.array([str(number).encode() for number in range(count)], object).reshape(shape)

    fetched = session.run(KEY, {"x": values})["y"]

    assert session.signatures[KEY].inputs["x"].shape is None
    assert (fetched.shape, fetched.dtype) == (shape, values.dtype)
    assert fetched.tolist() == values.tolist()


@pytest.mark.parametrize(
    "values",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4).T,
        np.arange(12, dtype=np.float32)[::2].reshape(3, 2),
        np.arange(4096, dtype=np.float32).reshape(64, 64),  # 16 KiB: the C engine copies it another way
        np.arange(10_000, dtype=np.float32).reshape(200, 50).T,
    ],
    ids=["transposed", "strided", "large", "large and transposed"],
)
def test_arrays_are_read_in_c_order_whatever_their_size_and_strides(load, saved_model, values):
    session = load(saved_model(lambda x: {"y": x}, x=([None, None], "float32")))

    np.testing.assert_array_equal(session.run(KEY, {"x": values})["y"], values)


@pytest.mark.parametrize("dtype", ["float32", "string"])
def test_what_the_c_engine_returns_is_read_only(saved_model, dtype):
    session = load_session(saved_model(lambda x: {"y": x}, x=([None], dtype)), "c")
    values = np.array([b"a"], object) if dtype == "string" else np.ones(1, np.float32)

    assert not session.run(KEY, {"x": values})["y"].flags.writeable


def test_several_inputs_and_outputs_are_matched_by_name(load, saved_model, tf):
    folder = saved_model(
        lambda first, second, word: {
            "sum": first + tf.cast(second, "float32"),
            "difference": first - tf.cast(second, "float32"),
            "length": tf.strings.length(word),
        },
        first=([None], "float32"),
        second=([None], "int64"),
        word=([], "string"),
    )
    session = load(folder)
    feeds = {
        "word": np.array(b"four", object),
        "second": np.array([1, 2]),
        "first": np.array([0.5, 5], np.float32),
    }

    fetches = session.run(KEY, feeds)

    assert session.signatures[KEY].method_name == "tensorflow/serving/predict"
    assert {name: value.tolist() for name, value in fetches.items()} == {
        "sum": [1.5, 7],
        "difference": [-0.5, 3],
        "length": 4,
    }


def test_lookup_tables_are_initialized(load, tmp_path, tf):
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["red", "green"], [3, 7]), -1)
    module = tf.Module()
    module.table = table
    module.f = tf.function(lambda x: {"y": table.lookup(x)}, input_signature=[tf.TensorSpec([None], "string", "x")])
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.f)
    session = load(tmp_path / "m")

    assert session.run(KEY, {"x": np.array([b"green", b"blue", b"red"], object)})["y"].tolist() == [7, -1, 3]


def test_a_saved_model_of_tensorflow_1_is_served_unchanged(load, tmp_path, tf):
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        x = v1.placeholder("float32", [None, 2], "features")
        weight = v1.get_variable("weight", initializer=[[2.0], [3.0]], use_resource=False)
        y = tf.matmul(x, weight)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "m"), {"features": x}, {"scores": y})
    session = load(tmp_path / "m")

    fetches = session.run(KEY, {"features": np.array([[1, 1], [0, 2]], np.float32)})

    assert fetches["scores"].tolist() == [[5], [6]]


def test_sixteen_threads_get_the_answers_that_one_gets(load, saved_model, tf):
    weight = tf.Variable(np.random.default_rng(0).standard_normal((8, 8)), dtype="float32")
    folder = saved_model(
        lambda x: {"y": tf.tanh(tf.matmul(x, weight)), "n": tf.shape(x)[0]}, [weight], x=([None, 8], "float32")
    )
    session = load(folder)
    batches = [np.random.default_rng(n).standard_normal((n % 33, 8)).astype(np.float32) for n in range(800)]
    alone = [session.run(KEY, {"x": batch}) for batch in batches]

    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda batch: session.run(KEY, {"x": batch}), batches))

    for one, other in zip(alone, together, strict=True):
        assert one["n"] == other["n"]
        np.testing.assert_array_equal(one["y"], other["y"])


def test_a_run_is_expected_to_take_as_long_as_the_latest_and_more_than_its_share_for_more_bytes():
    clock = RunClock()

    clock.record(9.0, 1)
    clock.record(2.0, 100)

    assert [clock.expected_seconds(size) for size in (0, 50, 100, 300)] == [2, 2, 2, 12]
    clock.record(2.0, 0)
    assert clock.expected_seconds(3) == 12


def test_a_run_is_timed(load, saved_model):
    session = load(saved_model(lambda x: {"y": x}, x=([None], "float32")))
    values = np.ones(4, np.float32)
    assert session.clocks[KEY].expected_seconds(values.nbytes) == np.inf

    start = perf_counter()
    session.run(KEY, {"x": values})
    around = perf_counter() - start

    assert 0 < session.clocks[KEY].expected_seconds(values.nbytes) <= around


def test_a_failed_run_raises_tensorflows_error_and_leaves_the_session_usable(load, saved_model, tf):
    session = load(saved_model(lambda x: {"y": tf.gather([10, 20], x)}, x=([None], "int32")))

    with pytest.raises(errors.InvalidArgumentError, match=r"INVALID_ARGUMENT: .*5 is not in \[0, 2\)"):
        session.run(KEY, {"x": np.array([5], np.int32)})

    assert session.run(KEY, {"x": np.array([1], np.int32)})["y"].tolist() == [20]


def test_a_missing_folder_is_not_found(load, tmp_path):
    with pytest.raises(errors.NotFoundError):
        load(tmp_path / "nothing")


@pytest.mark.parametrize("content", [b"", b"no protocol buffer", b"\x08\x01\x12"], ids=["empty", "text", "cut off"])
def test_a_corrupt_saved_model_raises_a_tensorflow_error(load, saved_model, content):
    folder = saved_model(lambda x: {"y": x}, x=([None], "float32"))
    (folder / "saved_model.pb").write_bytes(content)

    with pytest.raises(errors.TensorFlowError):
        load(folder)


@pytest.mark.parametrize("side", ["inputs", "outputs"])
@pytest.mark.parametrize("tensor", ["{}", "{}:1", "{}:99", "{}:-1", "{}:one", "absent:0", "{}:0:0", ""])
def test_the_c_engine_passes_tensors_of_the_graph_only_to_tensorflow(saved_model, side, tensor):
    from tensorflow.core.protobuf import saved_model_pb2

    folder = saved_model(lambda x: {"y": x}, x=([None], "float32"))
    changed = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    [info] = getattr(changed.meta_graphs[0].signature_def[KEY], side).values()
    info.name = tensor.format(info.name.partition(":")[0])
    (folder / "saved_model.pb").write_bytes(changed.SerializeToString())

    with pytest.raises(ValueError, match=f"the signature names the tensor {info.name!r}, which is not in the graph"):
        load_session(folder, "c")


def test_missing_variables_raise_a_tensorflow_error(load, saved_model, tf):
    weight = tf.Variable(2.0)
    folder = saved_model(lambda x: {"y": x * weight}, [weight], x=([None], "float32"))
    for path in (folder / "variables").iterdir():
        path.unlink()

    with pytest.raises(errors.TensorFlowError):
        load(folder)


def test_every_status_code_of_tensorflow_has_its_name(tf):
    names = {
        code: name
        for name, code in vars(tf.errors).items()
        if isinstance(code, int) and name.isupper() and name != "OK"
    }
    assert len(names) == 16

    for code, name in names.items():
        error = errors.error_for(code, "why")
        assert (error.code, error.code_name, error.message) == (code, name, "why")
    assert type(errors.error_for(3, "why")) is errors.InvalidArgumentError


def test_auto_chooses_the_c_engine_if_it_is_available(saved_model):
    session = load_session(saved_model(lambda x: {"y": x}, x=([None], "float32")), "auto")

    assert type(session).__module__ == "serving.engines.tensorflow_c"


def test_auto_falls_back_to_the_python_engine(saved_model, monkeypatch):
    monkeypatch.setattr("serving.engines.tensorflow_library.find_library", lambda: None)

    session = load_session(saved_model(lambda x: {"y": x}, x=([None], "float32")), "auto")

    assert type(session).__module__ == "serving.engines.tensorflow_python"


def test_errors_of_tensorflow_are_one_line():
    error = errors.error_for(15, "a block is damaged\n\t [[{{node RestoreV2}}]]")

    assert str(error) == "DATA_LOSS: a block is damaged [[{{node RestoreV2}}]]"
    assert error.message == "a block is damaged"
