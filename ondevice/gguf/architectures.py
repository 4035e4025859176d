"""The tensors and metadata each architecture needs, under llama.cpp's names.

A tensor's range [low, high] is where its values lie when it is not quantized. Matrices take
+-sqrt(3 / fan_in), a deviation of 1 / sqrt(fan_in), which keeps activations near their size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from ondevice.gguf.spec import Architecture, RwkvShape, ShapeSpec, SsmShape

MetadataValue = int | float | bool | str
Kept = Literal["F32", "F16"]


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor to write; its first dimension is the length of a row."""

    name: str
    dimensions: tuple[int, ...]
    low: float
    high: float
    layer: int = 0
    kept: Kept | None = None
    """The type it has in every quantization, as llama.cpp's converter and quantizer leave it."""

    @property
    def parameters(self) -> int:
        """How many values it has."""
        return math.prod(self.dimensions)


def tensors_of(spec: ShapeSpec) -> Iterator[PlannedTensor]:
    """Every tensor of `spec`, in file order."""
    yield _matrix("token_embd", spec.n_embd, spec.vocab)
    yield _norm("output_norm", spec.n_embd)
    if spec.architecture == "rwkv7":
        yield _bias("output_norm", spec.n_embd)
        yield _norm("token_embd_norm", spec.n_embd)
        yield _bias("token_embd_norm", spec.n_embd)
    if not spec.tied:
        yield _matrix("output", spec.n_embd, spec.vocab)
    layer_tensors = _LAYERS[spec.architecture]
    for layer in range(spec.n_layers):
        for tensor in layer_tensors(spec, layer):
            yield PlannedTensor(
                f"blk.{layer}.{tensor.name}",
                tensor.dimensions,
                tensor.low,
                tensor.high,
                layer,
                tensor.kept,
            )


def metadata_of(spec: ShapeSpec) -> dict[str, MetadataValue]:
    """The keys of the architecture itself, with the architecture's prefix."""
    values: dict[str, MetadataValue] = {
        "context_length": spec.context,
        "embedding_length": spec.n_embd,
        "block_count": spec.n_layers,
        "feed_forward_length": spec.n_ff,
        "attention.head_count": spec.n_heads,
        "vocab_size": spec.vocab,
    }
    if spec.ssm:
        values |= _ssm_metadata(spec, spec.ssm)
    elif spec.rwkv:
        values |= _rwkv_metadata(spec, spec.rwkv)
    else:
        values |= _attention_metadata(spec)
    return {f"{spec.architecture}.{key}": value for key, value in values.items()}


def _attention_metadata(spec: ShapeSpec) -> dict[str, MetadataValue]:
    values: dict[str, MetadataValue] = {
        "attention.head_count_kv": spec.n_kv_heads,
        "attention.layer_norm_rms_epsilon": spec.epsilon,
        "rope.freq_base": spec.rope_base,
    }
    if spec.architecture in ("gemma", "gemma3"):
        values["attention.key_length"] = spec.head_dim
        values["attention.value_length"] = spec.head_dim
    else:
        values["rope.dimension_count"] = spec.head_dim
    if spec.architecture == "phi3":
        values["rope.scaling.original_context_length"] = spec.context
    if spec.sliding_window:
        values["attention.sliding_window"] = spec.sliding_window
    return values


def _ssm_metadata(spec: ShapeSpec, ssm: SsmShape) -> dict[str, MetadataValue]:
    return {
        "ssm.conv_kernel": ssm.conv,
        "ssm.inner_size": ssm.inner,
        "ssm.state_size": ssm.state,
        "ssm.time_step_rank": ssm.dt_rank,
        "ssm.dt_b_c_rms": False,
        "attention.layer_norm_rms_epsilon": spec.epsilon,
    }


def _rwkv_metadata(spec: ShapeSpec, rwkv: RwkvShape) -> dict[str, MetadataValue]:
    return {
        "attention.layer_norm_epsilon": spec.epsilon,
        "wkv.head_size": rwkv.head,
        "attention.decay_lora_rank": rwkv.decay_rank,
        "attention.iclr_lora_rank": rwkv.rate_rank,
        "attention.value_residual_mix_lora_rank": rwkv.value_rank,
        "attention.gate_lora_rank": rwkv.gate_rank,
    }


def _matrix(name: str, row: int, rows: int, kept: Kept | None = None) -> PlannedTensor:
    reach = math.sqrt(3 / row)
    return PlannedTensor(f"{name}.weight", (row, rows), -reach, reach, kept=kept)


def _vector(name: str, size: int, low: float, high: float) -> PlannedTensor:
    return PlannedTensor(name, (size,), low, high)


def _norm(name: str, size: int) -> PlannedTensor:
    return _vector(f"{name}.weight", size, 0.9, 1.1)


def _bias(name: str, size: int) -> PlannedTensor:
    return _vector(f"{name}.bias", size, -0.02, 0.02)


def _attention(spec: ShapeSpec) -> Iterator[PlannedTensor]:
    q, kv = spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim
    yield _norm("attn_norm", spec.n_embd)
    for part, size in (("attn_q", q), ("attn_k", kv), ("attn_v", kv)):
        yield _matrix(part, spec.n_embd, size)
        if spec.architecture == "qwen2":
            yield _bias(part, size)
    yield _matrix("attn_output", q, spec.n_embd)


