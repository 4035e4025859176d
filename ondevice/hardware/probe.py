"""What is here: cores this process may use, memory, other processes."""

from __future__ import annotations

import math
import os
import platform
import sys
from pathlib import Path

from ondevice.domain.memory import MachineMemory
from ondevice.hardware import system


def usable_cores() -> int:
    """Physical cores this process may use: affinity, then cgroup quota; at least 1.

    Two hyperthreads of one core share its arithmetic units, which decoding keeps busy.
    """
    cpus = system.allowed_cpus()
    if cpus is None:
        import psutil  # deferred: 21 ms, and Linux answers without it

        cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    else:
        cores = len({system.core_of(cpu) or cpu for cpu in cpus})
    quota = system.cgroup_cpu_quota()
    if quota is not None:
        cores = min(cores, math.ceil(quota))
    return max(1, cores)


def is_intel_mac() -> bool:
    """Whether this is a Mac for which nobody builds ONNX Runtime GenAI (pyproject.toml)."""
    return sys.platform == "darwin" and platform.machine() != "arm64"


def machine_memory() -> MachineMemory:
    """Total memory, and what could be used now without swapping or being killed.

    A cgroup's limit counts as the machine's, where it is less: in a container it is all there is.
    """
    import psutil  # deferred: 21 ms

    memory = psutil.virtual_memory()
    groups = system.cgroup_memory()
    return MachineMemory(
        min([memory.total, *(group.limit_bytes for group in groups)]),
        min([memory.available, *(group.free_bytes for group in groups)]),
    )


def cpu_name() -> str:
    """The processor's own name."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_features() -> list[str]:
    """Vector extensions that decide the speed of a CPU; empty where the system hides them."""
    flags = set((_cpuinfo("flags") or _cpuinfo("Features") or "").split())
    telling = ("avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")
    arm = ("asimd", "asimddp", "i8mm", "sve", "sve2")
    return [name for name in (*telling, *arm) if name in flags]


def _cpuinfo(key: str) -> str | None:
    """The first value of `key` in /proc/cpuinfo; None elsewhere."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    except OSError:
        pass
    return None


def process_mark(pid: int) -> str | None:
    """Tells process `pid` from a later one with the same number; None when it is gone."""
    if not system.is_linux():
        import psutil  # deferred: 21 ms, and Linux answers without it

        try:
            return f"{psutil.Process(pid).create_time():.2f}"
        except psutil.Error:
            return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    state, *fields = stat.rpartition(b")")[2].split()  # its name, in brackets, may hold anything
    if state in (b"Z", b"X"):
        return None
    return f"{fields[18].decode()}@{boot}"  # when it started, in ticks since that boot
