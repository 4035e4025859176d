"""From logits to one token id, in the order llama.cpp has: penalty, top-k, top-p, min-p,
temperature.

The library's own sampler has no min-p, and its settings belong to a generator, which is kept here
over requests of other settings.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ondevice.domain.generation import Sampling

PENALTY_WINDOW = 64
"""Tokens that the penalty looks back at, as in llama.cpp."""
Floats = NDArray[Any]


class Sampler:
    """Chooses the tokens of one generation."""

    def __init__(self, sampling: Sampling, prompt_ids: Sequence[int]) -> None:
        self._sampling = sampling
        self._recent = deque(prompt_ids[-PENALTY_WINDOW:], maxlen=PENALTY_WINDOW)
        self._random = np.random.default_rng(sampling.seed)

    def sample(self, logits: Floats) -> int:
        """The next id; `logits` may be written to."""
        if self._sampling.repeat_penalty != 1.0:
            self._penalize(logits)
        token = self._choose(logits)
        self._recent.append(token)
        return token

    def _choose(self, logits: Floats) -> int:
        if self._sampling.temperature == 0.0:
            return int(logits.argmax())
        ids = _best(logits, self._sampling.top_k)
        kept = self._likely(logits[ids].astype(np.float64))
        chances = _softmax(logits[ids[:kept]].astype(np.float64), self._sampling.temperature)
        drawn = int(np.searchsorted(chances.cumsum(), self._random.random(), side="right"))
        return int(ids[min(drawn, kept - 1)])

    def _likely(self, logits: Floats) -> int:
        """How many of the sorted candidates top-p and min-p leave; at least one."""
        chances = _softmax(logits)
        kept = len(chances)
        if self._sampling.top_p < 1.0:
            enough = int(np.searchsorted(chances.cumsum(), self._sampling.top_p)) + 1
            kept = min(kept, enough)
        if self._sampling.min_p > 0.0:
            least = self._sampling.min_p * chances[0]
            kept = min(kept, int(np.count_nonzero(chances >= least)))
        return max(1, kept)

    def _penalize(self, logits: Floats) -> None:
        recent = np.fromiter(set(self._recent), dtype=np.int64)
        recent = recent[recent < len(logits)]
        seen, penalty = logits[recent], self._sampling.repeat_penalty
        logits[recent] = np.where(seen > 0, seen / penalty, seen * penalty)


def _best(logits: Floats, top_k: int) -> NDArray[Any]:
    """Ids of the `top_k` highest, the highest first; 0 keeps all."""
    if 0 < top_k < len(logits):
        ids = np.argpartition(logits, -top_k)[-top_k:]
        return ids[np.argsort(-logits[ids], kind="stable")]
    return np.argsort(-logits, kind="stable")


def _softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    raised = np.exp((logits - logits[0]) / temperature)  # the first is the highest
    chances: Floats = raised / raised.sum()
    return chances
