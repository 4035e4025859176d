"""Devices beside the CPU, and what of a model is on them.

layer     one of the model's, or its output matrix, which counts as one more: a model of 30 layers
          has 31 that a device can hold
offload   putting layers onto devices; what is left is computed on the CPU
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GpuLayers = int | Literal["auto", "all"]
"""`auto` is as many as fit into the free memory of the devices."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device, as an engine sees it."""

    name: str
    """The engine's own: `Vulkan0`, `CUDA1`."""
    description: str
    """Its maker's."""
    backend: str
    """What drives it: `cuda`, `vulkan`, `metal`, `hip`."""
    free_bytes: int
    """Of an integrated one no more than the machine has free."""
    total_bytes: int
    """0 where it does not say."""
    integrated: bool = False
    """Its memory is the machine's."""


@dataclass(frozen=True, slots=True)
class Accelerators:
    """What one build of an engine can use beside the CPU."""

    backends: tuple[str, ...] = ()
    """Those it was compiled with, whether or not there is a device for them."""
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """What a loaded model has on one device."""

    device: Device
    """Its memory as it was once the model was loaded."""
    layers: int
    used_bytes: int
    """Weights, KV cache and compute buffers of the engine there. All of it is taken when the model
    is loaded, so it does not grow."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Tensors of layers on devices that those cannot compute with: the CPU has them."""

    device: str
    """The name of the first one's."""
    count: int
    first: str
    """Its name and type: `blk.0.ffn_down.weight (q6_K)`."""
    output: bool = False
    """Whether that is the output matrix, which then counts as a layer of the CPU."""


@dataclass(frozen=True, slots=True)
class Offload:
    """Where the layers of a loaded model are, as the engine's library says."""

    of: int
    """All layers, the output matrix counted as one."""
    devices: tuple[DeviceUse, ...] = ()
    """Those that hold any; none is the CPU alone."""
    moved: Moved | None = None

    @property
    def layers(self) -> int:
        """Layers on devices."""
        return sum(each.layers for each in self.devices)

    @property
    def whole(self) -> bool:
        """Whether nothing of any is left to the CPU."""
        return self.layers == self.of > 0 and self.moved is None

    @property
    def used_bytes(self) -> int:
        return sum(each.used_bytes for each in self.devices)
