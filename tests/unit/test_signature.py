"""Signatures decoded from a MetaGraphDef that TensorFlow's own protocol buffers have serialized."""

import numpy as np
import pytest

from serving.engines import dtypes
from serving.engines.signature import (
    Signature,
    decode_signatures,
    needs_variables,
    read_signatures,
    shape_fits,
    shape_text,
    signatures_of_file,
)
from tests.unit.specs import spec


@pytest.fixture(scope="module")
def meta_graph_pb2(tf):
    from tensorflow.core.protobuf import meta_graph_pb2

    return meta_graph_pb2


def meta_graph(meta_graph_pb2, **tensors):
    """Return a MetaGraphDef with one signature, whose inputs have the given (dtype number, shape)."""
    message = meta_graph_pb2.MetaGraphDef()
    signature = message.signature_def["serving_default"]
    signature.method_name = "tensorflow/serving/predict"
    for name, (dtype, shape) in tensors.items():
        info = signature.inputs[name]
        info.name, info.dtype = f"serving_default_{name}:0", dtype
        if shape == "absent":
            continue
        info.tensor_shape.SetInParent()
        if shape is None:
            info.tensor_shape.unknown_rank = True
        else:
            for size in shape:
                info.tensor_shape.dim.add(size=size)
    return message


def test_names_dtypes_and_shapes_are_read(meta_graph_pb2):
    message = meta_graph(
        meta_graph_pb2, z=(1, [-1, 2]), a=(9, []), m=(7, None), big=(4, [3, 1 << 40, 0]), r=(101, "absent")
    )

    signature = decode_signatures(message.SerializeToString())["serving_default"]

    assert list(signature.inputs) == ["a", "big", "m", "r", "z"]
    read = {name: (spec.tensor, spec.dtype_name, spec.shape) for name, spec in signature.inputs.items()}
    assert read == {
        "z": ("serving_default_z:0", "float32", (None, 2)),
        "a": ("serving_default_a:0", "int64", ()),
        "m": ("serving_default_m:0", "string", None),
        "r": ("serving_default_r:0", "float32", None),  # a reference, of any shape
        "big": ("serving_default_big:0", "uint8", (3, 1 << 40, 0)),
    }
    assert signature.method_name == "tensorflow/serving/predict"
    assert signature.outputs == {}
    assert {name: (one.dtype_number, one.dtype.type) for name, one in signature.inputs.items()} == {
        "z": (1, np.float32), "a": (9, np.int64), "m": (7, np.object_), "r": (1, np.float32), "big": (4, np.uint8)
    }  # fmt: skip


def test_outputs_are_read_in_alphabetical_order(meta_graph_pb2):
    message = meta_graph_pb2.MetaGraphDef()
    for name in ("z", "a"):
        message.signature_def["s"].outputs[name].dtype = 1

    signature = decode_signatures(message.SerializeToString())["s"]

    assert (list(signature.outputs), signature.inputs, signature.method_name) == (["a", "z"], {}, "")
    assert signature.outputs["a"].tensor == ""


@pytest.mark.parametrize("twice", [b"\x0a\x01n", b"\x10\x01", b"\x1a\x00"], ids=["name", "dtype", "shape"])
def test_what_a_tensor_states_twice_is_refused(meta_graph_pb2, twice):
    info = b"\x10\x01" + twice.replace(b"\x10\x01", b"") + twice  # DT_FLOAT, whose field is 2
    entry = b"\x0a\x01x\x12" + bytes([len(info)]) + info
    signature = b"\x0a" + bytes([len(entry)]) + entry
    named = b"\x0a\x01s\x12" + bytes([len(signature)]) + signature

    with pytest.raises(ValueError, match="occurs twice"):
        decode_signatures(b"\x2a" + bytes([len(named)]) + named)


def test_fields_that_serving_does_not_need_are_ignored(meta_graph_pb2):
    message = meta_graph(meta_graph_pb2, x=(1, [-1]))
    message.meta_info_def.tensorflow_version = "2.21.0"
    message.graph_def.node.add(name="n", op="Const").attr["value"].tensor.float_val.extend([1.5] * 1000)
    message.graph_def.versions.producer = 300
    message.collection_def["c"].float_list.value.extend([1.0])
    message.signature_def["serving_default"].defaults["x"].double_val.append(2.0)

    assert list(decode_signatures(message.SerializeToString())["serving_default"].inputs) == ["x"]


def test_the_init_op_is_not_a_signature(meta_graph_pb2):
    message = meta_graph(meta_graph_pb2, x=(1, [-1]))
    message.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "NoOp"

    first = meta_graph_pb2.MetaGraphDef()
    first.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "NoOp"
    content = first.SerializeToString() + message.SerializeToString()

    assert list(decode_signatures(content)) == ["serving_default"]


