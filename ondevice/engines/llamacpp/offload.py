"""How many layers go onto a GPU, and what a person is told of it.

A number that finds no room is tried again with a quarter less, down to none. What is told is what
llama.cpp did, not what it was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ondevice import fit, units
from ondevice.domain.device import Accelerators, Device, DeviceUse, GpuLayers, Moved, Offload
from ondevice.domain.generation import EngineNotice, LoadOptions
from ondevice.domain.layout import default_n_ctx
from ondevice.domain.model import ModelFile
from ondevice.domain.offload import layers_that_fit
from ondevice.domain.text import clean_line
from ondevice.engines.llamacpp.log import Placement
from ondevice.errors import ModelTrouble
from ondevice.gguf.header import read_model

ALL: Final = 10_000
"""More layers than any model has."""


def first_try(file: ModelFile, options: LoadOptions, devices: Sequence[Device]) -> int:
    """Layers to ask llama.cpp for."""
    asked = options.gpu_layers
    if asked == 0 or not devices:
        return 0
    if isinstance(asked, int):
        return asked
    return ALL if asked == "all" else _that_fit(file, options, devices)


def _that_fit(file: ModelFile, options: LoadOptions, devices: Sequence[Device]) -> int:
    """As many as free memory allows; of a file that does not say enough all are tried."""
    kv_type = options.kv_type or "f16"
    try:
        header = read_model(file.paths)
    except ModelTrouble:  # llama.cpp says what is wrong with it
        return ALL
    sizes = fit.layer_sizes(
        header,
        sum(path.stat().st_size for path in file.paths),
        options.n_ctx or default_n_ctx(header.context_length or 0),
        kv_type=kv_type,
        flash_attention=bool(options.flash_attention) or kv_type != "f16",
    )
    return ALL if sizes is None else layers_that_fit(sizes, [each.free_bytes for each in devices])


def fewer(tried: int, placement: Placement) -> int:
    """What to try after `tried` found no room."""
    return min(tried, len(placement.layers) or tried) * 3 // 4


def seen(placement: Placement, devices: Sequence[Device]) -> Offload:
    """Where the model is; `devices` as they are now."""
    uses = (
        DeviceUse(each, placement.on(each.name), placement.bytes_on(each.name)) for each in devices
    )
    moved = next(filter(None, (placement.moved_from(each.name) for each in devices)), None)
    return Offload(len(placement.layers), tuple(use for use in uses if use.layers), moved)


def backend_of(offload: Offload, asked: int) -> str:
    """Where it computes; `asked` layers were wanted on devices when it was loaded."""
    if offload.devices:
        return offload.devices[0].device.backend
    return "cpu" if offload.of or not asked else units.UNKNOWN


def told(
    asked: GpuLayers | None, tried: int, offload: Offload, there: Accelerators
) -> tuple[EngineNotice, ...]:
    """What a person who wants a GPU must know; `tried` is what was asked of llama.cpp first."""
    if asked == 0:
        return ()
    if not there.devices:
        return _nothing_there(asked, there.backends)
    return _placed(asked, tried, offload, there.devices) + _moved(offload)


def _placed(
    asked: GpuLayers | None, tried: int, offload: Offload, devices: Sequence[Device]
) -> tuple[EngineNotice, ...]:
    names = ", ".join(_named(each) for each in devices)
    on, of = offload.layers, offload.of
    if not of:  # another version, which says it in other words
        said = "this version of llama.cpp does not say where it put the layers"
        return (EngineNotice("gpu_unknown", said, unmet=True),)
    moved = offload.moved
    wanted = min(tried, of) - bool(moved and moved.output)
    if 0 < on < wanted:
        said = f"{wanted} layers found no room on {names}: {on} of {of} are there"
        return (EngineNotice("gpu_fallback", f"{said}, the CPU has the rest", unmet=True),)
    if not on:
        free = units.size(sum(each.free_bytes for each in devices))
        said = f"no layer found room on {names}, {free} free"
        if moved and not wanted:
            said = _cannot(moved)
        return (EngineNotice("gpu_fallback", f"{said}: it computes on the CPU", unmet=True),)
    if asked not in (None, "auto"):
        return ()
    all_of = "all " if offload.whole else f"{on} of "
    rest = "" if on == of else ", the CPU has the rest"
    return (EngineNotice("gpu_layers", f"{all_of}{of} layers are on {names}{rest}"),)


def _moved(offload: Offload) -> tuple[EngineNotice, ...]:
    moved = offload.moved
    if moved is None or not offload.layers:  # the latter is told anyway
        return ()
    them = "it" if moved.count == 1 else "them"
    said = f"{_cannot(moved)}: the CPU has {them}"
    return (EngineNotice("gpu_fallback", said, unmet=True),)


def _cannot(moved: Moved) -> str:
    if moved.count == 1:
        return f"{moved.device} cannot compute with {moved.first}"
    return f"{moved.device} cannot compute with {moved.count:,} tensors, such as {moved.first}"


def _nothing_there(asked: GpuLayers | None, backends: Sequence[str]) -> tuple[EngineNotice, ...]:
    if backends:
        built = " and ".join(backends)
        said = f"llama.cpp was built for {built}, but no such device is there: CPU only"
    elif asked is None:
        return ()
    else:
        said = "this build of llama.cpp has no GPU support: CPU only"
    return (EngineNotice("gpu_missing", said, unmet=True),)


def _named(device: Device) -> str:
    return f"{device.name} ({clean_line(device.description, 40)})"
