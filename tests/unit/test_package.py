"""Building a package: pruning, the zip, the bill of materials, and that a failed build leaves nothing half."""

import csv
import importlib.util
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.unit import package_files
from tools.package import __main__ as package
from tools.package import archive, proof, sbom, site_packages, sizes, wheelhouse, wheels
from tools.package.site_packages import FOLDER, Part
from tools.package.targets import Target

TARGET = Target.parse("3.13")


def part_of(wheel):
    return Part(package_files.pin(wheel), wheel, wheels.unpacked_bytes(wheel))


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def tensorflow(tmp_path):
    """A wheel in the form of TensorFlow's, whose libraries are small ones with symbols."""
    library = Path(importlib.util.find_spec("orjson").origin).parent
    [library] = library.glob("orjson*.so")
    return package_files.wheel(
        tmp_path / "wheels",
        "tensorflow_cpu",
        files={
            "tensorflow/libtensorflow_cc.so.2": library.read_bytes(),
            "tensorflow/libtensorflow_framework.so.2": library.read_bytes(),
            "tensorflow/python/big.py": b"#" * 10_000,
            "tensorflow/include/LICENSE": b"Apache License",
            "tensorflow/THIRD_PARTY_NOTICES.txt": b"notices",
        },
    )


@pytest.fixture
def numpy_like(tmp_path):
    """A wheel with what developers need of it: tests, headers, stubs."""
    return package_files.wheel(
        tmp_path / "wheels",
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
        },
    )


def test_tests_headers_and_stubs_are_left_out_and_the_record_is_true(tmp_path, numpy_like):
    folder = tmp_path / "site-packages"

    part = part_of(numpy_like)
    site_packages.fill(folder, [part], TARGET, lambda name: None)

    code = {name for name in files_in(folder) if "dist-info" not in name}
    assert code == {"numpylike/__init__.py", "numpylike/core.py", "numpylike/testing/__init__.py"}
    assert "numpylike-1.0.dist-info/licenses/numpylike/include/LICENSE" in part.files
    assert set(part.files) == files_in(folder)
    rows = list(csv.reader((folder / "numpylike-1.0.dist-info/RECORD").read_text().splitlines()))
    assert {row[0] for row in rows} == files_in(folder)
    for name, digest, size in rows[:-1]:
        assert (folder / name).stat().st_size == int(size)
        assert digest.startswith("sha256=")


def test_of_tensorflow_only_the_stripped_libraries_and_the_licences_are_left(tmp_path, tensorflow):
    folder = tmp_path / "site-packages"

    site_packages.fill(folder, [part_of(tensorflow)], TARGET, lambda name: None)

    assert {name for name in files_in(folder) if "dist-info" not in name} == {
        "tensorflow/LICENSE",
        "tensorflow/THIRD_PARTY_NOTICES.txt",
        "tensorflow/__init__.py",
        "tensorflow/libtensorflow_cc.so.2",
        "tensorflow/libtensorflow_framework.so.2",
    }
    assert (folder / "tensorflow/libtensorflow_cc.so.2").read_bytes()[:4] == b"\x7fELF"
    assert (folder / "tensorflow_cpu-1.0.dist-info/METADATA").is_file()


