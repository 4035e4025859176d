"""LoRA adapters: small changes to the weights of one model, applied while it computes.

llama.cpp ends the process over some values of a wrong type, so what it reads is looked at first.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ondevice.domain.generation import Adapter
from ondevice.domain.text import clean_line
from ondevice.engines.statefile import AdapterBinding
from ondevice.errors import AdapterRefused, ModelTrouble
from ondevice.gguf.header import Header, read_header

MOST = 16
_HINT = "Give a LoRA adapter in GGUF that was made for this very model."
_INVOCATION = "adapter.alora.invocation_tokens"


def attach(
    lib: Any, model: Any, context: Any, architecture: str, adapters: Sequence[Adapter]
) -> tuple[AdapterBinding, ...]:
    """Apply `adapters`; they are freed with the model. Raises AdapterRefused."""
    if not adapters:
        return ()
    if len(adapters) > MOST:
        raise AdapterRefused(f"{len(adapters)} LoRA adapters are too many", hint=_HINT)
    for each in adapters:
        _check(each.path, architecture)
    found = [_open(lib, model, each.path) for each in adapters]
    handles = (lib.llama_adapter_lora_p_ctypes * len(found))(
        *(ctypes.cast(each, lib.llama_adapter_lora_p_ctypes) for each in found)
    )
    scales = (ctypes.c_float * len(found))(*(each.scale for each in adapters))
    if lib.llama_set_adapters_lora(context, handles, len(found), scales) != 0:
        raise AdapterRefused("llama.cpp does not apply the LoRA adapter", hint=_HINT)
    return tuple(AdapterBinding(_sha256(each.path), each.scale) for each in adapters)


def _check(path: Path, architecture: str) -> None:
    name = clean_line(path.name, 80)
    try:
        header = read_header(path)
    except ModelTrouble as error:
        raise AdapterRefused(f"{name} is no LoRA adapter: {error.message}", hint=_HINT) from None
    if (why := _unfit(header, architecture)) is not None:
        raise AdapterRefused(f"{name} is {why}", hint=_HINT)


def _unfit(header: Header, architecture: str) -> str | None:
    facts = header.metadata
    if facts.get("general.type") != "adapter" or facts.get("adapter.type") != "lora":
        return "no LoRA adapter"
    if not isinstance(facts.get("adapter.lora.alpha"), float):
        return "a LoRA adapter that does not say its alpha"
    if _INVOCATION in header.array_lengths:
        return "an activated LoRA adapter, which is not supported"
    if header.architecture != architecture:
        theirs = clean_line(header.architecture, 40)
        return f"a LoRA adapter for {theirs}; the model is {clean_line(architecture, 40)}"
    return None


def _open(lib: Any, model: Any, path: Path) -> Any:
    adapter = lib.llama_adapter_lora_init(model, os.fsencode(path))
    if not adapter:
        name = clean_line(path.name, 80)
        raise AdapterRefused(f"{name} does not go with this model", hint=_HINT)
    return adapter


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AdapterRefused(
            f"{clean_line(path.name, 80)} cannot be read: {error.strerror}", hint=_HINT
        ) from error
