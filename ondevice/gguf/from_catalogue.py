"""Shape and file of the catalogue -> Layout, as the file's own header would give it.

What the catalogue does not hold follows from how llama.cpp's quantizer treats each matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from ondevice.domain.layout import AttentionLayer, Layout
from ondevice.domain.model import FileSpec, ModelSpec, Recurrent, Shape
from ondevice.gguf.layers import RWKV_VECTORS, SHORTCONV_VECTORS, SSM_VECTORS
from ondevice.gguf.layout import REPACKED, REPACKED_ON_ARM
from ondevice.gguf.recipes import MAIN_TYPES, TYPE_NUMBERS
from ondevice.gguf.tables import TENSOR_TYPES

_TOKEN_BYTES: Final = 23
"""A token in the header: its length, about 7 bytes of text, its type, its score."""
_MERGE_BYTES: Final = 17
_STATE_BYTES: Final = 4
_VECTORS: Final[dict[Recurrent, int]] = {
    "ssm": SSM_VECTORS,
    "rwkv": RWKV_VECTORS,
    "shortconv": SHORTCONV_VECTORS,
}
_Part = Literal["plain", "sensitive", "qkv"]
"""sensitive: values, and the second feed-forward matrix; qkv: the three in one matrix."""
_MIXES: Final[dict[tuple[str, _Part], tuple[str, str]]] = {
    ("Q4_K_M", "sensitive"): ("Q4_K", "Q6_K"),
    ("Q5_K_M", "sensitive"): ("Q5_K", "Q6_K"),
    ("Q4_K_M", "qkv"): ("Q5_K", "Q5_K"),
    ("Q5_K_M", "qkv"): ("Q6_K", "Q6_K"),
}
"""What a mix makes of a part, in half of the layers each."""


def catalogue_layout(spec: ModelSpec, file: FileSpec, *, arm: bool) -> Layout | None:
    """None where the catalogue leaves out what memory depends on."""
    shape = spec.shape
    if shape is None or file.engine != "llama.cpp" or file.size_bytes is None:
        return None
    if not _known(shape):
        return None
    heads = shape.n_heads or 0 if shape.n_kv_heads else 0
    merges = _merges(shape)
    head_dim = shape.head_dim or (shape.n_embd // heads if heads else 0)
    header_bytes = _TOKEN_BYTES * shape.vocab + _MERGE_BYTES * merges
    return Layout(
        n_layers=shape.n_layers,
        n_embd=shape.n_embd,
        vocab=shape.vocab,
        n_heads=heads,
        q_width=heads * head_dim,
        n_ff=shape.n_ff or 0,
        attention=tuple(_attention(shape, head_dim)),
        window=shape.window or 0,
        recurrent_bytes=_STATE_BYTES * (shape.n_recurrent_layers or 0) * (shape.state or 0),
        recurrent_width=_VECTORS[shape.recurrent] * (shape.inner or 0) if shape.recurrent else 0,
        merges=merges,
        tree=shape.recurrent == "rwkv",
        file_bytes=file.size_bytes,
        weights_bytes=max(0, file.size_bytes - header_bytes),
        repackable_bytes=_repackable(shape, file.quantization, head_dim, arm),
        context=spec.context,
    )


def _known(shape: Shape) -> bool:
    attends = shape.n_kv_heads is not None and shape.n_ff is not None
    keeps_state = shape.n_recurrent_layers is not None
    if keeps_state and (shape.state is None or shape.inner is None or shape.recurrent is None):
        return False
    if shape.n_attention_layers is not None and not keeps_state:
        return False  # the other layers keep something too
    return attends or keeps_state


def _merges(shape: Shape) -> int:
    """Byte-pair vocabularies have about one pair a token."""
    return shape.vocab if shape.merges is None else shape.merges


def _attention(shape: Shape, head_dim: int) -> Iterator[AttentionLayer]:
    if not shape.n_kv_heads:
        return
    row = shape.n_kv_heads * head_dim
    layers = shape.n_attention_layers or shape.n_layers
    period = shape.window_period or 1
    for n in range(layers):
        windowed = bool(shape.window) and n % period < period - 1
        yield AttentionLayer(row, row, windowed)


def _repackable(shape: Shape, quantization: str, head_dim: int, arm: bool) -> int:
    name = quantization.upper().removesuffix("-QAT")
    name = {"Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}.get(name, name)
    main = MAIN_TYPES.get(name)
    if main is None:
        return 0
    total = 0.0
    for row, rows, layers, part in _matrices(shape, head_dim):
        halves = _MIXES.get((name, part), (main, main))
        total += sum(_bytes(kind, row, rows, arm) * layers / 2 for kind in halves)
    return int(total)


def _matrices(shape: Shape, head_dim: int) -> Iterator[tuple[int, int, int, _Part]]:
    """Row, rows, how many layers have it, and which part of them it is."""
    width, layers = shape.n_embd, shape.n_layers
    if shape.n_heads and shape.n_kv_heads:
        attends = shape.n_attention_layers or layers
        q, kv = shape.n_heads * head_dim, shape.n_kv_heads * head_dim
        if shape.fused_qkv:
            yield width, q + 2 * kv, attends, "qkv"
        else:
            yield width, q + kv, attends, "plain"
            yield width, kv, attends, "sensitive"
        yield q, width, attends, "plain"
    if shape.n_ff:
        yield width, 2 * shape.n_ff, layers, "plain"
        yield shape.n_ff, width, layers, "sensitive"
    if shape.inner and shape.n_recurrent_layers:
        yield width, 2 * shape.inner, shape.n_recurrent_layers, "plain"
        yield shape.inner, width, shape.n_recurrent_layers, "plain"


def _bytes(name: str, row: int, rows: int, arm: bool) -> float:
    kind = TENSOR_TYPES[TYPE_NUMBERS[name]]
    if row % kind.block or name not in (REPACKED_ON_ARM if arm else REPACKED):
        return 0.0  # another type takes its place, of which there is no faster form
    return row * rows / kind.block * kind.block_bytes
