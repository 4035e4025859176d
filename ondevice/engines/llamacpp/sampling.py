"""The sampler chain: from logits to one token id."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from ondevice.domain.generation import Sampling

PENALTY_WINDOW = 64
RANDOM_SEED = 0xFFFFFFFF
"""llama.cpp draws a seed itself for this value."""


class Sampler:
    """One chain of llama.cpp's own samplers, for one generation."""

    def __init__(
        self, lib: Any, vocabulary: int, sampling: Sampling, prompt_ids: Sequence[int]
    ) -> None:
        self._lib = lib
        self._chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        for part in _parts(lib, vocabulary, sampling):
            lib.llama_sampler_chain_add(self._chain, part)
        if sampling.repeat_penalty != 1.0:
            for token in prompt_ids[-PENALTY_WINDOW:]:
                lib.llama_sampler_accept(self._chain, token)

    def sample(self, context: Any) -> int:
        """The next id, from the logits of the last evaluated token."""
        token: int = self._lib.llama_sampler_sample(self._chain, context, -1)
        return token

    def apply(self, candidates: Any) -> None:
        """Let the chain choose among `candidates`, a llama_token_data_array."""
        self._lib.llama_sampler_apply(self._chain, ctypes.byref(candidates))

    def accept(self, token: int) -> None:
        """Tell the chain what was taken; `sample` does so itself."""
        self._lib.llama_sampler_accept(self._chain, token)

    def close(self) -> None:
        """Free the chain."""
        if self._chain is not None:
            self._lib.llama_sampler_free(self._chain)
            self._chain = None


def _parts(lib: Any, vocabulary: int, sampling: Sampling) -> list[Any]:
    parts = []
    if sampling.repeat_penalty != 1.0:
        penalty = sampling.repeat_penalty
        parts.append(
            lib.llama_sampler_init_penalties(vocabulary, PENALTY_WINDOW, penalty, 0.0, 0.0)
        )
    if sampling.temperature == 0.0:
        return [*parts, lib.llama_sampler_init_greedy()]
    if sampling.top_k > 0:  # first: the others then sort few candidates, not the vocabulary
        parts.append(lib.llama_sampler_init_top_k(sampling.top_k))
    if sampling.top_p < 1.0:
        parts.append(lib.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p > 0.0:
        parts.append(lib.llama_sampler_init_min_p(sampling.min_p, 1))
    parts.append(lib.llama_sampler_init_temp(sampling.temperature))
    seed = RANDOM_SEED if sampling.seed is None else sampling.seed % RANDOM_SEED
    parts.append(lib.llama_sampler_init_dist(seed))
    return parts
