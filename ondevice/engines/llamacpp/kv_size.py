"""How large the KV cache of a context will be, from what the model file says of its layers.

llama.cpp tells only once it has taken the memory. What it decides by code and not by the file, such
as which layers of a family look through a window, is known here for some; others count in full.

cells    places in the cache of one layer: one a token, fewer behind a sliding window
row      what one cell holds for all KV heads of a layer: keys, and values
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ondevice.engines.llamacpp.context import BATCH
from ondevice.errors import ModelTrouble
from ondevice.gguf.header import Header, read_header

F16_BYTES = 2
CELLS_TOGETHER = 256
"""llama.cpp makes a cache of a multiple of this."""
WINDOW_PERIODS = {"cohere2": 4, "gemma2": 2, "gemma3": 6, "gpt-oss": 2}
"""By architecture: of so many layers in a row only the last one sees all of the context."""


@dataclass(frozen=True, slots=True)
class _Layer:
    keys: int
    """Numbers in a row of keys."""
    values: int
    windowed: bool


class KvSize:
    """The KV cache of one loaded model, for contexts of any length."""

    def __init__(self, lib: Any, model: Any, path: Path, flash_attention: bool) -> None:
        self._lib, self._model, self._path = lib, model, path
        self._flash_attention = flash_attention
        self._architecture = self._text("general.architecture") or ""
        self._n_layers: int = lib.llama_model_n_layer(model)

    def most(self, n_ctx: int) -> int:
        """Bytes if no layer looked through a window; never less than `of` says."""
        return self._bytes(n_ctx, windows=False)

    def of(self, n_ctx: int) -> int:
        """Bytes for `n_ctx` tokens."""
        return self._bytes(n_ctx, windows=True)

    def _bytes(self, n_ctx: int, windows: bool) -> int:
        window: int = self._lib.llama_model_n_swa(self._model) if windows else 0
        cells = _whole(n_ctx)
        in_window = _whole(min(cells, window + BATCH))
        layers = self._layers(self._windowed() if window else [False] * self._n_layers)
        if not self._flash_attention:  # values then lie side by side: each layer's as the widest
            widest = max((layer.values for layer in layers), default=0)
            layers = [_Layer(layer.keys, widest, layer.windowed) for layer in layers]
        numbers = sum(
            (layer.keys + layer.values) * (in_window if layer.windowed else cells)
            for layer in layers
        )
        return F16_BYTES * numbers

    def _layers(self, windowed: list[bool]) -> list[_Layer]:
        """Those that keep a cache."""
        if self._lib.llama_model_is_recurrent(self._model):
            return []
        heads, recurrent = self._kv_heads(), self._recurrent()
        own = self._n_layers - (self._number("attention.shared_kv_layers") or 0)
        return [
            _Layer(
                heads[n] * self._head_size("key", windowed[n]),
                heads[n] * self._head_size("value", windowed[n]),
                windowed[n],
            )
            for n in range(max(0, own))
            if heads[n] and not recurrent[n]
        ]

    def _kv_heads(self) -> list[int]:
        """KV heads of each layer; hybrids have 0 where they keep a recurrent state instead."""
        return (
            self._by_layer("attention.head_count_kv")
            or self._by_layer("attention.head_count")
            or [self._lib.llama_model_n_head_kv(self._model)] * self._n_layers
        )

    def _head_size(self, part: str, windowed: bool) -> int:
        """Numbers a head keeps for one token, of its key or of its value."""
        compressed = self._number("attention.key_length_mla") is not None
        if part == "value" and compressed:  # the value is made from the key
            return 0
        named = self._number(f"attention.{part}_length")
        if windowed:
            named = self._number(f"attention.{part}_length_swa") or named
        if named is not None:
            return named
        heads = self._lib.llama_model_n_head(self._model)
        width: int = self._lib.llama_model_n_embd(self._model)
        return width // heads if heads > 0 else 0

    def _recurrent(self) -> list[bool]:
        """Which layers of a hybrid keep a state, where that is said apart from its heads."""
        if self._lib.llama_model_is_hybrid(self._model):
            marks = self._by_layer("attention.recurrent_layers")
            if marks:
                return [bool(mark) for mark in marks]
            if every := self._number("full_attention_interval"):
                return [(n + 1) % every != 0 for n in range(self._n_layers)]
        return [False] * self._n_layers

    def _windowed(self) -> list[bool]:
        """Which layers look through a window."""
        key = "attention.sliding_window_pattern"
        period = self._number(key)
        if period is None:
            if marks := self._per_layer(key):
                return [bool(mark) for mark in marks]
            period = WINDOW_PERIODS.get(self._architecture, 1)
        return [period == 0 or n % period < period - 1 for n in range(self._n_layers)]

    # What the file says

    def _by_layer(self, key: str) -> list[int] | None:
        """One value for all layers, or each layer's own."""
        value = self._number(key)
        return self._per_layer(key) if value is None else [value] * self._n_layers

    def _per_layer(self, key: str) -> list[int] | None:
        """The array under `key`, of which llama.cpp tells nothing."""
        if self._header is None:
            return None
        values = self._header.short_arrays.get(f"{self._architecture}.{key}", ())
        return list(values[: self._n_layers]) if len(values) >= self._n_layers else None

    @cached_property
    def _header(self) -> Header | None:
        """Read only where it is needed: a large vocabulary takes 90 ms."""
        try:
            return read_header(self._path)
        except ModelTrouble:  # llama.cpp has loaded it, so it knows more than we do
            return None

    def _number(self, key: str) -> int | None:
        """A size under a key of the architecture."""
        text = self._text(f"{self._architecture}.{key}")
        return int(text) if text is not None and text.isdecimal() else None

    def _text(self, key: str) -> str | None:
        buffer = ctypes.create_string_buffer(128)
        length = self._lib.llama_model_meta_val_str(self._model, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if length >= 0 else None


def _whole(cells: int) -> int:
    return -(-cells // CELLS_TOGETHER) * CELLS_TOGETHER
