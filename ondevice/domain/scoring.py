"""How probable a model finds given tokens: what is asked of an engine, and what comes back.

scored    a token whose log-probability is asked for, given all ids before it (teacher forcing)
logits    the raw numbers of all ids of the vocabulary at one place, before they are probabilities
natural   all logarithms are natural ones
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PromptIds:
    """A prompt as a model gets it."""

    ids: tuple[int, ...]
    begin: int
    """How many of them, at the start, no text wrote: a begin token that the tokenizer adds to
    text. 0 for chats and token ids."""
    reads: str
    """sha256 of the bytes that each id stands for: equal where two vocabularies agree on them."""


@dataclass(frozen=True, slots=True)
class LogitsFile:
    """Logits of scored tokens, one row of float32 for each: `vocabulary` numbers."""

    path: Path
    row: int
    """Which row is that of the first scored token."""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Ids to be read from nothing, and from which of them on they are scored."""

    tokens: tuple[int, ...]
    first: int = 1
    """Ids from this one on are scored; at least 1, as the first id has nothing before it."""
    choices: tuple[int, ...] = ()
    """Ids whose log-probability after all of `tokens` is asked for."""
    keep: LogitsFile | None = None
    """Where the logits of the scored tokens are written."""
    against: LogitsFile | None = None
    """Logits of another model for the same tokens, from which the divergence is computed."""


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Some more ids were read; in order, what was asked of those that are scored."""

    read: int
    """Ids read so far."""
    log_probabilities: tuple[float, ...] = ()
    divergences: tuple[float, ...] = ()
    """KL divergence of this model from the other one at each token, in nats; 0 or more."""
    agreed: tuple[bool, ...] = ()
    """Whether both models find the same token the most probable one."""


@dataclass(frozen=True, slots=True)
class ScoringDone:
    """The last event of every scoring that did not raise."""

    cancelled: bool
    choices: tuple[float, ...] = ()
    """Log-probabilities of the request's choices."""


ScoreEvent = TokenScores | ScoringDone
