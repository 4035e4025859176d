"""Log-probabilities of given tokens, the same for every engine that gives its logits.

Ids are always read from nothing and in the same steps, as a step of another shape rounds
differently: so a file has no divergence from itself. The logits of a step are looked at one row
after the other and thrown away; whole rows go to a file and come from one, not over the wire.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ondevice import errors
from ondevice.domain.generation import Prompt
from ondevice.domain.scoring import (
    LogitsFile,
    PromptIds,
    ScoreEvent,
    ScoreRequest,
    ScoringDone,
    TokenScores,
)
from ondevice.engines.prompts import Prompts, TokenContext

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEP_BYTES = 32 << 20
"""Logits of one step, however large the vocabulary is; looking at them takes a few tenths of a
second, in which no stop is obeyed."""
_NUMBER_BYTES = 4


class LogitsSource(Protocol):
    """What is asked of a loaded model here."""

    step: int
    """The most ids it reads at once."""

    def begin(self) -> None:
        """Hold nothing any more."""

    def read(self, ids: Sequence[int]) -> bool:
        """Read `ids` after those held; False where it was stopped. Raises EngineTrouble."""

    def logits(self, ids: Sequence[int]) -> NDArray[Any] | None:
        """Read `ids` too; the float32 logits after each, (ids, vocabulary), which the next call
        may overwrite. None where it was stopped. Raises EngineTrouble."""


class Scorer:
    """Scores tokens with one loaded model."""

    def __init__(self, context: TokenContext, prompts: Prompts, source: LogitsSource) -> None:
        self._context, self._prompts, self._source = context, prompts, source

    def tokenize(self, prompt: Prompt) -> PromptIds:
        """The ids of `prompt`, of any length. Raises TemplateFailed or EngineTrouble."""
        if prompt.text is None:
            ids, begin = self._prompts.read(prompt).ids, 0
        else:
            head = self._begin_tokens()
            text = self._context.tokenize(prompt.text, False) if prompt.text else []
            ids, begin = head + text, len(head)
        return PromptIds(tuple(ids), begin, self._reads(ids))

    def _begin_tokens(self) -> list[int]:
        """What the tokenizer puts before a text."""
        whole, plain = (self._context.tokenize("a", add) for add in (True, False))
        places = range(len(whole) - len(plain) + 1)
        found = next((at for at in places if whole[at : at + len(plain)] == plain), 0)
        return whole[:found]

    def _reads(self, ids: Sequence[int]) -> str:
        digest = hashlib.sha256()
        for token in ids:
            piece = self._context.piece(token, special=True)
            digest.update(len(piece).to_bytes(4, "little") + piece)
        return digest.hexdigest()

    def score(self, request: ScoreRequest) -> Iterator[ScoreEvent]:
        """As `base.Scores` says."""
        ids, source = request.tokens, self._source
        self._check(request)
        source.begin()
        yield TokenScores(0)  # a stop that came before now is obeyed now
        wanted = request.first - 1  # the logits after one id are those of the next
        end = len(ids) if request.choices else len(ids) - 1
        for start in range(0, wanted, source.step):
            if not source.read(ids[start : min(start + source.step, wanted)]):
                yield ScoringDone(cancelled=True)
                return
            yield TokenScores(min(start + source.step, wanted))
        step = min(source.step, max(1, STEP_BYTES // (_NUMBER_BYTES * self._context.vocabulary())))
        choices: tuple[float, ...] = ()
        for start in range(wanted, end, step):
            stop = min(start + step, end)
            rows = source.logits(ids[start:stop])
            if rows is None:
                yield ScoringDone(cancelled=True)
                return
            if stop == len(ids):  # the last row belongs to no id that is scored
                last = _log_probabilities(rows[-1])
                choices = _finite([float(last[each]) for each in request.choices])
                rows = rows[:-1]
            yield self._scored(request, start, rows, stop)
        yield ScoringDone(cancelled=False, choices=choices)

    def _scored(
        self, request: ScoreRequest, start: int, rows: NDArray[Any], read: int
    ) -> TokenScores:
        targets = request.tokens[start + 1 : start + 1 + len(rows)]
        offset = start + 1 - request.first
        if request.keep is not None:
            _write(request.keep, offset, rows)
        if request.against is None:
            pairs = zip(rows, targets, strict=True)
            own = [float(_log_probabilities(row)[target]) for row, target in pairs]
            return TokenScores(read, _finite(own))
        others = _read(request.against, offset, rows.shape)
        found, divergences, agreed = [], [], []
        for row, other, target in zip(rows, others, targets, strict=True):
            own_row, other_row = _log_probabilities(row), _log_probabilities(other)
            found.append(float(own_row[target]))
            divergences.append(_divergence(other_row, own_row))
            agreed.append(bool(row.argmax() == other.argmax()))
        return TokenScores(read, _finite(found), _finite(divergences), tuple(agreed))

    def _check(self, request: ScoreRequest) -> None:
        ids, context = request.tokens, self._context
        if not all(0 <= each < context.vocabulary() for each in (*ids, *request.choices)):
            raise errors.EngineTrouble("a token id is outside the vocabulary")
        if not (
            0 < request.first < len(ids) or (request.choices and request.first == len(ids) > 0)
        ):
            raise errors.EngineTrouble("no token is left to be scored")
        if len(ids) > context.n_ctx and not context.unbounded:
            raise errors.ContextOverflow(
                f"{len(ids):,} tokens are to be scored; the context holds {context.n_ctx:,}"
            )


def _log_probabilities(row: NDArray[Any]) -> NDArray[Any]:
    """Of all ids, in float64. Raises EngineTrouble where a logit is no number."""
    import numpy as np  # deferred: 100 ms, only who scores needs it

    shifted = row.astype(np.float64)
    shifted -= shifted.max()  # no number if one of them is none
    found: NDArray[Any] = shifted - np.log(np.exp(shifted).sum())
    if not np.isfinite(found.max()):
        raise errors.EngineTrouble(
            "the model computes something that is no number",
            hint="Its file may be damaged; fetch it again, or make it anew.",
        )
    return found


def _divergence(other: NDArray[Any], own: NDArray[Any]) -> float:
    """Sum of p (log p - log q), p being the other's probabilities; below 0 is rounding alone."""
    import numpy as np  # deferred: as above

    chances = np.exp(other)
    possible = chances > 0
    terms = chances[possible] * (other[possible] - own[possible])
    return max(0.0, float(terms.sum()))


