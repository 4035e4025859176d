"""Which layers of a model keep a KV cache, how wide, and what others keep instead.

Some of it llama.cpp decides by code and not by the file, such as which layers of a family look
through a window; what is known of that stands here, other layers count in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from ondevice.domain.layout import AttentionLayer

WINDOW_PERIODS: Final = {"cohere2": 4, "gemma2": 2, "gemma3": 6, "gpt-oss": 2}
"""By architecture: of so many layers in a row only the last one sees all of the context."""
WINDOWS: Final = {"gemma2": 4096, "llama4": 8192}
"""By architecture: the window where a file does not say."""
NO_WINDOWS: Final = frozenset({"phi3"})
"""Architectures whose windows llama.cpp does not use."""
RECURRENT: Final = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
HYBRID: Final = frozenset(
    {"jamba", "falcon-h1", "plamo2", "granitehybrid", "lfm2", "lfm2moe", "nemotron_h"}
    | {"nemotron_h_moe", "qwen3next", "kimi-linear", "qwen35", "qwen35moe"}
)
"""Architectures with layers of both kinds; in falcon-h1 each layer is both."""
RWKV_VECTORS: Final = 14
"""Six mixed inputs, seven projections of them, and the result."""
SHORTCONV_VECTORS: Final = 5
"""Three projections, the convolution's input and its result."""
SSM_VECTORS: Final = 5
"""Two halves of the projection, the convolution's input and its result, the scan."""
_STATE_BYTES: Final = 4


class Facts(Protocol):
    """What a model says of itself, be it a file's header or llama.cpp."""

    @property
    def architecture(self) -> str: ...
    @property
    def n_layers(self) -> int: ...
    @property
    def n_heads(self) -> int: ...
    @property
    def n_kv_heads(self) -> int: ...
    @property
    def n_embd(self) -> int: ...
    @property
    def window(self) -> int: ...
    @property
    def is_recurrent(self) -> bool: ...
    @property
    def is_hybrid(self) -> bool: ...

    def number(self, key: str) -> int | None:
        """A size under a key of the architecture; None where it is absent, an array or no size, as
        what is below zero is none."""
        ...

    def per_layer(self, key: str) -> Sequence[int] | None:
        """The array of sizes or flags under a key of the architecture; None as above."""
        ...


def attention_layers(facts: Facts, *, windows: bool = True) -> tuple[AttentionLayer, ...]:
    """The layers that keep a KV cache; without `windows`, as if all saw all of the context."""
    if facts.is_recurrent:
        return ()
    heads, states = _kv_heads(facts), _keeps_state(facts)
    windowed = _windowed(facts) if windows and facts.window else [False] * facts.n_layers
    own = facts.n_layers - (facts.number("attention.shared_kv_layers") or 0)
    return tuple(
        AttentionLayer(
            heads[n] * _head_size(facts, "key", windowed[n]),
            heads[n] * _head_size(facts, "value", windowed[n]),
            windowed[n],
        )
        for n in range(facts.n_layers)
        if n < own and heads[n] and (not states[n] or facts.architecture == "falcon-h1")
    )


def recurrent_bytes(facts: Facts) -> int:
    """The states of all recurrent layers, convolutions included; numbers of 4 bytes."""
    if facts.is_recurrent:
        layers = facts.n_layers
    elif facts.is_hybrid:
        layers = sum(_keeps_state(facts))
    else:
        return 0
    return _STATE_BYTES * layers * _state(facts)


def recurrent_width(facts: Facts) -> int:
    """Numbers a recurrent layer computes with at once for one token; 0 where there is none."""
    if not (facts.is_recurrent or facts.is_hybrid):
        return 0
    if facts.number("wkv.head_size"):
        return RWKV_VECTORS * facts.n_embd
    if facts.number("shortconv.l_cache"):
        return SHORTCONV_VECTORS * facts.n_embd
    return SSM_VECTORS * (facts.number("ssm.inner_size") or facts.n_embd)


def _state(facts: Facts) -> int:
    if head := facts.number("wkv.head_size"):
        shifts = facts.number("token_shift_count") or 2
        return facts.n_embd * (shifts + head)
    if short := facts.number("shortconv.l_cache"):
        return facts.n_embd * (short - 1)
    inner, size = facts.number("ssm.inner_size") or 0, facts.number("ssm.state_size") or 0
    groups = facts.number("ssm.group_count") or 0
    behind = max(0, (facts.number("ssm.conv_kernel") or 0) - 1)
    return size * inner + behind * (inner + 2 * groups * size)


def _kv_heads(facts: Facts) -> list[int]:
    """KV heads of each layer; hybrids have 0 where they keep a recurrent state instead."""
    return (
        _by_layer(facts, "attention.head_count_kv")
        or _by_layer(facts, "attention.head_count")
        or [facts.n_kv_heads] * facts.n_layers
    )


def _head_size(facts: Facts, part: str, windowed: bool) -> int:
    """Numbers a head keeps for one token, of its key or of its value."""
    compressed = facts.number("attention.key_length_mla") is not None
    if part == "value" and compressed:  # the value is made from the key
        return 0
    named = facts.number(f"attention.{part}_length")
    if windowed:
        named = facts.number(f"attention.{part}_length_swa") or named
    if named is not None:
        return named
    return facts.n_embd // facts.n_heads if facts.n_heads > 0 else 0


def _keeps_state(facts: Facts) -> list[bool]:
    """Which layers of a hybrid keep a recurrent state."""
    if not facts.is_hybrid:
        return [False] * facts.n_layers
    if facts.architecture == "falcon-h1":
        return [True] * facts.n_layers
    if marks := _by_layer(facts, "attention.recurrent_layers"):
        return [bool(mark) for mark in marks]
    if every := facts.number("full_attention_interval"):
        return [(n + 1) % every != 0 for n in range(facts.n_layers)]
    heads = _by_layer(facts, "attention.head_count_kv") or [1] * facts.n_layers
    return [count == 0 for count in heads]


def _windowed(facts: Facts) -> list[bool]:
    """Which layers look through a window."""
    key = "attention.sliding_window_pattern"
    period = facts.number(key)
    if period is None:
        if marks := _whole_row(facts, key):
            return [bool(mark) for mark in marks]
        period = WINDOW_PERIODS.get(facts.architecture, 1)
    return [period == 0 or n % period < period - 1 for n in range(facts.n_layers)]


def _by_layer(facts: Facts, key: str) -> list[int] | None:
    """One value for all layers, or each layer's own."""
    value = facts.number(key)
    return _whole_row(facts, key) if value is None else [value] * facts.n_layers


def _whole_row(facts: Facts, key: str) -> list[int] | None:
    values = facts.per_layer(key) or ()
    return list(values[: facts.n_layers]) if len(values) >= facts.n_layers else None
