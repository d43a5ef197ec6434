"""A SavedModel made elsewhere gets a frozen copy in another folder, proven equal to it, or a reason why not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import foreign, snapshot
from export.__main__ import main
from serving.engines.session import load_session
from serving.models.export_record import ExportRecord, SourceError, is_fresh
from tests.unit.conftest import SaveModel

ROWS = {"b": np.array([[1, -2, 3], [0, 5, 9]], np.float32), "a": np.array([[1, 2], [-3, 0]], np.float32)}


@pytest.fixture
def original(tf: Any, saved_model: SaveModel) -> Path:
    """A SavedModel of two inputs and two outputs, neither in the order of their names."""
    weights = tf.Variable([[1.0, 2.0], [3.0, -4.0], [5.0, 6.0]])

    def answer(b: Any, a: Any) -> Any:
        return {"z": tf.matmul(b, weights) - a, "y": tf.reduce_sum(b, 1)}

    return saved_model(answer, [weights], b=([None, 3], "float32"), a=([None, 2], "float32"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("engine", ["auto", "tensorflow"])
def test_a_frozen_copy_gives_the_same_answers(original: Path, tmp_path: Path, engine: str) -> None:
    before, copy = files_of(original), tmp_path / "copy"

    assert main([str(original), "--output", str(copy), "--engine", engine]) == 0

    record = ExportRecord.read(copy)
    assert record.is_optimized
    assert is_fresh(copy)
    assert not (copy / "variables").exists()
    answers = [
        load_session(folder, "auto", options).run("serving_default", ROWS)
        for folder, options in ((copy, record.load_options()), (original, ExportRecord({}, "", "").load_options()))
    ]
    for name in ("y", "z"):
        assert np.allclose(answers[0][name], answers[1][name], 1e-6)
    assert files_of(original) == before


@pytest.mark.parametrize("output", [None, "."], ids=["nowhere", "into itself"])
def test_the_original_is_not_replaced(original: Path, capsys: pytest.CaptureFixture[str], output: str | None) -> None:
    before, version = files_of(original), original.rename(original.parent / "7")

    assert main([str(version), *(["--output", str(version / output)] if output else [])]) == 1

    assert f"name another folder: --output {version.parent / '8'}" in capsys.readouterr().err
    assert files_of(version) == before


@pytest.mark.parametrize("output", ["1/copy", "1/variables", "."])
def test_a_copy_is_not_written_within_its_original_nor_around_it(
    original: Path, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    """Around it, ``variables`` would be replaced, which may be the original's own name."""
    before, outer = files_of(original), original.parent / "outer"
    (outer / "1").parent.mkdir()
    original.rename(outer / "1")

    assert main([str(outer / "1"), "--output", str(outer / output)]) == 1

    assert "lie in each other; name a folder outside" in capsys.readouterr().err
    assert files_of(outer / "1") == before
    assert [path.name for path in outer.iterdir()] == ["1"]


@pytest.mark.parametrize("name", ["model.keras", "saved_model.pb"])
def test_a_copy_does_not_replace_another_model(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / name).write_bytes(b"another")

    assert main([str(original), "--output", str(other)]) == 1

    assert f"{other} has a model of its own" in capsys.readouterr().err
    assert files_of(other) == {name: b"another"}


def test_a_copy_has_one_signature(tf: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = tf.Module()
    module.double = tf.function(lambda x: {"y": 2 * x}, [tf.TensorSpec([None], tf.float32, "x")])
    names = ("serving_default", "train", "embed")
    tf.saved_model.save(module, str(tmp_path / "1"), dict.fromkeys(names, module.double))

    assert main([str(tmp_path / "1"), "--output", str(tmp_path / "2")]) == 0

    assert "WARNING: the copy has the signature serving_default only, not embed, train\n" in capsys.readouterr().out
    assert set(load_session(tmp_path / "2", "tensorflow").signatures) == {"serving_default"}


def reads_a_file(tf: Any, module: Any) -> tuple[Callable[..., Any], list[Any]]:
    return (lambda x: {"y": tf.io.read_file(x)}), [tf.TensorSpec([], tf.string, "x")]


def has_a_table(tf: Any, module: Any) -> tuple[Callable[..., Any], list[Any]]:
    words = tf.lookup.KeyValueTensorInitializer(["a", "b"], [1.0, 2.0])
    module.table = tf.lookup.StaticHashTable(words, 0.0)
    return (lambda x: {"y": module.table.lookup(x)}), [tf.TensorSpec([None], tf.string, "x")]


def counts(tf: Any, module: Any) -> tuple[Callable[..., Any], list[Any]]:
    module.count = tf.Variable(0.0)
    return (lambda x: {"y": x + module.count.assign_add(1.0)}), [tf.TensorSpec([None], tf.float32, "x")]


def takes_any_rank(tf: Any, module: Any) -> tuple[Callable[..., Any], list[Any]]:
    return (lambda x: {"y": 2 * x}), [tf.TensorSpec(None, tf.float32, "x")]


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (reads_a_file, "the app would refuse the SavedModel: .*ReadFile"),
        (
            has_a_table,
            r"state or tables \(LookupTableFindV2\), which a frozen copy can't have. The app serves it as it is",
        ),
        (counts, r"state or tables \(AssignAddVariableOp\)"),
        (takes_any_rank, "input 'x' has any number of dimensions"),
    ],
)
def test_what_can_not_be_frozen(tf: Any, tmp_path: Path, build: Callable[..., Any], says: str) -> None:
    module = tf.Module()
    function, signature = build(tf, module)
    module.function = tf.function(function, signature)
    tf.saved_model.save(module, str(tmp_path), {"serving_default": module.function})

    with pytest.raises(SourceError, match=says):
        foreign.ForeignModel(tf, tmp_path)


def test_tensorflow_1s_variables_can_not_be_frozen(tf: Any, tmp_path: Path) -> None:
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        x = v1.placeholder(tf.float32, [None], "x")
        y = x * v1.get_variable("half", initializer=0.5, use_resource=False)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "1"), {"x": x}, {"y": y})

    with pytest.raises(SourceError, match=r"state or tables \(VariableV2\)"):
        foreign.ForeignModel(tf, tmp_path / "1")


def test_a_model_without_the_default_signature(tf: Any, tmp_path: Path) -> None:
    module = tf.Module()
    module.double = tf.function(lambda x: {"y": 2 * x}, [tf.TensorSpec([None], tf.float32, "x")])
    tf.saved_model.save(module, str(tmp_path), {"embed": module.double})

    with pytest.raises(SourceError, match="no signature 'serving_default'; its signatures are: embed"):
        foreign.ForeignModel(tf, tmp_path)


def test_variables_that_lie_elsewhere_are_not_read(original: Path, tmp_path: Path) -> None:
    (original / "variables").rename(tmp_path / "elsewhere")
    (original / "variables").symlink_to(tmp_path / "elsewhere")

    with (
        pytest.raises(SourceError, match="is a link to a file outside of its folder"),
        snapshot.of(foreign.sources(original)),
    ):
        pass
