"""A build that fails stops `make`, and is not taken for a finished one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The Makefile and what its native build reads, with an environment whose Python is given."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "pyvenv.cfg").touch()
    return tmp_path


def build(
    project: Path, pip_answers: int = 0, *arguments: str, cmake_args: str | None = None
) -> subprocess.CompletedProcess[str]:
    """What pip is called with goes to pip-calls, after the options of the build."""
    python = project / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\necho "$CMAKE_ARGS :: $@" >> pip-calls\nexit {pip_answers}\n')
    python.chmod(0o755)
    env = {name: value for name, value in os.environ.items() if name != "CMAKE_ARGS"}
    return subprocess.run(
        ["make", "-C", str(project), ".venv/.native", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=env if cmake_args is None else env | {"CMAKE_ARGS": cmake_args},
    )


def cache_of(call: str) -> str:
    """pip's, that one call names."""
    return call.split("--cache-dir ")[1].split()[0]


def calls(project: Path) -> list[str]:
    return (project / "pip-calls").read_text().splitlines()


def test_a_failed_native_build_stops_says_so_and_is_tried_again(project: Path) -> None:
    failed = build(project, 1)
    assert failed.returncode != 0
    assert "llama.cpp was not built" in failed.stderr
    assert not (project / ".venv" / ".native").exists()
    assert build(project, 0).returncode == 0
    assert (project / ".venv" / ".native").exists()
    assert len(calls(project)) == 2


def test_a_lock_without_the_native_package_stops_too(project: Path) -> None:
    (project / "requirements.lock").write_text("click==8.1.8\n")
    failed = build(project, 0)
    assert failed.returncode != 0
    assert "names no llama-cpp-python" in failed.stderr
    assert not (project / ".venv" / ".native").exists()


def test_a_benchmark_that_does_not_run_keeps_no_other_from_running(project: Path) -> None:
    (project / "benchmarks").mkdir()
    for name in ("a", "b"):
        (project / "benchmarks" / f"{name}.py").touch()
    for name in ("requirements-dev.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, project)
    for stamp in (".native", ".installed", ".developing"):
        (project / ".venv" / stamp).touch()
    python = project / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\necho "ran $1"\n[ "$1" != benchmarks/a.py ]\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "-C", str(project), "bench"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "== benchmarks/a.py did not run: see above\n")
    ran = [line for line in done.stdout.splitlines() if line.startswith("ran ")]
    assert ran == ["ran benchmarks/a.py", "ran benchmarks/b.py"]


class TestBackend:
    @pytest.mark.parametrize("backend", ["cuda", "vulkan", "metal", "hip"])
    def test_is_what_llama_cpp_is_built_for(self, project: Path, backend: str) -> None:
        assert build(project, 0, f"BACKEND={backend}").returncode == 0
        (call,) = calls(project)
        assert call.startswith(f"-DLLAVA_BUILD=OFF -DGGML_{backend.upper()}=ON :: ")
        assert f"--cache-dir .tools/pip-{backend}" in call  # pip keeps one build of a version
        assert (project / ".venv" / ".backend").read_text() == f"{backend}\n"

    def test_that_changes_builds_again_and_one_that_stays_does_not(self, project: Path) -> None:
        for argument in ((), ("BACKEND=vulkan",), ("BACKEND=vulkan",), (), ("BACKEND=",)):
            assert build(project, 0, *argument).returncode == 0
        cpu, vulkan = calls(project)
        assert "--force-reinstall" not in cpu
        assert "GGML" not in cpu
        assert "--force-reinstall" in vulkan
        assert build(project, 0, "BACKEND=cpu").returncode == 0
        assert "--force-reinstall" in calls(project)[2]
        assert "GGML" not in calls(project)[2]

    def test_of_before_holds_for_another_version(self, project: Path) -> None:
        build(project, 0, "BACKEND=vulkan")
        (project / ".venv" / ".native").unlink()
        assert build(project).returncode == 0
        assert "-DGGML_VULKAN=ON" in calls(project)[1]

    def test_whose_build_fails_is_not_taken_for_built(self, project: Path) -> None:
        build(project)
        failed = build(project, 1, "BACKEND=cuda")
        assert failed.returncode != 0
        assert "docs/gpu.md" in failed.stderr
        build(project)
        assert len(calls(project)) == 2  # what was there before is still installed
        assert build(project, 0, "BACKEND=cuda").returncode == 0
        assert len(calls(project)) == 3

    def test_goes_with_the_options_a_person_gives(self, project: Path) -> None:
        build(project, 0, "BACKEND=vulkan", cmake_args="-DMINE=1")
        build(project, 0, "BACKEND=cuda", "CMAKE_ARGS=-DHIS=1")
        first, second = calls(project)
        assert first.startswith("-DLLAVA_BUILD=OFF -DGGML_VULKAN=ON -DMINE=1 :: ")
        assert second.startswith("-DLLAVA_BUILD=OFF -DGGML_CUDA=ON -DHIS=1 :: ")

    def test_has_a_cache_for_each_choice_of_options(self, project: Path) -> None:
        for given in (None, "-DMINE=1", "-DMINE=2"):
            build(project, 0, "BACKEND=vulkan", cmake_args=given)
        folders = [cache_of(call) for call in calls(project)]
        assert folders[0] == ".tools/pip-vulkan"
        assert all(folder.startswith(".tools/pip-vulkan-") for folder in folders[1:])
        assert len({*folders}) == 3

    @pytest.mark.parametrize("backend", ["opencl", "CUDA", "cuda vulkan", "%"])
    def test_that_is_unknown_is_one_line(self, project: Path, backend: str) -> None:
        refused = build(project, 0, f"BACKEND={backend}")
        assert refused.returncode != 0
        (line,) = refused.stderr.splitlines()
        assert f'BACKEND is "{backend}"; there are: cpu cuda vulkan metal hip' in line
        assert not (project / "pip-calls").exists()


