"""A step of scripts/quantize.sh that fails stops it, and is not taken for a finished one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "quantize.sh"
PACKAGE = "llama_cpp_python-1.0"
PYTHON = """#!/bin/sh
echo "$*" >> "$FOLDER/calls"
for last; do :; done
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *"pip install"*) [ ! -e "$FOLDER/no-install" ] ;;
    *"pip download"*)
        while [ "$1" != -d ]; do shift; done
        cp "$FOLDER/package" "$2/llama_cpp_python-1.0.tar.gz" ;;
    "-c "*) echo 1.0 ;;
    *"convert_hf_to_gguf.py"*) [ ! -e "$FOLDER/no-convert" ] && echo converted > "$last" ;;
    *"quantize.py gguf"*) cp "$3" "$4" ;;
esac
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the script needs flock")


class Run:
    """The script, with a Python that does nothing; `folder/no-...` lets one of its steps fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "input").mkdir()
        (folder / "input" / "config.json").touch()
        (folder / "calls").touch()
        (folder / "python").write_text(PYTHON)
        (folder / "python").chmod(0o755)
        converter = folder / PACKAGE / "vendor" / "llama.cpp" / "convert_hf_to_gguf.py"
        converter.parent.mkdir(parents=True)
        converter.write_bytes(os.urandom(100_000))
        with tarfile.open(folder / "package", "w:gz") as package:
            package.add(folder / PACKAGE, PACKAGE)
        self.tools, self.result = folder / "tools", folder / "output" / "input-Q4_0.gguf"

    def fails(self) -> str:
        done = self._do("input")
        assert done.returncode != 0
        assert not self.result.exists()
        assert "quantize.py gguf" not in (self.folder / "calls").read_text()
        return done.stderr

    def makes(self, name: str = "input") -> Path:
        done = self._do(name)
        assert done.returncode == 0, done.stderr
        assert self.result.exists()
        return self.result

    def _do(self, name: str) -> subprocess.CompletedProcess[str]:
        env = {"PYTHON": f"{self.folder}/python", "TOOLS": str(self.tools)}
        return subprocess.run(
            ["bash", SCRIPT, self.folder / name, self.folder / "output", "Q4_0"],
            env=os.environ | env | {"FOLDER": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.mark.parametrize("step", ["no-install", "no-convert"])
def test_a_step_that_fails_stops_it_and_is_done_again(run: Run, step: str) -> None:
    (run.folder / step).touch()
    run.fails()
    (run.folder / step).unlink()
    assert run.makes().read_text() == "converted\n"


def test_tools_that_were_not_installed_are_installed_again(run: Run) -> None:
    (run.folder / "no-install").touch()
    run.fails()
    assert not (run.tools / ".installed").exists()
    (run.folder / "no-install").unlink()
    run.makes()
    assert (run.tools / ".installed").exists()


def test_half_an_unpacked_package_is_not_taken_for_one(run: Run) -> None:
    package = run.folder / "package"
    whole = package.read_bytes()
    package.write_bytes(whole[: len(whole) // 2])
    run.fails()
    assert not (run.tools / PACKAGE).exists()
    package.write_bytes(whole)
    run.makes()
    sizes = {each.stat().st_size for each in run.tools.rglob("convert_hf_to_gguf.py")}
    assert sizes == {100_000}


def test_room_is_asked_for_what_links_lead_to(run: Run) -> None:
    large = run.folder / "blob"
    large.touch()
    os.truncate(large, shutil.disk_usage(run.folder).free)
    (run.folder / "input" / "model.safetensors").symlink_to(large)
    assert "bytes free; this may take" in run.fails()


def test_one_small_type_needs_no_room_for_large_ones(run: Run) -> None:
    run.result = run.folder / "output" / "large-Q4_0.gguf"
    large = run.folder / "large.gguf"
    large.touch()
    os.truncate(large, shutil.disk_usage(run.folder).free // 5)
    run.makes("large.gguf")
