"""An importance matrix reaches llama.cpp's quantizer, and a wrong one is named."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from ondevice.gguf.header import read_header
from ondevice.gguf.shapes import SHAPES, write_shape

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "quantize.py"
SPEC = replace(SHAPES["tiny-llama"], n_embd=256, n_ff=256, head_dim=64)
"""Small, with rows that IQ4_XS divides."""
MATRIX = "blk.1.ffn_gate.weight"
IMPORTANT = slice(0, 8)

Floats = Any


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("imatrix") / "tiny-F32.gguf"
    write_shape(SPEC, "F32", path)
    return path


def write_matrix(path: Path, **changes: Any) -> Path:
    """For each matrix of the source: the IMPORTANT columns weigh a million times the others."""
    chosen = {"kind": "imatrix", "columns": SPEC.n_embd, "named": "{}", "counts": [[4.0]]} | changes
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(chosen["kind"])
    row = np.ones((1, chosen["columns"]), dtype=np.float32)
    row[:, IMPORTANT] = 1e6
    parts = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    for layer in range(SPEC.n_layers):
        for part in parts:
            name = chosen["named"].format(f"blk.{layer}.{part}.weight")
            writer.add_tensor(f"{name}.in_sum2", 4 * row)
            writer.add_tensor(f"{name}.counts", np.array(chosen["counts"], dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def quantize(source: Path, made: Path, matrix: Path | None = None) -> str:
    """Into IQ4_XS; what was said where it failed, or nothing."""
    command = [sys.executable, str(SCRIPT), "gguf", str(source), str(made), "IQ4_XS"]
    command += [str(matrix)] if matrix else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def values_of(path: Path) -> Floats:
    (tensor,) = (each for each in gguf.GGUFReader(path).tensors if each.name == MATRIX)
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type)


def test_columns_that_matter_come_out_nearer(source: Path, tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path / "matrix.gguf")
    plain, weighed = tmp_path / "plain.gguf", tmp_path / "weighed.gguf"
    assert quantize(source, plain) == ""
    assert quantize(source, weighed, matrix) == ""
    whole = values_of(source)

    def error(made: Path, columns: slice) -> float:
        return float(np.square(values_of(made) - whole)[:, columns].mean())

    assert error(weighed, IMPORTANT) < 0.8 * error(plain, IMPORTANT)
    assert error(weighed, slice(8, None)) > error(plain, slice(8, None))


def test_the_file_says_by_which_matrix_it_was_made(source: Path, tmp_path: Path) -> None:
    made = tmp_path / "made.gguf"
    assert quantize(source, made, write_matrix(tmp_path / "matrix.gguf")) == ""
    header = read_header(made)
    assert header.quantization == "IQ4_XS"
    assert header.metadata["quantize.imatrix.file"] == "matrix.gguf"
    assert header.metadata["quantize.imatrix.entries_count"] == 7 * SPEC.n_layers


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kind": "model"}, "it is a GGUF file of another kind"),
        ({"named": "other.{}"}, "it is of another model: none of its matrices is in "),
        ({"columns": 128}, "llama.cpp did not quantize "),
        ({"counts": [[1.0], [1.0], [1.0]]}, "it has no counts that fit blk.0.attn_q.weight"),
    ],
    ids=["a model", "of another model", "of another width", "without counts"],
)
def test_a_matrix_that_does_not_belong_is_named(
    changes: dict[str, Any], why: str, source: Path, tmp_path: Path
) -> None:
    said = quantize(source, tmp_path / "made", write_matrix(tmp_path / "matrix.gguf", **changes))
    assert why in said


@pytest.mark.parametrize("size", [0, 3, 100, 5000])
def test_a_file_that_is_cut_or_none_is_named(size: int, source: Path, tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path / "matrix.gguf")
    matrix.write_bytes(matrix.read_bytes()[:size])
    assert "is no importance matrix for this model: " in quantize(source, tmp_path / "made", matrix)


def test_the_older_format_is_told_what_makes_the_newer(source: Path, tmp_path: Path) -> None:
    (tmp_path / "matrix.dat").write_bytes(b"\x02\0\0\0" + bytes(100))
    said = quantize(source, tmp_path / "made", tmp_path / "matrix.dat")
    assert "it is not GGUF; `llama-imatrix --in-file OLD -o NEW.gguf` makes one" in said


def test_an_expert_that_was_never_asked_weighs_one(tmp_path: Path) -> None:
    path = tmp_path / "matrix.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("imatrix")
    writer.add_tensor("m.in_sum2", np.array([[6, 9], [0, 0]], dtype=np.float32))
    writer.add_tensor("m.counts", np.array([[3], [0]], dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    code = "import sys, imatrix; print(imatrix.read(__import__('pathlib').Path(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=SCRIPT.parent, capture_output=True, text=True
    )
    assert done.stdout == "{'m': array([2., 3., 1., 1.], dtype=float32)}\n", done.stderr