class TestOptionsOfOnesOwn:
    """CMAKE_ARGS, on the command line or in the environment."""

    MINE = "-DMINE='one two' -DCMAKE_CXX_FLAGS=-O2"

    def test_build_anew_and_then_stay(self, project: Path) -> None:
        assert build(project).returncode == 0
        for given in (self.MINE, self.MINE, None, f"-DLLAVA_BUILD=OFF {self.MINE}"):
            assert build(project, cmake_args=given).returncode == 0
        plain, mine = calls(project)
        assert plain.startswith("-DLLAVA_BUILD=OFF :: ")
        assert "--cache-dir" not in plain  # what pip kept before is taken up
        assert mine.startswith(f"-DLLAVA_BUILD=OFF {self.MINE} :: ")
        assert "--force-reinstall" in mine
        assert cache_of(mine).startswith(".tools/pip-cpu-")

    def test_stay_for_another_version_and_go_when_they_are_said_to_be_none(
        self, project: Path
    ) -> None:
        build(project, cmake_args=self.MINE)
        (project / ".venv" / ".native").unlink()
        build(project)
        build(project, cmake_args="")
        mine, again, none = calls(project)
        assert cache_of(again) == cache_of(mine)
        assert none.startswith("-DLLAVA_BUILD=OFF :: ")
        assert "--force-reinstall" in none
        assert "--cache-dir" not in none

    def test_whose_build_fails_are_not_taken_for_built(self, project: Path) -> None:
        build(project)
        assert build(project, 1, cmake_args=self.MINE).returncode != 0
        build(project)
        assert len(calls(project)) == 2
        assert build(project, 0, cmake_args=self.MINE).returncode == 0
        assert len(calls(project)) == 3


def test_an_environment_of_before_is_not_built_again(project: Path) -> None:
    """It has no note of what it was built for: that is the CPU without options."""
    native = project / ".venv" / ".native"
    native.touch()
    for arguments in ((), ("BACKEND=",), ("BACKEND=cpu",)):
        assert build(project, 0, *arguments).returncode == 0
    assert build(project, cmake_args="-DLLAVA_BUILD=OFF").returncode == 0
    assert not (project / "pip-calls").exists()


def test_the_vulkan_tests_ask_for_the_packages_they_need(tmp_path: Path) -> None:
    for tool in ("bash", "dirname", "sed", "grep", "env"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    asked = subprocess.run(
        [ROOT / "scripts" / "vulkan.sh", "false"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": str(tmp_path)},
    )
    assert asked.returncode == 1
    missing, install = asked.stderr.splitlines()
    assert missing.startswith("vulkan: these packages are missing: glslc")
    assert install.startswith("  On Debian or Ubuntu: sudo apt-get install glslc")


def test_help_names_what_there_is_and_what_there_is_not_is_refused(project: Path) -> None:
    def make(target: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "-C", str(project), target]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    told = make("help")
    assert told.returncode == 0
    named = re.findall(r"^  make ([\w-]+)", told.stdout, re.M)
    rules = re.findall(r"^([\w-]+):", (project / "Makefile").read_text(), re.M)
    assert named == ["run", "test", "soak", "test-vulkan", "bench", "lock", "clean", "help"]
    assert set(named) <= set(rules)
    assert make("check").returncode != 0
