"""The KV cache of an ONNX model, all of which is made and written to when it is loaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cache:
    """What its size depends on."""

    n_layers: int
    row: int
    """Numbers of the keys and values of one token in one layer."""
    window: int | None = None
    """Tokens that `windowed_layers` keep; the others keep all."""
    windowed_layers: int = 0

    def numbers(self, n_ctx: int) -> int:
        """In a cache for `n_ctx` tokens."""
        narrow = min(n_ctx, self.window or n_ctx)
        whole = self.n_layers - self.windowed_layers
        return self.row * (n_ctx * whole + narrow * self.windowed_layers)
