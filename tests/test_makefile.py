"""A build that fails stops `make`, and is not taken for a finished one."""

from __future__ import annotations

import os
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
        assert first.startswith("-DMINE=1 -DGGML_VULKAN=ON :: ")
        assert second.startswith("-DHIS=1 -DGGML_CUDA=ON :: ")

    @pytest.mark.parametrize("backend", ["opencl", "CUDA", "cuda vulkan", "%"])
    def test_that_is_unknown_is_one_line(self, project: Path, backend: str) -> None:
        refused = build(project, 0, f"BACKEND={backend}")
        assert refused.returncode != 0
        (line,) = refused.stderr.splitlines()
        assert f'BACKEND is "{backend}"; there are: cpu cuda vulkan metal hip' in line
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
