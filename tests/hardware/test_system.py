"""Every branch on the operating system, taken once, on faked platforms."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ondevice.hardware import probe, system


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("linux", {"process_group": 0}),
        ("darwin", {"process_group": 0}),
        ("win32", {"creationflags": 0x200}),
    ],
)
def test_ctrl_c_in_the_terminal_does_not_reach_the_child(
    monkeypatch: pytest.MonkeyPatch, platform: str, expected: dict[str, int]
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert system.detached_from_terminal() == expected
    assert system.is_linux() == (platform == "linux")
    assert system.is_windows() == (platform == "win32")


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_what_only_linux_has_is_left_out_elsewhere(
    monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    before = resource.getrlimit(resource.RLIMIT_AS)
    with system.memory_limit(1):
        assert resource.getrlimit(resource.RLIMIT_AS) == before
        assert len(bytes(1 << 20)) == 1 << 20
    assert system.die_with_parent(1) is None  # on Linux, with another parent, it would end us


def in_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from ondevice.hardware import system\n" + code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_crash_leaves_no_core_file() -> None:
    said = in_python(
        "import resource\nsystem.write_no_core_file()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    assert said.stdout.strip() == "(0, 0)"


def test_core_files_are_none_of_our_business_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    monkeypatch.setattr(sys, "platform", "win32")
    system.write_no_core_file()
    assert resource.getrlimit(resource.RLIMIT_CORE) == before


def test_a_child_whose_parent_is_gone_ends_at_once() -> None:
    assert in_python("system.die_with_parent(0)\nprint('still here')").stdout == ""


LIMITED = """
from ondevice.hardware import system
with system.memory_limit(64 << 20):
    try:
        bytes(256 << 20)
    except MemoryError:
        print("refused")
