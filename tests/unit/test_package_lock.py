"""What a package is built for, and which wheels the locks pin for it."""

import argparse
import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.unit.package_files import lock as write_lock
from tests.unit.package_files import sha256_of
from tools.package import lock
from tools.package.errors import PackageError
from tools.package.lock import Pin
from tools.package.targets import Target, parser

TARGETS = ("3.11", "3.12", "3.13", "3.13-aarch64")


def test_of_python_3_14_a_package_needs_no_tensorflow():
    names = {pin.name for pin in lock.read(lock.PACKAGE, Target.parse("3.14"))}

    assert {"ai-edge-litert", "azure-functions", "numpy", "orjson"} <= names
    assert not {"tensorflow", "tensorflow-cpu"} & names


def test_a_target_is_a_python_and_a_machine():
    assert Target.parse("3.12") == Target("3.12", "x86_64")
    assert Target.parse("3.12-aarch64") == Target("3.12", "aarch64")
    assert str(Target.parse("3.11")) == "python3.11-linux-x86_64"
    assert Target.parse("3.13").platform == "x86_64-manylinux_2_36"


@pytest.mark.parametrize("text", ["3.10", "3.15", "", "3.13-arm64", "x86_64", "3.13-x86_64-linux"])
def test_another_target_is_refused_with_the_valid_ones(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"3\.11, 3\.12, 3\.13"):
        Target.parse(text)


def test_a_build_is_for_python_3_13_by_default(tmp_path):
    assert parser("a", None).parse_args([]).target == Target("3.13", "x86_64")
    options = parser("a", None).parse_args(["--target", "3.11-aarch64", "--dist", str(tmp_path)])
    assert (options.target, options.dist) == (Target("3.11", "aarch64"), tmp_path)


def test_the_best_wheel_for_the_target_is_pinned_not_that_for_this_machine(tmp_path):
    older, newer, too_new = (f"cp313-cp313-manylinux_2_{minor}_x86_64" for minor in (17, 36, 39))
    tags = ["py3-none-any", "cp312-cp312-manylinux_2_17_x86_64", "cp313-cp313-win_amd64", older, newer, too_new]
    path = write_lock(tmp_path / "pylock.toml", ("many", "", ",".join(tags)))

    # Azure's Python images have glibc 2.36.
    [pin] = lock.read(path, Target.parse("3.13"))
    assert pin == Pin("many", "1.0", sha256_of(f"many-1.0-{newer}.whl"))
    [pin] = lock.read(path, Target.parse("3.13-aarch64"))
    assert pin.sha256 == sha256_of("many-1.0-py3-none-any.whl")


def test_markers_are_evaluated_for_the_target(tmp_path):
    path = write_lock(
        tmp_path / "pylock.toml",
        ("old", "python_full_version < '3.13'", "py3-none-any"),
        ("arm", "python_version >= '3.13' and platform_machine == 'aarch64'", "py3-none-any"),
        ("windows", "sys_platform == 'win32'", "py3-none-any"),
    )

    names = {target: [pin.name for pin in lock.read(path, Target.parse(target))] for target in TARGETS}
    assert names == {"3.11": ["old"], "3.12": ["old"], "3.13": [], "3.13-aarch64": ["arm"]}


def test_a_lock_without_a_wheel_for_the_target_is_named_with_the_command_that_helps(tmp_path):
    path = write_lock(tmp_path / "pylock.x.toml", ("elsewhere", "", "cp313-cp313-win_amd64"))

    with pytest.raises(PackageError, match=r"(?s)pylock\.x\.toml can't be used.*'elsewhere'.*make lock"):
        lock.read(path, Target.parse("3.13"))


@pytest.mark.parametrize("text", ["", "not TOML", 'lock-version = "1.0"'])
def test_what_is_not_a_lock_is_refused(tmp_path, text):
    (tmp_path / "pylock.x.toml").write_text(text)

    with pytest.raises(PackageError, match="make lock"):
        lock.read(tmp_path / "pylock.x.toml", Target.parse("3.13"))


@pytest.mark.parametrize("target", [Target.parse(text) for text in TARGETS])
def test_the_locks_agree_with_production_txt_and_with_each_other(target):
    production, package = (lock.read(path, target) for path in (lock.PRODUCTION, lock.PACKAGE))
    lines = (lock.PRODUCTION.with_name("production.txt")).read_text(encoding="utf-8").splitlines()
    required = [Requirement(line) for line in lines if line and not line.startswith("#")]
    wanted = {
        f"{one.name}{one.specifier}" for one in required if not one.marker or one.marker.evaluate(target.environment)
    }

    assert wanted <= {f"{pin.name}=={pin.version}" for pin in production}, "run `make lock`"
    assert {pin.split("==")[0] for pin in wanted} - {pin.name for pin in package} == {"backports-strenum", "h5py"}
    assert set(package) < set(production)


def test_a_package_installs_nothing_that_only_tensorflows_python_needs():
    names = {package["name"] for package in tomllib.loads(lock.PACKAGE.read_text())["packages"]}

    assert "werkzeug" in names  # azure-functions needs it
    assert not {"keras", "protobuf", "ml-dtypes", "h5py", "flatbuffers"} & names


def test_microsofts_runtime_is_for_python_3_13():
    pins = {target: len(lock.read(lock.WORKER_RUNTIME, Target.parse(target))) for target in TARGETS}

    assert pins == {"3.11": 0, "3.12": 0, "3.13": 1, "3.13-aarch64": 1}


def test_pins_are_written_as_pip_and_uv_read_them():
    assert lock.requirements([Pin("a", "1", "0" * 64)]) == f"a==1 --hash=sha256:{'0' * 64}\n"


def pinned(path):
    """Return the lines of a lock file for pip: ``name==version`` with its hashes."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_a_remote_build_installs_what_the_lock_has_and_every_line_of_it_has_a_hash():
    production = tomllib.loads(lock.PRODUCTION.read_text())["packages"]
    lines = pinned(lock.PRODUCTION.parents[1] / "requirements.txt")

    assert {line.split()[0] for line in lines} == {f"{one['name']}=={one['version']}" for one in production}
    assert all("--hash=sha256:" in line for line in lines)


@pytest.mark.parametrize("name", ["dev", "serve", "contract", "clients", "infra", "keras2"])
def test_each_environment_of_development_has_a_lock_with_what_it_asks_for(name):
    lines = pinned(lock.PRODUCTION.with_name(f"{name}.lock.txt"))
    asked = pinned(lock.PRODUCTION.with_name(f"{name}.txt"))

    assert all("--hash=sha256:" in line for line in lines)
    wanted = {re.split(r"[\[;]", line)[0].split("==")[0].strip().lower() for line in asked if line[0] != "-"}
    assert wanted <= {line.split("==")[0] for line in lines}, "run `make lock`"
    makefile = (lock.PRODUCTION.parents[1] / "Makefile").read_text(encoding="utf-8")
    assert f"requirements/{name}.lock.txt" in makefile


@pytest.mark.parametrize("name", ["serve", "uv"])
def test_what_is_installed_first_has_the_versions_of_the_rest(name):
    first, rest = (pinned(lock.PRODUCTION.with_name(f"{one}.lock.txt")) for one in (name, "dev"))

    assert {line.split()[0] for line in first} <= {line.split()[0] for line in rest}, "run `make lock`"
