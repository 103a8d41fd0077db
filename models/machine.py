"""The processor that this process runs on: its name, the cores that the process may use, and how busy they are."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

import psutil

QUOTAS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))  # of a container: cgroup v2, v1


def processor() -> str:
    """The processor's name, as the system tells it."""
    names = [
        line.partition(":")[2].strip() for line in _text(Path("/proc/cpuinfo")).splitlines() if "model name" in line
    ]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> tuple[int, ...]:
    """The numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def quota(root: Path = Path("/sys/fs/cgroup")) -> float:
    """How many cores' time a container allows this process; infinite where nothing limits it."""
    for files in QUOTAS:
        words = " ".join(_text(root / file) for file in files).split()
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
            return int(words[0]) / int(words[1])
    return math.inf


def free_memory(root: Path = Path("/sys/fs/cgroup")) -> int:
    """The bytes that this process may still take: what the system has left, or the container."""
    free = [int(psutil.virtual_memory().available)]
    most, used = _text(root / "memory.max").strip(), _text(root / "memory.current").strip()
    if most.isdigit() and used.isdigit():
        free.append(int(most) - int(used))
    return max(0, min(free))


def busy_seconds(of: tuple[int, ...]) -> float:
    """Seconds that these cores have worked, for anybody, since the machine started."""
    every = psutil.cpu_times(percpu=True)
    total = 0.0
    for core in of:
        if core < len(every):
            times = every[core]._asdict()
            rest = sum(times.pop(name, 0.0) for name in ("idle", "iowait", "guest", "guest_nice"))  # guests are in user
            total += sum(times.values()) if math.isfinite(rest) else 0.0
    return total


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
