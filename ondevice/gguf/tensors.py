"""The tensor table of a header: what the weights are and whether they fit into the file."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ondevice.errors import UnsupportedModel
from ondevice.gguf.cursor import Cursor, damaged, shown
from ondevice.gguf.tables import MAX_DIMENSIONS, MAX_TENSOR_NAME, TENSOR_TYPES

MAX_TENSORS: Final = 65536
MAX_DIMENSION: Final = 2**40
ROWS_TOGETHER: Final = 8
"""What llama.cpp's faster forms of a matrix take at once."""
_LOOKED_UP: Final = ("token_embd.weight", "per_layer_token_embd.weight")
_OF_LAYER: Final = re.compile(r"blk\.(\d{1,3})\.")


@dataclass(frozen=True, slots=True)
class TensorSummary:
    """All tensors of a model, taken together."""

    count: int
    total_bytes: int
    parameters: int
    by_type: Mapping[str, int]
    """Parameters held in each tensor type."""
    matrix_bytes: Mapping[str, int] = field(default_factory=dict)
    """Bytes in each type of the matrices that are multiplied with and have a multiple of 8 rows:
    those an engine may keep a second, faster copy of."""
    layer_bytes: Mapping[int, int] = field(default_factory=dict)
    """Bytes of each layer's tensors, by its number."""
    output_bytes: int = 0
    """Of the output matrix and its norm; the embedding again where it is both."""

    @property
    def main_type(self) -> str | None:
        """The type that holds most parameters."""
        return max(self.by_type, key=self.by_type.__getitem__, default=None)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One entry of the table."""

    name: str
    kind: str
    parameters: int
    size_bytes: int
    offset: int
    rows: int = 1
    """The second dimension; 1 of a vector."""


def read_tensors(cursor: Cursor, count: int) -> list[Tensor]:
    """Read the table's `count` entries."""
    if count > MAX_TENSORS:
        raise damaged(f"the header announces {count:,} tensors")
    tensors = [_read_tensor(cursor) for _ in range(count)]
    names = {tensor.name for tensor in tensors}
    if len(names) < count:
        raise damaged("two tensors have the same name")
    return tensors


def check_places(tensors: Sequence[Tensor], *, available_bytes: int, alignment: int) -> None:
    """Raise NotAModelFile unless each lies within its file and in no other's place."""
    end = 0
    for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
        if tensor.offset % alignment or tensor.offset < end:
            raise damaged(f"the tensor {shown(tensor.name)} is at an impossible place")
        end = tensor.offset + tensor.size_bytes
    if end > available_bytes:
        raise damaged(
            f"the file is truncated: {end - available_bytes:,} bytes of weights are missing"
        )


def summarize(tensors: Sequence[Tensor]) -> TensorSummary:
    """Add up all `tensors` of a model: only together do they tell whether its output is tied."""
    by_type: Counter[str] = Counter()
    for tensor in tensors:
        by_type[tensor.kind] += tensor.parameters
    return TensorSummary(
        count=len(tensors),
        total_bytes=sum(tensor.size_bytes for tensor in tensors),
        parameters=by_type.total(),
        by_type=dict(by_type),
        matrix_bytes=_matrix_bytes(tensors),
        layer_bytes=_layer_bytes(tensors),
        output_bytes=_output_bytes(tensors),
    )


def _layer_bytes(tensors: Sequence[Tensor]) -> dict[int, int]:
    sizes: Counter[int] = Counter()
    for tensor in tensors:
        if found := _OF_LAYER.match(tensor.name):
            sizes[int(found[1])] += tensor.size_bytes
    return dict(sizes)


def _output_bytes(tensors: Sequence[Tensor]) -> int:
    own = {each.name: each.size_bytes for each in tensors if each.name.startswith("output")}
    if "output.weight" not in own:  # tied: a device gets a copy of the embedding
        own |= {each.name: each.size_bytes for each in tensors if each.name == _LOOKED_UP[0]}
    return sum(own.values())


def _matrix_bytes(tensors: Sequence[Tensor]) -> dict[str, int]:
    """An embedding is only looked up, unless it is the output matrix too."""
    tied = all(tensor.name != "output.weight" for tensor in tensors)
    looked_up = {"per_layer_token_embd.weight"} if tied else {*_LOOKED_UP}
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        if tensor.rows > 1 and tensor.rows % ROWS_TOGETHER == 0 and tensor.name not in looked_up:
            sizes[tensor.kind] += tensor.size_bytes
    return dict(sizes)


def _read_tensor(cursor: Cursor) -> Tensor:
    length = cursor.u64()
    if length > MAX_TENSOR_NAME:
        raise damaged(f"a tensor name of {length:,} bytes")
    name = cursor.take(length).decode("utf-8", "replace")
    n_dims = cursor.u32()
    if n_dims > MAX_DIMENSIONS:
        raise damaged(f"the tensor {shown(name)} has {n_dims:,} dimensions")
    dimensions = [cursor.u64() for _ in range(n_dims)]
    if not all(0 < dimension <= MAX_DIMENSION for dimension in dimensions):
        raise damaged(f"the tensor {shown(name)} has an impossible shape")
    number = cursor.u32()
    kind = TENSOR_TYPES.get(number)
    if kind is None:
        raise UnsupportedModel(
            f"the tensor {shown(name)} has the unknown type {number}",
            "It was written for another version of llama.cpp: try another quantization.",
        )
    row = dimensions[0] if dimensions else 1
    if row % kind.block:
        raise damaged(
            f"the tensor {shown(name)} has rows of {row:,} values, which {kind.name} cannot be"
        )
    parameters = math.prod(dimensions)
    size_bytes = parameters // kind.block * kind.block_bytes
    rows = dimensions[1] if len(dimensions) > 1 else 1
    return Tensor(name, kind.name, parameters, size_bytes, offset=cursor.u64(), rows=rows)
