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


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(field(1, field(4, b"other")), id="a second list of tags"),
        pytest.param(field(3, field(1, b"filename")), id="a second saver"),
        pytest.param(
            field(2, field(1, field(1, b"n") + field(2, b"ReadFile") + field(2, b"Identity"))), id="operation"
        ),
    ],
)
def test_fields_that_occur_twice_are_refused(saved_model: Save, more: bytes) -> None:
    folder = saved_model(lambda x: {"y": x}, x=([None], "float32"))
    with changed(folder) as read:
        content = read.meta_graphs[0].SerializeToString()
    (folder / "saved_model.pb").write_bytes(field(2, content + more))

    with pytest.raises(ValueError, match="occurs twice"):
        check(folder)


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
