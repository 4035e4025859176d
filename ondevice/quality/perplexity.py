"""Perplexity of model files over a text, and how far each is from a reference.

The reference is read first, alone, and its logits are kept in a file that ends with this process;
then each other model is read against it. So one model is in memory at a time, however many there
are, and the reference is computed once.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ondevice import units
from ondevice.domain.device import GpuLayers
from ondevice.domain.generation import EngineInfo, LoadOptions, Prompt
from ondevice.domain.model import ModelFile
from ondevice.domain.quality import (
    WINDOW,
    Assessment,
    Divergence,
    divergence,
    perplexity,
    windows,
)
from ondevice.domain.scoring import LogitsFile, PromptIds, ScoreRequest, TokenScores
from ondevice.engines import registry
from ondevice.errors import EngineTrouble, UsageTrouble
from ondevice.hardware.temporary import temporary_file
from ondevice.quality.models import Opened, Start, check_same_vocabulary, opened

KEPT_FREE_BYTES = 256 << 20
"""What stays free on the disk beside the logits."""
_NUMBER_BYTES = 4


@dataclass(frozen=True, slots=True)
class Reading:
    """How a text is read; see `domain.quality`."""

    window: int = WINDOW
    stride: int = WINDOW // 2
    limit: int | None = None
    """Only so many of its first tokens; None reads all."""
    threads: int | None = None
    gpu_layers: GpuLayers | None = None

    def __post_init__(self) -> None:
        if not 0 < self.stride < self.window - 1:
            raise UsageTrouble(
                f"a stride of {self.stride} does not go with a window of {self.window}",
                hint="Each window needs some tokens before those that are scored.",
            )


@dataclass(frozen=True, slots=True)
class Begun:
    """A model is ready, and the text is cut into its tokens."""

    file: ModelFile
    info: EngineInfo
    tokens: int
    """To be scored."""
    kept_bytes: int
    """What its logits will take on the disk; 0 where they are not kept."""


@dataclass(frozen=True, slots=True)
class Progress:
    """So many tokens of a model's text are scored."""

    file: ModelFile
    done_tokens: int
    total_tokens: int
    elapsed_s: float

    @property
    def tok_per_s(self) -> float | None:
        """Unknown before the first."""
        return self.done_tokens / self.elapsed_s if self.done_tokens and self.elapsed_s else None

    @property
    def eta_s(self) -> float | None:
        rate = self.tok_per_s
        return (self.total_tokens - self.done_tokens) / rate if rate else None


@dataclass
class _Found:
    """What was said of each scored token, in order."""

    log_probabilities: list[float] = field(default_factory=list)
    divergences: list[float] = field(default_factory=list)
    agreed: list[bool] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, scores: TokenScores) -> None:
        self.log_probabilities += scores.log_probabilities
        self.divergences += scores.divergences
        self.agreed += scores.agreed


QualityEvent = Begun | Progress | Assessment


def own_text() -> str:
    """The text of our own: about 1,700 tokens of plain English."""
    return Path(__file__).with_name("text.txt").read_text(encoding="utf-8")


def assess(
    files: Sequence[ModelFile],
    reference: ModelFile | None,
    text: str,
    reading: Reading,
    folder: Path,
    start: Start = registry.in_child,
) -> Iterator[QualityEvent]:
    """Yield one Begun, Progress and one Assessment for the reference, then for each of `files`.

    Without a reference each file cuts the text by its own tokenizer. The reference's logits are
    kept in `folder`, which is made. Raises UsageTrouble, OtherVocabulary or EngineTrouble; closing
    the iterator stops it.
    """
    options = LoadOptions(
        n_ctx=reading.window, threads=reading.threads, gpu_layers=reading.gpu_layers
    )
    if reference is None:
        for file in files:
            with opened(file, options, start) as model:
                ids = _tokens(model, text, reading)
                yield Begun(file, model.info, _scored(ids), 0)
                found = yield from _read(model, ids, reading)
                yield _assessment(model, found, None)
        return
    with temporary_file(folder) as kept:
        with opened(reference, options, start) as base:
            ids = _tokens(base, text, reading)
            kept_bytes = _scored(ids) * base.info.vocabulary * _NUMBER_BYTES
            _check_room(folder, kept_bytes)
            yield Begun(reference, base.info, _scored(ids), kept_bytes)
            found = yield from _read(base, ids, reading, keep=kept)
            yield _assessment(base, found, None)
        for file in files:
            with opened(file, options, start) as model:
                check_same_vocabulary(base, ids, model)
                yield Begun(file, model.info, _scored(ids), 0)
                own = yield from _read(model, ids, reading, against=kept)
                yield _assessment(model, own, _divergence(own, found))


def _tokens(model: Opened, text: str, reading: Reading) -> PromptIds:
    """Raises UsageTrouble where the context is too small, or the text."""
    info = model.info
    if info.n_ctx < reading.window and not info.unbounded:
        raise UsageTrouble(
            f"the context of {model.file.name} is {info.n_ctx:,} tokens, the window "
            f"{reading.window:,}",
            hint=f"Take a smaller one: --window {info.n_ctx}",
        )
    whole = model.scores.tokenize(Prompt(text=text))
    limit = None if reading.limit is None else whole.begin + reading.limit
    read = replace(whole, ids=whole.ids[:limit])
    if _scored(read) < 1:
        raise UsageTrouble(
            "the text is too short: no token is left to be scored",
            hint="The first token of a text has nothing before it, so it takes two at least.",
        )
    if read == whole:
        return whole
    return replace(model.scores.tokenize(Prompt(tokens=read.ids)), begin=whole.begin)


def _scored(ids: PromptIds) -> int:
    """How many tokens are scored: the first has something before it only where a text is begun."""
    return len(ids.ids) - max(1, ids.begin)


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + KEPT_FREE_BYTES > free:
        raise UsageTrouble(
            f"the reference's logits take {units.size(needed)}; the disk of {folder} has "
            f"{units.size(free)} free",
            hint="Read fewer tokens: --tokens N",
        )


def _read(
    model: Opened,
    ids: PromptIds,
    reading: Reading,
    keep: Path | None = None,
    against: Path | None = None,
) -> Generator[Progress, None, _Found]:
    """Score every token once, window by window."""
    found, total, began = _Found(), _scored(ids), time.monotonic()
    head, body = ids.ids[: ids.begin], ids.ids[ids.begin :]
    for window in windows(len(body), ids.begin, reading.window, reading.stride):
        row = len(found.log_probabilities)
        request = ScoreRequest(
            tokens=head + body[window.start : window.end],
            first=ids.begin + window.first - window.start,
            keep=LogitsFile(keep, row) if keep else None,
            against=LogitsFile(against, row) if against else None,
        )
        for event in model.scores.score(request):
            if isinstance(event, TokenScores):
                found.add(event)
                done = len(found.log_probabilities)
                yield Progress(model.file, done, total, time.monotonic() - began)
            elif event.cancelled:
                raise EngineTrouble(f"reading the text with {model.file.name} was stopped")
    found.seconds = time.monotonic() - began
    return found


def _divergence(own: _Found, reference: _Found) -> Divergence:
    return divergence(
        own.log_probabilities, reference.log_probabilities, own.divergences, own.agreed
    )


def _assessment(model: Opened, found: _Found, apart: Divergence | None) -> Assessment:
    return Assessment(
        model=model.file.name,
        quantization=model.file.quantization,
        info=model.info,
        tokens=len(found.log_probabilities),
        perplexity=perplexity(found.log_probabilities),
        divergence=apart,
        seconds=found.seconds,
    )
