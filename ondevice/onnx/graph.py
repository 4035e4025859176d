"""What an ONNX graph says of its tensors and its inputs, read without loading it.

An ONNX file is a protobuf message. Of its hundreds of kinds of fields only those are entered that
can lead to a tensor, wherever in the graph it stands; all others are skipped by their length.
Weights inside the file are never read.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ondevice.errors import NotAModelFile

MAX_FIELDS = 4_000_000
"""Of all messages; a graph of 100 layers has a tenth of that. Bounds the time to a few seconds."""
MAX_DEPTH = 32
MAX_NAMES_BYTES = 64 << 20
"""Of what nodes take; a graph of 100 layers has 1 MB."""
MULTIPLY = {"MatMul", "FusedMatMul", "Gemm", "MatMulNBits"}
"""Kinds of nodes whose second input is a matrix; in the last one its scales are the third."""
RESHAPE = {"Reshape", "Transpose", "Unsqueeze", "Squeeze"}
"""Kinds of nodes that ONNX Runtime replaces by their result where that is constant."""
_DAMAGED = "The folder is damaged or incomplete: fetch it again."
_EXTERNAL = 1
"""TensorProto.EXTERNAL: the data stands in another file."""

# Where a tensor can stand: message -> {field number: message inside}.
_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 11: "input", 15: "sparse"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


@dataclass(frozen=True, slots=True)
class External:
    """Where the data of a tensor stands: bytes of a file that the graph names."""

    location: str
    offset: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True)
class Tensor:
    """A constant that has a name."""

    size_bytes: int
    largest: int
    """Its largest dimension."""
    inside: bool
    """Whether its data stands in the graph's own file."""


@dataclass(slots=True)
class Graph:
    """What was found."""

    externals: list[External] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    multiplied: list[tuple[str, str]] = field(default_factory=list)
    """Of each node that multiplies: the matrix, in most of `tensors`, and its scales or nothing."""
    reshaped: set[str] = field(default_factory=set)
    """What nodes bring into another shape."""
    taken: set[str] = field(default_factory=set)
    """All else that nodes take."""
    inputs: dict[str, int] = field(default_factory=dict)
    """Name -> element type of a tensor, by ONNX's numbers: 1 float, 10 float16, 16 bfloat16."""


def read_graph(path: Path) -> Graph:
    """Read the file at `path`. Raises NotAModelFile, and OSError where it cannot be opened."""
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise NotAModelFile(f"{path.name} is empty", hint=_DAMAGED) from None
        with data:
            return _Reader(data, path.name).read()


