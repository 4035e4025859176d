"""A build that fails stops `make`, and is not taken for a finished one."""

from __future__ import annotations

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


def build(project: Path, pip_answers: int) -> subprocess.CompletedProcess[str]:
    python = project / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >> pip-calls\nexit {pip_answers}\n')
    python.chmod(0o755)
    return subprocess.run(
        ["make", "-C", str(project), ".venv/.native"], capture_output=True, text=True, check=False
    )


def test_a_failed_native_build_stops_says_so_and_is_tried_again(project: Path) -> None:
    failed = build(project, 1)
    assert failed.returncode != 0
    assert "llama.cpp was not built" in failed.stderr
    assert not (project / ".venv" / ".native").exists()
    assert build(project, 0).returncode == 0
    assert (project / ".venv" / ".native").exists()
    assert len((project / "pip-calls").read_text().splitlines()) == 2


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
