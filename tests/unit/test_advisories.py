"""Published advisories on Keras of 2024 to 2026, each as a file in every format that can carry it.

Each is refused in one line, and a canary shows that nothing ran and nothing was read. What an advisory is about stands
beside its number, from GitHub's advisory database; those on ``get_file`` and its archives need a configuration that
calls it, which is how a model file carries them.
"""

import base64
import io
import marshal
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import h5py
import numpy as np
import pytest

from export.__main__ import main
from export.load import load_model
from export.safety import Trust
from serving.engines.graph import UnsafeGraphError
from serving.engines.session import load_session
from serving.models.export_record import find_sources
from tests.unit.conftest import SaveModel
from tests.unit.dense_files import FORMATS, Node, layer

pytestmark = pytest.mark.slow


class Canary:
    """A file that a payload would make, and files whose content it would read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = folder / "made"
        self.secret, self.secret_h5 = folder / "secret.txt", folder / "secret.h5"
        self.secret.write_text("the secret\n" * 10)
        with h5py.File(self.secret_h5, "w") as file:
            file["x"] = np.full((2, 1), 7, np.float32)
        for secret in (self.secret, self.secret_h5):
            os.utime(secret, (0, secret.stat().st_mtime))  # reading a file changes an access time that is so old

    def expect_silence(self) -> None:
        assert not self.made.exists()
        assert [secret.stat().st_atime for secret in (self.secret, self.secret_h5)] == [0, 0]


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    folder = tmp_path / "canary"
    folder.mkdir()
    return Canary(folder)


# --- layers that run or read ---


def function(module: str, name: str) -> Node:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def code_of(canary: Canary) -> str:
    source = f"lambda x: (open({str(canary.made)!r}, 'w').close(), x)[1]"
    return base64.b64encode(marshal.dumps(eval(source).__code__)).decode()


def lambdas(canary: Canary) -> list[Node]:
    code = code_of(canary)
    of_keras3 = {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}}
    return [
        layer("Lambda", function=of_keras3),
        layer("Lambda", function=[code, None, None], function_type="lambda"),
        layer("Lambda", function="x", output_shape=of_keras3),
    ]


def calls_of_a_module(canary: Canary) -> list[Node]:
    command = f"touch {canary.made}"
    return [
        layer("Lambda", function=function("os", "system"), arguments={"command": command}),
        layer("Dense", units=1, activation=function("os", "system")),
        layer("run", "subprocess", args=command, shell=True),
        {**layer("Dense", units=1), "inbound_nodes": [{"args": [function("os", "system")], "kwargs": {}}]},
    ]


def get_file(canary: Canary) -> list[Node]:
    """Fetch an archive that leads out of where it is unpacked, by ``..`` and by a link."""
    archive = canary.folder / "archive.tar"
    with tarfile.open(archive, "w") as file:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(canary.folder)
        file.addfile(link)
        for name in ("../../made", "link/made"):
            file.addfile(tarfile.TarInfo(name), io.BytesIO())
    arguments = {"fname": "a.tar", "origin": archive.as_uri(), "extract": True, "cache_dir": str(canary.folder / "c")}
    return [
        layer("get_file", "keras.utils", **arguments),
        layer("Lambda", function=function("keras.utils", "get_file"), arguments=arguments),
        layer("Dense", units=1, activation=function("keras.src.utils.file_utils", "get_file")),
    ]


def unsafe_mode(canary: Canary) -> list[Node]:
    switch = function("keras.config", "enable_unsafe_deserialization")
    return [switch, layer("Dense", units=1, activation=switch), layer("Lambda", function=switch)]


def pickles(canary: Canary) -> list[Node]:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(canary.made), "w"))

    data = base64.b64encode(pickle.dumps(Payload())).decode()
    value = {"class_name": "__bytes__", "config": data}
    return [layer("TorchModuleWrapper", module=value), layer("TorchModuleWrapper", module=data, output_shape=[1])]


def vocabularies(canary: Canary) -> list[Node]:
    path = str(canary.secret)
    return [
        layer("StringLookup", vocabulary=path),
        layer("IntegerLookup", vocabulary=path),
        layer("TextVectorization", vocabulary=path),
        layer("StringLookup", vocabulary=["a"], idf_weights=path, output_mode="tf_idf"),
        layer("StringLookup", vocabulary={"class_name": "__numpy__", "config": {"value": path, "dtype": "string"}}),
    ]


LAYERS: dict[str, Callable[[Canary], list[Node]]] = {
    "CVE-2024-3660": lambdas,  # code in a Lambda
    "CVE-2024-55459": get_file,  # ..: tar without a filter
    "CVE-2025-1550": calls_of_a_module,  # any module and function by name
    "CVE-2025-8747": get_file,  # a function of Keras by name
    "CVE-2025-9905": lambdas,  # safe mode is ignored in .h5
    "CVE-2025-9906": unsafe_mode,  # the file switches safe mode off
    "CVE-2025-12058": vocabularies,  # a vocabulary's path is read
    "CVE-2025-12060": get_file,  # a tar's links
    "CVE-2025-12638": get_file,  # the same, by paths that are too long to resolve
    "CVE-2025-49655": pickles,  # a TorchModuleWrapper's pickle
    "CVE-2026-1462": lambda canary: [layer("TFSMLayer", filepath=str(canary.folder), call_endpoint="serve")],
    "CVE-2026-12479": lambda canary: [  # a layer's name is a path
        {**layer("Dense", units=1), "config": {"name": name, "units": 1}} for name in ("../../made", str(canary.made))
    ],
    "CVE-2026-12481": lambda canary: [  # a Lambda where no safe mode is in force: inside of another layer
        layer("TimeDistributed", layer=node) for node in lambdas(canary)
    ],
    "CVE-2026-12482": get_file,  # a tar's symbolic links
    "CVE-2026-12484": pickles,  # as CVE-2025-49655, where no safe mode is in force
    "GHSA-hqp4-2352-xf5r": get_file,  # CVE-2026-11816: archives are unpacked outside of their folder
}


# --- data from elsewhere, or without end ---


def external_data(group: h5py.Group, name: str, canary: Canary) -> None:
    group.create_dataset(name, (2, 1), "f4", external=[(str(canary.secret), 0, 8)])


def external_link(group: h5py.Group, name: str, canary: Canary) -> None:
    group[name] = h5py.ExternalLink(str(canary.secret_h5), "/x")


def soft_link(group: h5py.Group, name: str, canary: Canary) -> None:
    group[name] = h5py.SoftLink("/elsewhere")


def virtual_data(group: h5py.Group, name: str, canary: Canary) -> None:
    layout = h5py.VirtualLayout((2, 1), "f4")
    layout[:] = h5py.VirtualSource(str(canary.secret_h5), "x", (2, 1))
    group.create_virtual_dataset(name, layout)


def bomb(group: h5py.Group, name: str, canary: Canary) -> None:
    group.create_dataset(name, (10**6, 10**6, 10**6), "f4", chunks=True)


Tamper = Callable[[h5py.Group, str, Canary], None]

WEIGHTS: dict[str, list[Tamper]] = {
    "CVE-2026-0897": [bomb],  # a dataset of 4 exabytes
    "CVE-2026-1669": [external_data],  # data in another file
    "CVE-2026-9335": [external_link, soft_link],
    "CVE-2026-12480": [virtual_data],
    "CVE-2026-12570": [bomb],  # as CVE-2026-0897, in load_model
}

ARCHIVES = {  # names and modes of further entries
    "GHSA-hqp4-2352-xf5r": [("../made", 0), ("assets/../../made", 0), ("/made", 0), ("..\\made", 0), ("C:made", 0)],
    "CVE-2026-12482": [("assets/link", 0o120777 << 16)],
}


# --- the tests ---


def expect_refusal(folder: Path, canary: Canary, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name for path in folder.iterdir()}

    assert main([str(folder)]) == 1

    error = capsys.readouterr().err
    assert error.startswith(f"Export failed: {folder}")
    assert "Error" not in error  # not by chance
    assert error.count("\n") == 1
    assert {path.name for path in folder.iterdir()} == before
    canary.expect_silence()


@pytest.mark.parametrize("name", FORMATS)
def test_the_model_itself_is_read(tmp_path: Path, name: str) -> None:
    FORMATS[name].write(tmp_path)

    model, _ = load_model(find_sources(tmp_path), Trust())

    np.testing.assert_array_equal(model.predict_on_batch(np.array([[1, 2]], np.float32)), [[4]])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("advisory", LAYERS)
def test_layers(tmp_path: Path, advisory: str, name: str, canary: Canary, capsys: Any) -> None:
    for index, node in enumerate(LAYERS[advisory](canary)):
        folder = tmp_path / str(index)
        FORMATS[name].write(folder, [node])
        expect_refusal(folder, canary, capsys)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("advisory", WEIGHTS)
def test_weights(tmp_path: Path, advisory: str, name: str, canary: Canary, capsys: Any) -> None:
    for tamper in WEIGHTS[advisory]:
        folder = tmp_path / tamper.__name__
        FORMATS[name].write(folder, [], lambda group: tamper(group, FORMATS[name].name_of_kernel, canary))  # noqa: B023
        expect_refusal(folder, canary, capsys)


@pytest.mark.parametrize("name", [name for name in FORMATS if name.startswith(".keras")])
@pytest.mark.parametrize("advisory", ARCHIVES)
def test_archives(tmp_path: Path, advisory: str, name: str, canary: Canary, capsys: Any) -> None:
    for index, (entry, mode) in enumerate(ARCHIVES[advisory]):
        folder = canary.folder / str(index)
        FORMATS[name].write(folder)
        with zipfile.ZipFile(folder / "model.keras", "a") as archive:
            information = zipfile.ZipInfo(entry)
            information.external_attr = mode
            archive.writestr(information, str(canary.folder))
        expect_refusal(folder, canary, capsys)


SAVED_MODELS: dict[str, Callable[[Any, Canary], Any]] = {
    # What a TFSMLayer would load, and what StringLookup's vocabulary becomes.
    "CVE-2026-1462": lambda tf, canary: tf.io.write_file(str(canary.made), "x"),
    "CVE-2025-1550": lambda tf, canary: tf.py_function(lambda: canary.made.touch(), [], []),
    "CVE-2025-12058": lambda tf, canary: tf.io.read_file(str(canary.secret)),
}


@pytest.mark.parametrize("advisory", SAVED_MODELS)
def test_saved_models(saved_model: SaveModel, tf: Any, canary: Canary, advisory: str) -> None:
    def hostile(x: Any) -> dict[str, Any]:
        with tf.control_dependencies([SAVED_MODELS[advisory](tf, canary)]):
            return {"y": tf.identity(x)}

    folder = saved_model(hostile, x=((None, 1), "float32"))

    with pytest.raises(UnsafeGraphError):
        load_session(folder, "auto")

    canary.expect_silence()


# --- that the canaries would sing ---


def test_the_code_in_a_lambda_would_run(canary: Canary) -> None:
    code = marshal.loads(base64.b64decode(code_of(canary)))

    FunctionType(code, {"open": open})(1)

    with pytest.raises(AssertionError):
        canary.expect_silence()


@pytest.mark.parametrize("tamper", [external_data, external_link, virtual_data])
def test_data_from_elsewhere_would_be_read(tmp_path: Path, canary: Canary, tamper: Tamper) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        tamper(file, "x", canary)
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["x"][:].any()

    with pytest.raises(AssertionError):
        canary.expect_silence()
