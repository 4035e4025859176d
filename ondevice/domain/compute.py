"""What llama.cpp writes to while it evaluates a full batch at a full context.

It reserves more (logits of every token of a batch) than it touches (logits of one), and memory that
was reserved but never written to takes no place. So this counts what is written:

lasting    what lives through a whole layer: the stream of each token, its norm, keys and values
scores     one number a head, token and cell; with flash attention they are never written down
work       the copy a matrix product makes of its input, in the type its other side wants
"""

from __future__ import annotations

from ondevice.domain.layout import BATCH, Layout, cells_in_window, whole

_F32, _F16 = 4, 2
_Q8 = 34 / 32
"""Bytes of a number in the copy of an input for quantized weights."""
_STREAMS = 4
"""Vectors of the model's width that a token has at the same time; one less without feed-forward,
as there is nothing to add its result to."""
_FEED_FORWARD = 3
"""Vectors of the inner width: gate, up, and their product."""
_GRAPH_BYTES = 3 << 20
"""The graph and its scheduler; measured, nearly the same for 2 layers and for 30."""


def compute_bytes(layout: Layout, held: int, *, flash_attention: bool) -> int:
    """Touched bytes of the compute buffers, the graph and the work areas of its threads, once
    `held` tokens were read into the context."""
    tokens = min(BATCH, held)
    cells = whole(held) if any(not layer.windowed for layer in layout.attention) else 0
    narrow = cells_in_window(held, layout.window) if layout.window else 0
    mask = (cells + narrow) * (_F16 if flash_attention else _F32)
    written_scores = 0 if flash_attention else layout.n_heads * max(cells, narrow)
    row = max((layer.keys + layer.values for layer in layout.attention), default=0)
    streams = _STREAMS if layout.n_ff else _STREAMS - 1
    lasting = _F32 * (streams * layout.n_embd + (0 if flash_attention else row))
    phases = (
        _F32 * (layout.q_width + written_scores),
        _F32 * _FEED_FORWARD * layout.n_ff,
        _F32 * layout.recurrent_width,
    )
    work = max(_F16 * written_scores, _Q8 * max(layout.n_ff, layout.n_embd))
    logits = _F32 * layout.vocab
    return _GRAPH_BYTES + 2 * logits + int(tokens * (mask + lasting + max(phases) + work))
