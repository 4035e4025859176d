"""The devices this llama.cpp can put layers on, through the C interface of ggml."""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Iterator
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import msgspec

from ondevice.domain.device import Accelerators, Device
from ondevice.engines.llamacpp import binding
from ondevice.hardware import probe

_GPU, _INTEGRATED = 1, 2
"""GGML_BACKEND_DEVICE_TYPE_GPU, _IGPU; the others are the CPU and its helpers."""
_LIBRARY = re.compile(r"(?:lib)?ggml-([a-z]+)\b.*\.(?:so|dylib|dll)$")
_NO_DEVICE = frozenset({"base", "cpu", "blas", "rpc"})
"""Libraries of ggml that bring no device of this machine."""
_UNIFIED = "metal"
"""It calls every device a GPU of its own and counts what this process alone has taken. On Apple
silicon the memory is the machine's, and a card of an Intel Mac is taken for one, too: at worst it
gets fewer layers than it could hold."""
_NAMES = {"mtl": "metal", "rocm": "hip"}
"""What ggml calls a backend whose library and build option have another name."""
_FUNCTIONS: binding.Functions = {
    "ggml": {
        "ggml_backend_dev_count": (c_size_t, []),
        "ggml_backend_dev_get": (c_void_p, [c_size_t]),
    },
    "ggml-base": {
        "ggml_backend_dev_name": (c_char_p, [c_void_p]),
        "ggml_backend_dev_description": (c_char_p, [c_void_p]),
        "ggml_backend_dev_memory": (None, [c_void_p, POINTER(c_size_t), POINTER(c_size_t)]),
        "ggml_backend_dev_type": (c_int, [c_void_p]),
        "ggml_backend_dev_backend_reg": (c_void_p, [c_void_p]),
        "ggml_backend_reg_name": (c_char_p, [c_void_p]),
    },
}


def found() -> Accelerators:
    """What this build can use, with the memory that is free now. Raises EngineMissing.

    Asking for memory opens each device, which takes some of it.
    """
    folder = binding.folder()
    return Accelerators(_backends(folder), _chosen(binding.ggml(_FUNCTIONS)))


def tell() -> None:
    """Print what is found as JSON, for who asks in a process of its own."""
    print(f"\n{msgspec.json.encode(found()).decode()}", flush=True)


def told(printed: str) -> Accelerators | None:
    """What `tell` printed, on a line of its own: a driver may print before and after."""
    for line in reversed(printed.splitlines()):
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(line, type=Accelerators)
    return None


def _backends(folder: Path) -> tuple[str, ...]:
    """By their libraries: one that finds no driver does not register itself."""
    names = {match[1] for each in folder.iterdir() if (match := _LIBRARY.match(each.name))}
    return tuple(sorted(names - _NO_DEVICE))


def _chosen(ggml: dict[str, Any]) -> tuple[Device, ...]:
    """As llama.cpp chooses: an integrated one only where there is no other."""
    found = list(_devices(ggml))
    own = tuple(device for kind, device in found if kind == _GPU)
    return own or tuple(device for _, device in found)


def _devices(ggml: dict[str, Any]) -> Iterator[tuple[int, Device]]:
    """Each with the kind that ggml says it is."""
    for number in range(ggml["ggml_backend_dev_count"]()):
        handle = ggml["ggml_backend_dev_get"](number)
        kind = ggml["ggml_backend_dev_type"](handle)
        if kind not in (_GPU, _INTEGRATED):
            continue
        free, total = c_size_t(), c_size_t()
        ggml["ggml_backend_dev_memory"](handle, ctypes.byref(free), ctypes.byref(total))
        registered = ggml["ggml_backend_dev_backend_reg"](handle)
        backend = _text(ggml["ggml_backend_reg_name"](registered)).lower()
        backend = _NAMES.get(backend, backend)
        integrated = kind == _INTEGRATED or backend == _UNIFIED
        room = min(free.value, probe.machine_memory().available_bytes) if integrated else free.value
        yield (
            kind,
            Device(
                name=_text(ggml["ggml_backend_dev_name"](handle)),
                description=_text(ggml["ggml_backend_dev_description"](handle)),
                backend=backend,
                free_bytes=room,
                total_bytes=total.value,
                integrated=integrated,
            ),
        )


def _text(native: bytes | None) -> str:
    return (native or b"").decode("utf-8", "replace")
