"""What a process may use, on made-up trees of cgroups of both versions, and under real limits of its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from pipeline.runtime import limits
from pipeline.runtime.files import ROOT

GIB = 2**30
V2 = "35 30 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1 = (
    "34 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
)
BOTH_V1 = "4:memory:/a/b\n3:cpu,cpuacct:/a/b\n0::/"
System = Callable[..., Path]


@pytest.fixture
def system(tmp_path: Path) -> System:
    """system(cgroup, mounts, {file below /sys/fs/cgroup: content}): a folder with /proc and /sys of a machine."""

    def make(cgroup: str, mounts: tuple[str, ...] | str, files: dict[str, object]) -> Path:
        mounts = (mounts,) if isinstance(mounts, str) else mounts
        contents = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": "\n".join(mounts)}
        for name, content in (contents | {f"sys/fs/cgroup/{name}": content for name, content in files.items()}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(f"{content}\n")
        return tmp_path

    return make


@pytest.fixture(autouse=True)
def large_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 processors, 512 GiB, and no job of SLURM."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=512 * GIB))
    monkeypatch.setattr(limits.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)


def test_without_cgroups_the_machine_is_the_limit(tmp_path: Path) -> None:
    assert limits.available_memory(tmp_path) == 512 * GIB
    assert limits.cpu_quota(tmp_path) is None and limits.processors(tmp_path) == 64
    assert limits.kills_for_memory(tmp_path) is None


def test_the_narrowest_cgroup_around_holds(system: System) -> None:
    files = {
        "a/memory.max": 3 * GIB, "a/memory.current": 2 * GIB, "a/memory.stat": "anon 5\ninactive_file 1073741824",
        "a/memory.high": "max", "a/b/memory.max": "max", "a/b/memory.high": 8 * GIB, "a/b/memory.current": GIB,
        "a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000", "a/b/memory.events": "oom 3\noom_kill 2",
    }  # fmt: skip
    found = system("0::/a/b", V2, files)
    assert limits.available_memory(found) == 2 * GIB  # a GiB of the two are cached files
    assert limits.cpu_quota(found) == 1.5 and limits.processors(found) == 2
    assert limits.kills_for_memory(found) == 2


def test_version_1_has_a_tree_for_each_resource(system: System) -> None:
    files = {
        "memory/memory.limit_in_bytes": 9223372036854771712, "memory/memory.usage_in_bytes": 100 * GIB,
        "memory/a/memory.limit_in_bytes": 4 * GIB, "memory/a/memory.usage_in_bytes": 3 * GIB,
        "memory/a/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB}",
        "memory/a/b/memory.limit_in_bytes": 9223372036854771712, "memory/a/b/memory.usage_in_bytes": GIB,
        "memory/a/b/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1",
        "cpu,cpuacct/a/cpu.cfs_quota_us": 400000, "cpu,cpuacct/a/cpu.cfs_period_us": 100000,
        "cpu,cpuacct/a/b/cpu.cfs_quota_us": -1, "cpu,cpuacct/a/b/cpu.cfs_period_us": 100000,
    }  # fmt: skip
    found = system(BOTH_V1, V1, files)
    assert limits.available_memory(found) == 2 * GIB
    assert limits.processors(found) == 4
    assert limits.kills_for_memory(found) == 1


@pytest.mark.parametrize(
    ("cgroup", "root"),
    [
        ("0::/docker/c0ffee", "/docker/c0ffee"),  # the machine's path, where the tree begins at the container
        ("0::/", "/"),  # a namespace of its own
        ("0::/docker/c0ffee", "/"),  # the tree of the machine is not visible below that path
        ("0::/../other", "/"),
    ],
)
def test_a_container_sees_its_own_cgroup_as_the_root(system: System, cgroup: str, root: str) -> None:
    mount = f"35 30 0:30 {root} /sys/fs/cgroup ro - cgroup2 cgroup rw"
    found = system(cgroup, mount, {"memory.max": 2 * GIB, "memory.current": GIB, "cpu.max": "50000 100000"})
    assert limits.available_memory(found) == GIB
    assert limits.processors(found) == 1


def test_a_full_cgroup_leaves_nothing(system: System) -> None:
    found = system("0::/", V2, {"memory.max": GIB, "memory.current": 2 * GIB})
    assert limits.available_memory(found) == 0


def test_slurms_allocation_and_the_affinity_count(monkeypatch: pytest.MonkeyPatch, system: System) -> None:
    found = system("0::/", V2, {"cpu.max": "800000 100000"})
    assert limits.processors(found) == 8
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    assert limits.processors(found) == 3
    monkeypatch.setattr(limits.os, "sched_getaffinity", lambda _: {5})
    assert limits.processors(found) == 1


def test_damaged_files_are_no_limit(system: System) -> None:
    found = system("0::/", V2, {"memory.max": "", "memory.stat": "x", "cpu.max": "many 100000", "memory.events": "?"})
    assert limits.available_memory(found) == 512 * GIB
    assert limits.cpu_quota(found) is None and limits.kills_for_memory(found) is None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce it")
@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_limits_of_the_process_itself_count(limit: str) -> None:
    program = f"""
import resource
from pipeline.runtime.limits import available_addresses, available_memory
resource.setrlimit(resource.{limit}, (2**30, 2**30))
before = available_memory()
block = bytearray(2**28)
print(before < 2**30, before - available_memory() >= 2**28, available_addresses() < 2**60)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "True", str(limit == "RLIMIT_AS")], done.stderr
