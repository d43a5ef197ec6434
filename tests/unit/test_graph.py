"""What a SavedModel's graph may do: compute, and nothing else, unless the operator says so."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.engines import errors, graph
from serving.engines.graph import UnsafeGraphError
from serving.engines.options import LoadOptions
from serving.engines.session import load_session
from serving.engines.signature import SERVE_TAG

Save = Callable[..., Path]


def check(folder: Path) -> None:
    graph.check(folder, SERVE_TAG)


@contextmanager
def changed(folder: Path) -> Iterator[Any]:
    """Change a SavedModel's protocol buffer in place."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    yield saved_model
    (folder / "saved_model.pb").write_bytes(saved_model.SerializeToString())


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

    session = load_session(saved_model(hostile["ReadFile"], x=([None], "float32")), "auto", LoadOptions(any_op=True))

    assert session.run("serving_default", {"x": np.ones(1, np.float32)})["y"].item() == secret.read_bytes()


def test_variables_tables_loops_and_random_numbers_are_allowed(tf: Any, saved_model: Save) -> None:
    weight = tf.Variable(tf.ones([2, 2]))

    def model(x: Any) -> Any:
        [_, y] = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, tf.matmul(y, weight)), [0, x])
        return {"y": y + tf.random.normal([2])}

    check(saved_model(model, [weight], x=([None, 2], "float32")))


@pytest.fixture
def with_vocabulary(tf: Any, tmp_path: Path, secret: Path) -> Path:
    """A SavedModel of TensorFlow 2 with a vocabulary, whose path passes through a variable."""
    initializer = tf.lookup.TextFileInitializer(
        str(secret), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(initializer, -1)
    module.f = tf.function(lambda x: {"y": module.table.lookup(x)}, input_signature=[tf.TensorSpec([None], "string")])
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.f)
    return tmp_path / "m"


def test_a_vocabulary_is_read_from_the_saved_models_own_assets(with_vocabulary: Path) -> None:
    check(with_vocabulary)


def test_an_asset_outside_of_the_saved_model_is_refused(with_vocabulary: Path) -> None:
    with changed(with_vocabulary) as saved_model:
        saved_model.meta_graphs[0].asset_file_def[0].filename = "../../secret.txt"

    with pytest.raises(UnsafeGraphError, match="lies outside"):
        check(with_vocabulary)


def test_an_asset_that_links_to_a_file_outside_is_refused(with_vocabulary: Path, secret: Path) -> None:
    (with_vocabulary / "assets" / "secret.txt").unlink()
    (with_vocabulary / "assets" / "secret.txt").symlink_to(secret)

    with pytest.raises(UnsafeGraphError, match="lies outside"):
        check(with_vocabulary)


def test_a_path_that_is_not_an_assets_is_refused_in_a_variable_too(with_vocabulary: Path) -> None:
    with changed(with_vocabulary) as saved_model:
        del saved_model.meta_graphs[0].asset_file_def[:]

    with pytest.raises(UnsafeGraphError, match="not among its assets"):
        check(with_vocabulary)


def test_a_path_in_a_variable_that_a_function_may_set_is_refused(with_vocabulary: Path) -> None:
    with changed(with_vocabulary) as saved_model:
        for function in saved_model.meta_graphs[0].graph_def.library.function:
            if any(node.op.startswith("InitializeTable") for node in function.node_def):
                function.node_def.add(op="VarHandleOp", name="path")

    with pytest.raises(UnsafeGraphError, match="not among its assets"):
        check(with_vocabulary)


