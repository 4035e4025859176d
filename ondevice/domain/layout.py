"""What a model's memory depends on, and how large its KV cache is.

cells    places in the cache of one layer: one a token, fewer behind a sliding window
row      what one cell holds for all KV heads of a layer: keys, and values
state    what a recurrent layer keeps instead of a cache; it does not grow with the context
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ondevice.domain.memory import KvType

BATCH = 512
"""Most tokens of one evaluation; also the micro-batch."""
DEFAULT_N_CTX = 4096
SNAPSHOTS = 8
SNAPSHOT_BYTES = 256 << 20
"""What all snapshots of one conversation may take."""
CELLS_TOGETHER = 256
"""llama.cpp makes a cache of a multiple of this."""
REPACK_HEADROOM_BYTES = 1 << 30
"""What must stay free beside two copies of the weights before one is made."""
_BLOCKS: Final[dict[KvType, tuple[int, int]]] = {"f16": (2, 1), "q8_0": (34, 32)}
"""Bytes of a block, and the numbers in it."""


@dataclass(frozen=True, slots=True)
class AttentionLayer:
    """A layer that keeps a KV cache."""

    keys: int
    """Numbers in a row of keys."""
    values: int
    windowed: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything the memory of a model depends on, whatever file or catalogue said it."""

    n_layers: int
    n_embd: int
    vocab: int
    n_heads: int
    """0 without attention."""
    q_width: int
    """Numbers in the queries of one token: heads times the numbers of a head."""
    n_ff: int
    """Numbers between the two halves of a feed-forward layer, of all experts used at once."""
    attention: tuple[AttentionLayer, ...]
    window: int
    """Tokens a windowed layer looks back; 0 where none does."""
    recurrent_bytes: int
    recurrent_width: int
    """Numbers a recurrent layer computes with at once for one token; 0 without one."""
    merges: int
    """Pairs of a byte-pair vocabulary."""
    tree: bool
    """Whether tokens are looked up in a tree of characters, as RWKV's are."""
    file_bytes: int
    weights_bytes: int
    """Of the file, without its header."""
    repackable_bytes: int
    context: int
    """Trained context; 0 is unbounded."""

    @property
    def needs_snapshots(self) -> bool:
        """Whether going back in a conversation takes copies of a state."""
        return self.recurrent_bytes > 0 or any(layer.windowed for layer in self.attention)


def whole(cells: int) -> int:
    """`cells` rounded up to what a cache can have."""
    return -(-cells // CELLS_TOGETHER) * CELLS_TOGETHER


def cells_in_window(n_ctx: int, window: int) -> int:
    """The cells of a windowed layer: the window, and a batch that is still being read."""
    return whole(min(whole(n_ctx), window + BATCH))


def kv_cache_bytes(
    attention: Sequence[AttentionLayer],
    n_ctx: int,
    *,
    window: int = 0,
    kv_type: KvType = "f16",
    flash_attention: bool = False,
) -> int:
    """The KV cache of a context of `n_ctx` tokens."""
    cells, narrow = whole(n_ctx), cells_in_window(n_ctx, window)
    # Without flash attention values lie side by side: each layer's as the widest.
    widest = 0 if flash_attention else max((layer.values for layer in attention), default=0)
    numbers = sum(
        (layer.keys + (widest or layer.values)) * (narrow if layer.windowed and window else cells)
        for layer in attention
    )
    block_bytes, block = _BLOCKS[kv_type]
    return numbers * block_bytes // block


def may_repack(file_bytes: int, available_bytes: int) -> bool:
    """Whether an engine keeps a second, faster copy of the weights in private memory."""
    return available_bytes >= 2 * file_bytes + REPACK_HEADROOM_BYTES


def default_n_ctx(trained: int) -> int:
    """The context an engine takes where none is asked for."""
    return min(DEFAULT_N_CTX, trained or DEFAULT_N_CTX)
