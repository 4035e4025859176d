"""What differs between operating systems, in one place; locks on files are in `locks`.

Not tested on macOS and Windows: their branches are held by tests that fake the platform.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
ENDING_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""By which a system or a terminal that goes away asks a program to end."""


def is_linux() -> bool:
    return sys.platform.startswith("linux")


def is_windows() -> bool:
    return sys.platform == "win32"


def has_desktop(environment: Mapping[str, str]) -> bool:
    """Whether a browser would get a window of its own, instead of this terminal."""
    if not is_linux():
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def detached_from_terminal() -> dict[str, Any]:
    """Arguments for Popen: Ctrl-C in the terminal must reach us, not the child."""
    if is_windows():
        return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200)}
    return {"process_group": 0}


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to end this process with its parent; elsewhere the closed pipe does it.

    On Linux the signal fires when the *thread* that started us ends, so start children from
    one that lives as long as they do.
    """
    if not is_linux():
        return
    import ctypes  # deferred: only the child needs it

    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it ended before we asked
        os._exit(1)


def c_library() -> Any:
    """The C library, through ctypes."""
    import ctypes  # deferred: only the child needs it

    return ctypes.CDLL("msvcrt" if is_windows() else None)


def huge_pages(environment: Mapping[str, str]) -> dict[str, str]:
    """What to add to a child's environment so that large buffers of glibc get huge pages.

    The KV cache, written and read in rows a page or more apart, is then found with fewer page
    table walks: decoding took 2 to 3 % less time (docs/results.md). Where the system has no such
    pages, or another C library, this has no effect.
    """
    if not is_linux():
        return {}
    others = environment.get("GLIBC_TUNABLES")
    mine = "glibc.malloc.hugetlb=1"
    return {"GLIBC_TUNABLES": f"{others}:{mine}" if others else mine}


def lower_priority(pid: int) -> None:
    """Let everything else go before process `pid`."""
    import psutil  # deferred: 21 ms

    level = getattr(psutil, "IDLE_PRIORITY_CLASS", 0x40) if is_windows() else 19
    with suppress(psutil.Error, OSError):  # it has ended already, or priorities are not ours
        psutil.Process(pid).nice(level)


def write_no_core_file() -> None:
    """A crash of the engine must not leave gigabytes of core file behind."""
    if is_windows():
        return
    import resource  # deferred: not on Windows

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class memory_limit:  # noqa: N801 - reads as a statement: `with memory_limit(...)`
    """While inside, this process may not allocate more than `extra_bytes` more.

    Linux only: elsewhere the parent's deadline is the only bound.
    """

    def __init__(self, extra_bytes: int) -> None:
        self._extra = extra_bytes
        self._restore: Callable[[], None] = lambda: None

    def __enter__(self) -> None:
        if not is_linux():
            return
        import resource  # deferred: not on Windows

        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + self._extra
        limit = min([limit, *(set_ for set_ in (soft, hard) if set_ != resource.RLIM_INFINITY)])
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        self._restore = lambda: resource.setrlimit(resource.RLIMIT_AS, (soft, hard))

    def __exit__(self, *_: object) -> None:
        self._restore()


def exit_reason(returncode: int) -> str:
    """Words for how a process ended: `signal SIGSEGV`, `exit code 3`."""
    if returncode < 0:
        try:
            return f"signal {signal.Signals(-returncode).name}"
        except ValueError:
            return f"signal {-returncode}"
    return f"exit code {returncode}"


def cgroup_cpu_quota(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> float | None:
    """CPUs this process may use by its cgroup (v2 and v1); None where there is no limit.

    The smallest limit on the way up counts: a service's own group, its slice, the container.
    """
    folders = _group_folders("cpu", root, membership)
    found = [quota for folder in folders for quota in (_quota_v2(folder), _quota_v1(folder))]
    return min((quota for quota in found if quota), default=None)


@dataclass(frozen=True, slots=True)
class GroupMemory:
    """What one cgroup may hold and holds, in bytes."""

    limit_bytes: int
    used_bytes: int
    """Without the pages of files: they are dropped before the limit is hit."""

    @property
    def free_bytes(self) -> int:
        return max(0, self.limit_bytes - self.used_bytes)


def cgroup_memory(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> list[GroupMemory]:
    """The groups (v2 and v1) that limit this process's memory; all of them count.

    From its own group up: a service's own group, its slice, the container.
    """
    folders = dict.fromkeys(_group_folders("memory", root, membership))  # each once
    found = (_memory_v2(folder) or _memory_v1(folder) for folder in folders)
    return [group for group in found if group]


def _group_folders(controller: str, root: Path, membership: Path) -> Iterator[Path]:
    """The folders of this process's groups, each with those above it."""
    for base, path in _groups(controller, root, membership):
        group = base / path.strip("/")
        for folder in (group, *group.parents):
            yield folder
            if folder == base:
                break


def _groups(controller: str, root: Path, membership: Path) -> list[tuple[Path, str]]:
    """(hierarchy, group) pairs; the lines read `number:controllers:/group`."""
    found = [(root, "/"), (root / controller, "/")]
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        controllers, _, group = line.partition(":")[2].partition(":")
        if not group or ".." in group:  # outside of what this namespace shows
            continue
        if not controllers:
            found.append((root, group))
        elif controller in controllers.split(","):
            found.append((root / controller, group))
    return found


def _quota_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()[:2]
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        quota_us = int((folder / "cpu.cfs_quota_us").read_text())
        period_us = int((folder / "cpu.cfs_period_us").read_text())
        return None if quota_us <= 0 or period_us <= 0 else quota_us / period_us
    except (OSError, ValueError):
        return None


def _memory_v2(folder: Path) -> GroupMemory | None:
    return _group_memory(folder, "memory.max", "memory.current", "")


def _memory_v1(folder: Path) -> GroupMemory | None:
    return _group_memory(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_")


def _group_memory(folder: Path, limit: str, used: str, prefix: str) -> GroupMemory | None:
    try:
        limit_bytes = int((folder / limit).read_text())  # v2 says "max" where there is none
        used_bytes = int((folder / used).read_text())
        facts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        files = sum(int(facts.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
    except (OSError, ValueError):
        return None
    return GroupMemory(limit_bytes, max(0, used_bytes - files))


def allowed_cpus() -> set[int] | None:
    """Logical CPUs this process may run on; None where the system does not say."""
    affinity = getattr(os, "sched_getaffinity", None)
    return set(affinity(0)) if affinity else None


def core_of(cpu: int) -> tuple[str, str] | None:
    """(package, core) of a logical CPU on Linux: hyperthreads share both."""
    base = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    try:
        package = (base / "physical_package_id").read_text().strip()
        return package, (base / "core_id").read_text().strip()
    except OSError:
        return None


def make_private_folder(path: Path) -> Path:
    """Create `path` and its missing parents for this user only (0700); others are left alone."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):  # `parents=True` would give the parents the umask's mode
        folder.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(exist_ok=True)  # for its error, where it is no folder
    return path


def write_private(path: Path, text: str) -> Path:
    """Make `path` a file of `text` that is only ours (0600), whatever stood there before."""
    import tempfile  # deferred: 5 ms, only who copies needs it

    number, fresh = tempfile.mkstemp(dir=make_private_folder(path.parent), prefix=path.name)
    try:
        with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        Path(fresh).replace(path)
    except OSError:
        Path(fresh).unlink(missing_ok=True)
        raise
    return path


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other process is inside this block for `folder`.

    Windows, and a file system without locks on folders (NFS), do not wait.
    """
    if is_windows():
        yield
        return
    import fcntl  # deferred: not on Windows

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
