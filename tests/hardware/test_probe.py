"""Cores are counted as decoding can use them, and a process is told from its successor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ondevice.hardware import probe, system

FakeMachine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    """`machine(allowed, threads_per_core, quota)`: what the system would answer."""

    def fake(
        allowed: set[int] | None, threads_per_core: int | None = 1, quota: float | None = None
    ) -> None:
        def core_of(cpu: int) -> tuple[str, str] | None:
            return ("0", str(cpu // threads_per_core)) if threads_per_core else None

        monkeypatch.setattr(system, "allowed_cpus", lambda: allowed)
        monkeypatch.setattr(system, "core_of", core_of)
        monkeypatch.setattr(system, "cgroup_cpu_quota", lambda: quota)

    return fake


@pytest.mark.parametrize(
    ("allowed", "threads_per_core", "quota", "cores"),
    [
        ({0, 1, 2, 3}, 1, None, 4),
        ({0, 1, 2, 3}, 2, None, 2),
        ({0, 2}, 2, None, 2),
        ({0, 1}, 2, None, 1),
        ({5}, 1, None, 1),
        ({0, 1, 2, 3}, None, None, 4),
        (set(range(16)), 2, 4.0, 4),
        (set(range(16)), 2, 1.5, 2),
        (set(range(16)), 2, 0.1, 1),
        ({0, 1}, 1, 64.0, 2),
        (set(), 1, None, 1),
    ],
    ids=[
        "plain",
        "hyperthreads",
        "one-thread-of-each",
        "one-core",
        "pinned",
        "no-topology",
        "quota",
        "part-of-a-core-counts",
        "less-than-one",
        "generous-quota",
        "nothing-said",
    ],
)
def test_usable_cores(
    allowed: set[int],
    threads_per_core: int | None,
    quota: float | None,
    cores: int,
    machine: FakeMachine,
) -> None:
    machine(allowed, threads_per_core, quota)
    assert probe.usable_cores() == cores


def test_two_packages_do_not_share_cores(machine: FakeMachine, monkeypatch) -> None:
    machine({0, 1})
    monkeypatch.setattr(system, "core_of", lambda cpu: (str(cpu), "0"))
    assert probe.usable_cores() == 2


def test_where_affinity_is_unknown_the_physical_cores_count(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(None)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 12 if logical else 6)
    assert probe.usable_cores() == 6


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_a_process_bound_to_one_cpu_has_one_core() -> None:
    code = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from ondevice.hardware.probe import usable_cores
print(usable_cores())
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "1"


def group(root: Path, path: str, **files: str) -> None:
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


class TestTheCgroupQuota:
    def quota(self, root: Path, membership: str) -> float | None:
        file = root / "membership"
        file.write_text(membership)
        return system.cgroup_cpu_quota(root, file)

    def test_is_none_without_a_limit(self, tmp_path: Path) -> None:
        group(tmp_path, "app", cpu__max="max 100000\n")
        assert self.quota(tmp_path, "0::/app\n") is None

    def test_is_the_smallest_on_the_way_up(self, tmp_path: Path) -> None:
        group(tmp_path, "slice", cpu__max="150000 100000\n")
        group(tmp_path, "slice/app", cpu__max="400000 100000\n")
        assert self.quota(tmp_path, "0::/slice/app\n") == 1.5

    def test_of_the_first_version_is_read_too(self, tmp_path: Path) -> None:
        group(tmp_path, "cpu/app", cpu__cfs_quota_us="250000", cpu__cfs_period_us="100000")
        assert self.quota(tmp_path, "4:cpu,cpuacct:/app\n1:name=systemd:/\n") == 2.5

    def test_of_the_first_version_may_be_unlimited(self, tmp_path: Path) -> None:
        group(tmp_path, "cpu/app", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
        assert self.quota(tmp_path, "4:cpu,cpuacct:/app\n") is None

    def test_of_a_container_lies_at_the_root(self, tmp_path: Path) -> None:
        group(tmp_path, ".", cpu__max="50000 100000\n")
        assert self.quota(tmp_path, "0::/\n") == 0.5

    @pytest.mark.parametrize("content", ["", "max", "x y", "1 0", "100000"], ids=str)
    def test_that_cannot_be_read_is_none(self, content: str, tmp_path: Path) -> None:
        group(tmp_path, "app", cpu__max=content)
        assert self.quota(tmp_path, "0::/app\n") is None

    def test_outside_of_the_namespace_is_not_looked_for(self, tmp_path: Path) -> None:
        group(tmp_path, "inside", cpu__max="max 100000")
        group(tmp_path, "other", cpu__max="50000 100000")
        root = tmp_path / "inside"
        assert self.quota(root, "0::/../other\n") is None

    def test_without_a_membership_file_is_that_of_the_root(self, tmp_path: Path) -> None:
        group(tmp_path, ".", cpu__max="200000 100000")
        assert system.cgroup_cpu_quota(tmp_path, tmp_path / "missing") == 2.0


def test_memory_of_the_machine_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group without a limit says so in v1 with a number no machine has."""
    monkeypatch.setattr(system, "cgroup_memory", lambda: [system.GroupMemory(2**63 - 4096, 4096)])
    memory = probe.machine_memory()
    assert memory.total_bytes == psutil.virtual_memory().total
    assert 0 < memory.available_bytes <= memory.total_bytes


@pytest.mark.parametrize(
    ("groups", "total", "available"),
    [
        ([(100 << 20, 30 << 20)], 100 << 20, 70 << 20),
        ([(100 << 20, 30 << 20), (120 << 20, 90 << 20)], 100 << 20, 30 << 20),
        ([(100 << 20, 101 << 20)], 100 << 20, 0),
    ],
    ids=["one", "a-fuller-one-above", "over-its-limit"],
)
def test_memory_of_a_container_is_what_it_may_have(
    groups: list[tuple[int, int]], total: int, available: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [system.GroupMemory(limit, used) for limit, used in groups]
    monkeypatch.setattr(system, "cgroup_memory", lambda: found)
    memory = probe.machine_memory()
    assert (memory.total_bytes, memory.available_bytes) == (total, available)


def test_the_processor_has_a_name_and_known_features() -> None:
    assert probe.cpu_name().strip()
    assert "" not in probe.cpu_features()


class TestAProcessMark:
    def test_stays_the_same_while_it_lives_and_is_none_after(self) -> None:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        mark = probe.process_mark(child.pid)
        assert mark
        assert probe.process_mark(child.pid) == mark
        child.communicate(b"\n")
        assert probe.process_mark(child.pid) is None

    def test_of_one_that_is_dead_and_not_waited_for_is_none(self) -> None:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        child.kill()
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert probe.process_mark(child.pid) is None
        child.communicate()

    def test_differs_between_processes(self) -> None:
        assert probe.process_mark(os.getpid()) != probe.process_mark(1)

    def test_is_known_where_there_is_no_proc(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(system, "is_linux", lambda: False)
        mark = probe.process_mark(os.getpid())
        assert mark
        assert mark == probe.process_mark(os.getpid())
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        assert probe.process_mark(gone.pid) is None


def test_no_core_is_counted_from_a_topology_nobody_gives() -> None:
    assert system.core_of(99_999) is None
