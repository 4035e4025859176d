"""Header -> Layout: what the memory of one file's model depends on."""

from __future__ import annotations

from typing import Final

from ondevice.domain.layout import Layout
from ondevice.gguf.facts import HeaderFacts
from ondevice.gguf.header import Header
from ondevice.gguf.layers import attention_layers, recurrent_bytes, recurrent_width

REPACKED: Final = frozenset({"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"})
"""Tensor types that llama.cpp has faster forms of on every processor with AVX2 or its like."""
REPACKED_ON_ARM: Final = REPACKED | {"Q5_K", "Q6_K", "Q8_0"}
_MERGES = "tokenizer.ggml.merges"
_TOKENIZER = "tokenizer.ggml.model"


def layout_of(header: Header, size_bytes: int, *, arm: bool) -> Layout | None:
    """None where the header leaves out what memory depends on."""
    if not header.n_layers or not header.n_embd:
        return None
    facts = HeaderFacts(header)
    experts = facts.number("expert_used_count") or 0
    expert_ff = facts.number("expert_feed_forward_length") or 0
    n_ff = max([facts.number("feed_forward_length") or 0, *_row(facts, "feed_forward_length")])
    n_heads = header.n_heads or 0
    repacked = REPACKED_ON_ARM if arm else REPACKED
    return Layout(
        n_layers=header.n_layers,
        n_embd=header.n_embd,
        vocab=header.vocab or 0,
        n_heads=n_heads,
        q_width=n_heads * (header.head_dim or 0),
        n_ff=max(n_ff if not experts else 0, experts * (expert_ff or n_ff)),
        attention=attention_layers(facts),
        window=facts.window,
        recurrent_bytes=recurrent_bytes(facts),
        recurrent_width=recurrent_width(facts),
        merges=header.array_lengths.get(_MERGES, 0),
        tree=header.metadata.get(_TOKENIZER) == "rwkv",
        file_bytes=size_bytes,
        weights_bytes=header.tensors.total_bytes,
        repackable_bytes=sum(
            size for kind, size in header.tensors.matrix_bytes.items() if kind in repacked
        ),
        context=header.context_length or 0,
    )


def _row(facts: HeaderFacts, key: str) -> tuple[int, ...]:
    return tuple(facts.per_layer(key) or ())
