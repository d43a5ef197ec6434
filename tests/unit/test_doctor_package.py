"""What the doctor says of a package: its size against the plan's limits, and what Azure needs to find in it."""

import re
import shutil
import zipfile
from pathlib import Path

import pytest

from serving.settings import APP_ROOT
from tools.doctor import models, package
from tools.doctor.finding import Level
from tools.doctor.package import SITE_PACKAGES, Package, PackageError
from tools.doctor.plans import PLANS
from tools.package.published import published

MB = 1_000_000
PROBLEM, WARNING = Level.PROBLEM, Level.WARNING

SLIM = {
    "host.json": 500,
    "PredictXor/function.json": 300,
    "model/xor/1/saved_model.pb": 20_000,
    f"{SITE_PACKAGES}/tensorflow/libtensorflow_cc.so.2": 550 * MB,
    f"{SITE_PACKAGES}/numpy/_core/_multiarray_umath.cpython-312-x86_64-linux-gnu.so": 10 * MB,
}

FULL = SLIM | {f"{SITE_PACKAGES}/tensorflow/python/__init__.py": 700 * MB}
FOR_A_MAC = {name.replace("x86_64-linux-gnu", "darwin"): size for name, size in SLIM.items()}
REMOTE_BUILD = {"plan": "premium", "zipped_bytes": None, "installed_bytes": 1500 * MB}


@pytest.fixture
def app(tmp_path):
    """A folder with an app and its model."""
    (tmp_path / "host.json").write_text("{}")
    (tmp_path / "local.settings.json").write_text("{}")
    shutil.copytree(APP_ROOT / "model" / "xor", tmp_path / "model" / "xor")
    return tmp_path


def check(files, plan="flex", zipped_bytes=200 * MB, installed_bytes=0):
    made = Package("app.zip", files, zipped_bytes, installed_bytes)
    xor = [version for version in models.find(APP_ROOT / "model") if version.name == "xor"]
    return package.check(made, PLANS[plan], APP_ROOT, xor)


def test_a_slim_package_fits_flex_consumption():
    size, kind = check(SLIM)

    assert size.level is kind.level is Level.OK
    assert "0.20 GB zipped, 0.56 GB unpacked, of the 0.8 GB" in size.what
    assert "Python 3.12 on Linux x86_64, with TensorFlow's C library without its Python" in kind.what


def test_a_package_may_have_litert_alone():
    files = {name.replace("tensorflow/libtensorflow_cc.so.2", "ai_edge_litert/libLiteRt.so"): 9 * MB for name in SLIM}

    kind = check(files, zipped_bytes=25 * MB)[1]

    assert kind.level is Level.OK
    assert "Python 3.12 on Linux x86_64, with LiteRT, without TensorFlow;" in kind.what


@pytest.mark.parametrize("plan", ["premium", "container"])
def test_a_package_with_all_of_tensorflow_fits_other_plans(plan):
    size = check(FULL, plan=plan)[0]

    assert size.level is Level.OK
    assert "1.26 GB unpacked" in size.what


def without(part):
    return {name: size for name, size in SLIM.items() if part not in name}


def with_module(name):
    return SLIM | {f"{SITE_PACKAGES}/{name}": 1000}


