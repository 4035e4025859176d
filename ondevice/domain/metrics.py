"""The numbers the project shows, defined once.

TTFT             seconds from the request reaching the engine to its first generated token
prefill tok/s    evaluated prompt tokens (cached ones excluded) per second from the first
                 decode call to the first logits
decode tok/s     (n - 1) per second from the first to the n-th generated token
load s           from the start of the engine's process to ready
model pages      resident pages of the mappings of the model file; the system may drop them
                 and read them again from disk
private memory   anonymous resident memory of the engine's process: KV cache, compute buffers,
                 repacked weights, runtime
device memory    what the engine has on GPUs: weights, KV cache and compute buffers, all taken
                 when the model is loaded; beside it the layers that are there, of all, the
                 output matrix counted as one
context used     tokens of the rendered prompt plus generated ones, of n_ctx

What cannot be known is None, never 0 or infinity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median, quantiles


def prefill_tok_per_s(evaluated_tokens: int, prefill_s: float | None) -> float | None:
    """Evaluated prompt tokens per second; unknown when nothing was evaluated."""
    return _per_second(evaluated_tokens, prefill_s)


def decode_tok_per_s(generated_tokens: int, decode_s: float | None) -> float | None:
    """n tokens have n - 1 gaps, so one token has no rate."""
    return _per_second(generated_tokens - 1, decode_s)


def middle_and_spread(samples: Sequence[float]) -> tuple[float, float] | None:
    """Median and interquartile range; unknown without samples, spread 0 for one sample."""
    if not samples:
        return None
    if len(samples) == 1:
        return samples[0], 0.0
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return median(samples), high - low


def _per_second(things: int, seconds: float | None) -> float | None:
    if seconds is None or not seconds > 0 or things <= 0:  # `not >` also holds for NaN
        return None
    rate = things / seconds
    return rate if 0 < rate < math.inf else None
