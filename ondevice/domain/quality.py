"""How good a model file is at a text, defined once.

window      the ids a model reads at once, from nothing
stride      how many tokens each window but the first adds to what was scored before it
perplexity  e to the mean negative log-probability of the scored tokens: among how many equally
            probable tokens the model hesitates
KL          mean over the scored tokens of the sum of p (log p - log q) over the vocabulary, p being
            the reference's probabilities: what is lost by taking the model for it, in nats

Standard errors take tokens as independent draws. They are not quite, as one text is one text: the
true uncertainty is somewhat larger.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from ondevice.domain.generation import EngineInfo

WINDOW = 512
"""Tokens, as llama.cpp's tool has it."""


@dataclass(frozen=True, slots=True)
class Window:
    """Ids of a text from `start` up to `end`, of which those from `first` on are scored."""

    start: int
    end: int
    first: int


def windows(count: int, begin: int, window: int, stride: int) -> Iterator[Window]:
    """Windows of at most `window` ids, `begin` tokens before each included, over `count` ids.

    Every id is scored once, but the first where nothing begins a text: it has nothing before it.
    All after the first window have at least `window` - `stride` ids before them.
    """
    room = window - begin
    done, end = (0 if begin else 1), min(room, count)
    while done < end:
        yield Window(max(0, end - room), end, done)
        done, end = end, min(end + stride, count)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over tokens, and how uncertain that is."""

    value: float
    standard_error: float | None
    """Unknown of fewer than two tokens."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """How far a model is from a reference over the same tokens."""

    mean: Estimate
    median: float
    largest: float
    agreement: Estimate
    """Share of the places where both find the same token the most probable one."""
    ratio: Estimate
    """Perplexity of the model over that of the reference; token by token, so it is more certain
    than either."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a text says of one model file."""

    model: str
    quantization: str
    info: EngineInfo
    """How and where it was loaded."""
    tokens: int
    """Scored ones."""
    perplexity: Estimate
    divergence: Divergence | None
    """From the reference; None of itself, and where there is none."""
    seconds: float
    """Reading the text, without loading."""


def mean(samples: Sequence[float]) -> Estimate:
    """Their mean. Raises StatisticsError without any."""
    error = stdev(samples) / math.sqrt(len(samples)) if len(samples) > 1 else None
    return Estimate(fmean(samples), error)


def perplexity(log_probabilities: Sequence[float]) -> Estimate:
    """e to the negative mean; the standard error to first order."""
    return _exponential(mean([-each for each in log_probabilities]))


def divergence(
    log_probabilities: Sequence[float],
    reference: Sequence[float],
    divergences: Sequence[float],
    agreed: Sequence[bool],
) -> Divergence:
    """All four of the same tokens in the same order."""
    longer = [theirs - own for own, theirs in zip(log_probabilities, reference, strict=True)]
    return Divergence(
        mean=mean(divergences),
        median=median(divergences),
        largest=max(divergences),
        agreement=mean([float(each) for each in agreed]),
        ratio=_exponential(mean(longer)),
    )


def _exponential(of: Estimate) -> Estimate:
    value = math.exp(min(of.value, 700.0))  # a float holds no more
    error = None if of.standard_error is None else value * of.standard_error
    return Estimate(value, error)