print(len(bytes(256 << 20)))
"""


def test_the_memory_limit_holds_inside_and_is_gone_after() -> None:
    """In a process of its own: another thread of this one may give memory back meanwhile."""
    run = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True)
    assert run.stdout.split() == ["refused", str(256 << 20)], run.stderr


def test_the_memory_limit_is_restored_after_an_error() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(ZeroDivisionError), system.memory_limit(64 << 20):
        _ = 1 // 0
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_a_stricter_limit_of_the_user_stays() -> None:
    said = in_python(
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 31))\n"
        "with system.memory_limit(1 << 40):\n"
        "    print(resource.getrlimit(resource.RLIMIT_AS))\n"
        "print(resource.getrlimit(resource.RLIMIT_AS))"
    )
    assert said.stdout.split("\n")[:2] == [str((1 << 30, 1 << 31))] * 2


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-signal.SIGSEGV, "signal SIGSEGV"),
        (-signal.SIGKILL, "signal SIGKILL"),
        (-250, "signal 250"),
        (3, "exit code 3"),
        (0, "exit code 0"),
    ],
)
def test_how_a_process_ended_is_said_in_words(code: int, words: str) -> None:
    assert system.exit_reason(code) == words


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("files", "membership", "quota"),
    [
        pytest.param({}, "0::/\n", None, id="no cgroups"),
        pytest.param({"cpu.max": "max 100000"}, "0::/\n", None, id="v2 without a limit"),
        pytest.param({"cpu.max": "150000 100000"}, "0::/\n", 1.5, id="v2 in a container"),
        pytest.param({"cpu.max": "150000 100000"}, None, 1.5, id="v2 without a membership"),
        pytest.param({"cpu.max": "nonsense"}, "0::/\n", None, id="v2 that does not read"),
        pytest.param({"cpu.max": "1 0"}, "0::/\n", None, id="v2 with a period of zero"),
        pytest.param(
            {"a.slice/b.service/cpu.max": "50000 100000"},
            "0::/a.slice/b.service\n",
            0.5,
            id="v2 of a service",
        ),
        pytest.param(
            {"a.slice/cpu.max": "200000 100000", "a.slice/b.service/cpu.max": "max 100000"},
            "0::/a.slice/b.service\n",
            2.0,
            id="v2 of a slice above",
        ),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"},
            "1:cpu:/\n",
            2.5,
            id="v1",
        ),
        pytest.param(
            {"cpu/docker/x/cpu.cfs_quota_us": "50000", "cpu/docker/x/cpu.cfs_period_us": "100000"},
            "9:name=systemd:/\n4:cpuacct,cpu:/docker/x\nnonsense\n",
            0.5,
            id="v1 of a container",
        ),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            "1:cpu:/\n",
            None,
            id="v1 without a limit",
        ),
        pytest.param({}, "0::/../outside\n", None, id="a group outside this namespace"),
    ],
)
def test_the_smallest_cpu_quota_on_the_way_up_counts(
    tmp_path: Path, files: dict[str, str], membership: str | None, quota: float | None
) -> None:
    for name, text in files.items():
        write(tmp_path / "cgroup" / name, text)
    if membership is not None:
        write(tmp_path / "self", membership)
    assert system.cgroup_cpu_quota(tmp_path / "cgroup", tmp_path / "self") == quota


def test_affinity_is_none_where_the_system_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    assert system.allowed_cpus() == os.sched_getaffinity(0)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert system.allowed_cpus() is None


def test_a_cpu_that_is_not_there_has_no_core() -> None:
    assert system.core_of(10_000) is None


def test_a_private_folder_is_for_this_user_only(tmp_path: Path) -> None:
    folder = system.make_private_folder(tmp_path / "a" / "b")
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    assert system.make_private_folder(folder).stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("allowed", "quota", "expected"),
    [
        pytest.param({0, 1, 2, 3}, None, 2, id="two hyperthreads of two cores"),
        pytest.param({0, 2}, None, 1, id="both hyperthreads of one core"),
        pytest.param({0, 1}, None, 2, id="one hyperthread of each core"),
        pytest.param({7, 8}, None, 2, id="cores nobody describes"),
        pytest.param({0, 1, 2, 3}, 1.5, 2, id="a quota above the cores in use"),
        pytest.param({0, 1, 2, 3}, 0.5, 1, id="half a core is one thread"),
    ],
)
def test_usable_cores_are_physical_allowed_and_paid_for(
    monkeypatch: pytest.MonkeyPatch, allowed: set[int], quota: float | None, expected: int
) -> None:
    cores = {0: ("0", "0"), 1: ("0", "1"), 2: ("0", "0"), 3: ("0", "1")}
    monkeypatch.setattr(system, "allowed_cpus", lambda: allowed)
    monkeypatch.setattr(system, "core_of", cores.get)
    monkeypatch.setattr(system, "cgroup_cpu_quota", lambda: quota)
    assert probe.usable_cores() == expected


def test_usable_cores_are_counted_where_affinity_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(system, "allowed_cpus", lambda: None)
    monkeypatch.setattr(system, "cgroup_cpu_quota", lambda: None)
    assert 1 <= probe.usable_cores() <= (os.cpu_count() or 1)


def test_available_memory_is_part_of_the_total() -> None:
    memory = probe.machine_memory()
    assert 0 < memory.available_bytes <= memory.total_bytes


@pytest.mark.parametrize(
    ("platform", "before", "added"),
    [
        ("linux", {}, {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}),
        ("linux", {"GLIBC_TUNABLES": "a=b"}, {"GLIBC_TUNABLES": "a=b:glibc.malloc.hugetlb=1"}),
        ("darwin", {}, {}),
        ("win32", {}, {}),
    ],
)
def test_huge_pages_are_asked_for_beside_what_the_user_tuned(
    monkeypatch: pytest.MonkeyPatch, platform: str, before: dict[str, str], added: dict[str, str]
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert system.huge_pages(before) == added


@pytest.mark.parametrize(
    ("platform", "name"), [("linux", None), ("darwin", None), ("win32", "msvcrt")]
)
def test_the_c_library_has_its_name_on_each_platform(
    monkeypatch: pytest.MonkeyPatch, platform: str, name: str | None
) -> None:
    opened: list[str | None] = []
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("ctypes.CDLL", opened.append)
    system.c_library()
    assert opened == [name]


@pytest.mark.parametrize(
    ("platform", "environment", "has"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ""}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("darwin", {}, True),
        ("win32", {}, True),
    ],
)
def test_a_browser_needs_a_desktop(
    monkeypatch: pytest.MonkeyPatch, platform: str, environment: dict[str, str], has: bool
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert system.has_desktop(environment) is has


@pytest.mark.parametrize(("platform", "level"), [("linux", 19), ("darwin", 19), ("win32", 0x40)])
def test_a_process_of_low_priority_has_the_lowest_of_its_platform(
    monkeypatch: pytest.MonkeyPatch, platform: str, level: int
) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("psutil.Process", lambda pid: Asked(pid, given))
    system.lower_priority(123)
    assert given == [(123, level)]


class Asked:
    """A process that notes which priority it is to have."""

    def __init__(self, pid: int, given: list[tuple[int, int]]) -> None:
        self.pid, self._given = pid, given

    def nice(self, level: int) -> None:
        self._given.append((self.pid, level))
