"""A header as the facts that the rules of `layers` ask for."""

from __future__ import annotations

from collections.abc import Sequence

from ondevice.gguf.header import Header
from ondevice.gguf.layers import HYBRID, NO_WINDOWS, RECURRENT, WINDOWS


class HeaderFacts:
    """What one file's header says; what it leaves out is 0."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self.architecture = header.architecture
        self.n_layers = header.n_layers or 0
        self.n_heads = header.n_heads or 0
        self.n_kv_heads = header.n_kv_heads or 0
        self.n_embd = header.n_embd or 0
        self.is_recurrent = header.architecture in RECURRENT
        self.is_hybrid = header.architecture in HYBRID
        said = self.number("attention.sliding_window")
        window = WINDOWS.get(self.architecture, 0) if said is None else said
        self.window = 0 if self.architecture in NO_WINDOWS else window

    def number(self, key: str) -> int | None:
        value = self._header.of_architecture(key)
        return value if type(value) is int and value >= 0 else None

    def per_layer(self, key: str) -> Sequence[int] | None:
        return self._header.per_layer(key)