def save_with_table(
    tf: Any, folder: Path, vocabulary: Path, path: str = "", option: str = "main_op", in_run: bool = False
) -> None:
    """Save a model of TensorFlow 1 whose table reads a vocabulary: an asset, or by another operation than its path."""
    v1 = tf.compat.v1
    paths = {
        "constant": lambda: tf.constant(str(vocabulary)),
        "joined": lambda: tf.strings.join([str(vocabulary.parent), "/", vocabulary.name]),
        "variable": lambda: v1.get_variable("path", initializer=str(vocabulary), use_resource=False),
    }
    with v1.Session(graph=tf.Graph()) as session:
        x = v1.placeholder(tf.string, [None], "x")
        asset = tf.constant(str(vocabulary), name="asset")
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, asset)
        table = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name="t")
        init = tf.raw_ops.InitializeTableFromTextFileV2(
            table_handle=table, filename=paths[path]() if path else asset, key_index=-2, value_index=-1
        )
        with tf.control_dependencies([init] if in_run else []):
            y = tf.raw_ops.LookupTableFindV2(table_handle=table, keys=x, default_value=tf.constant(-1, tf.int64))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        assets = v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS)
        options = {option: init} if option else {}
        builder.add_meta_graph_and_variables(
            session, [SERVE_TAG], {"serving_default": signature}, assets_collection=assets, **options
        )
        builder.save()


@pytest.mark.parametrize("option", ["main_op", "legacy_init_op"])
@pytest.mark.parametrize("engine", ["c", "python"])
def test_a_vocabulary_of_tensorflow_1_is_read(tf: Any, tmp_path: Path, secret: Path, option: str, engine: str) -> None:
    import numpy as np

    save_with_table(tf, tmp_path / "m", secret, option=option)
    session = load_session(tmp_path / "m", engine)

    answer = session.run("serving_default", {"x": np.array([b"b", b"z"], object)})

    assert answer["y"].tolist() == [1, -1]


@pytest.mark.parametrize("path", ["constant", "joined", "variable"])
def test_a_vocabulary_at_a_path_in_the_graph_is_refused(tf: Any, tmp_path: Path, secret: Path, path: str) -> None:
    save_with_table(tf, tmp_path / "m", secret, path)

    with pytest.raises(UnsafeGraphError, match="not among its assets"):
        check(tmp_path / "m")


def test_a_vocabulary_that_a_run_reads_is_refused(tf: Any, tmp_path: Path, secret: Path) -> None:
    # TensorFlow replaces the path of an asset while it loads the model only, not in a run.
    save_with_table(tf, tmp_path / "m", secret, in_run=True)

    with pytest.raises(UnsafeGraphError, match="operation InitializeTableFromTextFileV2"):
        check(tmp_path / "m")


# --- what TensorFlow loads is what is checked ---


@pytest.fixture
def two(saved_model: Save, hostile: dict[str, Callable[[Any], Any]], tmp_path: Path) -> tuple[Path, Any]:
    """A SavedModel that only computes, and the MetaGraph of one that reads a file."""
    saved_model(hostile["ReadFile"], x=([None], "float32")).rename(tmp_path / "hostile")
    good = saved_model(lambda x: {"y": x}, x=([None], "float32"))
    with changed(tmp_path / "hostile") as read:
        return good, read.meta_graphs[0]


def test_the_graph_of_the_tag_alone_is_checked_wherever_it_stands(two: tuple[Path, Any]) -> None:
    good, hostile_graph = two
    with changed(good) as saved_model:
        saved_model.meta_graphs[0].meta_info_def.tags.append("tpu")
        saved_model.meta_graphs.append(hostile_graph)

    with pytest.raises(UnsafeGraphError, match="operation ReadFile"):
        check(good)


def field(number: int, content: bytes) -> bytes:
    size, encoded = len(content), bytearray()
    while size > 0x7F:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *encoded, size]) + content