@pytest.mark.parametrize(
    ("level", "says", "files", "options"),
    [
        (PROBLEM, r"1\.26 GB unpacked.*make package.*publish APP --no-build", FULL, {}),
        (PROBLEM, r"1\.26 GB unpacked", FULL, {"plan": "consumption"}),
        (PROBLEM, "SERVING_MODEL_PATH", SLIM | {"model/big/1/variables/variables.data": 500 * MB}, {}),
        (PROBLEM, "the limit of a zip is 1 GB", SLIM, {"plan": "premium", "zipped_bytes": 1100 * MB}),
        (PROBLEM, r"contains local\.settings\.json", SLIM | {"local.settings.json": 100}, {}),
        (WARNING, r"needless folders: \.git, \.venv", SLIM | {".venv/pyvenv.cfg": 100, ".git/HEAD": 20}, {}),
        (PROBLEM, "does not contain xor/1", without("model/"), {}),
        (PROBLEM, "neither LiteRT's nor TensorFlow's for Linux", without("libtensorflow"), {}),
        (PROBLEM, "Azure runs one Python on Linux", with_module("numpy/a.cp312-win_amd64.pyd"), {}),
        (PROBLEM, "Azure runs one Python on Linux", with_module("numpy/a.cpython-312-darwin.so"), {}),
        (PROBLEM, "Azure runs one Python on Linux", with_module("h5py/a.cpython-311-x86_64-linux-gnu.so"), {}),
        (PROBLEM, "cpython-312-darwin", FOR_A_MAC, {}),
        (WARNING, "contains no libraries", without(SITE_PACKAGES), REMOTE_BUILD | {"installed_bytes": 0}),
        (WARNING, r"60 s to install 1\.50 GB.*--no-build", without(SITE_PACKAGES), REMOTE_BUILD),
    ],
)
def test_what_is_wrong_with_a_package_is_found_with_what_to_do(level, says, files, options):
    [finding] = [found for found in check(files, **options) if found.level is not Level.OK]

    assert finding.level is level
    assert re.search(says, f"{finding.what}; {finding.todo}")


def test_the_folder_itself_must_not_be_in_the_package():
    findings = check({f"app/{name}": size for name, size in SLIM.items()})

    assert any("no host.json at its top level" in found.what for found in findings if found.level is PROBLEM)


def write_zip(path, *names):
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, "0" * 10_000)


def test_packages_in_dist_are_looked_at(app):
    write_zip(app / "dist" / "b.zip", "host.json")
    write_zip(app / "dist" / "a.zip", "host.json")

    first, second = package.find(app, None)

    assert (first.name, second.name) == ("a.zip", "b.zip")
    assert first.files == {"host.json": 10_000}
    assert 0 < first.zipped_bytes < 1_000


def test_so_are_unpacked_ones_but_not_what_is_being_made(app):
    for name in ("python3.12", ".python3.13"):
        (app / "dist" / name).mkdir(parents=True)
        (app / "dist" / name / "host.json").write_text("{}")
    (app / "dist" / "wheels").mkdir()

    [made] = package.find(app, None)

    assert made.name == "python3.12"


def test_a_folder_that_is_published_can_be_given(app):
    [given] = package.find(APP_ROOT, app)

    assert "local.settings.json" in given.files
    assert not given.is_built


def test_a_file_that_is_not_a_zip_is_refused(app):
    with pytest.raises(PackageError, match=r"host\.json is neither a folder nor a readable zip"):
        package.find(APP_ROOT, app / "host.json")


def test_without_a_package_the_app_and_its_installed_libraries_are_weighed(app):
    shutil.copy(APP_ROOT / "requirements.txt", app)

    [made] = package.find(app, None)

    models = {path.relative_to(app).as_posix() for path in (app / "model").rglob("*") if path.is_file()}
    assert set(made.files) == {"host.json", "requirements.txt", *models}
    assert made.installed_bytes > 800 * MB  # TensorFlow's library alone


def test_funcignore_is_obeyed(app):
    (app / ".funcignore").write_text("model\n")

    [made] = package.find(app, None)

    assert list(made.files) == ["host.json"]


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_package_is_older_than_the_app_once_a_file_changes(app, tmp_path_factory, is_zip):
    place = tmp_path_factory.mktemp("made") / "app"
    for name in published(app):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(app / name, place / name)
    if is_zip:
        place = Path(shutil.make_archive(str(place), "zip", place))

    def stale():
        [made] = package.find(app, place)
        return [found for found in package.check(made, PLANS["container"], app, []) if "out of date" in found.what]

    assert stale() == []
    (app / "host.json").write_text("[]")
    [finding] = stale()
    assert finding.level is Level.WARNING
    assert "host.json changed since it was built" in finding.what
    (app / "new.py").touch()
    [finding] = stale()
    assert "host.json and 1 more" in finding.what


def test_whether_a_package_can_export_goes_by_its_keras():
    assert not Package("slim", SLIM).can_export
    assert Package("full", SLIM | {f"{SITE_PACKAGES}/keras/__init__.py": 1}).can_export
    assert Package("for a remote build", {"host.json": 1}).can_export
