"""A step of scripts/quantize.sh that fails stops it, and is not taken for a finished one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "quantize.sh"
VERSION = version("llama-cpp-python")
PACKAGE = f"llama_cpp_python-{VERSION}"
PYTHON = (
    f"#!/bin/sh\nversion={VERSION}\n"
    + """
echo "$*" >> "$FOLDER/calls"
for last; do :; done
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *"pip install"*) [ ! -e "$FOLDER/no-install" ] ;;
    *"pip download"*)
        while [ "$1" != -d ]; do shift; done
        cat "$2/pinned" > "$FOLDER/pinned"
        cp "$FOLDER/package" "$2/llama_cpp_python-$version.tar.gz" ;;
    "-c "*) cat "$FOLDER/version" 2> /dev/null || echo "$version" ;;
    *"convert_hf_to_gguf.py"*)
        echo half > "$last"
        [ ! -p "$FOLDER/wait" ] || cat "$FOLDER/wait"
        [ ! -e "$FOLDER/no-convert" ] && echo converted > "$last" ;;
    *"quantize.py room"*) cat "$FOLDER/room" 2> /dev/null || echo 0 ;;
    *"quantize.py gguf"*) cp "$3" "$4" ;;
esac
"""
)

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

    def fails(self, name: str = "input", **env: str) -> str:
        """Before anything is made, or measured."""
        before, there = self.calls(), self.result.exists()
        done = self._do(name, **env)
        assert done.returncode != 0
        assert self.result.exists() == there
        assert not (self.result.parent / ".begun").exists()
        done_since = self.calls().removeprefix(before)
        assert "quantize.py gguf" not in done_since
        assert "quantize_table.py" not in done_since
        return done.stderr

    def makes(self, name: str = "input", **env: str) -> Path:
        done = self._do(name, **env)
        assert done.returncode == 0, done.stderr
        assert self.result.exists()
        assert not (self.result.parent / ".begun").exists()
        return self.result

    def killed(self) -> None:
        """All of it at once, while the converter writes."""
        os.mkfifo(self.folder / "wait")
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        running = subprocess.Popen(**self._command("input"), **silent, start_new_session=True)
        with (self.folder / "wait").open("w"):  # opens when the converter reads it
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        (self.folder / "wait").unlink()

    def calls(self) -> str:
        return (self.folder / "calls").read_text()

    def _do(self, name: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = self._command(name, **env)
        return subprocess.run(**command, capture_output=True, text=True, check=False)

    def _command(self, name: str, **env: str) -> dict[str, Any]:
        env |= {"PYTHON": f"{self.folder}/python", "TOOLS": str(self.tools)}
        return {
            "args": ["bash", SCRIPT, self.folder / name, self.folder / "output", "Q4_0"],
            "env": os.environ | env | {"FOLDER": str(self.folder)},
        }


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_the_usage_is_all_that_is_said_at_the_top_of_it() -> None:
    told = subprocess.run(["bash", SCRIPT], capture_output=True, text=True, check=False)
    _, *top = SCRIPT.read_text().partition("\nset -")[0].splitlines()
    assert (told.returncode, told.stderr.splitlines()) == (2, [line[2:] for line in top])
    assert "converting a folder runs Python files" in told.stderr


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


def test_a_killed_run_is_begun_anew(run: Run) -> None:
    run.killed()
    assert (run.result.parent / ".begun" / "converted").read_text() == "half\n"
    assert not run.result.exists()
    assert run.makes().read_text() == "converted\n"


def test_too_little_room_is_told_before_anything_is_made(run: Run) -> None:
    free = shutil.disk_usage(run.folder).free
    (run.folder / "room").write_text(str(2 * free))
    assert f"bytes free; this may take {2 * free}" in run.fails()
    assert run.calls() == f"{SCRIPT.parent}/quantize.py room {run.folder}/input Q4_0\n"
    (run.folder / "room").write_text(str(free // 2))
    run.makes()


def test_room_is_asked_for_what_is_missing_alone(run: Run) -> None:
    run.makes()
    begun = run.calls()
    run.makes()
    asked, *_ = run.calls().removeprefix(begun).splitlines()
    assert asked == f"{SCRIPT.parent}/quantize.py room {run.folder}/input"
    assert "quantize.py gguf" not in run.calls().removeprefix(begun)


def test_a_source_that_cannot_be_converted_again_is_not_measured(run: Run) -> None:
    run.makes()
    (run.folder / "no-convert").touch()
    assert "that failed, see above" in run.fails()


class TestWhatAResultIsMadeOf:
    """It is noted beside it: name, bytes and time of change of each file."""

    @pytest.fixture
    def made(self, run: Run) -> Run:
        run.result = run.folder / "output" / "x-Q4_0.gguf"
        (run.folder / "x-Q4_1.gguf").write_text("low\n")
        (run.folder / "x-F16.gguf").write_text("high\n")
        (run.folder / "one").write_text("a matrix\n")
        (run.folder / "two").write_text("another matrix\n")
        return run

    def test_another_input_of_its_name_is_not_taken_for_its_own(self, made: Run) -> None:
        made.makes("x-Q4_1.gguf")
        said = made.fails("x-F16.gguf")
        assert f"{made.result} was not made of this INPUT as it is now" in said
        assert made.result.read_text() == "low\n"
        made.result.unlink()
        assert made.makes("x-F16.gguf").read_text() == "high\n"
        made.makes("x-F16.gguf")

    def test_another_importance_matrix_is_not_taken_for_its_own(self, made: Run) -> None:
        made.result = made.result.with_name("x-imatrix-Q4_0.gguf")
        made.makes("x-F16.gguf", IMATRIX=str(made.folder / "one"))
        said = made.fails("x-F16.gguf", IMATRIX=str(made.folder / "two"))
        assert "was not made of this INPUT and IMATRIX" in said
        made.makes("x-F16.gguf", IMATRIX=str(made.folder / "one"))

    def test_an_input_that_changed_is_another_one(self, run: Run) -> None:
        run.makes()
        (run.folder / "input" / "model.safetensors").write_text("new weights")
        assert "was not made of this INPUT" in run.fails()

    def test_a_part_that_changed_is_another_one(self, run: Run) -> None:
        first, second = (run.folder / f"x-F16-0000{n}-of-00002.gguf" for n in (1, 2))
        first.write_text("first")
        second.write_text("second")
        run.result = run.folder / "output" / "x-Q4_0.gguf"
        run.makes(first.name)
        second.write_text("another")
        assert "was not made of this INPUT" in run.fails(first.name)

    def test_the_input_itself_is_no_result(self, made: Run) -> None:
        made.result.parent.mkdir()
        made.result.write_text("the input\n")
        said = made.fails("output/x-Q4_0.gguf")
        assert said == f"quantize: INPUT is {made.result} itself: take another OUTPUT\n"
        assert made.result.read_text() == "the input\n"

    def test_that_is_not_noted_is_not_taken_for_this(self, made: Run) -> None:
        made.makes("x-F16.gguf").with_name("x-Q4_0.gguf.made-of").unlink()
        assert "or it is not noted" in made.fails("x-F16.gguf")

    def test_a_note_without_its_result_is_of_a_killed_run(self, made: Run) -> None:
        made.makes("x-F16.gguf").unlink()
        assert made.makes("x-F16.gguf").read_text() == "high\n"


def test_the_converter_is_the_one_whose_hash_is_locked(run: Run) -> None:
    run.makes()
    lock = (SCRIPT.parent.parent / "requirements.lock").read_text()
    pinned = (run.folder / "pinned").read_text()
    assert pinned in lock
    assert pinned.startswith(f"llama-cpp-python=={VERSION} \\\n    --hash=sha256:")
    assert pinned.count("==") == 1
    assert "--require-hashes" in run.calls()


def test_a_version_without_a_hash_is_not_fetched(run: Run) -> None:
    (run.folder / "version").write_text("0.0.1")
    assert "requirements.lock has no hash of llama-cpp-python 0.0.1" in run.fails()
    assert "pip download" not in run.calls()


def test_tools_of_another_list_are_installed_anew(run: Run) -> None:
    run.makes()
    (run.tools / ".installed").write_text("an older list\n")
    run.result.unlink()
    run.makes()
    assert run.calls().count("pip install") == 2


def test_a_safetensors_file_means_its_folder(run: Run) -> None:
    (run.folder / "input" / "model.safetensors").touch()
    run.makes("input/model.safetensors")
    assert f"convert_hf_to_gguf.py {run.folder}/input --outtype f16" in run.calls()


def test_weights_without_a_config_are_no_model(run: Run) -> None:
    (run.folder / "input" / "config.json").unlink()
    assert "a folder of one has a config.json beside its safetensors" in run.fails()


def test_a_folder_of_the_cache_is_named_after_its_repository(run: Run) -> None:
    snapshots = run.folder / "models--owner--Some-Model-1B" / "snapshots"
    snapshots.mkdir(parents=True)
    (run.folder / "input").rename(snapshots / "0123abc")
    run.result = run.folder / "output" / "Some-Model-1B-Q4_0.gguf"
    run.makes(f"{snapshots}/0123abc")


def test_a_file_of_the_cache_is_named_as_the_link_to_it(run: Run) -> None:
    (run.folder / "0123abc").write_text("a blob\n")
    snapshots = run.folder / "models--owner--Some-Model" / "snapshots" / "0123abc"
    snapshots.mkdir(parents=True)
    (snapshots / "some-model-f16.gguf").symlink_to(run.folder / "0123abc")
    run.result = run.folder / "output" / "some-model-Q4_0.gguf"
    assert run.makes(f"{snapshots}/some-model-f16.gguf").read_text() == "a blob\n"


def test_a_result_of_an_importance_matrix_has_a_name_of_its_own(run: Run) -> None:
    plain = run.makes()
    matrix = run.folder / "matrix"
    matrix.touch()
    run.result = plain.with_name("input-imatrix-Q4_0.gguf")
    run.makes(IMATRIX=os.path.relpath(matrix))
    assert run.calls().rstrip().endswith(f"Q4_0 {matrix}\n" + run.calls().rstrip().splitlines()[-1])


def test_an_importance_matrix_that_is_missing_is_told_first(run: Run) -> None:
    said = run.fails(IMATRIX=str(run.folder / "nothing"))
    assert f"there is no importance matrix {run.folder}/nothing" in said
