"""How long a parent waits for each sign of life of an engine's process."""

from __future__ import annotations

from dataclasses import dataclass

from ondevice.domain.generation import Prompt

CHARACTERS_PER_S = 200_000
"""Rendering and tokenizing may take this long on top: a seventh of the speed measured."""
FILE_BYTES_PER_S = 30_000_000
"""Loading may take this long on top: one large tensor from a slow disk gives no sign."""
SMALL_FILE_BYTES = 1 << 30
"""A batch may take longer with a larger model, in proportion."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Longest silences, in seconds; progress counts as a sign of life."""

    start_s: float = 30.0
    """Until the child runs: a cold disk, a virus scanner."""
    load_s: float = 8.0
    """Between two signs while loading a small file; a large one gets more."""
    prompt_s: float = 10.0
    """Rendering and tokenizing a short prompt; a long one gets more."""
    prefill_s: float = 120.0
    """One batch of 512 tokens with a small file; a large one gets more. A 4B model of 2.5 GB takes
    20 s on two cores that are free, and many times that where other programs want them."""
    token_s: float = 60.0
    save_s: float = 60.0
    """Writing a small state; a large one gets more. Nobody waits for it as a rule, and ending a
    healthy engine costs more than a slow disk does."""
    stop_s: float = 2.0
    """After a cancel."""

    def for_prompt(self, prompt: Prompt) -> float:
        """Rendering and tokenizing `prompt`."""
        return self.prompt_s + prompt.characters / CHARACTERS_PER_S

    def for_file(self, size_bytes: int) -> float:
        """Reading a file of that size."""
        return self.load_s + size_bytes / FILE_BYTES_PER_S

    def for_batch(self, size_bytes: int) -> float:
        """Evaluating one batch of tokens with a model of that size."""
        return self.prefill_s * max(1.0, size_bytes / SMALL_FILE_BYTES)
