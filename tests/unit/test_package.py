"""Building a package: pruning, the zip, the bill of materials, and that a failed build leaves nothing behind."""

import csv
import json
import os
import runpy
import shutil
import zipfile
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from tests.unit import package_files
from tools.package import __main__ as package
from tools.package import archive, lock, proof, receipt, sbom, site_packages, sizes, wheelhouse
from tools.package.errors import NoInterpreterError, PackageError
from tools.package.lock import Pin
from tools.package.site_packages import FOLDER
from tools.package.targets import Target

TARGET, ARM = Target.parse("3.13"), Target.parse("3.13-aarch64")


@pytest.fixture(autouse=True)
def wheels(tmp_path, monkeypatch):
    """The only folder that uv and pip find wheels in."""
    folder = tmp_path / "wheels"
    for tool in ("UV", "PIP"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return folder


def fill(folder, *paths):
    return site_packages.fill(folder, [package_files.pin(path) for path in paths], TARGET)


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def tensorflow(wheels):
    """A wheel in the form of TensorFlow's, whose libraries are small ones with symbols."""
    [library] = Path(orjson.__file__).parent.glob("orjson*.so")
    return package_files.wheel(
        wheels,
        "tensorflow_cpu",
        files={
            "tensorflow/__init__.py": b"import tensorflow.python",
            "tensorflow/libtensorflow_cc.so.2": library.read_bytes(),
            "tensorflow/libtensorflow_framework.so.2": library.read_bytes(),
            "tensorflow/python/big.py": b"#" * 10_000,
            "tensorflow/include/LICENSE": b"Apache License",
            "tensorflow/include/core.h": b"",
            "tensorflow/THIRD_PARTY_NOTICES.txt": b"notices",
        },
    )


@pytest.fixture
def numpy_like(wheels):
    """A wheel with what developers need of it: a command, tests, headers, stubs."""
    return package_files.wheel(
        wheels,
        "numpylike",
        files={
            "numpylike/core.py": b"x = 1\n",
            "numpylike/testing/__init__.py": b"",
            "numpylike/tests/test_core.py": b"",
            "numpylike/deep/tests/data/x.csv": b"",
            "numpylike/include/core.h": b"",
            "numpylike/core.pyi": b"",
            "numpylike/libmath.a": b"",
            "numpylike-1.0.dist-info/licenses/numpylike/include/LICENSE": b"of a header",
            "numpylike-1.0.dist-info/entry_points.txt": b"[console_scripts]\nnl = numpylike.core:x\n",
        },
    )


def test_tests_headers_and_stubs_are_left_out_and_the_record_is_true(tmp_path, numpy_like):
    folder = tmp_path / "site-packages"

    [part], _ = fill(folder, numpy_like)

    code = {name for name in files_in(folder) if "dist-info" not in name}
    assert code == {"numpylike/__init__.py", "numpylike/core.py", "numpylike/testing/__init__.py"}
    assert "numpylike-1.0.dist-info/licenses/numpylike/include/LICENSE" in part.files
    assert set(part.files) == files_in(folder)
    assert not any(path.is_dir() and not any(path.iterdir()) for path in folder.rglob("*"))
    rows = list(csv.reader((folder / "numpylike-1.0.dist-info/RECORD").read_text().splitlines()))
    assert {row[0] for row in rows} == files_in(folder)
    recorded = {name: (digest, size) for name, digest, size in rows}
    assert recorded["numpylike-1.0.dist-info/RECORD"] == ("", "")
    assert recorded["numpylike/__init__.py"] == ("sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", "0")


def test_of_tensorflow_only_the_stripped_libraries_and_the_licences_are_left(tmp_path, tensorflow):
    folder = tmp_path / "site-packages"

    [part], remark = fill(folder, tensorflow)

    assert {name for name in files_in(folder) if "dist-info" not in name} == {
        "tensorflow/THIRD_PARTY_NOTICES.txt",
        "tensorflow/__init__.py",
        "tensorflow/include/LICENSE",
        "tensorflow/libtensorflow_cc.so.2",
        "tensorflow/libtensorflow_framework.so.2",
    }
    assert (folder / "tensorflow/libtensorflow_cc.so.2").read_bytes()[:4] == b"\x7fELF"
    assert (folder / "tensorflow_cpu-1.0.dist-info/METADATA").is_file()
    assert part.unpacked_bytes > 10_000
    assert "not prelinked" in remark  # the small libraries have another layout


def test_the_reduced_tensorflow_says_what_it_is_when_imported(tmp_path, tensorflow):
    fill(tmp_path / "site", tensorflow)

    with pytest.raises(ImportError, match="shared libraries, not its Python modules"):
        runpy.run_path(str(tmp_path / "site/tensorflow/__init__.py"))


def test_a_library_that_cannot_be_stripped_says_what_to_install(tmp_path, tensorflow, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda tool: None)

    with pytest.raises(PackageError, match="Install binutils"):
        fill(tmp_path / "site", tensorflow)


def test_a_wheel_with_another_hash_is_not_installed(tmp_path, numpy_like, capfd):
    pin = package_files.pin(numpy_like)
    with zipfile.ZipFile(numpy_like, "a") as archive_:
        archive_.writestr("numpylike/added.py", "bad = True")

    with pytest.raises(PackageError, match="uv could not install"):
        site_packages.install([pin], tmp_path / "site", TARGET)

    assert "numpylike" in capfd.readouterr().err
    assert not (tmp_path / "site/numpylike").exists()


def test_the_same_files_make_the_same_zip_whatever_their_times_and_order(tmp_path):
    zips = []
    for number, names in enumerate((["b/x", "a"], ["a", "b/x"])):
        folder = tmp_path / str(number)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name * 100)
            os.utime(folder / name, (10**9 + number, 10**9 + number))
        zips.append(tmp_path / f"{number}.zip")
        read: list[int] = []
        sizes = archive.write(folder, zips[-1], read.append)

    assert zips[0].read_bytes() == zips[1].read_bytes()
    assert sum(read) == 400
    with zipfile.ZipFile(zips[0]) as written:
        assert written.namelist() == ["a", "b/x"] == list(sizes)
        assert written.read("b/x") == b"b/x" * 100
        assert written.testzip() is None


