"""How much memory the instance has: the least of the machine's and its cgroups' limits."""

import os

import pytest

from serving import instance


@pytest.fixture
def cgroups(tmp_path):
    """Return a function that writes the files of cgroups and returns the limits that are found in them."""

    def limits(membership, **files):
        for path, text in files.items():
            file = (
                tmp_path
                / "cgroup"
                / path.replace("__", "/").replace("MAX", "memory.max").replace("LIMIT", "memory.limit_in_bytes")
            )
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (tmp_path / "membership").write_text(membership)
        return list(instance._limits(tmp_path / "membership", tmp_path / "cgroup"))

    return limits


def test_the_limits_are_those_of_the_cgroup_and_of_all_around_it(cgroups):
    assert cgroups("0::/a/b\n", a__b__MAX="max\n", a__MAX="300\n", MAX="500\n", c__MAX="1\n") == [300, 500]


def test_a_container_sees_its_own_cgroup_as_the_root(cgroups):
    assert cgroups("0::/docker/1234\n", MAX="2147483648\n") == [2147483648]


def test_version_1_has_a_hierarchy_for_memory(cgroups):
    membership = "3:cpu,cpuacct:/x\n2:memory:/app\n1:name=systemd:/x\n"

    assert cgroups(membership, memory__app__LIMIT="400\n", memory__x__LIMIT="1\n") == [400]


def test_without_cgroups_it_is_the_memory_of_the_machine(tmp_path, monkeypatch):
    assert list(instance._limits(tmp_path / "none", tmp_path)) == []
    monkeypatch.setattr(instance, "_limits", lambda *_: [])
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert instance.memory_bytes.__wrapped__() == 40960
    monkeypatch.setattr(instance, "_limits", lambda *_: [5, 7])
    assert instance.memory_bytes.__wrapped__() == 5


def test_a_system_that_does_not_say_counts_as_the_usual_instance(monkeypatch):
    monkeypatch.delattr(os, "sysconf")

    assert instance._physical_bytes() == 2 * 1024**3
