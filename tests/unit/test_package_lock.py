"""What a package is built for, and what the lock says that it takes."""

import argparse

import pytest

from tools.package import lock
from tools.package.targets import Target

HASH = "a" * 64
OTHER = "b" * 64


def test_a_target_is_a_python_and_a_machine():
    assert Target.parse("3.12") == Target("3.12", "x86_64")
    assert Target.parse("3.12-aarch64") == Target("3.12", "aarch64")
    assert str(Target.parse("3.11")) == "python3.11-linux-x86_64"


@pytest.mark.parametrize("text", ["3.10", "3.14", "", "3.13-arm64", "x86_64", "3.13-x86_64-linux"])
def test_another_target_is_refused_with_those_there_are(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"3\.11, 3\.12, 3\.13"):
        Target.parse(text)


def test_a_target_takes_wheels_for_its_own_python_and_machine_and_for_every_one():
    tags = {str(tag) for tag in Target.parse("3.13").tags}

    assert {"cp313-cp313-manylinux_2_28_x86_64", "cp39-abi3-manylinux2014_x86_64", "py3-none-any"} <= tags
    assert not {"cp312-cp312-manylinux_2_28_x86_64", "cp313-cp313-manylinux_2_28_aarch64"} & tags
    # Azure's Python images have glibc 2.36.
    assert "cp313-cp313-manylinux_2_36_x86_64" in tags
    assert "cp313-cp313-manylinux_2_39_x86_64" not in tags


def test_the_lock_is_read_for_the_target_not_for_what_runs_here():
    text = (
        "# a comment\n"
        f"both==1.0 \\\n    --hash=sha256:{HASH} \\\n    --hash=sha256:{OTHER}\n"
        f"old==2 ; python_full_version < '3.13' \\\n    --hash=sha256:{HASH}\n"
        f"New_One==3 ; python_version >= '3.13' and platform_machine == 'aarch64' \\\n    --hash=sha256:{HASH}\n"
    )

    assert lock.read(Target.parse("3.12"), text) == {
        "both": lock.Pin("both", "1.0", (HASH, OTHER)),
        "old": lock.Pin("old", "2", (HASH,)),
    }
    assert set(lock.read(Target.parse("3.13-aarch64"), text)) == {"both", "new-one"}


@pytest.mark.parametrize("line", ["free", f"free>=1 --hash=sha256:{HASH}", "free==1", "free==1 --hash=md5:abc"])
def test_what_is_not_pinned_and_hashed_is_refused(line):
    with pytest.raises(ValueError, match="make lock"):
        lock.read(Target.parse("3.13"), line)


def test_the_project_has_one_tensorflow_for_each_target_and_every_pin_of_requirements_txt():
    pinned = [
        line.partition(";")[0].strip() for line in (lock.LOCK.parents[1] / "requirements.txt").read_text().splitlines()
    ]
    for target in ("3.11", "3.12", "3.13", "3.13-aarch64"):
        pins = lock.read(Target.parse(target))
        assert len({"tensorflow", "tensorflow-cpu"} & set(pins)) == 1
        for name in ("azure-functions", "h5py", "numpy", "orjson"):
            assert f"{name}=={pins[name].version}" in pinned, "run `make lock`"


def test_pins_are_written_as_pip_reads_them():
    pins = {"b": lock.Pin("b", "2", (HASH, OTHER)), "a": lock.Pin("a", "1", (HASH,))}

    text = lock.text_of(pins)

    assert text.startswith("a==1 \\\n    --hash=sha256:")
    assert lock.read(Target.parse("3.13"), text) == pins
