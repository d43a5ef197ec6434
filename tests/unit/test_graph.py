"""What a SavedModel's graph may do: compute, and nothing else, unless the operator says so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.engines import graph
from serving.engines.graph import UnsafeGraphError
from serving.engines.session import load_session
from serving.engines.signature import SERVE_TAG

Save = Callable[..., Path]


def check(folder: Path) -> None:
    graph.check((folder / "saved_model.pb").read_bytes(), SERVE_TAG)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text("a\nb\n")
    return path


@pytest.fixture
def hostile(tf: Any, secret: Path, tmp_path: Path) -> dict[str, Callable[[Any], Any]]:
    """Functions that do more than compute, by the operation that does it."""

    def after(operation: Any, x: Any) -> Any:
        with tf.control_dependencies([operation]):
            return {"y": tf.identity(x)}

    def in_loop(x: Any) -> Any:
        [_, text] = tf.while_loop(
            lambda i, _: i < 1, lambda i, _: (i + 1, tf.io.read_file(str(secret))), [0, tf.constant("")]
        )
        return {"y": text}

    return {
        "ReadFile": lambda x: {"y": tf.io.read_file(str(secret))},
        "WriteFile": lambda x: after(tf.io.write_file(str(tmp_path / "written"), "x"), x),
        "MatchingFiles": lambda x: {"y": tf.io.matching_files("/*")},
        "PrintV2": lambda x: after(tf.print(x), x),
        "EagerPyFunc": lambda x: {"y": tf.py_function(lambda v: v, [x], tf.float32)},
        "RestoreV2": lambda x: {"y": tf.raw_ops.RestoreV2(
            prefix="/a", tensor_names=["b"], shape_and_slices=[""], dtypes=[tf.float32]
        )[0]},
        "SaveV2": lambda x: after(
            tf.raw_ops.SaveV2(prefix=str(tmp_path / "w"), tensor_names=["b"], shape_and_slices=[""], tensors=[x]), x
        ),
        "in a loop": in_loop,
        "in a branch": lambda x: {
            "y": tf.cond(tf.reduce_sum(x) > 0, lambda: tf.io.read_file(str(secret)), lambda: tf.constant(""))
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "says"),
    [
        *((name, f"operation {name}") for name in ("ReadFile", "WriteFile", "MatchingFiles", "PrintV2", "EagerPyFunc")),
        *((name, f"operation {name}") for name in ("RestoreV2", "SaveV2")),
        ("in a loop", "operation ReadFile"),
        ("in a branch", "operation ReadFile"),
    ],
)
def test_a_graph_that_does_more_than_compute_is_refused(
    saved_model: Save, hostile: dict[str, Callable[[Any], Any]], name: str, says: str
) -> None:
    folder = saved_model(hostile[name], x=([None], "float32"))

    with pytest.raises(UnsafeGraphError, match=says):
        load_session(folder, "auto")


def test_the_operator_can_allow_any_operation(
    saved_model: Save, hostile: dict[str, Callable[[Any], Any]], secret: Path
) -> None:
    import numpy as np

    session = load_session(saved_model(hostile["ReadFile"], x=([None], "float32")), "auto", any_op=True)

    assert session.run("serving_default", {"x": np.ones(1, np.float32)})["y"].item() == secret.read_bytes()


def test_variables_tables_loops_and_random_numbers_are_allowed(tf: Any, saved_model: Save) -> None:
    weight = tf.Variable(tf.ones([2, 2]))

    def model(x: Any) -> Any:
        [_, y] = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, tf.matmul(y, weight)), [0, x])
        return {"y": y + tf.random.normal([2])}

    check(saved_model(model, [weight], x=([None, 2], "float32")))


def test_a_vocabulary_is_read_from_the_saved_models_own_assets_only(tf: Any, tmp_path: Path, secret: Path) -> None:
    initializer = tf.lookup.TextFileInitializer(
        str(secret), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(initializer, -1)
    module.f = tf.function(lambda x: {"y": module.table.lookup(x)}, input_signature=[tf.TensorSpec([None], "string")])
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.f)
    check(tmp_path / "m")

    content = (tmp_path / "m" / "saved_model.pb").read_bytes()
    escaped = content.replace(b"secret.txt", b"../../../x")  # of the same length

    with pytest.raises(UnsafeGraphError, match="assets lies outside"):
        graph.check(escaped, SERVE_TAG)


def test_a_vocabulary_at_a_path_in_the_graph_is_refused(tf: Any, tmp_path: Path, secret: Path) -> None:
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        x = v1.placeholder(tf.string, [None])
        table = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name="t")
        init = tf.raw_ops.InitializeTableFromTextFileV2(
            table_handle=table, filename=str(secret), key_index=-2, value_index=-1, vocab_size=-1, delimiter="\t"
        )
        y = tf.raw_ops.LookupTableFindV2(table_handle=table, keys=x, default_value=tf.constant(-1, tf.int64))
        builder = v1.saved_model.Builder(str(tmp_path / "m"))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(
            session, [SERVE_TAG], {"serving_default": signature}, main_op=init, strip_default_attrs=True
        )
        builder.save()

    with pytest.raises(UnsafeGraphError, match="not among its assets"):
        check(tmp_path / "m")


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 700_000, b"\x12\x05hello", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"]
)
def test_bytes_that_are_no_saved_model_are_refused_at_once(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"MetaGraph|protocol buffer"):
        graph.check(content, SERVE_TAG)
