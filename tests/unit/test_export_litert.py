"""Which engine an export chooses, and why."""

import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from export import litert, saved_model
from export.litert import Decision
from serving.engines import litert_library
from serving.engines.errors import InvalidArgumentError
from serving.engines.litert_runner import FIXED_ROWS
from serving.engines.options import LoadOptions
from serving.engines.session import load_session

pytestmark = pytest.mark.skipif(not litert_library.version(), reason="LiteRT has no wheel for this platform")

Decide = Callable[..., tuple[Decision, Path]]


@pytest.fixture
def decide(tf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Decide:
    """Return a function that exports a TensorFlow function; LiteRT is so many times as fast, whatever it takes.

    ``seconds`` are those of batches of 1, 2, 4, 8, 16 and 32 rows in LiteRT. A row takes ``in_threads`` times as long
    in several threads.
    """

    def export(
        function: Callable[..., Any],
        gains: tuple[float, float] = (2, 2),
        independent_rows: bool = False,
        seconds: Sequence[float] = (1,) * 6,
        in_threads: float = 9,
        **specs: Any,
    ) -> tuple[Decision, Path]:
        def trace(rows: int | None) -> Any:
            inputs = {
                name: tf.TensorSpec((rows or shape[0], *shape[1:]), kind) for name, (shape, kind) in specs.items()
            }
            return tf.function(lambda **feeds: function(**feeds), autograph=False).get_concrete_function(**inputs)

        times = [[1 / gains[0], in_threads / gains[0], 1], [1 / gains[1], 1]]
        of_parts = iter(seconds)
        monkeypatch.setattr(
            litert, "_fastest", lambda sessions, feeds: times.pop(0) if sessions[1:] else [next(of_parts)]
        )
        folder = tmp_path / "export"
        assert saved_model.write(tf, None, trace(None), folder)
        return litert.decide(tf, trace, folder, LoadOptions(is_optimized=True), independent_rows), folder

    return export


def test_litert_serves_what_it_answers_equally_and_faster(decide, tf):
    decision, folder = decide(lambda x: {"y": tf.tanh(x)}, (6, 1.6), x=([None, 3], "float32"))

    assert re.fullmatch(
        r"LiteRT: answers agree to \S+; 6 times as fast for one row, 1.6 for 32 rows: served by LiteRT", decision.reason
    )
    values = np.array([[0.5, -2, 9]], "float32")
    session = load_session(folder, "auto", LoadOptions(litert=decision.proof))
    assert session.engine == "litert"
    assert np.allclose(session.run("serving_default", {"x": values})["y"], np.tanh(values), 1e-5)


@pytest.mark.parametrize(
    ("in_threads", "gain", "parallel"),
    [(1.0, 2, True), (1.05, 2, True), (1.2, 2, False), (0.5, 2000, False)],
    ids=["as fast", "hardly slower", "slower", "too quick"],
)
def test_several_threads_run_what_takes_long_unless_they_are_slower(decide, tf, in_threads, gain, parallel):
    decision, _ = decide(lambda x: {"y": tf.tanh(x)}, (gain, 2), in_threads=in_threads, x=([None, 3], "float32"))

    assert decision.proof is not None
    assert decision.proof.parallel is parallel


@pytest.mark.parametrize("gains", [(0.9, 9), (9, 0.5)], ids=["a row", "a batch"])
def test_tensorflow_serves_what_it_runs_faster(decide, tf, gains):
    decision, folder = decide(lambda x: {"y": tf.tanh(x)}, gains, x=([None, 3], "float32"))

    assert decision.proof is None
    assert decision.reason.endswith(
        f"{gains[0]} times as fast for one row, {gains[1]} for 32 rows: served by TensorFlow"
    )
    assert not (folder / "model.tflite").exists()


@pytest.mark.parametrize(
    ("milliseconds", "rows"),
    [
        ([1, 2, 4, 8, 16, 32], 1),
        ([1, 1.2, 2.4, 4.8, 9.6, 19], 2),
        ([0.1, 0.2, 0.4, 0.8, 1.6, 3.2], 16),
        ([1, 1.1, 1.2, 1.3, 1.4, 1.5], 0),
        ([0.01, 0.02, 0.04, 0.08, 0.16, 0.32], 0),
    ],
    ids=["more gain nothing", "two gain", "a part is not too quick", "all gain", "all are quick"],
)
def test_a_batch_is_run_in_parts_if_more_rows_at_once_gain_nothing(decide, tf, milliseconds, rows):
    seconds = [one / 1000 for one in milliseconds]
    decision, _ = decide(lambda x: {"y": tf.tanh(x)}, (99, 99), True, seconds, x=([None, 3], "float32"))

    assert decision.proof is not None
    assert decision.proof.rows == rows


# LiteRT's kernel stops at 88.
def test_tensorflow_serves_what_litert_answers_otherwise_for_large_numbers(decide, tf):
    decision, _ = decide(lambda x: {"y": tf.nn.softplus(x)}, x=([None, 3], "float32"))

    assert re.fullmatch(r"LiteRT: its output 'y' differs by up to \S+: served by TensorFlow", decision.reason)


@pytest.mark.parametrize(
    ("function", "shape", "dtype", "reason"),
    [
        (
            lambda tf, x: tf.nn.max_pool3d(x, 2, 2, "VALID"),
            [None, 4, 4, 4, 1],
            "float32",
            "it has no operation for MaxPool3D",
        ),
        (lambda tf, x: tf.strings.lower(x), [None], "string", "it does not support the type or rank of 'x' (string)"),
        (lambda tf, x: tf.unique(x)[0], [None], "int32", "it learns an output's shape only while it runs"),
        (lambda tf, x: tf.where(x > 0)[:, 0], [4], "float32", "it learns an output's shape only while it runs"),
    ],
)
def test_tensorflow_serves_what_litert_can_not_run(decide, tf, function, shape, dtype, reason):
    decision, folder = decide(lambda x: {"y": function(tf, x)}, x=(shape, dtype))

    assert decision.proof is None
    assert reason in decision.reason
    assert not (folder / "model.tflite").exists()


FLATTENING = {
    "rows": lambda tf, x: tf.matmul(tf.reshape(x, [tf.shape(x)[0], 12]), tf.eye(12)[:, :2]),
    "steps, in a dense layer": lambda tf, x: tf.tensordot(x, tf.eye(4)[:, :3], 1),
    "steps, in two dense layers": lambda tf, x: tf.tensordot(
        tf.nn.gelu(tf.tensordot(tf.tanh(x), tf.eye(4)[:, :3], 1)), tf.eye(3), 1
    ),
}


@pytest.mark.parametrize("name", FLATTENING)
def test_a_batch_of_any_size_is_flattened_without_looking_it_up(decide, tf, name):
    """LiteRT would write beyond the memory of an output whose shape it learns only while it runs."""
    decision, folder = decide(lambda x: {"y": FLATTENING[name](tf, x)}, x=([None, 3, 4], "float32"))

    assert decision.proof is not None
    assert decision.proof.is_bounded
    assert FIXED_ROWS.encode() not in (folder / "model.tflite").read_bytes()


@pytest.mark.parametrize(
    "size",
    [
        lambda tf, x: tf.shape(x)[0],
        lambda tf, x: tf.split(tf.shape(x), [1, 1])[0][0],
        lambda tf, x: tf.reduce_prod(tf.gather(tf.shape(x), [0])),
    ],
    ids=["slice", "split", "product"],
)
def test_a_reshape_that_would_reject_a_size_still_does(tmp_path, tf, size):
    """A row of 64 numbers does not become two of 32."""
    spec = tf.TensorSpec([None, None], "float32", name="x")
    function = tf.function(lambda x: {"y": tf.reshape(x, [size(tf, x), 32])}, autograph=False)
    saved_model.write(tf, None, function.get_concrete_function(x=spec), tmp_path / "export")
    session = load_session(tmp_path / "export", "tensorflow", LoadOptions(is_optimized=True))

    assert session.run("serving_default", {"x": np.ones((2, 32), np.float32)})["y"].shape == (2, 32)
    with pytest.raises(InvalidArgumentError):
        session.run("serving_default", {"x": np.ones((2, 64), np.float32)})


def test_a_scalar_output_and_whole_numbers_as_indices_are_tried(decide, tf):
    table = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    decision, _ = decide(lambda x: {"y": tf.reduce_sum(tf.gather(table, tf.cast(x, "int32")))}, x=([None], "float32"))

    assert decision.proof is not None


def test_a_problem_of_litert_ends_no_export(decide, tf, monkeypatch):
    monkeypatch.setattr(litert, "_converted", lambda tf, function: 1 / 0)

    decision, folder = decide(lambda x: {"y": x}, x=([None, 3], "float32"))

    assert decision == Decision("LiteRT: ZeroDivisionError: division by zero: served by TensorFlow")
    assert not (folder / "model.tflite").exists()


@pytest.mark.parametrize("independent_rows", [True, False])
def test_batches_of_fixed_sizes_are_run_if_rows_are_independent(decide, tf, independent_rows):
    kernel = np.random.default_rng(0).standard_normal((3, 3, 2, 1)).astype(np.float32)
    decision, folder = decide(
        lambda x: {"y": tf.nn.conv2d_transpose(x, kernel, [tf.shape(x)[0], 8, 8, 2], 2)},
        independent_rows=independent_rows,
        x=([None, 4, 4, 1], "float32"),
    )

    assert (decision.proof is not None) == independent_rows
    if independent_rows:
        _assert_engines_agree(folder, decision, (4, 4, 1))


def _assert_engines_agree(folder: Path, decision: Decision, shape: tuple[int, ...]) -> None:
    ours, theirs = (
        load_session(folder, engine, LoadOptions(litert=decision.proof)) for engine in ("litert", "tensorflow")
    )
    for rows in range(1, 20):
        values = np.random.default_rng(rows).standard_normal((rows, *shape)).astype(np.float32)
        got, expected = (session.run("serving_default", {"x": values})["y"] for session in (ours, theirs))
        assert got.shape == expected.shape
        assert np.allclose(got, expected, 1e-4, 1e-5)


def test_a_recurrent_model_shares_its_weights_between_batches_of_fixed_sizes(tf, tmp_path, monkeypatch):
    monkeypatch.setattr(litert, "_fastest", lambda sessions, feeds: [1.0] * len(sessions))
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.layers.Input((24, 8), name="x"), keras.layers.LSTM(48, name="y")])
    trace = partial(saved_model.trace, tf, model)
    assert saved_model.write(tf, model, trace(None), tmp_path / "export")

    decision = litert.decide(tf, trace, tmp_path / "export", LoadOptions(is_optimized=True), independent_rows=True)

    assert decision.proof is not None, decision.reason
    assert not decision.proof.is_bounded  # it has a loop
    _assert_engines_agree(tmp_path / "export", decision, (24, 8))
    size = sum(weight.size * 4 for weight in model.get_weights())
    assert (tmp_path / "export" / "model.tflite").stat().st_size < 1.5 * size


