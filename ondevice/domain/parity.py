"""How alike two models answer, defined once.

agreement   tokens that both make before their first difference, as a share of those of the longer
            answer; after it they answer different texts, which says nothing more
difference  the first place where they take different tokens. End tokens are alike: a model that has
            several says the same with each
gap         how much more probable, as a difference of log-probabilities, a model finds its own
            token there than the other's, both after the same ids. Near 0 it was a toss-up, which
            rounding decides
"""

from __future__ import annotations

from dataclasses import dataclass

from ondevice.domain.generation import EngineInfo

MiddleAndSpread = tuple[float, float] | None
"""Median and interquartile range; None where nothing was measured."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two, and what its answers took."""

    model: str
    quantization: str
    info: EngineInfo
    """How and where it was loaded, with its threads and notices as they were at the end."""
    prefill_tok_per_s: MiddleAndSpread
    decode_tok_per_s: MiddleAndSpread
    peak_private_bytes: int | None
    model_pages_bytes: int | None
    tokens: int
    """Made in all answers."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two answers to one prompt part."""

    prompt: int
    """Which one, from 1."""
    token: int | None
    """Of the answer, from 1; None where the vocabularies differ."""
    before: str
    """What both had written."""
    texts: tuple[str, str]
    """How each goes on."""
    gaps: tuple[float | None, float | None]
    """Of each model by its own probabilities; None where the vocabularies differ, where an answer
    was cut off there, and where one token ends only one of the answers."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that two models did with the same prompts."""

    sides: tuple[Side, Side]
    prompts: int
    same: int
    """Prompts with the same answer."""
    agreed_tokens: int | None
    """Before the first differences; None where the vocabularies differ."""
    longer_tokens: int | None
    """Of the longer answer to each prompt; None as above."""
    other_ids: int | None
    """Prompts that the two read as different tokens."""
    differences: tuple[Difference, ...]

    @property
    def agreement(self) -> float | None:
        """Unknown without a token, and where the vocabularies differ."""
        if self.agreed_tokens is None or not self.longer_tokens:
            return None
        return self.agreed_tokens / self.longer_tokens
