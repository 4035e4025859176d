"""What a context is filled with: every token of it is system, history, attached or free."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ondevice.domain.prompt import PromptTokens

NEARLY_FULL = 0.85
"""From this share on there may be no room for one more question and its answer: of 4,096 tokens,
614 are left."""


@dataclass(frozen=True, slots=True)
class ContextParts:
    """The tokens of a prompt by part, and what they leave free; all as the engine counts them."""

    prompt: PromptTokens
    n_ctx: int | None
    """None for a model whose state does not grow: nothing bounds it, and nothing is free of it."""

    @property
    def used(self) -> int:
        return self.prompt.total

    @property
    def free(self) -> int | None:
        """What is left; 0 where the prompt does not even fit."""
        return None if self.n_ctx is None else max(0, self.n_ctx - self.used)

    @property
    def fits(self) -> bool:
        """Whether there is room for at least one token of an answer."""
        return self.free is None or self.free > 0

    @property
    def nearly_full(self) -> bool:
        return self.n_ctx is not None and self.used >= NEARLY_FULL * self.n_ctx

    def with_answer(self, tokens: int) -> ContextParts:
        """After so many generated tokens, which are history."""
        history = self.prompt.history + tokens
        return replace(self, prompt=replace(self.prompt, history=history))
