"""An importance matrix as llama.cpp's llama-imatrix writes it, given to its quantizer.

For each matrix of a model it has the mean square of what each column was multiplied with while the
model read a text. It is a GGUF file of two tensors a matrix, with a row for each expert:
`NAME.in_sum2` are sums of squares, `NAME.counts` how many of them.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from ondevice.domain.model import ModelFile
from ondevice.errors import ModelTrouble
from ondevice.gguf.cursor import Cursor
from ondevice.gguf.metadata import read_metadata
from ondevice.gguf.tables import DEFAULT_ALIGNMENT, MAGIC
from ondevice.gguf.tensors import read_tensors

SUMS, COUNTS = ".in_sum2", ".counts"
OLDER = "`llama-imatrix --in-file OLD -o NEW.gguf` makes one of the older format"

Floats = NDArray[np.float32]


def weigh(params: Any, source: Path, path: Path) -> list[Any]:
    """Let the quantizer of `source` take the importance matrix at `path`.

    Returns what must live until it has. Ends the process with one line for a file that is no
    importance matrix, or one of another model.
    """
    found = read(path)
    names = set()
    for part in ModelFile(source, "llama.cpp", source.name).paths:
        with part.open("rb") as file:
            names |= {each.name for each in _table(file, part)[1]}
    used = found.keys() & names
    if not used:
        _end(path, f"it is of another model: none of its matrices is in {source}")
    print(f"   importance matrix: {len(used)} matrices", file=sys.stderr)
    rows = (llama_cpp.llama_model_imatrix_data * (len(found) + 1))()  # an empty one ends it
    kept: list[Any] = [rows]
    for row, (name, values) in zip(rows, found.items(), strict=False):
        kept += [name.encode(), values]
        row.name, row.size = kept[-2], values.size
        row.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    noted = (llama_cpp.llama_model_kv_override * 3)()  # in the file, as llama-quantize notes it
    noted[0].key, noted[0].tag = b"quantize.imatrix.file", llama_cpp.LLAMA_KV_OVERRIDE_TYPE_STR
    noted[0].value.val_str = path.name.encode()[:127]
    noted[1].key = b"quantize.imatrix.entries_count"
    noted[1].tag = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_INT
    noted[1].value.val_i64 = len(used)
    params.imatrix, params.kv_overrides = rows, noted
    return [*kept, noted]


def read(path: Path) -> dict[str, Floats]:
    """Name of a matrix -> a number for each column, experts one after the other."""
    with path.open("rb") as file:
        kind, tensors, start = _table(file, path)
        if kind != "imatrix":
            _end(path, "it is a GGUF file of another kind")
        found = {each.name: _floats(file, start, each, path) for each in tensors}
    names = [name.removesuffix(SUMS) for name in found if name.endswith(SUMS)]
    return {name: _means(found, name, path) for name in names}


def _table(file: BinaryIO, path: Path) -> tuple[Any, list[Any], int]:
    """What kind of file it says it is, its tensors, and where their data begins."""
    cursor = Cursor(file, path.stat().st_size)
    try:
        if cursor.take(len(MAGIC)) != MAGIC:
            _end(path, f"it is not GGUF; {OLDER}")
        cursor.u32()
        n_tensors, n_pairs = cursor.u64(), cursor.u64()
        metadata = read_metadata(cursor, n_pairs)
        tensors = read_tensors(cursor, n_tensors)
        alignment = metadata.number("general.alignment") or DEFAULT_ALIGNMENT
    except ModelTrouble as error:
        _end(path, error.message)
    start = -(-cursor.offset // alignment) * alignment
    return metadata.scalars.get("general.type"), list(tensors), start


def _floats(file: BinaryIO, start: int, tensor: Any, path: Path) -> Floats:
    file.seek(start + tensor.offset)
    data = file.read(tensor.size_bytes)
    if tensor.kind != "F32" or len(data) != tensor.size_bytes:
        _end(path, f"it is damaged at {tensor.name}")
    return np.frombuffer(data, dtype="<f4")


def _means(found: dict[str, Floats], name: str, path: Path) -> Floats:
    """As llama-quantize takes them: an expert that was never asked has 1 in every column."""
    sums, counts = found[f"{name}{SUMS}"], found.get(f"{name}{COUNTS}")
    if counts is None or not len(counts) or len(sums) % len(counts):
        _end(path, f"it has no counts that fit {name}")
    rows, times = sums.reshape(len(counts), -1), counts.reshape(-1, 1)
    means = np.where(times > 0, rows / np.maximum(times, 1), 1)
    return np.ascontiguousarray(means, dtype=np.float32).reshape(-1)


def _end(path: Path, why: str) -> NoReturn:
    sys.exit(f"quantize: {path} is no importance matrix for this model: {why}")