def _gated_feed_forward(spec: ShapeSpec) -> Iterator[PlannedTensor]:
    yield _norm("ffn_norm", spec.n_embd)
    yield _matrix("ffn_gate", spec.n_embd, spec.n_ff)
    yield _matrix("ffn_up", spec.n_embd, spec.n_ff)
    yield _matrix("ffn_down", spec.n_ff, spec.n_embd)


def _llama_layer(spec: ShapeSpec, _layer: int) -> Iterator[PlannedTensor]:
    yield from _attention(spec)
    yield from _gated_feed_forward(spec)


def _gemma3_layer(spec: ShapeSpec, _layer: int) -> Iterator[PlannedTensor]:
    yield from _attention(spec)
    yield _norm("attn_q_norm", spec.head_dim)
    yield _norm("attn_k_norm", spec.head_dim)
    yield _norm("post_attention_norm", spec.n_embd)
    yield from _gated_feed_forward(spec)
    yield _norm("post_ffw_norm", spec.n_embd)


def _phi3_layer(spec: ShapeSpec, _layer: int) -> Iterator[PlannedTensor]:
    q, kv = spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim
    yield _norm("attn_norm", spec.n_embd)
    yield _matrix("attn_qkv", spec.n_embd, q + 2 * kv)
    yield _matrix("attn_output", q, spec.n_embd)
    yield _norm("ffn_norm", spec.n_embd)
    yield _matrix("ffn_up", spec.n_embd, 2 * spec.n_ff)
    yield _matrix("ffn_down", spec.n_ff, spec.n_embd)


def _mamba_layer(spec: ShapeSpec, _layer: int) -> Iterator[PlannedTensor]:
    ssm = spec.ssm
    assert ssm is not None, "mamba needs its state space"
    yield _norm("attn_norm", spec.n_embd)
    yield _matrix("ssm_in", spec.n_embd, 2 * ssm.inner)
    yield _matrix("ssm_conv1d", ssm.conv, ssm.inner, "F32")
    yield _bias("ssm_conv1d", ssm.inner)
    yield _matrix("ssm_x", ssm.inner, ssm.dt_rank + 2 * ssm.state, "F32")
    yield _matrix("ssm_dt", ssm.dt_rank, ssm.inner, "F32")
    # softplus of these is a time step of .001 to .1, as models start out.
    yield _vector("ssm_dt.bias", ssm.inner, -6.9, -2.3)
    # Negative, so that the state decays.
    yield PlannedTensor("ssm_a", (ssm.state, ssm.inner), -16.0, -1.0, kept="F32")
    yield _vector("ssm_d", ssm.inner, 0.9, 1.1)
    yield _matrix("ssm_out", ssm.inner, spec.n_embd)


def _rwkv7_layer(spec: ShapeSpec, layer: int) -> Iterator[PlannedTensor]:
    rwkv, width = spec.rwkv, spec.n_embd
    assert rwkv is not None, "rwkv7 needs its heads and ranks"
    yield _norm("attn_norm", width)
    yield _bias("attn_norm", width)
    yield _norm("attn_norm_2", width)
    yield _bias("attn_norm_2", width)
    # llama.cpp reads the first layer's value map with the rank of the rate map, and ignores it.
    value_rank = rwkv.value_rank if layer else rwkv.rate_rank
    for letter, rank in (("w", rwkv.decay_rank), ("a", rwkv.rate_rank), ("v", value_rank)):
        kept: Kept = "F32" if letter == "w" else "F16"
        yield _vector(f"time_mix_{letter}0.weight", width, -1.0, 1.0)
        yield _matrix(f"time_mix_{letter}1", width, rank, kept)
        yield _matrix(f"time_mix_{letter}2", rank, width, kept)
    yield _matrix("time_mix_g1", width, rwkv.gate_rank, "F16")
    yield _matrix("time_mix_g2", rwkv.gate_rank, width, "F16")
    yield PlannedTensor("time_mix_lerp_fused.weight", (width, 1, 1, 6), 0.0, 1.0, kept="F32")
    yield _vector("time_mix_k_k.weight", width, 0.7, 1.0)
    yield _vector("time_mix_k_a.weight", width, 0.9, 1.1)
    yield _vector("time_mix_r_k.weight", width, -0.1, 0.1)
    for part in ("key", "value", "receptance", "output"):
        yield _matrix(f"time_mix_{part}", width, width)
    yield _norm("time_mix_ln", width)
    yield _bias("time_mix_ln", width)
    yield _vector("channel_mix_lerp_k.weight", width, 0.0, 1.0)
    yield _matrix("channel_mix_key", width, spec.n_ff)
    yield _matrix("channel_mix_value", spec.n_ff, width)


_LAYERS: Final[dict[Architecture, Callable[[ShapeSpec, int], Iterator[PlannedTensor]]]] = {
    "llama": _llama_layer,
    "qwen2": _llama_layer,
    "gemma": _llama_layer,
    "gemma3": _gemma3_layer,
    "phi3": _phi3_layer,
    "mamba": _mamba_layer,
    "rwkv7": _rwkv7_layer,
}