TAGS = field(1, field(4, SERVE_TAG.encode()))


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(TAGS, id="tags"),
        pytest.param(2 * field(2, b""), id="graph"),
        pytest.param(field(2, 2 * field(2, b"")), id="functions"),
        pytest.param(
            field(2, field(2, field(1, field(1, field(1, b"f")) + field(1, field(1, b"g"))))),
            id="signature of a function",
        ),
        pytest.param(field(2, field(2, field(1, field(1, 2 * field(1, b"f"))))), id="name of a function"),
        pytest.param(field(2, field(1, 2 * field(1, b"n"))), id="name of a node"),
        pytest.param(field(2, field(1, field(1, b"n") + 2 * field(2, b"NoOp"))), id="operation"),
        pytest.param(field(2, field(1, field(5, 2 * field(1, b"f")))), id="name of an attribute"),
        pytest.param(field(2, field(1, field(5, field(1, b"f") + 2 * field(2, b"")))), id="attribute"),
        pytest.param(
            field(2, field(1, field(5, field(1, b"shared_name") + field(2, 2 * field(2, b"v"))))), id="shared name"
        ),
        pytest.param(
            field(2, field(1, field(5, field(1, b"f") + field(2, field(10, 2 * field(1, b"f")))))), id="called function"
        ),
        pytest.param(2 * field(3, b""), id="saver"),
        pytest.param(field(3, 2 * field(3, b"restore")), id="restoring operation"),
        pytest.param(field(5, field(1, b"s") + field(2, field(2, field(2, 2 * field(1, b"y:0"))))), id="output"),
        pytest.param(field(6, 2 * field(1, field(1, b"a"))), id="tensor of an asset"),
        pytest.param(field(6, field(1, 2 * field(1, b"a"))), id="name of an asset's tensor"),
        pytest.param(field(6, field(1, field(1, b"a")) + 2 * field(2, b"a.txt")), id="file of an asset"),
        pytest.param(
            field(4, field(1, b"saved_model_assets") + field(2, field(5, field(1, 2 * field(2, b""))))),
            id="asset of TensorFlow 1",
        ),
    ],
)
def test_fields_that_occur_twice_are_refused(tmp_path: Path, more: bytes) -> None:
    (tmp_path / "saved_model.pb").write_bytes(field(2, TAGS + more))

    with pytest.raises(ValueError, match=r"field \d of a protocol buffer occurs twice"):
        check(tmp_path)


def test_an_attribute_may_lack_its_value_as_protocol_buffers_may(tmp_path: Path) -> None:
    attribute = field(2, field(1, field(5, field(1, b"f"))))
    (tmp_path / "saved_model.pb").write_bytes(field(2, TAGS + attribute))

    check(tmp_path)


@pytest.mark.parametrize("tag", [b"\x80\x80\x80\x80\x10", b"\x80\x80\x80\x80\x20"])
def test_a_field_number_beyond_those_of_protocol_buffers_is_refused(tmp_path: Path, tag: bytes) -> None:
    (tmp_path / "saved_model.pb").write_bytes(tag + b"\0")

    with pytest.raises(ValueError, match="unknown protocol buffer field"):
        check(tmp_path)


@pytest.mark.parametrize(
    "keys", [(b"legacy_init_op", b"saved_model_main_op"), (b"saved_model_main_op", b"legacy_init_op")]
)
def test_one_initializer_does_not_hide_another(tmp_path: Path, keys: tuple[bytes, bytes]) -> None:
    nodes = field(1, field(1, b"reads") + field(2, b"ReadFile")) + field(1, field(1, b"nothing") + field(2, b"NoOp"))
    named = zip(keys, (b"reads", b"nothing"), strict=True)
    collections = (field(4, field(1, key) + field(2, field(1, field(1, node)))) for key, node in named)
    (tmp_path / "saved_model.pb").write_bytes(field(2, TAGS + field(2, nodes) + b"".join(collections)))

    with pytest.raises(UnsafeGraphError, match="operation ReadFile"):
        check(tmp_path)


def test_two_functions_of_one_name_are_refused(tmp_path: Path) -> None:
    functions = 2 * field(1, field(1, field(1, b"f")))
    (tmp_path / "saved_model.pb").write_bytes(field(2, TAGS + field(2, field(2, functions))))

    with pytest.raises(ValueError, match="the function f occurs twice"):
        check(tmp_path)


def test_a_field_in_another_wire_type_is_passed_over_as_tensorflow_does(two: tuple[Path, Any]) -> None:
    good, hostile_graph = two
    tag = bytes([4 << 3 | 1]) + b"not-a-tag"[:8]  # MetaInfoDef's field 4 as a number of 64 bits
    content = hostile_graph.SerializeToString()
    infos = hostile_graph.meta_info_def.SerializeToString()
    hidden = content.replace(field(1, infos), field(1, infos + tag), 1)
    assert hidden != content
    (good / "saved_model.pb").write_bytes(field(2, hidden) + (good / "saved_model.pb").read_bytes())

    with pytest.raises(UnsafeGraphError, match="operation ReadFile"):
        check(good)