@pytest.mark.parametrize("kind", ["sparse", "resource"])
def test_only_the_signature_that_cannot_be_served_is_left_out(meta_graph_pb2, kind, caplog):
    message = meta_graph(meta_graph_pb2, x=(1, [-1]))
    if kind == "sparse":
        message.signature_def["other"].inputs["s"].coo_sparse.values_tensor_name = "v:0"
    else:
        message.signature_def["other"].inputs["s"].dtype = 20  # DT_RESOURCE

    assert list(decode_signatures(message.SerializeToString())) == ["serving_default"]
    assert "Signature 'other' is left out because it can't be served: " in caplog.text
    assert ("'s' is a sparse" in caplog.text) == (kind == "sparse")


@pytest.mark.parametrize("size", [1, 5, 20, 40])
def test_truncated_bytes_are_an_error(meta_graph_pb2, size):
    data = meta_graph(meta_graph_pb2, x=(1, [-1])).SerializeToString()

    with pytest.raises(ValueError, match="truncated"):
        decode_signatures(data[:size])


def test_variables_are_needed_where_there_is_a_saver(meta_graph_pb2):
    message = meta_graph(meta_graph_pb2, x=(1, [-1]))
    assert not needs_variables(message.SerializeToString())

    message.saver_def.restore_op_name = "restore"
    assert needs_variables(message.SerializeToString())


def test_signatures_are_of_the_meta_graph_that_tensorflow_loads_by_a_tag(tf, meta_graph_pb2):
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    for tags, name in ((["train"], "a"), (["serve", "tpu"], "b"), (["serve"], "c")):
        message = meta_graph(meta_graph_pb2, **{name: (1, [-1])})
        message.meta_info_def.tags.extend(tags)
        saved_model.meta_graphs.append(message)
    content = saved_model.SerializeToString()

    assert list(read_signatures(content, "serve")["serving_default"].inputs) == ["c"]
    with pytest.raises(ValueError, match=r"tag 'tpu' alone; it has .*\[serve, tpu\] and \[serve\]"):
        read_signatures(content, "tpu")
    with pytest.raises(ValueError, match=r"tag 'serve' alone; it has no MetaGraph$"):
        read_signatures(b"", "serve")


def test_a_file_is_read_again_only_after_it_has_changed(tf, meta_graph_pb2, tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    def saved_model_of(name):
        message = meta_graph(meta_graph_pb2, **{name: (1, [-1])})
        message.meta_info_def.tags.append("serve")
        return saved_model_pb2.SavedModel(meta_graphs=[message]).SerializeToString()

    path = tmp_path / "saved_model.pb"
    path.write_bytes(saved_model_of("a"))
    first = signatures_of_file(path)

    assert signatures_of_file(path) is first
    path.write_bytes(saved_model_of("bb"))
    assert list(signatures_of_file(path)["serving_default"].inputs) == ["bb"]
    for broken in (b"", b"\xff"):
        path.write_bytes(broken)
        for _ in range(2):
            with pytest.raises(ValueError, match=r"MetaGraph|truncated"):
                signatures_of_file(path)


def test_a_file_of_very_many_meta_graphs_is_refused_in_a_short_line():
    with pytest.raises(ValueError, match="more than 100 MetaGraphs"):
        read_signatures(b"\x12\x00" * 300_000, "serve")


@pytest.mark.parametrize(
    ("shape", "expected", "fits", "text"),
    [
        ((), (), True, "[]"),
        ((3,), None, True, "any shape"),
        ((3, 2), (None, 2), True, "[?, 2]"),
        ((0, 2), (None, 2), True, "[?, 2]"),
        ((3, 1), (None, 2), False, "[?, 2]"),
        ((2, 3), (2, None), True, "[2, ?]"),
        ((1, 3), (2, None), False, "[2, ?]"),
        ((2,), (None, 2), False, "[?, 2]"),
        ((3, 2, 1), (None, 2), False, "[?, 2]"),
    ],
)
def test_a_shape_fits_where_rank_and_sizes_do(shape, expected, fits, text):
    assert shape_fits(shape, expected) is fits
    assert shape_text(expected) == text


def test_a_tensor_has_the_type_of_the_graph_whatever_is_stated():
    stated = spec("float32")

    assert stated.typed(1) is stated
    assert stated.typed(101) is stated  # a reference to a float32
    found = stated.typed(103)
    assert (found.dtype_number, found.dtype, found.dtype_name) == (3, np.dtype(np.int32), "int32")
    assert (found.tensor, found.shape) == (stated.tensor, stated.shape)
    assert dtypes.base(100) == 100


def test_any_shape_leaves_the_stated_one_to_be_shown():
    signature = Signature({"x": spec()}, {"y": spec()}, "method")

    found = signature.with_any_shape()

    assert (found.inputs["x"].shape, found.inputs["x"].accepted_shape) == ((None, 2), None)
    assert (found.outputs, found.method_name) == (signature.outputs, "method")
    assert signature.inputs["x"].accepted_shape == (None, 2)
