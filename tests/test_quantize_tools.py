"""scripts/quantize.sh with its real tools on a real model: torch, minutes, and some GB of disk.

TOOLS names a folder in which they are installed already.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ondevice.gguf.header import read_header

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(os.environ.get("TOOLS", ROOT / ".tools"))
TEXTS = ("Rivers run to the sea.", "3 of 42 or 2,048: isn't it?", "\tdef grün(x):\n\n  # café 🙂")

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="the script needs flock"),
]


def command(source: Path, output: Path, *types: str) -> dict[str, Any]:
    env = os.environ | {"PYTHON": sys.executable, "TOOLS": str(TOOLS)}
    return {"args": ["bash", ROOT / "scripts" / "quantize.sh", source, output, *types], "env": env}


def quantize(source: Path, output: Path, *types: str) -> str:
    """What it printed as data."""
    done = subprocess.run(**command(source, output, *types), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (output / ".begun").exists()
    return done.stdout


def answer(model: Path) -> list[str]:
    """Words of a greedy answer."""
    options = ("-m", str(model), "--json", "-t", "0", "-n", "24")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ondevice.cli.main",
            "run",
            *options,
            "What is the capital of France?",
        ],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return str(json.loads(done.stdout)["text"]).split()


def ids_of(model: Path) -> str:
    """TEXTS as chats, by llama-cpp-python's own class and the template in the file."""
    chats = [[{"role": "user", "content": text}] for text in TEXTS]
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "engines" / "reference.py"],
        input=json.dumps({"model": str(model), "chats": chats}),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quantize")


@pytest.fixture(scope="module")
def folder(work: Path, starter_path: Path) -> Path:
    """SmolLM2 as a Hugging Face folder; the script installs its tools where they are missing."""
    quantize(starter_path, work / "of-gguf", "onnx-int4")
    made = work / "SmolLM2-135M-Instruct"
    step = [TOOLS / "bin" / "python", ROOT / "scripts" / "quantize.py", "folder"]
    subprocess.run([*step, starter_path, made], check=True, capture_output=True)
    return made


def test_a_gguf_file_becomes_a_folder_that_answers(work: Path, folder: Path) -> None:
    assert "Paris" in " ".join(answer(work / "of-gguf" / "SmolLM2-135M-Instruct-onnx-int4"))


def test_a_folder_becomes_both(
    folder: Path, work: Path, starter_path: Path, onnx_path: Path
) -> None:
    said = quantize(folder, work / "of-folder", "Q8_0", "onnx-int4")
    made = work / "of-folder" / "SmolLM2-135M-Instruct-Q8_0.gguf"
    header = read_header(made)
    assert (header.architecture, header.quantization, header.n_layers) == ("llama", "Q8_0", 30)
    assert ids_of(made) == ids_of(starter_path)
    assert answer(made) == answer(onnx_path)  # the same weights in float32
    assert "Paris" in " ".join(answer(work / "of-folder" / "SmolLM2-135M-Instruct-onnx-int4"))
    entries = tomllib.loads(said[said.index("[[model.files]]") :])["model"]["files"]
    assert [each["quantization"] for each in entries] == ["Q8_0", "int4"]
    assert entries[0]["size_bytes"] == made.stat().st_size


def test_killed_in_the_middle_and_run_again_it_ends_right(folder: Path, work: Path) -> None:
    output, kinds = work / "killed", ("Q8_0", "Q4_0")
    running = subprocess.Popen(
        **command(folder, output, *kinds), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert running.stderr is not None
    for line in running.stderr:  # the first is whole, the second has begun
        if "quantize.py gguf" in line and line.rstrip().endswith("Q4_0"):
            break
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    first, second = (output / f"SmolLM2-135M-Instruct-{kind}.gguf" for kind in kinds)
    assert first.exists()
    assert not second.exists()
    made = first.stat().st_mtime_ns
    quantize(folder, output, *kinds)
    assert first.stat().st_mtime_ns == made
    assert read_header(second).quantization == "Q4_0"
