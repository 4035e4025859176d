"""A conversation taken up after a restart: how soon it answers, and whether it says the same.

TTFT of the next turn in a fresh engine that restored its state, against the same state in the
engine that wrote it (warm), and of a fresh engine that reads the conversation anew. What restoring
itself takes stands beside.

Then greedy continuations of many prompts, restored against an engine that went on and against one
that evaluated the same ids anew. Where two first differ, the gap between the logits of the two
tokens says how near they were to being equal.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import conditions, pair_count, pairs, report, starter

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
from ondevice.engines.llamacpp.engine import LlamaCppEngine

SHA = "0" * 64
"""Stands for the model's hash: all files here are made and read by this one run."""
TURN_BAR = 1.3
GAP_BAR = 0.5
CONTINUATIONS = 50
LENGTH = 32
TURNS = 6


@dataclass
class Talk:
    """A conversation with one engine; answers are short and greedy."""

    engine: Any
    messages: list[ChatMessage]

    def ask(self, text: str) -> GenerationDone:
        """One more turn."""
        self.messages.append(ChatMessage("user", text))
        answer = ""
        request = GenerationRequest(Prompt(messages=tuple(self.messages)), GREEDY, 32)
        for event in self.engine.generate(request):
            if isinstance(event, TextDelta):
                answer += event.text
            elif isinstance(event, GenerationDone):
                done = event
        self.messages.append(ChatMessage("assistant", answer))
        return done


def fresh(model: Path) -> Any:
    """An engine in a child of its own, as the app has it; one thread, so that others on the
    machine disturb it less."""
    engine = registry.in_child("llama.cpp")
    engine.load(ModelFile(model, "llama.cpp", model.stem), LoadOptions(threads=1))
    return engine


def first_token(model: Path, count: int) -> float:
    """Print TTFT of the next turn: restored, warm and cold; the median ratio is returned."""
    with tempfile.TemporaryDirectory() as folder, closing(fresh(model)) as first:
        talk = Talk(first, [])
        for number in range(TURNS):
            talk.ask(f"Tell me fact number {number + 10} about rivers.")
        state, history = Path(folder) / "a.state", list(talk.messages)
        size = first.save_state(state, SHA)
        question = "Now tell me one about mountains."
        print(f"{model.stem}: a state of {size / 2**20:.1f} MB")

        def warm() -> float:
            first.restore_state(state, SHA)
            return Talk(first, list(history)).ask(question).timings.ttft_s or 0.0

        def other(restore: bool) -> float:
            with closing(fresh(model)) as engine:
                if restore:
                    began = time.monotonic()
                    engine.restore_state(state, SHA)
                    took.append(time.monotonic() - began)
                done = Talk(engine, list(history)).ask(question)
                assert (done.usage.cached_tokens > 0) == restore
                return done.timings.ttft_s or 0.0

        took: list[float] = []
        found = pairs(lambda: other(True), warm, count)
        report(f"{model.stem}: TTFT restored / warm", in_ms(found), None, "ms")
        ratio = statistics.median(a / b for a, b in found)
        verdict = "holds" if ratio <= TURN_BAR else "FALLS SHORT"
        print(
            f"  bar {TURN_BAR:g}: {verdict}; restoring took {1000 * statistics.median(took):.0f} ms"
        )
        few = pairs(lambda: other(False), warm, min(3, count), warm_up=False)
        report(f"{model.stem}: TTFT read anew / warm", in_ms(few), None, "ms")
        return ratio


def in_ms(found: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(1000 * a, 1000 * b) for a, b in found]


