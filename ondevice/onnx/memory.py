"""The memory that the engine's process takes for an ONNX model on the CPU.

pages      of the weights beside the graph, but for matrices that are rewritten
rewritten  matrices in the order that ONNX Runtime's arithmetic wants, in private memory
KV cache   of the whole context, made and written to when the model is loaded
compute    what the evaluation of one batch writes to, at a context that holds `held` tokens

Constants were measured on Linux with glibc (benchmarks/memory.py).
"""

from __future__ import annotations

from typing import Final

from ondevice.domain.fit import MemoryEstimate
from ondevice.onnx.layout import FolderLayout

BATCH: Final = 128
"""Tokens of one evaluation. The library keeps the logits of every one of them: 128 of a vocabulary
of 262,144 are 134 MB."""
RUNTIME_BYTES: Final = 35 << 20
"""Python, ONNX Runtime and onnxruntime-genai, and what the first generation adds."""
LAYER_BYTES: Final = 500_000
"""What the session keeps of a layer's nodes."""
TOKEN_BYTES: Final = 230
"""What the library's tokenizer and our own list of tokens keep of one, pairs of it included."""
HELD_BYTES: Final = 1000
"""What a token in the context takes beside its row in the cache."""
_FLOAT: Final = 4
_STREAMS: Final = 8
"""Vectors of the model's width that a token has at the same time."""
_FEED_FORWARD: Final = 3
"""Vectors of the inner width: gate, up, and their product."""
_NAMES: Final = {2: "f16", 4: "f32", 1: "int8"}


def estimate(layout: FolderLayout, n_ctx: int, *, held: int | None = None) -> MemoryEstimate:
    """Once a context of `n_ctx` tokens is full, or has held `held` tokens.

    Matrices are rewritten, as they always are where nobody forbids it. A table that is only looked
    up in counts whole, though few of its rows may ever be read.
    """
    held = n_ctx if held is None else min(held, n_ctx)
    return MemoryEstimate(
        weights_bytes=max(0, layout.weights_bytes - layout.given_back_bytes),
        repacked_bytes=layout.rewritten_bytes + layout.copied_bytes,
        kv_bytes=layout.cache.numbers(n_ctx) * layout.number_bytes,
        recurrent_bytes=0,
        compute_bytes=_compute(layout, held),
        runtime_bytes=_runtime(layout),
        n_ctx=n_ctx,
        kv_type=_NAMES[layout.number_bytes],
    )


def _compute(layout: FolderLayout, held: int) -> int:
    widths = _STREAMS * layout.n_embd + layout.cache.row + _FEED_FORWARD * layout.n_ff
    return _FLOAT * min(BATCH, held) * (widths + layout.vocab) + HELD_BYTES * held


def _runtime(layout: FolderLayout) -> int:
    return RUNTIME_BYTES + LAYER_BYTES * layout.n_layers + TOKEN_BYTES * layout.vocab
