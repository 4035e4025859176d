"""What a saved state belongs to: the model, this build, every setting that matters."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ondevice.domain.device import Device, Offload
from ondevice.engines.llamacpp import binding
from ondevice.engines.llamacpp.choices import Choices
from ondevice.engines.llamacpp.context import Context
from ondevice.engines.statefile import AdapterBinding, Binding


def state_binding(
    context: Context,
    choices: Choices,
    model_bytes: int,
    adapters: Sequence[AdapterBinding],
    offload: Offload,
) -> Binding:
    """Of a loaded model whose hash nobody has said yet."""
    return Binding(
        model_sha256="",
        model_bytes=model_bytes,
        engine="llama.cpp",
        build=f"{binding.features()}; library {binding.library_mark()}",
        backend=" ".join(_named(each.device) for each in offload.devices) or "cpu",
        n_ctx=context.n_ctx,
        batch=context.batch,
        kv_type=choices.kv_type,
        flash_attention=choices.flash_attention,
        repacked=choices.repack,
        gpu_layers=offload.layers,
        adapters=tuple(adapters),
    )


def _named(device: Device) -> str:
    return f"{device.backend} {device.name} ({device.description})"


def of_model(bound: Binding, sha256: str) -> Binding:
    """The same with the hash of the model file."""
    return msgspec.structs.replace(bound, model_sha256=sha256)