def test_functions_that_are_passed_to_functions_are_checked(saved_model: Save, tf: Any, two: tuple[Path, Any]) -> None:
    good, hostile_graph = two
    reader = next(f for f in hostile_graph.graph_def.library.function if any(n.op == "ReadFile" for n in f.node_def))
    with changed(good) as read:
        meta_graph = read.meta_graphs[0]
        meta_graph.graph_def.library.function.append(reader)
        output = meta_graph.signature_def["serving_default"].outputs["y"].name
        call = next(node for node in meta_graph.graph_def.node if node.name == output.split(":")[0])
        call.attr["f"].func.attr["body"].func.name = reader.signature.name

    with pytest.raises(UnsafeGraphError, match="operation ReadFile"):
        check(good)


# --- graphs that are written node by node ---


def add_nodes(message: Any, nodes: dict[str, str]) -> None:
    """Add nodes to a graph or function: ``{"name": "Operation input input attribute=value"}``."""
    for name, words in nodes.items():
        op, *rest = words.split()
        node = message.add(name=name, op=op, input=[word for word in rest if "=" not in word])
        for key, value in (word.split("=") for word in rest if "=" in word):
            if key == "shared_name":
                node.attr[key].s = value.encode()
            elif key == "branches":
                node.attr[key].list.func.add(name=value)
            elif key == "passed":
                node.attr["f"].func.attr["passed"].func.name = value
            else:
                node.attr[key].func.name = value