def test_who_imports_tensorflow_from_a_package_is_told_what_it_is(tmp_path, tensorflow, monkeypatch):
    site_packages.fill(tmp_path / "site", [part_of(tensorflow)], TARGET, lambda name: None)
    spec = importlib.util.spec_from_file_location("slim", tmp_path / "site/tensorflow/__init__.py")

    with pytest.raises(ImportError, match="shared libraries, not its Python modules"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_a_library_that_cannot_be_stripped_says_what_to_install(tmp_path, tensorflow, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda tool: None)

    with pytest.raises(site_packages.StripError, match="Install binutils"):
        site_packages.fill(tmp_path / "site", [part_of(tensorflow)], TARGET, lambda name: None)


def test_what_packages_require_is_fetched_but_for_what_tensorflows_python_requires(tmp_path, monkeypatch):
    cache = tmp_path / "wheels"
    made = [
        package_files.wheel(cache, "tensorflow", metadata="Requires-Dist: keras\n"),
        package_files.wheel(cache, "keras"),
        package_files.wheel(
            cache, "azure_functions", metadata="Requires-Dist: werkzeug\nRequires-Dist: x; extra == 'y'\n"
        ),
        package_files.wheel(cache, "werkzeug"),
    ]
    pins = {pin.name: pin for pin in map(package_files.pin, made)}
    monkeypatch.setattr(site_packages.lock, "read", lambda target: pins)
    told = []

    parts = site_packages.fetch(TARGET, ["tensorflow", "azure-functions", "only-on-windows"], cache, told.append)

    assert [part.pin.name for part in parts] == ["azure-functions", "tensorflow", "werkzeug"] == sorted(told)


def test_a_wheel_with_another_hash_is_not_taken(tmp_path, monkeypatch):
    path = package_files.wheel(tmp_path, "numpylike")
    pin = package_files.pin(path)
    path.write_bytes(path.read_bytes() + b" ")
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    with pytest.raises(wheels.WheelError, match="numpylike"):
        wheels.fetch(TARGET, [pin], tmp_path)


def test_the_same_files_make_the_same_zip_whatever_their_times_and_order(tmp_path):
    zips = []
    for number, names in enumerate((["b/x", "a"], ["a", "b/x"])):
        folder = tmp_path / str(number)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name * 100)
            os.utime(folder / name, (10**9 + number, 10**9 + number))
        zips.append(tmp_path / f"{number}.zip")
        read = []
        sizes = archive.write(folder, zips[-1], read.append)

    assert zips[0].read_bytes() == zips[1].read_bytes()
    assert sum(read) == 400
    with zipfile.ZipFile(zips[0]) as written:
        assert written.namelist() == ["a", "b/x"] == list(sizes)
        assert written.read("b/x") == b"b/x" * 100
        assert written.testzip() is None


def test_the_table_adds_up_and_names_each_part(tmp_path, numpy_like):
    app = tmp_path / "app"
    part = part_of(numpy_like)
    site_packages.fill(app / FOLDER, [part], TARGET, lambda name: None)
    for name, text in {
        "model/xor/1/saved_model.pb": "m" * 3_000_000,
        "PredictXor/__init__.py": "p" * 1_000_000,
    }.items():
        (app / name).parent.mkdir(parents=True)
        (app / name).write_text(text)
    zipped = archive.write(app, tmp_path / "app.zip", lambda size: None)

    lines = sizes.table(app, [part], zipped)

    cells = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:] for line in lines[2:]}
    assert set(cells) == {"numpylike 1.0", "model/", "functions and serving/", "together"}
    assert cells["model/"][:2] == ["3.00", "3.00"]
    assert cells["functions and serving/"][:2] == ["1.00", "1.00"]
    assert float(cells["together"][1]) == pytest.approx(4.0, abs=0.02)


def test_the_bill_names_each_part_with_its_wheels_hash_and_licence_and_is_the_same_each_time(tmp_path, numpy_like):
    part = part_of(numpy_like)
    site_packages.fill(tmp_path / "site", [part], TARGET, lambda name: None)
    for name in ("one.json", "two.json"):
        sbom.write([part], tmp_path / "site", TARGET, tmp_path / name)

    bill = json.loads((tmp_path / "one.json").read_text())
    [component] = bill["components"]
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert component["purl"] == "pkg:pypi/numpylike@1.0"
    assert component["hashes"] == [{"alg": "SHA-256", "content": wheels.sha256(numpy_like)}]
    assert component["licenses"] == [{"license": {"id": "MIT"}}]
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_a_part_without_a_licence_is_not_redistributed(tmp_path):
    path = package_files.wheel(tmp_path, "unlicensed")
    bare = tmp_path / "bare" / path.name
    bare.parent.mkdir()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(bare, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b"License: MIT\n", b""))
    part = part_of(bare)
    part.files = ["unlicensed-1.0.dist-info/METADATA"]
    with zipfile.ZipFile(bare) as source:
        source.extractall(tmp_path / "site")

    with pytest.raises(ValueError, match="unlicensed states no licence"):
        sbom.write([part], tmp_path / "site", TARGET, tmp_path / "bill.json")


@pytest.fixture
def quick_build(tmp_path, monkeypatch, numpy_like):
    """A build whose only dependency is a small one."""
    pin = package_files.pin(numpy_like)
    monkeypatch.setattr(site_packages.lock, "read", lambda target: {pin.name: pin})
    monkeypatch.setattr(package, "_production", lambda: [pin.name])
    dist = tmp_path / "dist"
    shutil.copytree(numpy_like.parent, dist / "wheels")
    return dist


