"""What figures were taken under, as a document has it."""

from __future__ import annotations

from typing import Any

from ondevice.domain.generation import EngineInfo
from ondevice.domain.text import storable


def conditions(info: EngineInfo) -> dict[str, Any]:
    """Of a loaded model: which engine, where it truly computes, and how."""
    return {
        "engine": info.engine,
        "build": info.build,
        "backend": info.backend,
        "place": info.place,
        "device_bytes": info.device_bytes,
        "devices": devices(info),
        "threads": info.threads,
        "n_ctx": info.n_ctx,
        "kv_type": info.kv_type,
        "flash_attention": info.flash_attention,
        "repacked": info.repacked,
        "mapped": info.mapped,
        "notices": [{"code": each.code, "message": each.message} for each in info.notices],
    }


def devices(info: EngineInfo) -> list[dict[str, Any]]:
    """Those that hold layers, with their memory once the model was loaded."""
    if info.offload is None:
        return []
    return [
        {
            "name": use.device.name,
            "description": storable(use.device.description),
            "layers": use.layers,
            "of_layers": info.offload.of,
            "used_bytes": use.used_bytes,
            "free_bytes": use.device.free_bytes,
            "total_bytes": use.device.total_bytes,
        }
        for use in info.offload.devices
    ]
