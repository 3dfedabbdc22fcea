"""What this process may use of its machine: processors and memory, by its cgroups, its resource limits and the machine.

A container is a cgroup with limits; so is a SLURM job and a service of systemd. Version 2 has one tree for everything,
version 1 a tree for each kind of resource. Every level of a tree has limits of its own, and the narrowest one holds.
"""

import math
import os
import resource
from collections.abc import Iterable
from pathlib import Path

import psutil

SYSTEM = Path("/")
NO_LIMIT = 2**60  # bytes; version 1 writes a number like this for none


def processors(system: Path = SYSTEM) -> int:
    """How many processors this process may use: by its affinity, its CPU quota, and what SLURM allocated to its job.

    A quota of one and a half processors counts as two, since whole threads use it up.

    Args:
        system: where /proc and /sys are, for tests.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allocated = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if allocated.isdigit() and int(allocated) > 0:
        allowed = min(allowed, int(allocated))
    quota = cpu_quota(system)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def cpu_quota(system: Path = SYSTEM) -> float | None:
    """Processors' worth of time that the process may take; None without a limit.

    Args:
        system: where /proc and /sys are, for tests.
    """
    quotas = []
    for folder in _cgroups("cpu", system):
        quota, _, period = _text(folder / "cpu.max").partition(" ")  # version 2: "150000 100000" or "max 100000"
        if not quota:
            quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")  # -1: no limit
        if quota.isdigit() and period.isdigit() and int(period) > 0 and int(quota) > 0:
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def available_memory(system: Path = SYSTEM) -> int:
    """Bytes that this process may still take before it is killed, or refused more memory.

    It is what is left of the machine's memory, of the limits of each of its cgroups (also of `memory.high`, above which
    a process is slowed down), and of its own limits (`ulimit -v`, `ulimit -d`).

    Args:
        system: where /proc and /sys are, for tests.
    """
    left = [psutil.virtual_memory().available, available_addresses(), *_left_in_cgroups(system)]
    data, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if data != resource.RLIM_INFINITY:
        left.append(data - getattr(psutil.Process().memory_info(), "data", 0))
    return max(0, min(left))


def available_addresses() -> int:
    """Bytes that this process may still map, files included: less than `NO_LIMIT` under `ulimit -v`."""
    addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
    return NO_LIMIT if addresses == resource.RLIM_INFINITY else max(0, addresses - psutil.Process().memory_info().vms)


def kills_for_memory(system: Path = SYSTEM) -> int | None:
    """How many processes of this process's cgroup, or else of the machine, were killed since no memory was left.

    None where nobody counts.

    Args:
        system: where /proc and /sys are, for tests.
    """
    for folder in _cgroups("memory", system):
        for name in ("memory.events", "memory.oom_control"):  # versions 2 and 1
            if (count := _table(folder / name).get("oom_kill")) is not None:
                return count
    return _table(system / "proc/vmstat").get("oom_kill")


def _left_in_cgroups(system: Path) -> Iterable[int]:
    """Bytes that are left in each cgroup with a limit. Cached files count as free: the system drops them first."""
    for folder in _cgroups("memory", system):
        limits = [_bytes(folder / name) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
        limit = min(limits)
        if limit >= NO_LIMIT:
            continue
        usage = min(_bytes(folder / "memory.current"), _bytes(folder / "memory.usage_in_bytes"))
        statistics = _table(folder / "memory.stat")
        cached = statistics.get("total_inactive_file", statistics.get("inactive_file", 0))
        yield limit - (max(0, usage - cached) if usage < NO_LIMIT else 0)


def _cgroups(controller: str, system: Path) -> list[Path]:
    """The folders of this process's cgroup that limits a kind of resource, and of all cgroups around it.

    Args:
        controller: cpu or memory.
    """
    memberships = [line.split(":", 2) for line in _text(system / "proc/self/cgroup").splitlines()]
    groups = {name: path for _, names, path in memberships for name in names.split(",")}  # version 2 has the name ""
    for line in _text(system / "proc/self/mountinfo").splitlines():
        fields, _, described = line.partition(" - ")
        kind, _, options = described.partition(" ")
        version_1 = kind == "cgroup" and controller in options.rpartition(" ")[2].split(",")
        group = groups.get(controller if version_1 else "")
        if group is None or not (version_1 or (kind == "cgroup2" and controller not in groups)):
            continue
        root, mounted = (_unescaped(field) for field in fields.split(" ")[3:5])
        top = system / mounted.lstrip("/")
        # In a container the tree may begin at the container's own cgroup, while the path is that of the machine.
        below = os.path.relpath(group, root) if group.startswith(root) else "."
        own = top if below.startswith("..") or not (top / below).is_dir() else top / below
        return [own, *(parent for parent in own.parents if parent.is_relative_to(top))] if own != top else [top]
    return []


def _unescaped(field: str) -> str:
    """A path of mountinfo, in which blanks and some other characters are octal."""
    return field.encode().decode("unicode_escape").encode("latin-1").decode(errors="surrogateescape")


def _text(path: Path) -> str:
    """A file's content; empty if it is missing, as on other systems than Linux, or not for this user."""
    try:
        return path.read_text(errors="surrogateescape").strip()
    except OSError:
        return ""


def _bytes(path: Path) -> int:
    """A limit or a usage; `NO_LIMIT` for `max`, and where it is missing."""
    text = _text(path)
    return min(NO_LIMIT, int(text)) if text.isdigit() else NO_LIMIT


def _table(path: Path) -> dict[str, int]:
    """Lines of a name and a number."""
    pairs = (line.split() for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
