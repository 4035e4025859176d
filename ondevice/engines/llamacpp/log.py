"""What llama.cpp says while it works, and what it tells by that: where it put a model.

It has no function that says which layers are on which device, nor what they take there; its log
does, line by line, as the decisions are made.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

WARNING, ERROR = 3, 4
CPU = "CPU"
_LAYER = re.compile(r"layer +(\d+) assigned to device (\S+),")
_BUFFER = re.compile(r"(\S+) +(model|KV|RS|LoRA|compute|output) buffer size = +([0-9.]+) MiB")
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

    def read(self, line: str) -> None:
        if found := _LAYER.search(line):
            self.layers[int(found[1])] = found[2]
        elif found := _BUFFER.search(line):
            name, kind, size_bytes = found[1], found[2], int(float(found[3]) * 2**20)
            if kind == "compute":  # reserved anew, not once more
                self._buffers[name, kind] = 0
            self._buffers[name, kind] += size_bytes

    def on(self, device: str) -> int:
        """Layers on `device`."""
        return sum(each == device for each in self.layers.values())

    def bytes_on(self, device: str) -> int:
        """Bytes of all buffers on `device`, to a hundredth of a MiB; `MTL0_Mapped` is of `MTL0`."""
        parts = (device, f"{device}_")
        return sum(
            size
            for (name, _), size in self._buffers.items()
            if name == parts[0] or name.startswith(parts[1])
        )

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