def _finite(numbers: Sequence[float]) -> tuple[float, ...]:
    if not all(map(math.isfinite, numbers)):
        raise errors.EngineTrouble(
            "the model finds a token impossible, so that no mean over the text is a number"
        )
    return tuple(numbers)


def _write(file: LogitsFile, offset: int, rows: NDArray[Any]) -> None:
    try:
        with file.path.open("r+b") as out:
            out.seek((file.row + offset) * rows.shape[1] * _NUMBER_BYTES)
            out.write(rows.astype("<f4", copy=False).data)
    except OSError as error:
        raise errors.EngineTrouble(
            f"the logits cannot be written: {error.strerror or error}", hint="Score fewer tokens."
        ) from error


def _read(file: LogitsFile, offset: int, shape: tuple[int, ...]) -> NDArray[Any]:
    import numpy as np  # deferred: as above

    begin = (file.row + offset) * shape[1] * _NUMBER_BYTES
    try:
        found = np.fromfile(file.path, "<f4", count=shape[0] * shape[1], offset=begin)
    except OSError as error:
        reason = error.strerror or error
        raise errors.EngineTrouble(f"the logits cannot be read: {reason}") from error
    if found.size != shape[0] * shape[1]:
        raise errors.EngineTrouble("the logits of the other model end too early")
    return found.reshape(shape)
