"""The memory that is left: of the machine, and of the group of processes that a job runs in."""

import mmap
from pathlib import Path

import pytest

from ckpt_callbacks.memory.available import available_memory

MB = 1 << 20
UNLIMITED_V1 = 0x7FFFFFFFFFFFF000
SLURM = "system.slice/slurmstepd.scope/job_7/step_0/user/task_0"


def v2(limit, current, inactive=0, active=0, shared=0, **more):
    stat = f"file {inactive + active + shared}\nshmem {shared}\ninactive_file {inactive}\nactive_file {active}"
    return {"memory.max": limit, "memory.current": current, "memory.stat": stat, **more}


def v1(limit, usage, inactive=0, active=0):
    stat = f"cache 1\ninactive_file 1\nactive_file 1\ntotal_inactive_file {inactive}\ntotal_active_file {active}"
    return {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": usage, "memory.stat": stat}


@pytest.fixture
def machine(tmp_path):
    """Makes a tree of a kernel's files, and returns what is available in it."""

    def made(line, groups, free=64 << 10):
        (tmp_path / "proc/self").mkdir(parents=True)
        if free is not None:
            (tmp_path / "proc/meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {free << 10} kB\n")
        if line is not None:
            (tmp_path / "proc/self/cgroup").write_text(line + "\n")
        for path, files in groups.items():
            folder = tmp_path / "cgroup" / path
            folder.mkdir(parents=True, exist_ok=True)
            for name, value in files.items():
                (folder / name).write_text(f"{value}\n")
        return available_memory(tmp_path / "proc", tmp_path / "cgroup")

    return made


V2 = {
    "the limit of the job, above the process's own group": (
        f"0::/{SLURM}",
        {SLURM: v2("max", 90 * MB), "system.slice/slurmstepd.scope/job_7": v2(500 * MB, 100 * MB)},
        400 * MB,
    ),
    "the smallest of several limits": (
        "0::/a/b",
        {"a/b": v2(300 * MB, 100 * MB), "a": v2(900 * MB, 750 * MB), "": v2("max", 10)},
        150 * MB,
    ),
    "file cache counts as free, and shared memory does not": (
        "0::/a",
        {"a": v2(500 * MB, 400 * MB, inactive=50 * MB, active=20 * MB, shared=200 * MB)},
        170 * MB,
    ),
    "a limit from which on the group is slowed down": (
        "0::/a",
        {"a": v2("max", 100 * MB, **{"memory.high": 300 * MB})},
        200 * MB,
    ),
    "the root of a container, whose path is /": ("0::/", {"": v2(500 * MB, 100 * MB)}, 400 * MB),
    "a path of the host's, of which the container has the root alone": (
        "0::/docker/1234",
        {"": v2(500 * MB, 100 * MB)},
        400 * MB,
    ),
    "a path outside the container": ("0::/../../other", {"": v2(500 * MB, 100 * MB)}, 400 * MB),
    "a name with a colon": ("0::/a:b", {"a:b": v2(500 * MB, 100 * MB)}, 400 * MB),
    "no statistics": ("0::/a", {"a": {"memory.max": 500 * MB, "memory.current": 100 * MB}}, 400 * MB),
    "no limit": ("0::/a", {"a": v2("max", 90 * MB), "": v2("max", 99 * MB)}, 64 << 30),
}
V1 = {
    "the limit of the job, above the process's own group": (
        "5:cpu,cpuacct:/x\n4:memory:/slurm/job_7/step_0\n0::/init.scope",
        {
            "memory/slurm/job_7/step_0": v1(UNLIMITED_V1, 100 * MB),
            "memory/slurm/job_7": v1(500 * MB, 100 * MB, inactive=10 * MB, active=5 * MB),
            "memory": v1(UNLIMITED_V1, 900 * MB),
            "x": v2(MB, 0),  # the path of another controller
        },
        415 * MB,
    ),
    "a path of the host's, of which the container has the root alone": (
        "4:memory:/docker/1234",
        {"memory": v1(500 * MB, 100 * MB)},
        400 * MB,
    ),
    "no limit": ("4:memory:/a", {"memory/a": v1(UNLIMITED_V1, 100 * MB)}, 64 << 30),
}


@pytest.mark.parametrize("name", V2)
def test_groups_of_version_2(machine, name):
    line, groups, expected = V2[name]
    assert machine(line, groups) == expected


@pytest.mark.parametrize("name", V1)
def test_groups_of_version_1(machine, name):
    line, groups, expected = V1[name]
    assert machine(line, groups) == expected


def test_the_machine_has_less_than_the_group_may(machine):
    assert machine("0::/a", {"a": v2(500 * MB, 100 * MB)}, free=7) == 7 * MB


def test_a_group_that_has_more_than_it_may_has_less_than_nothing(machine):
    assert machine("0::/a", {"a": v2(100 * MB, 130 * MB)}) == -30 * MB


def test_a_limit_where_the_machine_says_nothing(machine):
    assert machine("0::/a", {"a": v2(500 * MB, 100 * MB)}, free=None) == 400 * MB


@pytest.mark.parametrize("line", [None, "", "nonsense", "0::/nowhere", "4:memory:/nowhere"])
def test_groups_that_cannot_be_read_limit_nothing(machine, line):
    assert machine(line, {}) == 64 << 30


def test_nothing_can_be_read(machine):
    assert machine(None, {}, free=None) is None


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="no Linux")
def test_this_machine():
    held = mmap.mmap(-1, 64 * MB)
    available = available_memory()
    total = int(Path("/proc/meminfo").read_text().split()[1]) << 10
    assert 16 * MB < available < total
    held.close()