@pytest.fixture
def write(tf: Any, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a SavedModel with these nodes, and returns its folder."""
    from tensorflow.core.protobuf import saved_model_pb2

    def save(
        nodes: dict[str, str],
        functions: dict[str, dict[str, str]] | None = None,
        outputs: tuple[str, ...] = ("y:0",),
        init: tuple[str, ...] = (),
        restore: str = "",
        assets: dict[str, str] | None = None,
    ) -> Path:
        saved_model = saved_model_pb2.SavedModel()
        meta_graph = saved_model.meta_graphs.add(meta_info_def={"tags": [SERVE_TAG]})
        add_nodes(meta_graph.graph_def.node, nodes)
        for name, body in (functions or {}).items():
            function = meta_graph.graph_def.library.function.add(signature={"name": name})
            add_nodes(function.node_def, body)
        for number, output in enumerate(outputs):
            meta_graph.signature_def[f"signature {number}"].outputs["y"].name = output
        meta_graph.collection_def["saved_model_main_op"].node_list.value.extend(init)
        if restore:
            meta_graph.saver_def.restore_op_name = restore
        for tensor, file in (assets or {}).items():
            meta_graph.asset_file_def.add(tensor_info={"name": f"{tensor}:0"}, filename=file)
        (tmp_path / "saved_model.pb").write_bytes(saved_model.SerializeToString())
        return tmp_path

    return save


READS = "InitializeTableFromTextFileV2"


@pytest.mark.parametrize(
    "graph_parts",
    [
        pytest.param({"nodes": {"y": "ReadFile"}}, id="an output"),
        pytest.param({"nodes": {"y": "Identity x:0", "x": "ReadFile"}}, id="an input"),
        pytest.param({"nodes": {"y": "Add a b", "a": "Const", "b": "ReadFile"}}, id="another input"),
        pytest.param({"nodes": {"y": "NoOp ^x", "x": "ReadFile"}}, id="a control input"),
        pytest.param({"nodes": {"y": "Add x y", "x": "ReadFile"}}, id="an input of a node in a loop"),
        pytest.param({"nodes": {"y": "Add x absent", "x": "ReadFile"}}, id="beside a node that is absent"),
        pytest.param({"nodes": {"y": "NoOp", "z": "ReadFile"}, "outputs": ("z:0", "y:0")}, id="the first signature"),
        pytest.param({"nodes": {"y": "NoOp", "z": "ReadFile"}, "outputs": ("y:0", "z:0")}, id="the last signature"),
        pytest.param({"nodes": {"y": "f"}, "functions": {"f": {"a": "ReadFile"}}}, id="a function"),
        pytest.param({"nodes": {"y": "f"}, "functions": {"f": {"a": "NoOp", "b": "ReadFile"}}}, id="its last node"),
        pytest.param({"nodes": {"y": "f"}, "functions": {"f": {"a": "f", "b": "ReadFile"}}}, id="one that recurs"),
        pytest.param(
            {"nodes": {"y": "f x", "x": "f z", "z": "ReadFile"}, "functions": {"f": {"a": "NoOp"}}}, id="called twice"
        ),
        pytest.param({"nodes": {"y": "While body=f"}, "functions": {"f": {"a": "ReadFile"}}}, id="a loop's body"),
        pytest.param({"nodes": {"y": "Case branches=f"}, "functions": {"f": {"a": "ReadFile"}}}, id="a branch"),
        pytest.param({"nodes": {"y": "If passed=f"}, "functions": {"f": {"a": "ReadFile"}}}, id="a passed function"),
        pytest.param(
            {"nodes": {"y": "If then=f else=g"}, "functions": {"f": {"a": "NoOp"}, "g": {"a": "ReadFile"}}},
            id="the other branch",
        ),
        pytest.param(
            {"nodes": {"y": "f"}, "functions": {"f": {"a": "g"}, "g": {"a": "ReadFile"}}}, id="a function's function"
        ),
        pytest.param({"nodes": {"y": "NoOp", "i": "ReadFile"}, "init": ("i",)}, id="what initializes"),
        pytest.param({"nodes": {"y": "NoOp", "r": "ReadFile"}, "restore": "r"}, id="what restores"),
    ],
)
def test_an_operation_is_found_wherever_tensorflow_runs_it(write: Save, graph_parts: dict[str, Any]) -> None:
    folder = write(**graph_parts)

    with pytest.raises(UnsafeGraphError, match="its graph has the operation ReadFile, which may do more than compute"):
        check(folder)


@pytest.mark.parametrize("key", ["saved_model_main_op", "legacy_init_op", "__saved_model_init_op"])
def test_whatever_names_the_initializer_is_followed(write: Save, key: str) -> None:
    folder = write({"y": "NoOp", "i": "RestoreV2"})
    with changed(folder) as saved_model:
        meta_graph = saved_model.meta_graphs[0]
        if key.startswith("__"):
            meta_graph.signature_def[key].outputs[key].name = "i"
        else:
            meta_graph.collection_def[key].node_list.value.append("i")

    with pytest.raises(UnsafeGraphError, match="operation RestoreV2"):
        check(folder)


def test_the_signature_of_tensorflow_2_that_initializes_may_read_assets(write: Save) -> None:
    folder = write(TABLE | {"i": f"{READS} t asset"}, assets={"asset": "words.txt"})
    with changed(folder) as saved_model:
        saved_model.meta_graphs[0].signature_def["__saved_model_init_op"].outputs["op"].name = "i"

    check(folder)


@pytest.mark.parametrize(
    ("where", "op", "is_allowed"),
    [
        *(("outputs", op, False) for op in ("RestoreV2", READS)),
        *(("init", op, False) for op in ("RestoreV2", "ShardedFilename")),
        *(("restore", op, True) for op in ("RestoreV2", "Restore", "RestoreSlice", "ShardedFilename", "NoOp")),
        ("restore", READS, False),
        ("nobody", "ReadFile", True),
    ],
)
def test_files_are_read_where_tensorflow_itself_reads_them(write: Save, where: str, op: str, is_allowed: bool) -> None:
    parts: dict[str, Any] = {"outputs": ("n:0",), "init": ("n",), "restore": "n"}
    folder = write({"y": "NoOp", "n": op}, **{key: value for key, value in parts.items() if key == where})

    if is_allowed:
        check(folder)
    else:
        with pytest.raises(UnsafeGraphError, match=f"operation {op}"):
            check(folder)


TABLE = {"y": "LookupTableFindV2 t", "t": "HashTableV2", "asset": "Const", "other": "Const"}
VARIABLE = {"v": "VarHandleOp shared_name=v", "a": "AssignVariableOp v asset", "path": "ReadVariableOp v"}


@pytest.mark.parametrize(
    ("nodes", "function", "is_allowed"),
    [
        pytest.param({"i": f"{READS} t asset:0"}, {}, True, id="an asset"),
        pytest.param({"i": "InitializeTableFromTextFile t asset"}, {}, True, id="an asset, by the older operation"),
        pytest.param({"i": f"{READS} t asset ^j", "j": "NoOp"}, {}, True, id="an asset, after something else"),
        pytest.param({"i": f"{READS} t other"}, {}, False, id="a constant"),
        pytest.param({"i": f"{READS} t absent"}, {}, False, id="a node that is absent"),
        pytest.param({"i": f"{READS} t p", "p": "Identity asset"}, {}, True, id="an asset, passed on"),
        pytest.param({"i": f"{READS} t p", "p": "Identity other"}, {}, False, id="a constant, passed on"),
        pytest.param({"i": f"{READS} t p", "p": "Placeholder"}, {}, False, id="an input"),
        pytest.param({"i": f"{READS} t p", "p": "Identity p"}, {}, False, id="nothing"),
        pytest.param({"i": f"{READS} t p", "p": "Identity asset other"}, {}, False, id="one of two"),
        pytest.param({"i": f"{READS} t p ^p", "p": "Add asset asset"}, {}, False, id="computed of assets"),
        pytest.param({"i": f"{READS} t asset ^j", "j": f"{READS} t other"}, {}, False, id="a second one's constant"),
        pytest.param(VARIABLE | {"i": f"{READS} t path ^a"}, {}, True, id="a variable that has the asset"),
        pytest.param(
            VARIABLE | {"i": f"{READS} t path", "b": "AssignVariableOp v other"}, {}, False, id="a variable set twice"
        ),
        pytest.param(
            VARIABLE | {"i": f"{READS} t path", "w": "VarHandleOp shared_name=v", "b": "AssignVariableOp w other"},
            {},
            False,
            id="a variable set by another node of it",
        ),
        pytest.param(
            VARIABLE | {"i": f"{READS} t path ^a", "w": "VarHandleOp shared_name=w", "b": "AssignVariableOp w other"},
            {},
            True,
            id="beside another variable",
        ),
        pytest.param(
            {"i": f"{READS} t path", "path": "ReadVariableOp v", "v": "VarHandleOp shared_name=v"},
            {},
            False,
            id="a variable that nothing sets",
        ),
        pytest.param({"i": "f t asset"}, {"i": f"{READS} t path"}, True, id="a function of an asset"),
        pytest.param({"i": "f asset"}, {"t": "HashTableV2", "i": f"{READS} t path"}, True, id="one with its own table"),
        pytest.param({"i": "f t other"}, {"i": f"{READS} t path"}, False, id="a function of a constant"),
        pytest.param({"i": "f t asset other"}, {"i": f"{READS} t path"}, False, id="a function of both"),
        pytest.param({"i": "f asset asset"}, {"i": f"{READS} t p:output:0", "p": "Const"}, False, id="in a function"),
        pytest.param({"i": "f t asset"}, {"i": f"{READS} t path", "g": "f t path"}, False, id="called in a function"),
        pytest.param(
            {"i": "f t asset"}, {"i": f"{READS} t path", "v": "VarHandleOp"}, False, id="beside a function's variable"
        ),
        pytest.param({"i": "f other"}, {"n": "NoOp"}, True, id="a function that reads nothing"),
        pytest.param({"i": "f other"}, {"v": "VarHandleOp"}, True, id="a function's variable, and nothing reads"),
    ],
)
def test_a_vocabulary_is_an_asset_on_every_way_to_it(
    write: Save, nodes: dict[str, str], function: dict[str, str], is_allowed: bool
) -> None:
    nodes = TABLE | {"init": "NoOp ^i ^t"} | nodes
    folder = write(nodes, {"f": function} if function else {}, init=("init",), assets={"asset": "words.txt"})

    if is_allowed:
        check(folder)
    else:
        with pytest.raises(UnsafeGraphError, match="its graph reads a file that is not among its assets"):
            check(folder)


@pytest.mark.parametrize("name", ["../saved_model.pb", "/etc/passwd", "deeper/words.txt", "", "."])
def test_an_asset_is_a_file_of_the_assets_folder(write: Save, name: str) -> None:
    folder = write(TABLE, init=("t",), assets={"other": "words.txt", "asset": name})

    with pytest.raises(UnsafeGraphError, match=f"^its asset {re.escape(name)} lies outside of its folder$"):
        check(folder)


@pytest.mark.parametrize(
    ("named", "file", "is_allowed"), [("asset:0", "words.txt", True), ("other:0", "words.txt", False)]
)
def test_assets_of_tensorflow_1_are_those_of_a_collection(write: Save, named: str, file: str, is_allowed: bool) -> None:
    from tensorflow.core.protobuf import meta_graph_pb2

    folder = write(TABLE | {"i": f"{READS} t asset"}, init=("i",))
    with changed(folder) as saved_model:
        asset = meta_graph_pb2.AssetFileDef(tensor_info={"name": named}, filename=file)
        saved_model.meta_graphs[0].collection_def["saved_model_assets"].any_list.value.add().Pack(asset)

    if is_allowed:
        check(folder)
    else:
        with pytest.raises(UnsafeGraphError, match="not among its assets"):
            check(folder)


def test_the_collection_of_assets_does_not_count_beside_those_of_tensorflow_2(write: Save) -> None:
    from tensorflow.core.protobuf import meta_graph_pb2

    folder = write(TABLE | {"i": f"{READS} t other"}, init=("i",), assets={"asset": "words.txt"})
    with changed(folder) as saved_model:
        asset = meta_graph_pb2.AssetFileDef(tensor_info={"name": "other:0"}, filename="words.txt")
        saved_model.meta_graphs[0].collection_def["saved_model_assets"].any_list.value.add().Pack(asset)

    with pytest.raises(UnsafeGraphError, match="not among its assets"):
        check(folder)


def test_a_collection_of_assets_that_is_another_list_is_refused(write: Save) -> None:
    folder = write({"y": "NoOp"})
    with changed(folder) as saved_model:
        saved_model.meta_graphs[0].collection_def["saved_model_assets"].bytes_list.value.append(b"")

    with pytest.raises(ValueError, match="the collection saved_model_assets has no list of assets"):
        check(folder)


@pytest.mark.parametrize(
    ("nodes", "missing"),
    [
        ({"y": "ReadVariableOp v", "v": "VarHandleOp shared_name=w"}, "variable 'w'"),
        ({"y": "ReadVariableOp v", "v": "VarHandleOp"}, "variable ''"),
        ({"y": "Identity v", "v": "VariableV2"}, "variable 'v'"),
        ({"y": "Identity v", "v": "Variable shared_name=w"}, "variable 'w'"),
        ({"y": "LookupTableFind v", "v": "HashTable"}, "table 'v'"),
        ({"y": "LookupTableFindV2 v", "v": "HashTableV2 shared_name=w"}, "table 'w'"),
        ({"y": "Add v i", "v": "VariableV2"}, "variable 'v'"),
        ({"y": "LookupTableFindV2 v", "v": "MutableHashTableV2"}, ""),
        ({"y": "ReadVariableOp v", "v": "VarHandleOp shared_name=set"}, ""),
        ({"y": "Identity v", "v": "VariableV2 shared_name=restored"}, ""),
        ({"y": "Assign v x", "v": "VariableV2", "x": "Placeholder"}, ""),
        ({"y": "ReadVariableOp v ^a", "a": "AssignVariableOp v x", "v": "VarHandleOp", "x": "Placeholder"}, ""),
    ],
)
def test_a_run_needs_what_loading_sets(write: Save, nodes: dict[str, str], missing: str) -> None:
    loads = {
        "i": "VarHandleOp shared_name=set",
        "r": "VariableV2 shared_name=restored",
    }
    folder = write(nodes | loads, init=("i",), restore="r")

    if missing:
        with pytest.raises(errors.FailedPreconditionError, match=f"restores or initializes its {missing}; save the"):
            check(folder)
    else:
        check(folder)


# --- operations ---

# TensorFlow's operations on the CPU that are not allowed, by the reason.
NOT_ALLOWED = {
    "files": r"Dataset|Reader|^MatchingFiles|^(Read|Write)File|^Save|^Restore|^Load|File|Checkpoint|^Sharded|Summary"
    r"|ImmutableConst|ImportEvent|RecordInput|GenerateVocabRemapping|Skipgram|FixedUnigram|DistributedSave|Proto"
    r"|CalibrationStatisticsSaver|CustomAggregator",
    "pipelines of datasets": r"Iterator|MultiDevice|Cache|SeedGenerator|Optional|ThreadPool|Stats|WindowOp|GetOptions"
    r"|ompressElement|ComputeBatchSize",
    "Python, output and the process": r"PyFunc|Print|Abort|Sleep|Debug|Dump|Fact|Timestamp|GraphDefVersion|Deadline"
    r"|CheckPinned|IsTensorFloat32|SyncDevice",
    "the network and other devices": r"Rpc|Send|Recv|TPU|Tpu|Collective|Nccl|RemoteCall|DTensor|Infeed|Outfeed|Xla"
    r"|Cudnn|Copy|DevicePlacement",
    "waiting for other runs": r"Queue|Stage|Unstage|Barrier|Mutex|^Map(Clear|Incomplete|Peek|Size)|OrderedMap|^Batch$"
    r"|BatchFunction|Unbatch|Accumulator|SessionHandle|SessionTensor|Sparse(To|From)TensorsMap|WeakResource",
    "training": r"Apply|Sdca|BoostedTrees|NegTrain|SymbolicGradient",
    "TensorFlow's own tests": r"^(Old|TestAttr|KernelLabel.*|.*ResourceHandleOp|Resource(Create|Using|Initialized)Op"
    r"|DtypeWithDefaultOp|DummyIterationCounter|ConstructionFails)$",
}


def test_every_operation_on_the_cpu_is_allowed_or_not_for_a_reason(tf: Any) -> None:
    from tensorflow.python.framework import kernels

    on_cpu = {kernel.op for kernel in kernels.get_all_registered_kernels().kernel if kernel.device_type == "CPU"}
    own = {op for op in on_cpu if not op.startswith("_")}
    reasons = re.compile("|".join(NOT_ALLOWED.values()))

    assert sorted(op for op in own - graph.allowed_ops() if not reasons.search(op)) == []
    assert sorted(op for op in graph.allowed_ops() if reasons.search(op)) == [
        "DeepCopy",
        "InitializeTableFromTextFile",
        "InitializeTableFromTextFileV2",
        "XlaDynamicUpdateSlice",  # only its name is of another device
    ]


# --- state ---


@pytest.mark.parametrize("engine", ["c", "python"])
def test_a_model_whose_table_nothing_initializes_is_refused(tf: Any, tmp_path: Path, secret: Path, engine: str) -> None:
    save_with_table(tf, tmp_path / "m", secret, option="")

    with pytest.raises(errors.FailedPreconditionError, match="nothing restores or initializes its table 't'"):
        load_session(tmp_path / "m", engine)


@pytest.mark.parametrize("engine", ["c", "python"])
def test_a_model_whose_variables_nothing_restores_is_refused(tf: Any, saved_model: Save, engine: str) -> None:
    weight = tf.Variable(2.0, name="weight")
    folder = saved_model(lambda x: {"y": x * weight}, [weight], x=([None], "float32"))
    shutil.rmtree(folder / "variables")
    with changed(folder) as read:
        read.meta_graphs[0].ClearField("saver_def")

    with pytest.raises(errors.FailedPreconditionError, match="its variable 'weight'"):
        load_session(folder, engine)


def test_a_model_that_sets_its_own_variable_is_not_refused(tf: Any, tmp_path: Path) -> None:
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        x = v1.placeholder(tf.float32, [])
        local = v1.get_variable("local", [], collections=[v1.GraphKeys.LOCAL_VARIABLES], use_resource=False)
        y = v1.assign(local, x) * 2.0
        v1.saved_model.simple_save(session, str(tmp_path / "m"), {"x": x}, {"y": y})

    check(tmp_path / "m")


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 700_000, b"\x12\x05hello", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"]
)
def test_bytes_that_are_no_saved_model_are_refused_at_once(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "saved_model.pb").write_bytes(content)

    with pytest.raises(ValueError, match=r"MetaGraph|protocol buffer"):
        check(tmp_path)
