"""What export checks in a file, part by part; ``test_advisories.py`` has whole files, as they were published."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from export import archive, hdf5, operators, safety
from export.__main__ import _custom_objects, main
from export.safety import Trust, Vocabulary
from serving.models.export_record import SourceError

Capture = pytest.CaptureFixture[str]


def refuse(folder: Path, capsys: Capture) -> str:
    """Export, expecting one line and exit code 1; return the line."""
    assert main([str(folder)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Export failed: ")
    assert error.count("\n") == 1
    return error


# --- HDF5 ---


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3,))
    file.create_virtual_dataset("v", layout)


def deep(group: h5py.Group) -> None:
    for _ in range(100):
        group = group.create_group("g")


HOSTILE_HDF5: dict[str, tuple[Callable[[Any], object], str]] = {
    "a soft link": (lambda file: file.__setitem__("a", h5py.SoftLink("/b")), "/a is a soft or external link"),
    "a link to another file": (
        lambda file: file.__setitem__("a", h5py.ExternalLink("/x", "/")), "/a is a soft or external link",
    ),
    "data in another file": (
        lambda file: file.create_dataset("a", (9,), "u1", external=[("/etc/passwd", 0, 9)]), "data in another file",
    ),
    "a virtual dataset": (virtual, "virtual dataset"),
    "far more data than it stores": (
        lambda file: file.create_dataset("a", (10**6, 10**6), "f4", chunks=True),
        "up to /a declare 4,000,000,000,000 bytes, but store only 0",
    ),
    "groups without end": (deep, "nested more than 64 deep"),
    "a link in a layer's group": (
        lambda file: file.create_group("l").__setitem__("k", h5py.ExternalLink("/proc/self/x", "/")),
        "/l/k is a soft or external link",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_HDF5)
def test_an_hdf5_file_that_refers_elsewhere_or_explodes_is_refused(tmp_path: Path, name: str) -> None:
    write, says = HOSTILE_HDF5[name]
    with h5py.File(tmp_path / "w.h5", "w") as file:
        write(file)

    with pytest.raises(SourceError, match=says):
        hdf5.check(tmp_path / "w.h5")


def test_groups_that_hold_each_other_and_compressed_zeros_are_no_harm(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_group("a")["self"] = file["/"]
        file.create_dataset("zeros", data=np.zeros((1000, 1000)), compression="gzip")

    hdf5.check(tmp_path / "w.h5")


# --- archives ---


def write_archive(path: Path, **entries: str | bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in {"metadata": '{"keras_version": "3.0"}', "config": "{}", **entries}.items():
            file.writestr(name if "." in name else f"{name}.json", content)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"config": " " * (64 * 2**20 + 1)}, "config.json is larger than"),
        ({"metadata": " " * 70_000}, "metadata.json is larger than"),
        ({"big.bin": b"\0" * (300 * 2**20)}, "would unpack from .* the limit is"),
        ({"config": "[1]"}, "must be JSON objects"),
    ],
    ids=["config", "metadata", "bomb", "no object"],
)
def test_an_archive_that_explodes_or_escapes_is_refused(tmp_path: Path, entries: dict[str, Any], says: str) -> None:
    write_archive(tmp_path / "model.keras", **entries)

    with pytest.raises(SourceError, match=says):
        archive.read(tmp_path / "model.keras")


def test_a_config_nested_without_end_is_one_line(tmp_path: Path, capsys: Capture) -> None:
    write_archive(
        tmp_path / "model.keras", config='{"class_name": "Sequential", "config": ' + "[" * 10**5 + "]" * 10**5 + "}"
    )

    refuse(tmp_path, capsys)


# --- objects ---


@pytest.fixture(scope="module")
def vocabularies() -> dict[str, Vocabulary]:
    import keras
    import tf_keras

    return {"keras": Vocabulary.of(keras), "tf_keras": Vocabulary.of(tf_keras)}


def layer(class_name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": {"name": "hostile"} | config}


HOSTILE_OBJECTS = {
    "a lambda": layer("Lambda", function=["code"]),
    "a method of any class": {"class_name": "ClassMethod", "config": {"cls_symbol": "io", "method_name": "read_file"}},
    "an instance's method": {"class_name": "InstanceMethod", "config": {"name": 7, "method_name": "eval"}},
    "a property": layer("InstanceProperty", attr_name="__class__"),
    "another SavedModel": layer("TFSMLayer", filepath="/tmp/x"),
    "a pickled module": layer("TorchModuleWrapper", module="x"),
    "a module beside the model": {**layer("Payload"), "module": "model.x.1.payload", "registered_name": "Payload"},
    "Keras's name for a foreign module": {**layer("Dense"), "module": "os", "registered_name": None},
    "a registered name of somebody": {**layer("Dense"), "module": "keras.layers", "registered_name": "evil>Dense"},
    "a function of Python": {"class_name": "function", "config": "eval", "module": "builtins"},
    "a function of a module": {"class_name": "function", "config": "system", "module": "os"},
    "a Python lambda": {"class_name": "__lambda__", "config": {"value": "code"}},
    "a type of TensorFlow": {"class_name": "__typespec__", "spec_name": "x", "module": "os", "config": []},
    "a tool of Keras": {"class_name": "get_file", "config": {}, "module": "keras.utils"},
    "an activation that is none": layer("Dense", activation="eval"),
    "an operation that writes": layer("TFOpLambda", function="io.write_file"),
    "an operation of another module": {**layer("TFOpLambda", function="io.read_file"), "module": "model.x.1.payload"},
    "a graph's operation that reads": layer("TensorFlowOpLayer", node_def={"op": "ReadFile"}),
    "a graph's operation as text": layer("TensorFlowOpLayer", node_def=json.dumps({"op": "Add"})),
    "a vocabulary that is a file in disguise": layer(
        "StringLookup", vocabulary={"class_name": "__tensor__", "config": {"value": "/etc/passwd", "dtype": "string"}}
    ),
    "a name that is a path": layer("Dense", name="../../x"),
    "a function of Keras's backend": layer("TFOpLambda", function="keras.backend.set_session"),
    "a vocabulary in a file": layer("StringLookup", vocabulary="/etc/passwd"),
    "weights of a vocabulary in a file": layer("TextVectorization", idf_weights="/etc/passwd"),
    "a class that is no text": {"class_name": ["Dense"], "config": {}},
}


@pytest.mark.parametrize("keras", ["keras", "tf_keras"])
@pytest.mark.parametrize("name", HOSTILE_OBJECTS)
def test_an_object_that_may_do_more_than_compute_is_refused_wherever_it_hides(
    vocabularies: dict[str, Vocabulary], keras: str, name: str
) -> None:
    node = HOSTILE_OBJECTS[name]
    for hidden in (
        {"layers": [node]},
        {"layers": [layer("TimeDistributed", layer=node)]},
        {"layers": [{**layer("Dense"), "inbound_nodes": [[["x", 0, 0, {"y": node}]]]}]},
        {"layers": [{**layer("Dense"), "build_config": {"input_shape": [node]}}]},
    ):
        with pytest.raises(SourceError) as caught:
            safety.checked({"class_name": "Functional", "config": hidden}, Trust(), vocabularies[keras])
        assert "\n" not in str(caught.value)


def test_what_only_training_needs_never_reaches_keras(vocabularies: dict[str, Vocabulary]) -> None:
    node = HOSTILE_OBJECTS["a module beside the model"]
    dense = layer("Dense", kernel_initializer=node, bias_regularizer=node, kernel_constraint=node, activation="relu")
    model = {"class_name": "Sequential", "config": {"layers": [dense]}, "compile_config": {"loss": node}}

    checked = safety.checked(model, Trust(), vocabularies["keras"])

    assert "payload" not in json.dumps(checked)
    assert checked["config"]["layers"][0]["config"]["activation"] == "relu"


@pytest.mark.parametrize(
    "function", ["io.read_file", "py_function", "raw_ops.ReadFile", "saved_model.load", "", "system"]
)
def test_functions_of_tensorflow_that_do_more_than_compute_are_refused(function: str) -> None:
    with pytest.raises(SourceError, match="is not allowed"):
        operators.check("TFOpLambda", {"function": function}, "layer")


@pytest.mark.parametrize(
    "function",
    [
        *("compat.v1.floor_div", "compat.v1.batch_to_space_nd", "compat.v1.to_float", "dtypes.complex", "scatter_nd"),
        *("rfftnd", "quantization.fake_quant_with_min_max_vars", "keras.backend.ctc_decode"),
    ],
)
def test_functions_of_tensorflow_that_compute_are_allowed_by_the_names_that_tf_keras_writes(function: str) -> None:
    operators.check("TFOpLambda", {"function": function}, "layer")


# --- custom objects ---


def test_custom_objects_are_what_a_module_defines_not_what_it_imports_of_python(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from os import system\nfrom subprocess import run\nfrom pathlib import Path\ndef swish2(x): return x\n"
        "class Mine: pass\n_private = Mine\n"
    )

    assert set(_custom_objects(str(tmp_path / "mine.py"))) == {"swish2", "Mine"}


def test_a_custom_object_does_not_make_another_of_its_name_known(vocabularies: dict[str, Vocabulary]) -> None:
    trust = Trust(custom_objects={"Mine": object})
    for node in (
        {**layer("Dense"), "module": "keras.layers", "registered_name": "Mine>Other"},
        {**layer("Mine"), "module": "os", "registered_name": "evil>system"},
        {"class_name": "function", "config": "system", "module": "os", "registered_name": "Mine"},
    ):
        with pytest.raises(SourceError, match="uses the custom object"):
            safety.checked({"class_name": "Sequential", "config": {"layers": [node]}}, trust, vocabularies["keras"])
    [known] = safety.checked(
        {"class_name": "Sequential", "config": {"layers": [{**layer("Mine"), "module": "os"}]}}, trust,
        vocabularies["keras"],
    )["config"]["layers"]  # fmt: skip
    assert known["module"] is None
