"""The shape of a model: every number that decides its tensors, none of their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Architecture = Literal["llama", "phi3", "gemma", "gemma3", "qwen2", "mamba", "rwkv7"]
TokenizerModel = Literal["gpt2", "llama", "rwkv"]


@dataclass(frozen=True, slots=True)
class SsmShape:
    """The state space of a mamba layer."""

    inner: int
    state: int
    conv: int
    dt_rank: int


@dataclass(frozen=True, slots=True)
class RwkvShape:
    """The heads of an rwkv7 layer and the ranks of its four low-rank maps."""

    head: int
    decay_rank: int
    rate_rank: int
    value_rank: int
    gate_rank: int


@dataclass(frozen=True, slots=True)
class ShapeSpec:
    """A model's dimensions. Heads are 0 where an architecture has no attention."""

    name: str
    architecture: Architecture
    n_layers: int
    n_embd: int
    n_ff: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab: int
    context: int
    tokenizer: TokenizerModel = "gpt2"
    tied: bool = True
    """The output matrix is the embedding, so the file holds it once."""
    chat: bool = True
    """Whether the file gets a chat template."""
    rope_base: float = 10000.0
    epsilon: float = 1e-5
    sliding_window: int = 0
    ssm: SsmShape | None = None
    rwkv: RwkvShape | None = None


UNBOUNDED: Final = 2**20
"""What converters write as the context of recurrent models."""

SHAPES: Final[dict[str, ShapeSpec]] = {
    spec.name: spec
    for spec in (
        ShapeSpec(
            name="phi-3-mini", architecture="phi3", n_layers=32, n_embd=3072, n_ff=8192,
            n_heads=32, n_kv_heads=32, head_dim=96, vocab=32064, context=4096,
            tokenizer="llama", tied=False,
        ),
        ShapeSpec(
            name="gemma-2b", architecture="gemma", n_layers=18, n_embd=2048, n_ff=16384,
            n_heads=8, n_kv_heads=1, head_dim=256, vocab=256000, context=8192,
            tokenizer="llama", epsilon=1e-6,
        ),
        ShapeSpec(
            name="gemma-3-270m", architecture="gemma3", n_layers=18, n_embd=640, n_ff=2048,
            n_heads=4, n_kv_heads=1, head_dim=256, vocab=262144, context=32768,
            tokenizer="llama", rope_base=1e6, epsilon=1e-6, sliding_window=512,
        ),
        ShapeSpec(
            name="qwen2.5-0.5b", architecture="qwen2", n_layers=24, n_embd=896, n_ff=4864,
            n_heads=14, n_kv_heads=2, head_dim=64, vocab=151936, context=32768,
            rope_base=1e6, epsilon=1e-6,
        ),
        ShapeSpec(
            name="smollm2-135m", architecture="llama", n_layers=30, n_embd=576, n_ff=1536,
            n_heads=9, n_kv_heads=3, head_dim=64, vocab=49152, context=8192, rope_base=1e5,
        ),
        ShapeSpec(
            name="mamba-130m", architecture="mamba", n_layers=24, n_embd=768, n_ff=0,
            n_heads=0, n_kv_heads=0, head_dim=0, vocab=50280, context=UNBOUNDED, chat=False,
            ssm=SsmShape(inner=1536, state=16, conv=4, dt_rank=48),
        ),
        ShapeSpec(
            name="rwkv7-0.1b", architecture="rwkv7", n_layers=12, n_embd=768, n_ff=3072,
            n_heads=0, n_kv_heads=0, head_dim=0, vocab=65536, context=UNBOUNDED, chat=False,
            tokenizer="rwkv", tied=False,
            rwkv=RwkvShape(head=64, decay_rank=64, rate_rank=64, value_rank=32, gate_rank=128),
        ),
        # For comparison with mamba-130m: as many layers, as wide, the same vocabulary, and n_ff
        # chosen so that the parameters match too (131 M and 129 M against 129 M).
        ShapeSpec(
            name="llama-130m-mha", architecture="llama", n_layers=24, n_embd=768, n_ff=640,
            n_heads=12, n_kv_heads=12, head_dim=64, vocab=50280, context=8192, chat=False,
        ),
        ShapeSpec(
            name="llama-130m-gqa", architecture="llama", n_layers=24, n_embd=768, n_ff=960,
            n_heads=12, n_kv_heads=4, head_dim=64, vocab=50280, context=8192, chat=False,
        ),
        # No real model: small enough to write and load in milliseconds.
        ShapeSpec(
            name="tiny-llama", architecture="llama", n_layers=2, n_embd=64, n_ff=192,
            n_heads=4, n_kv_heads=2, head_dim=16, vocab=512, context=512,
        ),
    )
}  # fmt: skip
