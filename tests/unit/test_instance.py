"""How much memory the instance has, and how much is free: the least of the machine's and its cgroups'."""

import os
from pathlib import Path

import pytest

from serving import instance

MEMINFO = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    600 kB\n"


@pytest.fixture
def limits(tmp_path, monkeypatch):
    """Return a function that writes files of the system and returns the limits that are found in them."""
    monkeypatch.setattr(os, "sysconf_names", {})

    def found(**files):
        for name, text in files.items():
            file = tmp_path / name.replace("__", "/").replace("DOT", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return list(instance._limits(tmp_path))

    return found


def group(path, limit, used, reclaimable=0):
    folder = f"sys__fs__cgroup__{path}"
    return {
        f"{folder}memoryDOTmax": f"{limit}\n",
        f"{folder}memoryDOTcurrent": f"{used}\n",
        f"{folder}memoryDOTstat": f"anon 7\ninactive_file {reclaimable}\n",
    }


def test_the_limits_are_those_of_the_cgroup_and_of_all_around_it(limits):
    files = group("a__b__", "max", 1) | group("a__", 300, 250, 50) | group("", 500, 100) | group("c__", 1, 1)

    assert limits(proc__self__cgroup="0::/a/b\n", **files) == [(500, 400), (300, 100)]


def test_a_container_sees_its_own_cgroup_as_the_root(limits):
    assert limits(proc__self__cgroup="0::/docker/1234\n", **group("", 2147483648, 8)) == [(2147483648, 2147483640)]


def test_version_1_has_a_hierarchy_for_memory(limits):
    folder = "sys__fs__cgroup__memory__app__memoryDOT"
    files = {
        "proc__self__cgroup": "3:cpu,cpuacct:/x\n2:memory:/app\n1:name=systemd:/x\n",
        f"{folder}limit_in_bytes": "400\n",
        f"{folder}usage_in_bytes": "150\n",
        f"{folder}stat": "total_inactive_file 50\n",
    }

    assert limits(**files) == [(400, 300)]


def test_the_machine_has_a_limit_too(limits):
    assert limits(proc__meminfo=MEMINFO) == [(1_024_000, 614_400)]


def test_without_proc_it_is_what_the_system_says(limits, monkeypatch):
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 4096}.__getitem__)
    monkeypatch.setattr(os, "sysconf_names", {"SC_PHYS_PAGES": 1})

    assert limits() == [(40960, 40960)]


def test_the_least_counts_and_without_any_the_usual_instance(monkeypatch):
    monkeypatch.setattr(instance, "_limits", lambda: [(7, 3), (5, 4)])
    assert (instance.memory_bytes.__wrapped__(), instance.free_bytes()) == (5, 3)

    monkeypatch.setattr(instance, "_limits", list)
    assert instance.memory_bytes.__wrapped__() == instance.free_bytes() == 2 * 1024**3


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Linux only")
def test_this_machine_has_more_memory_than_is_free():
    assert instance.memory_bytes() > instance.free_bytes() > 0
