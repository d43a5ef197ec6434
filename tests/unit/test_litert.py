"""The engine on LiteRT, compared with TensorFlow on the same SavedModel."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest

from serving.engines import litert, litert_library
from serving.engines.errors import DataLossError, EngineNotFoundError, InvalidArgumentError
from serving.engines.litert_runner import Runner
from serving.engines.options import LiteRtProof, LoadOptions
from serving.engines.session import Session, load_session
from serving.models.export_record import sha256
from tests.fixtures import PROJECT_ROOT

pytestmark = pytest.mark.skipif(not litert_library.version(), reason="LiteRT has no wheel for this platform")

KEY = "serving_default"

Put = Callable[..., tuple[Path, LiteRtProof]]


@pytest.fixture
def put(tf: Any, saved_model: Callable[..., Path]) -> Put:
    """Return a function that saves a TensorFlow function as a SavedModel and as ``model.tflite``."""

    def save(function: Callable[..., Any], **specs: tuple[Any, Any]) -> tuple[Path, LiteRtProof]:
        folder = saved_model(function, **specs)
        path = folder / "model.tflite"
        path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert())
        return folder, LiteRtProof(sha256(path), litert_library.version())

    return save


@pytest.fixture
def load(put: Put) -> Iterator[Callable[..., Session]]:
    """Return a function that loads what ``put`` saves; the sessions are closed after the test."""
    sessions = []

    def load_one(function: Callable[..., Any], how: dict[str, Any] | None = None, **specs: Any) -> Session:
        folder, proof = put(function, **specs)
        sessions.append(load_session(folder, "litert", LoadOptions(litert=replace(proof, **(how or {})))))
        return sessions[-1]

    yield load_one
    for session in sessions:
        session.close()


def doubled(x: Any) -> dict[str, Any]:
    return {"y": x * 2}


def test_inputs_and_outputs_go_by_name(load):
    """LiteRT's order is neither that of the signature, which is alphabetical, nor that of the function."""
    session = load(
        lambda b, a, c: {"z": a - b, "first": c * 2},
        b=([None, 2], "float32"),
        a=([2], "float32"),
        c=([None, 3], "int32"),
    )
    feeds = {
        "a": np.array([5, 7], "float32"),
        "b": np.array([[1, 2], [3, 4]], "float32"),
        "c": np.array([[1, 2, 3]], "int32"),
    }

    fetches = session.run(KEY, feeds)

    assert fetches["z"].tolist() == [[4, 5], [2, 3]]
    assert fetches["first"].tolist() == [[2, 4, 6]]


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "int8", "uint8", "bool"])
def test_numbers_pass_unchanged(load, tf, dtype):
    session = load(lambda x: {"y": tf.transpose(x)}, x=([None, 3], dtype))
    values = np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype)

    fetched = session.run(KEY, {"x": values})["y"]

    assert fetched.dtype == values.dtype
    assert np.array_equal(fetched, values.T)


def test_any_number_of_rows_in_any_order(load):
    session = load(doubled, x=([None, 2], "float32"))

    for rows in (1, 64, 3, 0, 64, 2, *range(1, 40)):
        values = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
        fetched = session.run(KEY, {"x": values})["y"]
        assert fetched.shape == (rows, 2)
        assert np.array_equal(fetched, values * 2)


def test_answers_do_not_share_memory_with_later_ones(load):
    session = load(doubled, x=([None], "float32"))

    first = session.run(KEY, {"x": np.array([1], "float32")})["y"]
    session.run(KEY, {"x": np.array([5], "float32")})

    assert first.tolist() == [2]


def test_scalars(load):
    assert load(doubled, x=([], "float32")).run(KEY, {"x": np.float32(3)})["y"] == 6


@pytest.mark.parametrize(("count", "parts"), [(1, [1]), (3, [3]), (4, [2, 2]), (7, [3, 2, 2]), (8, [3, 3, 2])], ids=str)
def test_more_rows_than_are_worth_it_are_run_in_even_parts(load, monkeypatch, count, parts):
    session = load(lambda x, y: {"z": x + y}, {"rows": 3}, x=([None, 2], "float32"), y=([None, 2], "float32"))
    seen = []
    run = session._run

    def noted(feeds: Any, is_quick: bool) -> Any:
        seen.append(len(feeds["x"]))
        return run(feeds, is_quick)

    monkeypatch.setattr(session, "_run", noted)
    x, y = np.arange(count * 4, dtype=np.float32).reshape(2, count, 2)

    assert np.array_equal(session.run(KEY, {"x": x, "y": y})["z"], x + y)
    assert seen == parts


