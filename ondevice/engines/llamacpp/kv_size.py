"""How large the KV cache of a context will be, as llama.cpp's own answers about a model tell.

It tells only once it has taken the memory. The rules are those of `gguf.layers`, so that what is
said before a download and what is refused here cannot differ.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ondevice.domain.layout import kv_cache_bytes
from ondevice.domain.memory import KvType
from ondevice.errors import ModelTrouble
from ondevice.gguf.header import Header, read_header
from ondevice.gguf.layers import attention_layers


class KvSize:
    """The KV cache of one loaded model, for contexts of any length."""

    def __init__(
        self,
        lib: Any,
        model: Any,
        path: Path,
        flash_attention: bool,
        kv_type: KvType = "f16",
    ) -> None:
        self._facts = LoadedFacts(lib, model, path)
        self._flash_attention, self._kv_type = flash_attention, kv_type
        self.architecture = self._facts.architecture

    def most(self, n_ctx: int) -> int:
        """Bytes if no layer looked through a window; never less than `of` says."""
        return self._bytes(n_ctx, windows=False)

    def of(self, n_ctx: int) -> int:
        """Bytes for `n_ctx` tokens."""
        return self._bytes(n_ctx, windows=True)

    def _bytes(self, n_ctx: int, windows: bool) -> int:
        return kv_cache_bytes(
            attention_layers(self._facts, windows=windows),
            n_ctx,
            window=self._facts.window if windows else 0,
            kv_type=self._kv_type,
            flash_attention=self._flash_attention,
        )


class LoadedFacts:
    """What llama.cpp and the file say of a loaded model."""

    def __init__(self, lib: Any, model: Any, path: Path) -> None:
        self._lib, self._model, self._path = lib, model, path
        self.architecture = self._text("general.architecture") or ""
        self.n_layers: int = lib.llama_model_n_layer(model)
        self.n_heads: int = lib.llama_model_n_head(model)
        self.n_kv_heads: int = lib.llama_model_n_head_kv(model)
        self.n_embd: int = lib.llama_model_n_embd(model)
        self.window: int = lib.llama_model_n_swa(model)
        self.is_recurrent: bool = bool(lib.llama_model_is_recurrent(model))
        self.is_hybrid: bool = bool(lib.llama_model_is_hybrid(model))

    def number(self, key: str) -> int | None:
        text = self._text(f"{self.architecture}.{key}")
        return int(text) if text is not None and text.isdecimal() else None

    def per_layer(self, key: str) -> Sequence[int] | None:
        """Of arrays llama.cpp tells nothing."""
        return None if self._header is None else self._header.per_layer(key)

    @cached_property
    def _header(self) -> Header | None:
        """Read only where it is needed: a large vocabulary takes 90 ms."""
        try:
            return read_header(self._path)
        except ModelTrouble:  # llama.cpp has loaded it, so it knows more than we do
            return None

    def _text(self, key: str) -> str | None:
        buffer = ctypes.create_string_buffer(128)
        length = self._lib.llama_model_meta_val_str(self._model, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if length >= 0 else None
