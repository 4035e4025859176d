"""What llama.cpp says while it works, and what it tells by that: where it put a model.

It has no function that says which layers are on which device, nor what they take there; its log
does, line by line, as the decisions are made.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from ondevice.domain.device import Moved

WARNING, ERROR = 3, 4
CPU = "CPU"
_LAYER = re.compile(r"layer +(\d+) assigned to device (\S+),")
_BUFFER = re.compile(r"(\S+) +(model|KV|RS|LoRA|compute|output) buffer size = +([0-9.]+) MiB")
_MOVED = re.compile(
    r"tensor '(?P<first>[^']*)' \((?P<kind>\S+)\) \(and (?P<others>\d+) others\) "
    r"cannot be used with preferred buffer type (?P<buffer>\S+),"
)
_OUTPUT = ("output.weight", "token_embd.weight")
"""The embedding is only said to be moved where it is the output matrix, too."""
FASTER = frozenset({"CPU_REPACK", "AMX", "CPU_KLEIDIAI", "CPU_RISCV64_SPACEMIT"})
"""llama.cpp's names of buffers with weights in a form for faster arithmetic."""
_NO_ROOM = re.compile(r"alloc|out of memory", re.IGNORECASE)


@dataclass
class Placement:
    """Where the layers and buffers of one model are."""

    layers: dict[int, str] = field(default_factory=dict)
    """The device of each; the last one is the output matrix."""
    _buffers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Bytes by the buffer's name and what it holds."""
    _moved: Moved | None = None
    """With the name of the buffer that was preferred."""

    def read(self, line: str) -> None:
        if found := _LAYER.search(line):
            self.layers[int(found[1])] = found[2]
        elif found := _BUFFER.search(line):
            name, kind, size_bytes = found[1], found[2], int(float(found[3]) * 2**20)
            if kind == "compute":  # reserved anew, not once more
                self._buffers[name, kind] = 0
            self._buffers[name, kind] += size_bytes
        elif found := _MOVED.search(line):
            self._move(found["buffer"], 1 + int(found["others"]), found["first"], found["kind"])

    def _move(self, buffer: str, count: int, first: str, kind: str) -> None:
        last = max(self.layers, default=0)
        device = self.layers.get(last, CPU)
        output = first in _OUTPUT and device != CPU and _is_of(buffer, device)
        self._moved = Moved(buffer, count, f"{first} ({kind})", output)
        if output:
            self.layers[last] = CPU

    def on(self, device: str) -> int:
        """Layers on `device`."""
        return sum(each == device for each in self.layers.values())

    def bytes_on(self, device: str) -> int:
        """Bytes of all buffers on `device`, to a hundredth of a MiB."""
        return sum(size for (name, _), size in self._buffers.items() if _is_of(name, device))

    def moved_from(self, device: str) -> Moved | None:
        """What `device` cannot compute with, of all devices where it is the first that has such.

        The line comes after layers were assigned. On the CPU it is said, too, where weights have
        no faster form: that is nothing that was moved from a device.
        """
        if self._moved is None or not _is_of(self._moved.device, device):
            return None
        return replace(self._moved, device=device)

    @property
    def repacked(self) -> bool:
        """Whether weights are held in a form for faster arithmetic."""
        return not FASTER.isdisjoint(self._holding_weights)

    @property
    def mapped(self) -> bool:
        """Whether weights are read as pages of the file."""
        return any(name.endswith("_Mapped") for name in self._holding_weights)

    @property
    def _holding_weights(self) -> set[str]:
        return {name for name, kind in self._buffers if kind == "model"}

    @property
    def cpu_share(self) -> float:
        """Of the layers that keep a cache, those on the CPU; all where nothing is known."""
        caching = list(self.layers.values())[:-1]
        return caching.count(CPU) / len(caching) if caching else 1.0


def _is_of(buffer: str, device: str) -> bool:
    """`MTL0` and `MTL0_Mapped` are of `MTL0`; `CUDA_Host` is of no device."""
    return buffer == device or buffer.startswith(f"{device}_")


@dataclass
class Log:
    """Warnings and errors go to stderr, which is captured; the rest is read while loading."""

    lib: Any
    errors: list[str] = field(default_factory=list)
    placement: Placement = field(default_factory=Placement)
    _loading: bool = True

    def __post_init__(self) -> None:
        self._callback = self.lib.llama_log_callback(self._line)  # kept alive by this object
        self.lib.llama_log_set(self._callback, None)

    def begin(self) -> None:
        """What was said before is of another try."""
        self.errors, self.placement, self._loading = [], Placement(), True

    def end(self) -> None:
        """The model is loaded: what is said from now on places nothing."""
        self._loading = False

    @property
    def no_room(self) -> bool:
        """Whether an error was about memory that could not be had."""
        return any(_NO_ROOM.search(each) for each in self.errors)

    def _line(self, level: int, text: bytes, _data: Any) -> None:
        if level in (WARNING, ERROR):
            line = text.decode("utf-8", "replace").rstrip()
            if level == ERROR and line:
                self.errors.append(line)
            print(line, file=sys.stderr, flush=True)
        elif self._loading:
            self.placement.read(text.decode("utf-8", "replace"))