def test_a_model_that_takes_every_core_has_one_runner(load):
    session = load(doubled, {"parallel": True}, x=([None, 2], "float32"))
    made = []
    make = session._pool._make

    def noted() -> Runner:
        made.append(make())
        return made[-1]

    session._pool._make = noted
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda rows: session.run(KEY, {"x": np.ones((rows, 2), np.float32)}), range(1, 9)))

    assert len(made) == 1


@pytest.fixture
def load_fixed(tf: Any, put: Put) -> Callable[..., Session]:
    """Return a function that saves and loads a function of inputs of two columns, for batches of certain sizes."""

    def load_one(function: Callable[..., Any], sizes: tuple[int, ...], *names: str) -> Session:
        folder, _ = put(function, **{name: ([None, 2], "float32") for name in names})
        module = tf.Module()
        module.function = tf.function(lambda **feeds: function(**feeds), autograph=False)
        signatures = {
            f"rows_{size}": module.function.get_concrete_function(
                **{name: tf.TensorSpec([size, 2], "float32", name=name) for name in names}
            )
            for size in sizes
        }
        tf.saved_model.save(module, str(folder / "fixed"), signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "fixed"), list(signatures))
        (folder / "model.tflite").write_bytes(converter.convert())
        proof = LiteRtProof(sha256(folder / "model.tflite"), litert_library.version())
        return load_session(folder, "litert", LoadOptions(litert=proof))

    return load_one


@pytest.mark.parametrize("sizes", [(1,), (1, 4)])
def test_batches_of_fixed_sizes(load_fixed, sizes):
    """Rows that are filled up are copies of the last: here zero rows would be another's business."""
    session = load_fixed(lambda a, b: {"y": a / b, "z": b * 2}, sizes, "a", "b")

    for rows in (*range(1, 13), 3, 1):
        a, b = np.arange(1, 1 + rows * 4, dtype=np.float32).reshape(2, rows, 2)
        fetches = session.run(KEY, {"a": a, "b": b})
        assert np.array_equal(fetches["y"], a / b)
        assert np.array_equal(fetches["z"], b * 2)
    assert session.run(KEY, {"a": a[:0], "b": b[:0]})["y"].shape == (0, 2)


def test_a_part_of_a_fixed_batch_is_run_at_once_if_that_is_faster(load_fixed, monkeypatch):
    session: Any = load_fixed(doubled, (1, 8), "x")
    sizes: list[int] = []
    run = session._run

    def noted(feeds: Any, is_quick: bool) -> Any:
        sizes.append(len(feeds["x"]))
        return run(feeds, is_quick)

    monkeypatch.setattr(session, "_run", noted)

    for rows, expected in ((1, [1]), (2, [1, 1]), (3, [8]), (8, [8]), (10, [8, 1, 1]), (19, [8, 8, 8])):
        sizes.clear()
        session.run(KEY, {"x": np.ones((rows, 2), np.float32)})
        assert sizes == expected


def test_values_out_of_range_are_an_invalid_argument_and_the_next_run_works(load, tf):
    session = load(lambda x: {"y": tf.gather(tf.constant([1.0, 2.0]), x)}, x=([None], "int32"))

    for _ in range(litert._MOST_RUNNERS + 1):
        with pytest.raises(InvalidArgumentError, match="gather"):
            session.run(KEY, {"x": np.array([0, 2], "int32")})
    assert session.run(KEY, {"x": np.array([1, 0], "int32")})["y"].tolist() == [2, 1]


def test_only_finite_numbers_where_others_would_be_answered_differently(load):
    session = load(doubled, {"finite_only": True}, x=([None], "float32"))

    assert session.run(KEY, {"x": np.array([3e38], "float32")})["y"] == np.inf
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(InvalidArgumentError, match="x has a value that is not finite"):
            session.run(KEY, {"x": np.array([1, value], "float32")})


@pytest.mark.parametrize("is_bounded", [True, False])
def test_a_run_is_as_bounded_as_the_export_has_found(load, is_bounded):
    session = load(doubled, {"is_bounded": is_bounded}, x=([None], "float32"))

    assert session.clocks[KEY].is_bounded is is_bounded


def test_what_a_run_waits_for_is_not_part_of_its_time(load, monkeypatch):
    session = load(doubled, x=([None], "float32"))
    values = np.ones(2, np.float32)
    session.run(KEY, {"x": values})
    session.clocks[KEY].record(1.0, values.nbytes)  # so that the next run is one of a thread
    take = session._pool.take

    def take_late(shapes: Any) -> Runner:
        sleep(0.5)
        return take(shapes)

    monkeypatch.setattr(session._pool, "take", take_late)

    session.run(KEY, {"x": values})

    assert session.clocks[KEY].expected_seconds(values.nbytes) < 0.5