class _Reader:
    def __init__(self, data: mmap.mmap, name: str) -> None:
        self._data, self._name = data, name
        self._fields = 0
        self._names_bytes = 0
        self._found = Graph()

    def read(self) -> Graph:
        self._enter("model", 0, len(self._data), 0)
        return self._found

    def _enter(self, kind: str, start: int, end: int, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self._wrong("its graphs are nested too deep")
        if kind == "tensor":
            self._tensor(start, end)
            return
        if kind == "input":
            self._input(start, end)
            return
        takes: list[str] = []
        operator = ""
        for number, at, until in self._each(start, end):
            if at is None:
                continue
            if number in _INSIDE[kind]:
                self._enter(_INSIDE[kind][number], at, until, depth + 1)
            elif kind == "node" and number == 1:
                takes.append(self._counted(at, until))
            elif kind == "node" and number == 4:
                operator = self._text(at, until)
        self._node(operator, takes)

    def _node(self, operator: str, takes: list[str]) -> None:
        if operator in MULTIPLY and len(takes) > 1:
            matrix = takes.pop(1)
            scales = takes[1] if operator == "MatMulNBits" and len(takes) > 1 else ""
            self._found.multiplied.append((matrix, scales))
        elif operator in RESHAPE and takes:
            self._found.reshaped.add(takes.pop(0))
        self._found.taken.update(takes)

    def _tensor(self, start: int, end: int) -> None:
        named: dict[str, str] = {}
        is_external = False
        name, size, largest = "", 0, 1
        for number, at, until in self._each(start, end):
            if number == 14 and at is None:
                is_external = until == _EXTERNAL
            elif number == 1:
                largest = max(largest, until if at is None else self._largest(at, until))
            elif at is None:
                continue
            elif number == 8:
                name = self._counted(at, until)
            elif number == 13:
                key, value = self._pair(at, until)
                named[key] = value
            else:
                size = max(size, until - at)  # its data, in whatever form
        if external := self._external(named) if named or is_external else None:
            self._found.externals.append(external)
            size = external.length
        if name:
            self._found.tensors[name] = Tensor(size, largest, external is None)

    def _largest(self, start: int, end: int) -> int:
        """Of packed varints."""
        at, found = start, 0
        while at < end:
            self._count()
            value, at = self._varint(at, end)
            found = max(found, value)
        return found

    def _counted(self, start: int, end: int) -> str:
        """A name that is kept."""
        self._names_bytes += end - start
        if self._names_bytes > MAX_NAMES_BYTES:
            raise self._wrong("it has more names than any model")
        return self._text(start, end)

    def _external(self, named: dict[str, str]) -> External:
        try:
            offset, length = int(named.get("offset") or 0), int(named.get("length") or 0)
        except ValueError:
            raise self._wrong("a tensor stands at no number of bytes") from None
        if offset < 0 or length < 0 or not named.get("location"):
            raise self._wrong("a tensor stands nowhere")
        return External(named["location"], offset, length)

    def _pair(self, start: int, end: int) -> tuple[str, str]:
        """A StringStringEntryProto."""
        texts = {1: "", 2: ""}
        for number, at, until in self._each(start, end):
            if number in texts and at is not None:
                texts[number] = self._text(at, until)
        return texts[1], texts[2]

    def _input(self, start: int, end: int) -> None:
        """A ValueInfoProto: name 1, type 2 -> tensor_type 1 -> elem_type 1."""
        name, element = "", 0
        for number, at, until in self._each(start, end):
            if number == 1 and at is not None:
                name = self._text(at, until)
            elif number == 2 and at is not None:
                element = self._element(at, until)
        self._found.inputs[name] = element

    def _element(self, start: int, end: int) -> int:
        for number, at, until in self._each(start, end):
            if number == 1 and at is not None:
                return next((v for n, a, v in self._each(at, until) if n == 1 and a is None), 0)
        return 0

    def _text(self, start: int, end: int) -> str:
        if end - start > 4096:
            raise self._wrong("a name is over 4 KB")
        return self._data[start:end].decode("utf-8", "replace")

    def _each(self, start: int, end: int) -> Iterator[tuple[int, int | None, int]]:
        """(number, start, end) of each field with a length; (number, None, value) of a varint."""
        at = start
        while at < end:
            self._count()
            tag, at = self._varint(at, end, 32)
            number, kind = tag >> 3, tag & 7
            if number == 0:
                raise self._wrong("it is no ONNX model")
            if kind == 0:
                value, at = self._varint(at, end)
                yield number, None, value
            elif kind == 2:
                length, at = self._varint(at, end, 31)
                if length > end - at:
                    raise self._wrong("it ends before it should")
                yield number, at, at + length
                at += length
            elif kind in (1, 5):
                at += 8 if kind == 1 else 4
            else:
                raise self._wrong("it is no ONNX model")

    def _count(self) -> None:
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise self._wrong("it has more fields than any model")

    def _varint(self, at: int, end: int, bits: int = 64) -> tuple[int, int]:
        """A number of so many bits at most; other readers cut off what is above."""
        value = shift = 0
        while at < end and shift < bits:
            byte = self._data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80 and not value >> bits:
                return value, at
            shift += 7
        raise self._wrong("it ends before it should" if shift < bits else "a number is too large")

    def _wrong(self, why: str) -> NotAModelFile:
        return NotAModelFile(f"{self._name} cannot be read: {why}", hint=_DAMAGED)