@pytest.mark.parametrize(
    ("factor", "difference", "is_usual", "is_same"),
    [(1, 5e-5, False, False), (1e4, 5e-5, False, True), (1e4, 0.1, False, False), (1e4, 5e-5, True, False)],
)
def test_answers_may_differ_by_what_the_rounding_of_unusual_inputs_changes(factor, difference, is_usual, is_same):
    feeds = {"x": np.full((1, 1), 0.7, np.float32)}

    def session(difference: float) -> Any:
        return SimpleNamespace(run=lambda _, feeds: {"y": np.sin(feeds["x"] * np.float32(factor)) + difference})

    reference = session(0)
    trial = replace(litert._trial(reference, feeds), is_usual=is_usual)

    with nullcontext() if is_same else pytest.raises(litert._UnprovenError, match="output 'y' differs by up to"):
        litert._difference(session(difference), reference, trial)


def test_no_output_is_excused_by_what_rounding_changes_in_another():
    def session(difference: float) -> Any:
        return SimpleNamespace(
            run=lambda _, feeds: {"wild": np.sin(feeds["x"] * 1e4) + difference, "tame": feeds["x"] + difference / 2}
        )

    reference = session(0)
    trial = replace(litert._trial(reference, {"x": np.full((1, 1), 0.7, np.float32)}), is_usual=False)

    with pytest.raises(litert._UnprovenError, match="output 'tame' differs by up to"):
        litert._difference(session(1e-4), reference, trial)


@pytest.mark.parametrize(("name", "finite_only"), [("reduce_max", True), ("reduce_sum", False)])
def test_it_is_noticed_where_litert_answers_otherwise_for_nan(decide, tf, name, finite_only):
    decision, _ = decide(lambda x: {"y": getattr(tf, name)(x, 1)}, x=([None, 3], "float32"))

    assert decision.proof.finite_only is finite_only


def test_without_litert_tensorflow_serves(decide, tf, monkeypatch):
    monkeypatch.setattr(litert_library, "find_library", lambda package, name: None)

    decision, _ = decide(lambda x: {"y": x}, x=([None, 3], "float32"))

    assert decision == Decision("LiteRT is not installed here: served by TensorFlow")
