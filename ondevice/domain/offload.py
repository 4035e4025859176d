"""How many layers of a model fit onto devices, reckoned before any is put there.

The output matrix goes first, then the last layer and so on towards the first, as in llama.cpp.

compute   what the engine reserves on each device beside; the logits of a whole batch are most of it
margin    what stays free for the driver, its scratch memory and other programs
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MARGIN_BYTES: Final = 512 << 20
MARGIN_SHARE: Final = 10
"""The margin is a tenth of what is free, and at least MARGIN_BYTES."""


@dataclass(frozen=True, slots=True)
class LayerSizes:
    """What the layers of one model take on a device with a given context, in bytes."""

    layers: tuple[int, ...]
    """Weights, KV cache and states of each, the first layer first."""
    output: int
    """The output matrix and its norm."""
    compute: int

    @property
    def most(self) -> int:
        """All layers, the output matrix counted as one."""
        return len(self.layers) + 1

    def needed(self, count: int) -> int:
        """Bytes that `count` layers take, the output matrix being the first of them."""
        if count <= 0:
            return 0
        return self.compute + self.output + sum(self.layers[self.most - count :])


def margin(free_bytes: int) -> int:
    return max(MARGIN_BYTES, free_bytes // MARGIN_SHARE)


def layers_that_fit(sizes: LayerSizes, free_bytes: Sequence[int]) -> int:
    """The most layers that fit into what is free on each device; 0 where none does."""
    rooms = [room for free in free_bytes if (room := free - margin(free)) > sizes.compute]
    room = sum(rooms) - max(0, len(rooms) - 1) * sizes.compute
    return next((n for n in range(sizes.most, 0, -1) if sizes.needed(n) <= room), 0)