class Continuing:
    """One engine in this process, whose ids and logits can be looked at."""

    def __init__(self, model: Path, repack: bool | None) -> None:
        self.engine = LlamaCppEngine()
        options = LoadOptions(n_ctx=1024, threads=1, repack=repack)
        self.engine.load(ModelFile(model, "llama.cpp", model.stem), options)

    def forget(self) -> None:
        """Hold nothing, as after a start."""
        context = self.engine._model().context
        context.rewind(0)
        self.engine._kept.forget()

    def make(self, ids: Sequence[int], length: int) -> list[int]:
        """The ids that follow `ids`."""
        prompt = Prompt(tokens=tuple(ids))
        request = GenerationRequest(prompt, GREEDY, length, ignore_eos=True)
        list(self.engine.generate(request))
        return self.engine._kept.ids[len(ids) :]

    def ids(self, text: str) -> list[int]:
        """Tokens of a text."""
        return self.engine._model().context.tokenize(text, True)

    def gap(self, ids: Sequence[int], one: int, other: int) -> float:
        """How far apart the logits of two ids are after `ids`."""
        self.make(ids, 1)
        logits = self.engine._lib.llama_get_logits_ith(self.engine._model().context.handle, -1)
        return abs(float(logits[one]) - float(logits[other]))


def texts(count: int) -> Iterator[tuple[str, str]]:
    """(what is read before the restart, what is added after it)."""
    things = ("rivers", "bridges", "bread", "clocks", "snow", "trains", "bees", "salt", "maps")
    for number in range(count):
        thing, other = things[number % 9], things[(number * 5 + 2) % 9]
        yield (
            f"Notes, page {number + 1}. {thing.capitalize()} and {other}. " * 6,
            f"\nQuestion {number + 1}: what do {thing} have to do with {other}?\nAnswer:",
        )


@dataclass
class Comparison:
    """Restored continuations against those of an engine that was not restored."""

    name: str
    same: int = 0
    gaps: list[float] = field(default_factory=list)
    """Of the logits where two first differ."""

    def show(self, count: int, exact: bool) -> None:
        """One line; `exact` says that all are to be the same."""
        line = f"  as {self.name}: {self.same} of {count}"
        if self.gaps:
            line += f", largest gap at a first difference {max(self.gaps):.3f} (bar {GAP_BAR:g})"
        fails = self.same < count if exact else max(self.gaps, default=0.0) >= GAP_BAR
        print(f"{line}: {'FALLS SHORT' if fails else 'holds'}", flush=True)


def continuations(model: Path, repack: bool | None, count: int) -> tuple[Comparison, Comparison]:
    """Print how many continuations are those of an engine that went on, and of one that read all
    ids anew, in batches: another order of arithmetic, so only the gap has a bar there."""
    going_on, anew = Comparison("an engine that went on"), Comparison("one that read anew")
    first, second = Continuing(model, repack), Continuing(model, repack)
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "a.state"
        for before, after in texts(count):
            first.forget()
            read = first.ids(before)
            head = read + first.make(read, LENGTH)
            first.engine.save_state(state, SHA)
            longer = head + first.ids(after)
            warm = first.make(longer, LENGTH)
            second.engine.restore_state(state, SHA)
            restored = second.make(longer, LENGTH)
            first.forget()
            cold = first.make(longer, LENGTH)
            for found, other in ((going_on, warm), (anew, cold)):
                compare(found, first, longer, restored, other)
    first.engine.close()
    second.engine.close()
    kind = "repacking off" if repack is False else "default settings"
    print(f"{model.stem}, {kind}: {count} continuations of {LENGTH} tokens")
    going_on.show(count, exact=repack is False)
    anew.show(count, exact=False)
    return going_on, anew


def compare(
    found: Comparison,
    engine: Continuing,
    ids: Sequence[int],
    restored: Sequence[int],
    other: Sequence[int],
) -> None:
    """Count one more continuation of `ids`."""
    pairs_of_ids = enumerate(zip(restored, other, strict=True))
    at = next((place for place, (one, two) in pairs_of_ids if one != two), None)
    if at is None:
        found.same += 1
        return
    engine.forget()
    found.gaps.append(engine.gap([*ids, *other[:at]], other[at], restored[at]))


def main() -> None:
    """The starter, and every other model file named on the command line."""
    conditions()
    models = [starter(), *map(Path, sys.argv[1:])]
    for model in models:
        first_token(model, pair_count(15))
    count = int(os.environ.get("ONDEVICE_CONTINUATIONS", CONTINUATIONS))
    for model in models:
        continuations(model, False, count)
        continuations(model, None, count)


if __name__ == "__main__":
    main()