def test_a_package_that_is_not_proven_replaces_nothing_and_leaves_nothing(quick_build, monkeypatch):
    before = quick_build / f"{TARGET}.zip"
    before.write_bytes(b"the last good one")

    def refuse(*_):
        raise proof.ProofError("PredictXor: 500")

    monkeypatch.setattr(proof, "prove", refuse)

    with pytest.raises(proof.ProofError):
        package.build(TARGET, quick_build)

    assert before.read_bytes() == b"the last good one"
    assert sorted(path.name for path in quick_build.iterdir()) == [before.name, "wheels"]


def test_a_build_that_is_interrupted_leaves_nothing(quick_build, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(package, "_zip", interrupt)

    with pytest.raises(KeyboardInterrupt):
        package.build(TARGET, quick_build)

    assert [path.name for path in quick_build.iterdir()] == ["wheels"]


def test_a_proven_package_is_put_in_place_twice_with_the_same_bytes(quick_build, monkeypatch):
    monkeypatch.setattr(proof, "prove", lambda *_: proof.Proof("a runtime", 0.5, [{}] * 3))
    made = []
    for _ in range(2):
        lines = package.build(TARGET, quick_build)
        made.append((quick_build / f"{TARGET}.zip").read_bytes())

    assert made[0] == made[1]
    assert any("Proven: 3 requests" in line for line in lines)
    assert sorted(path.name for path in quick_build.iterdir()) == [
        str(TARGET),
        f"{TARGET}.sbom.json",
        f"{TARGET}.zip",
        "wheels",
    ]
    names = files_in(quick_build / str(TARGET))
    assert {"host.json", "PredictXor/function.json", f"{FOLDER}/numpylike/core.py"} <= names
    assert "model/xor/1/saved_model.pb" in names
    assert not any(name.startswith(("tests/", "training/", "tools/package/")) for name in names)


def test_a_model_whose_export_is_old_is_named_with_the_command_that_helps(tmp_path, quick_build, monkeypatch):
    project = tmp_path / "project"
    shutil.copytree(package.PROJECT / "model", project / "model")
    (project / "model/xor/1/model.json").write_text("{}")
    monkeypatch.setattr(package, "PROJECT", project)

    with pytest.raises(package.PackageError, match="make export MODEL=model/xor/1"):
        package.build(TARGET, quick_build)


def test_a_proof_names_the_requests_that_failed():
    with pytest.raises(proof.ProofError, match="1 of 2 requests failed:\nGET Health: 503 no model"):
        proof._check(
            [{"request": "a", "status": 200, "body": ""}, {"request": "GET Health", "status": 503, "body": "no model"}]
        )


def test_there_is_no_interpreter_for_another_machine():
    with pytest.raises(proof.NoInterpreterError, match="aarch64"):
        proof.bare_interpreter(Target.parse("3.13-aarch64"))


def test_a_wheelhouse_installs_with_no_network_and_checks_its_hashes(tmp_path, quick_build):
    house = wheelhouse.build(TARGET, quick_build)

    assert sorted(path.name for path in house.iterdir()) == ["numpylike-1.0-py3-none-any.whl", "requirements.txt"]
    wheelhouse.check(house, TARGET)
    [wheel] = house.glob("*.whl")
    with zipfile.ZipFile(wheel, "a") as archive_:
        archive_.writestr("numpylike/added.py", "bad = True")
    with pytest.raises(wheels.WheelError, match=r"HASHES|hash"):
        wheelhouse.check(house, TARGET)


def test_a_wheelhouse_that_lacks_a_requirement_is_not_written(tmp_path, quick_build, monkeypatch):
    needy = package_files.wheel(quick_build / "wheels", "needy", metadata="Requires-Dist: absent\n")
    pin = package_files.pin(needy)
    monkeypatch.setattr(wheelhouse.lock, "read", lambda target: {pin.name: pin})

    with pytest.raises(wheels.WheelError, match="absent"):
        wheelhouse.build(TARGET, quick_build)

    assert [path.name for path in quick_build.iterdir()] == ["wheels"]