def test_a_damaged_file_is_not_loaded(put):
    folder, proof = put(doubled, x=([None], "float32"))
    content = bytearray((folder / "model.tflite").read_bytes())
    content[-1] ^= 1
    (folder / "model.tflite").write_bytes(content)

    with pytest.raises(DataLossError, match="has changed since it was exported"):
        load_session(folder, "litert", LoadOptions(litert=proof))


@pytest.mark.parametrize(
    "other", [lambda x: {"other": x * 2}, lambda x: {"y": x * 2, "z": x}], ids=["other name", "one more"]
)
def test_another_models_file_is_not_loaded(put, tf, tmp_path, other):
    folder, _ = put(doubled, x=([None], "float32"))
    (folder / "saved_model.pb").rename(tmp_path / "kept.pb")
    _, proof = put(other, x=([None], "float32"))
    (tmp_path / "kept.pb").rename(folder / "saved_model.pb")

    with pytest.raises(DataLossError, match=r"outputs of model\.tflite are not those of the SavedModel"):
        load_session(folder, "litert", LoadOptions(litert=proof))


def test_what_is_no_flatbuffer_is_a_data_loss(put):
    folder, _ = put(doubled, x=([None], "float32"))
    (folder / "model.tflite").write_bytes(b"TFL3" * 100)
    proof = LiteRtProof(sha256(folder / "model.tflite"), litert_library.version())

    with pytest.raises(DataLossError):
        load_session(folder, "litert", LoadOptions(litert=proof))


def test_auto_takes_litert_only_where_it_is_proven(put):
    folder, proof = put(doubled, x=([None], "float32"))
    engines = {
        (name, is_proven): load_session(folder, name, LoadOptions(litert=proof if is_proven else None)).engine
        for name, is_proven in [("auto", True), ("auto", False), ("tensorflow", True), ("litert", True)]
    }

    assert list(engines.values()) == ["litert", "tensorflow", "tensorflow", "litert"]
    with pytest.raises(
        EngineNotFoundError,
        match=r"can run this model: LiteRT is not installed, or not in the version that was proven for it\.$",
    ):
        load_session(folder, "litert")


def test_auto_takes_tensorflow_where_another_version_of_litert_was_proven(put):
    folder, proof = put(doubled, x=([None], "float32"))

    assert load_session(folder, "auto", LoadOptions(litert=replace(proof, version="0.1"))).engine == "tensorflow"
    with pytest.raises(EngineNotFoundError):
        load_session(folder, "litert", LoadOptions(litert=replace(proof, version="0.1")))


def test_auto_takes_tensorflow_where_litert_is_not_installed(put, monkeypatch):
    folder, proof = put(doubled, x=([None], "float32"))
    monkeypatch.setattr(litert_library, "find_library", lambda package, name: None)

    assert load_session(folder, "auto", LoadOptions(litert=proof)).engine == "tensorflow"


def test_threads_get_their_own_answers(load, tf):
    matrix = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    session = load(lambda x: {"y": tf.matmul(x, matrix)}, x=([None, 64], "float32"))

    def ask(number: int) -> bool:
        values = np.full((number % 5 + 1, 64), number, np.float32)
        return np.allclose(session.run(KEY, {"x": values})["y"], values @ matrix, rtol=1e-4, atol=1e-2)

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(ask, range(2000)))


def test_a_pool_has_so_many_runners_and_no_more(load, monkeypatch):
    """A request that finds none idle waits for one, and gets it whatever shapes it was bound to."""
    monkeypatch.setattr(litert, "_MOST_RUNNERS", 2)
    session: Any = load(doubled, x=([None], "float32"))
    shapes = [((size,),) for size in (1, 2, 3)]
    first, second = (session._pool.take(shape) for shape in shapes[:2])
    first.bind(shapes[0])
    second.bind(shapes[1])
    taken: list[Runner] = []
    waiting = threading.Thread(target=lambda: taken.append(session._pool.take(shapes[2])))

    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    session._pool.give_back(second)
    waiting.join(10)

    assert taken == [second]
    session._pool.give_back(first)
    assert session._pool.take(shapes[0]) is first