def test_the_table_adds_up_and_names_each_part(tmp_path, numpy_like):
    app = tmp_path / "app"
    parts, _ = fill(app / FOLDER, numpy_like)
    for name, text in {
        "model/xor/1/saved_model.pb": "m" * 3_000_000,
        "PredictXor/__init__.py": "p" * 1_000_000,
    }.items():
        (app / name).parent.mkdir(parents=True)
        (app / name).write_text(text)
    zipped = archive.write(app, tmp_path / "app.zip", lambda size: None)

    lines = sizes.table(app, parts, zipped)

    cells = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:] for line in lines[2:]}
    assert set(cells) == {"numpylike 1.0", "model/", "functions and serving/", "together"}
    assert cells["model/"][:2] == ["3.00", "3.00"]
    assert cells["functions and serving/"][:2] == ["1.00", "1.00"]
    assert float(cells["together"][1]) == pytest.approx(4.0, abs=0.02)


def test_the_bill_names_each_part_with_its_wheels_hash_and_licence_and_is_the_same_each_time(tmp_path, numpy_like):
    parts, _ = fill(tmp_path / "site", numpy_like)
    for name in ("one.json", "two.json"):
        sbom.write(parts, TARGET, tmp_path / name)

    bill = json.loads((tmp_path / "one.json").read_text())
    [component] = bill["components"]
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert component["purl"] == "pkg:pypi/numpylike@1.0"
    assert component["hashes"] == [{"alg": "SHA-256", "content": package_files.pin(numpy_like).sha256}]
    assert component["licenses"] == [{"license": {"id": "MIT"}}]
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License-Expression: BSD-3-Clause\n", "BSD-3-Clause"),
        ("License: a\n long text\nClassifier: License :: OSI Approved :: MIT License\n", "MIT License"),
    ],
)
def test_a_licence_may_be_stated_in_several_ways(tmp_path, wheels, metadata, licence):
    parts, _ = fill(tmp_path / "site", package_files.wheel(wheels, "licensed", metadata=metadata))

    sbom.write(parts, TARGET, tmp_path / "bill.json")

    assert f'"{licence}"' in (tmp_path / "bill.json").read_text()


def test_a_part_without_a_licence_is_not_redistributed(tmp_path, wheels):
    parts, _ = fill(tmp_path / "site", package_files.wheel(wheels, "unlicensed", metadata=""))

    with pytest.raises(PackageError, match="unlicensed states no licence"):
        sbom.write(parts, TARGET, tmp_path / "bill.json")


