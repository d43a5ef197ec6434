"""What the doctor says of a package: its size against the plan's limits, and what Azure needs to find in it."""

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

SLIM = {
    "host.json": 500,
    "PredictXor/function.json": 300,
    "model/xor/1/saved_model.pb": 20_000,
    f"{SITE_PACKAGES}/tensorflow/libtensorflow_cc.so.2": 550 * MB,
    f"{SITE_PACKAGES}/numpy/_core/_multiarray_umath.cpython-312-x86_64-linux-gnu.so": 10 * MB,
}


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


def bad(*arguments, **options):
    return [finding for finding in check(*arguments, **options) if finding.level is not Level.OK]


def test_a_slim_package_fits_flex_consumption():
    size, kind = check(SLIM)

    assert size.level is kind.level is Level.OK
    assert "0.20 GB zipped, 0.56 GB unpacked, of the 0.8 GB" in size.what
    assert "Python 3.12 on Linux x86_64, with TensorFlow's C library without its Python" in kind.what


@pytest.mark.parametrize(
    ("plan", "level"),
    [("flex", Level.PROBLEM), ("consumption", Level.PROBLEM), ("premium", Level.OK), ("container", Level.OK)],
)
def test_a_package_with_all_of_tensorflow_fits_by_plan(plan, level):
    finding = check(SLIM | {f"{SITE_PACKAGES}/tensorflow/python/__init__.py": 700 * MB}, plan=plan)[0]

    assert finding.level is level
    assert "1.26 GB unpacked" in finding.what


def test_what_is_too_large_for_flex_is_made_slim():
    [finding] = bad(SLIM | {f"{SITE_PACKAGES}/tensorflow/python/__init__.py": 700 * MB})

    assert "make package" in finding.todo
    assert "publish APP --no-build" in finding.todo


def test_large_models_of_a_slim_package_go_to_a_share():
    [finding] = bad(SLIM | {"model/big/1/variables/variables.data": 500 * MB})

    assert finding.level is Level.PROBLEM
    assert "SERVING_MODEL_PATH" in finding.todo


def test_a_zip_over_what_a_package_may_have_is_a_problem():
    [finding] = bad(SLIM, plan="premium", zipped_bytes=1100 * MB)

    assert finding.level is Level.PROBLEM
    assert "the limit of a zip is 1 GB" in finding.what


def test_the_folder_itself_must_not_be_in_the_package():
    findings = bad({f"app/{name}": size for name, size in SLIM.items()})

    assert any("no host.json at its top level" in finding.what for finding in findings)


def test_settings_of_this_machine_must_not_be_in_it():
    [finding] = bad(SLIM | {"local.settings.json": 100})

    assert finding.level is Level.PROBLEM
    assert "contains local.settings.json" in finding.what


def test_hidden_folders_are_published_without_need():
    [finding] = bad(SLIM | {".venv/pyvenv.cfg": 100, ".git/HEAD": 20})

    assert finding.level is Level.WARNING
    assert "needless folders: .git, .venv" in finding.what


def test_a_package_without_a_model_that_is_here_is_a_problem():
    [finding] = bad({name: size for name, size in SLIM.items() if not name.startswith("model/")})

    assert finding.level is Level.PROBLEM
    assert "does not contain xor/1" in finding.what


def test_libraries_without_tensorflow_are_a_problem():
    [finding] = bad({name: size for name, size in SLIM.items() if "libtensorflow" not in name})

    assert finding.level is Level.PROBLEM
    assert "not TensorFlow's C library for Linux" in finding.what


@pytest.mark.parametrize(
    "name", ["numpy/a.cp312-win_amd64.pyd", "numpy/a.cpython-312-darwin.so", "h5py/a.cpython-311-x86_64-linux-gnu.so"]
)
def test_modules_of_several_pythons_or_systems_are_a_problem(name):
    [finding] = bad(SLIM | {f"{SITE_PACKAGES}/{name}": 1000})

    assert finding.level is Level.PROBLEM
    assert "Azure runs one Python on Linux" in finding.what


def test_modules_of_another_system_alone_are_a_problem():
    files = {name.replace("x86_64-linux-gnu", "darwin"): size for name, size in SLIM.items()}

    [finding] = bad(files)

    assert finding.level is Level.PROBLEM
    assert "cpython-312-darwin" in finding.what


def test_a_remote_build_has_a_minute():
    files = {name: size for name, size in SLIM.items() if not name.startswith(SITE_PACKAGES)}

    [finding] = bad(files, plan="premium", zipped_bytes=None, installed_bytes=1500 * MB)

    assert finding.level is Level.WARNING
    assert "60 s to install 1.50 GB" in finding.what
    assert "--no-build" in finding.todo


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

    assert set(made.files) == {
        *("host.json", "requirements.txt"),
        *(f"model/xor/1/{name}" for name in ("export.json", "model.h5", "model.json", "saved_model.pb")),
    }
    assert made.installed_bytes > 800 * MB  # TensorFlow's library alone


def test_funcignore_is_obeyed(app):
    for name in (
        "docs/a.md",
        "keep/docs/b.md",
        "c.pyc",
        "src/c.pyc",
        "src/d.py",
        "requirements-dev.txt",
        "e/f.txt",
        "g/e",
    ):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).touch()
    (app / ".funcignore").write_text("# a comment\n/docs\n*.pyc\n!src/c.pyc\nrequirements-*.txt\ne/\nmodel\n\n")

    [made] = package.find(app, None)

    assert list(made.files) == ["g/e", "host.json", "keep/docs/b.md", "src/c.pyc", "src/d.py"]


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
