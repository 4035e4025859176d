"""The same prompts through two models: where they agree, how fast each is, what each takes.

Both are in memory at the same time, so that they can take turns: a machine's speed drifts by more
than two engines differ. The idle one computes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from ondevice.domain.generation import (
    GREEDY,
    EngineInfo,
    GenerationRequest,
    LoadOptions,
    Prompt,
)
from ondevice.domain.measured import Measured
from ondevice.domain.metrics import middle_and_spread
from ondevice.domain.model import ModelFile
from ondevice.domain.parity import Comparison, Difference, Side
from ondevice.domain.scoring import PromptIds, ScoreRequest, ScoringDone
from ondevice.engines import registry
from ondevice.engines.child import mark_of
from ondevice.engines.kept import common_prefix
from ondevice.errors import EngineTrouble, OtherVocabulary
from ondevice.hardware.probe import machine_memory
from ondevice.measure import measure
from ondevice.quality.models import Opened, Start, check_same_vocabulary, opened

Ids = tuple[int, ...]
END = -1
"""Stands for every end token where answers are compared."""


@dataclass(frozen=True, slots=True)
class Ready:
    """One of the two is loaded."""

    file: ModelFile
    info: EngineInfo


@dataclass(frozen=True, slots=True)
class Crowded:
    """The two do not fit the free memory, so that their speeds may be those of the disk."""

    needed_bytes: int
    """Of both files."""
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Progress:
    """So many answers are there, of both together."""

    done: int
    total: int
    elapsed_s: float

    @property
    def eta_s(self) -> float | None:
        """Unknown before the first."""
        return self.elapsed_s / self.done * (self.total - self.done) if self.done else None


ParityEvent = Crowded | Ready | Progress | Comparison


@dataclass
class _Answers:
    """What one model answered to each prompt, in order."""

    model: Opened
    measured: list[Measured] = field(default_factory=list)

    def ids(self, prompt: int) -> Ids:
        return self.measured[prompt].done.ids

    def compared(self, prompt: int) -> Ids:
        """The ids with END in the place of an end token."""
        ids = self.ids(prompt)
        ended = self.measured[prompt].done.finish_reason == "stop"  # no text was given to stop at
        return (*ids[:-1], END) if ended else ids

    def text(self, prompt: int) -> str:
        return self.measured[prompt].text


def compare(
    files: tuple[ModelFile, ModelFile],
    prompts: Sequence[Prompt],
    max_tokens: int,
    options: tuple[LoadOptions, LoadOptions],
    start: Start = registry.in_child,
) -> Iterator[ParityEvent]:
    """Yield Crowded where that is so, two Ready, Progress after each answer, one Comparison.

    Each file has options of its own. Answers are greedy, of at most `max_tokens`, and each prompt
    is evaluated whole. Raises EngineTrouble; closing the iterator stops it.
    """
    needed = sum(mark_of(*paths)[2] for paths in {file.paths for file in files})
    if needed > (free := machine_memory().available_bytes):
        yield Crowded(needed, free)
    first, second = zip(files, options, strict=True)
    with opened(*first, start) as one, opened(*second, start) as other:
        yield Ready(one.file, one.info)
        yield Ready(other.file, other.info)
        read = [[model.scores.tokenize(prompt) for prompt in prompts] for model in (one, other)]
        both = _Answers(one), _Answers(other)
        for side in both:  # the first answer also waits for pages of the file
            list(side.model.engine.generate(_request(prompts[0], 1)))
        began, total = time.monotonic(), 2 * len(prompts)
        for number, prompt in enumerate(prompts):
            for side in both if number % 2 == 0 else reversed(both):
                side.measured.append(_answer(side.model, _request(prompt, max_tokens)))
                done = sum(len(each.measured) for each in both)
                yield Progress(done, total, time.monotonic() - began)
        yield _comparison(both, read)


def _request(prompt: Prompt, max_tokens: int) -> GenerationRequest:
    return GenerationRequest(prompt, GREEDY, max_tokens=max_tokens, reuse=False, text_shown=False)


def _answer(model: Opened, request: GenerationRequest) -> Measured:
    measured = None
    for event in measure(model.engine, model.info, request, None):
        if isinstance(event, Measured):
            measured = event
    assert measured is not None  # measure ends with it, or raises
    if measured.done.finish_reason == "cancelled":
        raise EngineTrouble(f"an answer of {model.file.name} was stopped")
    return measured


def _comparison(both: tuple[_Answers, _Answers], read: list[list[PromptIds]]) -> Comparison:
    one, other = both
    numbers = range(len(read[0]))
    comparable = _comparable(one.model, other.model, read[0])
    agreed = [common_prefix(one.compared(each), other.compared(each)) for each in numbers]
    longer = [max(len(one.ids(each)), len(other.ids(each))) for each in numbers]
    same = [
        agreed[each] == longer[each] if comparable else one.text(each) == other.text(each)
        for each in numbers
    ]
    pairs = zip_longest(*read)
    return Comparison(
        sides=(_side(one), _side(other)),
        prompts=len(numbers),
        same=sum(same),
        agreed_tokens=sum(agreed) if comparable else None,
        longer_tokens=sum(longer) if comparable else None,
        other_ids=sum(left.ids != right.ids for left, right in pairs) if comparable else None,
        differences=tuple(
            _difference(both, each, read if comparable else None, agreed[each])
            for each in numbers
            if not same[each]
        ),
    )


def _comparable(one: Opened, other: Opened, read: Sequence[PromptIds]) -> bool:
    """Whether tokens of one are tokens of the other."""
    try:
        for ids in read:
            check_same_vocabulary(one, ids, other)
    except OtherVocabulary:
        return False
    return True


def _difference(
    both: tuple[_Answers, _Answers], prompt: int, read: list[list[PromptIds]] | None, at: int
) -> Difference:
    texts = [side.text(prompt) for side in both]
    before = texts[0][: common_prefix(*texts)]
    gaps: list[float | None] = [None, None]
    if read is not None:
        taken = [side.ids(prompt)[at : at + 1] for side in both]
        if all(taken) and taken[0] != taken[1]:
            choices = (*taken[0], *taken[1])
            for number, side in enumerate(both):
                ids = read[number][prompt].ids + side.ids(prompt)[:at]
                found = _log_probabilities(side.model, ids, choices)
                gaps[number] = found[number] - found[1 - number]
    return Difference(
        prompt=prompt + 1,
        token=None if read is None else at + 1,
        before=before,
        texts=(texts[0][len(before) :], texts[1][len(before) :]),
        gaps=(gaps[0], gaps[1]),
    )


def _log_probabilities(model: Opened, ids: Ids, choices: Ids) -> tuple[float, ...]:
    """Of `choices` after `ids`."""
    for event in model.scores.score(ScoreRequest(ids, first=len(ids), choices=choices)):
        if isinstance(event, ScoringDone) and not event.cancelled:
            return event.choices
    raise EngineTrouble(f"scoring with {model.file.name} was stopped")


def _side(answers: _Answers) -> Side:
    model, done = answers.model, [each.done for each in answers.measured]
    later = [notice for each in answers.measured for notice in each.notices]
    prefill, decode = (
        middle_and_spread([rate for rate in rates if rate is not None])
        for rates in (
            [each.prefill_tok_per_s for each in done],
            [each.decode_tok_per_s for each in done],
        )
    )
    private = [each.memory.peak_private_bytes for each in answers.measured]
    pages = [each.memory.model_pages_bytes for each in answers.measured]
    return Side(
        model=model.file.name,
        quantization=model.file.quantization,
        info=replace(model.info, threads=done[-1].threads, notices=(*model.info.notices, *later)),
        prefill_tok_per_s=prefill,
        decode_tok_per_s=decode,
        peak_private_bytes=max((each for each in private if each is not None), default=None),
        model_pages_bytes=max((each for each in pages if each is not None), default=None),
        tokens=sum(len(each.ids) for each in done),
    )