@pytest.fixture
def quick_build(tmp_path, monkeypatch, numpy_like):
    """The folder that a build writes to; its app is small and its only dependency, too."""
    monkeypatch.setattr(lock, "read", lambda path, target: [package_files.pin(numpy_like)])
    project = tmp_path / "project"
    shutil.copytree(package.PROJECT / "model/xor", project / "model/xor")
    for name in (".funcignore", "host.json"):
        shutil.copy(package.PROJECT / name, project)
    for name in ("Predict/__init__.py", "serving/http.py", "tests/test_it.py", "tools/package/x.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    monkeypatch.setattr(package, "PROJECT", project)
    (tmp_path / "dist").mkdir()
    return tmp_path / "dist"


def test_a_package_that_is_not_proven_replaces_nothing_and_leaves_nothing(quick_build, monkeypatch):
    before = quick_build / f"{TARGET}.zip"
    before.write_bytes(b"the last good one")

    def refuse(*_):
        raise PackageError("Predict: 500")

    monkeypatch.setattr(proof, "prove", refuse)

    with pytest.raises(PackageError):
        package.build(TARGET, quick_build)

    assert before.read_bytes() == b"the last good one"
    assert [path.name for path in quick_build.iterdir()] == [before.name]


def test_tensorflow_that_was_asked_for_is_what_is_proven(quick_build, monkeypatch):
    settings = []

    def prove(package, target, *given):
        settings.append(given)
        return proof.Proof("a runtime", 0.5, [])

    monkeypatch.setattr(proof, "prove", prove)
    monkeypatch.setattr(package, "_choose_engines", lambda folder, pins, python, with_tensorflow: (pins, ""))
    for with_tensorflow in (False, True):
        package.build(TARGET, quick_build, with_tensorflow)

    assert settings == [(), ("SERVING_ENGINE=tensorflow",)]


def test_what_reads_a_store_is_in_a_package_only_if_it_was_asked_for(tmp_path, wheels, quick_build, monkeypatch):
    blobs = package_files.wheel(wheels, "azure_storage_blob", files={"azure/storage/blob/__init__.py": b""})
    there = lock.read(lock.PACKAGE, TARGET)
    monkeypatch.setattr(lock, "read", lambda path, target: there + [package_files.pin(blobs)] * (path == lock.STORE))
    monkeypatch.setattr(proof, "prove", lambda *_: proof.Proof("a runtime", 0.5, []))
    for with_store in (False, True):
        package.build(TARGET, quick_build, with_store=with_store)
        found = [path.name for path in (quick_build / str(TARGET)).rglob("azure/storage/blob")]
        assert found == ["blob"] * with_store


def test_the_locks_have_it_apart():
    names = {name: {pin.name for pin in lock.read(name, TARGET)} for name in (lock.PACKAGE, lock.STORE)}

    assert not {name for name in names[lock.PACKAGE] if name.startswith(("azure-", "msal"))} - {"azure-functions"}
    assert {"azure-storage-blob", "azure-identity"} <= names[lock.STORE]


def test_a_build_that_is_interrupted_leaves_nothing(quick_build, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(package, "_zip", interrupt)

    with pytest.raises(KeyboardInterrupt):
        package.build(TARGET, quick_build)

    assert list(quick_build.iterdir()) == []


def test_a_proven_package_is_put_in_place_twice_with_the_same_bytes(quick_build, monkeypatch):
    monkeypatch.setattr(proof, "prove", lambda *_: proof.Proof("a runtime", 0.5, [{}] * 3))
    made = []
    for _ in range(2):
        (quick_build / f"{TARGET}.receipt.json").unlink(missing_ok=True)
        lines = package.build(TARGET, quick_build)
        made.append((quick_build / f"{TARGET}.zip").read_bytes())

    assert made[0] == made[1]
    assert any("Proven: 3 requests" in line for line in lines)
    assert sorted(path.name for path in quick_build.iterdir()) == [
        f"{TARGET}{end}" for end in ("", ".receipt.json", ".sbom.json", ".zip")
    ]
    names = files_in(quick_build / str(TARGET))
    assert {"host.json", "Predict/__init__.py", f"{FOLDER}/numpylike/core.py"} <= names
    assert "model/xor/1/saved_model.pb" in names
    assert not any(name.startswith(("tests/", "tools/")) for name in names)


@pytest.mark.parametrize(
    ("change", "is_built"),
    [
        (lambda project, dist: None, False),
        (lambda project, dist: (project / "tests/test_it.py").write_text("# not published"), False),
        (lambda project, dist: (project / "host.json").write_text("{}"), True),
        (lambda project, dist: (project / "serving/new.py").touch(), True),
        (lambda project, dist: (dist / f"{TARGET}.zip").write_bytes(b"cut"), True),
        (lambda project, dist: (dist / str(TARGET) / "host.json").unlink(), True),
        (lambda project, dist: (dist / f"{TARGET}.receipt.json").write_text("{"), True),
    ],
    ids=["nothing", "a test", "a file", "a new file", "the zip", "an unpacked file", "the receipt"],
)
def test_a_package_is_built_again_when_something_has_changed(quick_build, monkeypatch, change, is_built):
    monkeypatch.setattr(proof, "prove", lambda *_: proof.Proof("a runtime", 0.5, [{}] * 3))
    before = package.build(TARGET, quick_build)
    monkeypatch.setattr(proof, "prove", lambda *_: proof.Proof("a runtime", 0.7, [{}] * 4))
    change(package.PROJECT, quick_build)

    after = package.build(TARGET, quick_build)

    assert before[:-1] != after[:-1] if is_built else before[:-1] == after[:-1]
    assert after[-1].startswith("Written" if is_built else "Unchanged")


def test_options_and_pins_are_among_what_a_package_is_built_from(quick_build, numpy_like, wheels):
    pins = [[package_files.pin(numpy_like)], []]
    inputs = [(TARGET, pins[0], False), (TARGET, pins[0], True), (TARGET, pins[1], False), (ARM, pins[0], False)]

    assert len({receipt.of_inputs(package.PROJECT, *given) for given in inputs}) == 4


def test_a_package_is_proven_again_with_another_runtime(tmp_path, monkeypatch):
    (tmp_path / "runtime.toml").write_text("1.0")
    monkeypatch.setattr(lock, "WORKER_RUNTIME", tmp_path / "runtime.toml")
    project = tmp_path / "project"
    project.mkdir()
    before = receipt.of_inputs(project, TARGET, [])
    (tmp_path / "runtime.toml").write_text("2.0")

    assert receipt.of_inputs(project, TARGET, []) != before


def test_a_package_that_could_not_be_proven_here_is_built_again(quick_build, monkeypatch):
    def no_interpreter(*_):
        raise NoInterpreterError("there is no Python.")

    monkeypatch.setattr(proof, "prove", no_interpreter)
    for _ in range(2):
        assert package.build(TARGET, quick_build)[-1].startswith("Written")


def test_a_model_whose_export_is_old_is_named_with_the_command_that_helps(quick_build):
    (package.PROJECT / "model/xor").rename(package.PROJECT / "model/wine")
    (package.PROJECT / "model/wine/1/model.json").write_text("{}")

    with pytest.raises(PackageError, match="make export MODEL=model/wine/1"):
        package.build(TARGET, quick_build)


def test_a_proof_names_the_requests_that_failed():
    with pytest.raises(PackageError, match="1 of 2 requests failed:\nGET Health: 503 no model"):
        proof._check(
            [{"request": "a", "status": 200, "body": ""}, {"request": "GET Health", "status": 503, "body": "no model"}]
        )


def test_there_is_no_interpreter_for_another_machine():
    with pytest.raises(NoInterpreterError, match="aarch64"):
        proof.bare_interpreter(Target.parse("3.13-aarch64"))


def test_a_wheelhouse_installs_with_no_network_and_checks_its_hashes(quick_build):
    house = wheelhouse.build(TARGET, quick_build)

    assert sorted(path.name for path in house.iterdir()) == ["numpylike-1.0-py3-none-any.whl", "requirements.txt"]
    wheelhouse.check(house, TARGET)
    [wheel] = house.glob("*.whl")
    with zipfile.ZipFile(wheel, "a") as archive_:
        archive_.writestr("numpylike/added.py", "bad = True")
    shutil.rmtree(quick_build.parent / "wheels")
    with pytest.raises(PackageError, match="pip install failed"):
        wheelhouse.check(house, TARGET)


def test_a_wheelhouse_that_lacks_a_requirement_is_not_written(wheels, quick_build, monkeypatch, capfd):
    needy = package_files.wheel(wheels, "needy", metadata="Requires-Dist: absent\n")
    monkeypatch.setattr(lock, "read", lambda path, target: [package_files.pin(needy)])

    with pytest.raises(PackageError, match="pip install failed"):
        wheelhouse.build(TARGET, quick_build)

    assert "absent" in capfd.readouterr().err
    assert list(quick_build.iterdir()) == []


TFLITE = b"a model"


@pytest.fixture
def litert_proof():
    return {"sha256": sha256(TFLITE).hexdigest(), "version": "2.3.0", "parallel": False, "finite_only": False}


def put_export(folder, at, **record):
    version = folder / at
    version.mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"")
    (version / "export.json").write_text(json.dumps({"sources": {}, "keras": "", "tensorflow": "", **record}))


PINS = [Pin("ai-edge-litert", "2.3.0", "1"), Pin("numpy", "2.4.6", "2"), Pin("tensorflow-cpu", "2.21.0", "3")]


def test_tensorflow_is_left_out_where_litert_serves_every_model(tmp_path, litert_proof):
    put_export(tmp_path, "xor/1", litert=litert_proof)
    (tmp_path / "xor/1/model.tflite").write_bytes(TFLITE)

    assert package._choose_engines(tmp_path, PINS, "3.13", False) == (
        PINS[:2],
        "TensorFlow is not in the package: LiteRT serves every model.",
    )


def test_a_model_that_needs_tensorflow_is_named_with_its_reason(tmp_path, litert_proof):
    put_export(tmp_path, "xor/1", litert=litert_proof)
    (tmp_path / "xor/1/model.tflite").write_bytes(TFLITE)
    put_export(tmp_path, "video/2", engine="LiteRT: it has no operation for MaxPool3D: served by TensorFlow")

    pins, line = package._choose_engines(tmp_path, PINS, "3.13", False)

    assert pins == PINS
    assert "TensorFlow is in the package: model/video/2 (LiteRT: it has no operation for MaxPool3D" in line
    assert "xor" not in line


@pytest.mark.parametrize("put", [True, False])
def test_tensorflow_can_be_asked_for_where_litert_serves_every_model(tmp_path, litert_proof, put):
    if put:
        put_export(tmp_path, "xor/1", litert=litert_proof)
        (tmp_path / "xor/1/model.tflite").write_bytes(TFLITE)

    assert package._choose_engines(tmp_path, PINS, "3.13", True) == (
        PINS,
        "TensorFlow is in the package: it was asked for.",
    )


@pytest.mark.parametrize(
    ("with_tensorflow", "proof", "reason"),
    [(False, None, r"model/video/2 \(it was made elsewhere"), (True, True, "it was asked for")],
)
def test_a_python_that_tensorflow_has_no_wheel_for_needs_litert(tmp_path, litert_proof, with_tensorflow, proof, reason):
    put_export(tmp_path, "video/2", litert=proof and litert_proof)
    (tmp_path / "video/2/model.tflite").write_bytes(TFLITE)

    with pytest.raises(PackageError, match=rf"no wheel for Python 3\.14: {reason}.*TARGET=3\.13"):
        package._choose_engines(tmp_path, PINS[:2], "3.14", with_tensorflow)


def test_a_model_must_be_proven_with_the_version_of_litert_that_is_packed(tmp_path, litert_proof):
    put_export(tmp_path, "xor/1", litert=litert_proof | {"version": "2.2.0"})
    (tmp_path / "xor/1/model.tflite").write_bytes(TFLITE)

    with pytest.raises(PackageError, match=r"model/xor/1 was proven with LiteRT 2\.2\.0, and the package has 2\.3\.0"):
        package._choose_engines(tmp_path, PINS, "3.13", False)


@pytest.mark.parametrize("content", [b"damaged", None])
def test_a_model_of_litert_must_be_there(tmp_path, litert_proof, content):
    put_export(tmp_path, "xor/1", litert=litert_proof)
    if content:
        (tmp_path / "xor/1/model.tflite").write_bytes(content)

    with pytest.raises(PackageError, match=r"model/xor/1/model\.tflite is missing or damaged"):
        package._choose_engines(tmp_path, PINS, "3.13", False)


def test_without_models_the_package_can_serve_any(tmp_path):
    assert package._choose_engines(tmp_path, PINS, "3.13", False)[0] == PINS
