"""What it saved that the state of a prompt's beginning was still held.

read     the evaluation of at least READ_TOKENS prompt tokens. Fewer say little about the rate: most
         of their time is what any evaluation costs, and a rate from it would make savings too large
rate     tokens of all reads of one model here, since the start, per second they took
saved    cached tokens, and the seconds they would have taken at that rate; unknown before a read
missed   why tokens that had been read before were read again
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum

from ondevice.domain.generation import GenerationDone

READ_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Reuse:
    """Of one turn, or of all since the start."""

    tokens: int = 0
    """Cached ones."""
    seconds: float | None = None
    """Of the tokens whose model was measured; None where there are none."""
    unmeasured_tokens: int = 0
    """Those whose seconds are unknown."""
    missed: str = ""
    """Why not more; empty where all that was held was reused. Of a turn only."""


@dataclass(slots=True)
class _Model:
    cached_tokens: int = 0
    read_tokens: int = 0
    read_s: float = 0.0

    def saved(self, tokens: int) -> Reuse:
        if not tokens:
            return Reuse()
        if not self.read_s > 0:
            return Reuse(tokens, None, tokens)
        return Reuse(tokens, tokens * self.read_s / self.read_tokens)


class ReuseMeter:
    """Adds up turns. `last` and `total` are replaced whole, so any thread may look."""

    def __init__(self) -> None:
        self.last = Reuse()
        """Of the newest turn, at the rate known when it ended."""
        self.total = Reuse()
        """Of all turns, at the rates known now."""
        self._models: dict[str, _Model] = {}

    def note(self, model: str, done: GenerationDone, missed: str = "") -> None:
        """Account for a turn with a model file."""
        usage, seconds = done.usage, done.timings.prefill_s
        of_model = self._models.setdefault(model, _Model())
        of_model.cached_tokens += usage.cached_tokens
        if usage.evaluated_tokens >= READ_TOKENS and seconds and done.finish_reason != "cancelled":
            of_model.read_tokens += usage.evaluated_tokens
            of_model.read_s += seconds
        saved = of_model.saved(usage.cached_tokens)
        self.last = Reuse(saved.tokens, saved.seconds, saved.unmeasured_tokens, missed)
        every = [each.saved(each.cached_tokens) for each in self._models.values()]
        known = [each.seconds for each in every if each.seconds is not None]
        self.total = Reuse(
            sum(each.tokens for each in every),
            fsum(known) if known else None,
            sum(each.unmeasured_tokens for each in every),
        )
