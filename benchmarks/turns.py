"""A conversation of 20 turns: each evaluates only what is new, so the first token stays quick.

Replies are capped at 32 tokens; questions have the same length. Compared is TTFT of turn 20 with
turn 2, and the evaluated tokens of every turn with those that were added.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from common import conditions, pair_count, starter

from ondevice.domain.generation import (
    GREEDY,
    ChatMessage,
    GenerationDone,
    GenerationRequest,
    LoadOptions,
    Prompt,
    TextDelta,
)
from ondevice.domain.model import ModelFile
from ondevice.engines import registry

TURNS = 20
CAP = 32


def talk(model: Path) -> list[GenerationDone]:
    """One conversation from a fresh engine."""
    engine = registry.in_child("llama.cpp")
    engine.load(ModelFile(model, "llama.cpp", model.stem), LoadOptions())
    messages: list[ChatMessage] = []
    turns: list[GenerationDone] = []
    for number in range(TURNS):
        messages.append(ChatMessage("user", f"Tell me fact number {number + 10} about rivers."))
        text = ""
        request = GenerationRequest(Prompt(messages=tuple(messages)), GREEDY, CAP)
        for event in engine.generate(request):
            if isinstance(event, TextDelta):
                text += event.text
            elif isinstance(event, GenerationDone):
                turns.append(event)
        messages.append(ChatMessage("assistant", text))
    engine.close()
    return turns


def main() -> None:
    """Print evaluated tokens and TTFT by turn."""
    conditions()
    talks = [talk(starter()) for _ in range(pair_count(7))]
    evaluated = [turn.usage.evaluated_tokens for turn in talks[0]]
    added = [
        turn.usage.prompt_tokens - (before.usage.prompt_tokens + before.usage.completion_tokens)
        for before, turn in zip(talks[0], talks[0][1:], strict=False)
    ]
    print("evaluated by turn:", evaluated)
    print("added by turn (a cut reply's last token was sampled, not evaluated):", added)
    ttft = [statistics.median(t[n].timings.ttft_s or 0.0 for t in talks) for n in range(TURNS)]
    print("median TTFT by turn in ms:", [round(1000 * value) for value in ttft])
    ratios = [(t[-1].timings.ttft_s or 0) / (t[1].timings.ttft_s or 1) for t in talks]
    median = statistics.median(ratios)
    verdict = "holds" if median <= 1.5 else "FALLS SHORT"
    print(f"TTFT of turn 20 / turn 2: {median:.2f}  (bar: at most 1.5) {verdict}")


if __name__ == "__main__":
    main()