def test_a_pool_loses_no_runner_whenever_threads_change():
    class Idle:
        shapes, bytes_bound = None, 0

    make: Any = Idle
    pool = litert.Pool(make, 3)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def use(number: int) -> None:
        runner = pool.take(((number % 7,),))
        runner.shapes = ((number % 7,),)
        pool.give_back(runner)

    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(use, range(5000)))
    finally:
        sys.setswitchinterval(interval)

    assert 1 <= len({id(runner) for runner in pool._idle}) == pool._count <= 3


def test_a_runner_that_holds_much_memory_is_made_anew(load, monkeypatch):
    monkeypatch.setattr(litert, "_MOST_BYTES_KEPT", 1000)
    session: Any = load(doubled, x=([None], "float32"))

    for size in (10, 1000, 10):
        assert session.run(KEY, {"x": np.ones(size, np.float32)})["y"].sum() == 2 * size

    assert [runner.shapes for runner in session._pool._idle] == [((10,),)]


def test_no_rows_are_answered_without_a_run(load, tf):
    """However large the shape says that a row is."""
    session = load(lambda x: {"y": tf.reduce_sum(x, 1)}, x=([None, None, 4], "float32"))

    assert session.run(KEY, {"x": np.empty((0, 10**9, 4), np.float32)})["y"].shape == (0, 4)
    with pytest.raises(InvalidArgumentError, match="an input is empty"):
        session.run(KEY, {"x": np.empty((2, 0, 4), np.float32)})


def test_rows_of_several_inputs_are_not_dropped(load_fixed):
    session = load_fixed(lambda a, b: {"y": a + b}, (1,), "a", "b")

    with pytest.raises(InvalidArgumentError, match="different numbers of rows: 3, 5"):
        session.run(KEY, {"a": np.ones((5, 2), np.float32), "b": np.ones((3, 2), np.float32)})


def test_memory_stays_flat_and_the_library_needs_no_other(put):
    """Also of changing shapes, and of sessions that nobody closed."""
    folder, proof = put(doubled, x=([None], "float32"))
    code = f"""
import gc, sys
gc.disable()
from pathlib import Path
import numpy as np
from serving.engines.options import LiteRtProof, LoadOptions
from serving.engines.session import load_session

def rss():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")))

def work(count, sizes):
    session = load_session(Path({str(folder)!r}), "litert", LoadOptions(litert={proof!r}))
    for number in range(count):
        session.run("serving_default", {{"x": np.zeros(number % sizes + 1, np.float32)}})

work(2000, sizes=40)
before = rss()
work(100_000, sizes=10)
work(10_000, sizes=40)
for _ in range(30):
    work(20, sizes=40)
assert "tensorflow" not in sys.modules and "ai_edge_litert" not in sys.modules
print(rss() - before)
"""
    printed = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert int(printed.stdout) < 4096  # KiB


def test_memory_that_runs_out_is_no_mistake_of_the_client(put, tf):
    kernel = np.ones((3, 3, 3, 32), np.float32)
    folder, proof = put(
        lambda x: {
            "y": tf.nn.conv2d(tf.nn.conv2d(x, kernel, 1, "SAME"), tf.transpose(kernel, [0, 1, 3, 2]), 1, "SAME")
        },
        x=([None, 64, 64, 3], "float32"),
    )
    code = f"""
import resource
from pathlib import Path
import numpy as np
from serving.engines.errors import ResourceExhaustedError
from serving.engines.options import LiteRtProof, LoadOptions
from serving.engines.session import load_session

session = load_session(Path({str(folder)!r}), "litert", LoadOptions(litert={proof!r}))
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (used * 1024 + 200 * 2**20,) * 2)
image, images = np.ones((1, 64, 64, 3), np.float32), np.ones((1500, 64, 64, 3), np.float32)
expected = session.run("serving_default", {{"x": image}})["y"]
try:
    session.run("serving_default", {{"x": images}})
except ResourceExhaustedError as error:
    print(error.message)
assert np.array_equal(session.run("serving_default", {{"x": image}})["y"], expected)
"""
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout
    assert printed.startswith("no memory for inputs of these shapes")


def test_shapes_that_the_model_can_not_take_stay_a_mistake_of_the_client(load, tf):
    session = load(lambda x: {"y": tf.reshape(x, [-1, 2, 3])}, x=([None, None], "float32"))

    for rows in (1, 5):
        with pytest.raises(InvalidArgumentError):
            session.run(KEY, {"x": np.ones((rows, 5), np.float32)})


@pytest.mark.parametrize("name", litert_library.PROTOTYPES)
def test_the_library_has_the_functions(name):
    assert getattr(litert_library.load_library(), name)
