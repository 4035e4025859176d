"""Which part of a new prompt the engine still holds.

The ids that were evaluated are the truth. Text that is tokenized again can split differently
from what the model wrote, so a new turn keeps the ids of the old one and only what was added is
tokenized, at a place where a special token separates the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from ondevice.domain.generation import EngineNotice
from ondevice.domain.text import storable

Tokenize = Callable[[str, bool], list[int]]
"""(text, whether a begin token may be added) -> ids."""


class State(Protocol):
    """What an engine has computed of the ids."""

    @property
    def evaluated(self) -> int:
        """Of how many."""

    def rewind(self, to: int, /) -> int:
        """Make it that of the first `to` ids, or of fewer; how many it is then."""


@dataclass(frozen=True, slots=True)
class KeptText:
    """What a KeptPrefix knows, as data: to be stored and taken up again."""

    ids: list[int]
    text: str
    whole: bool
    marks: list[tuple[int, int]]

    @property
    def is_sound(self) -> bool:
        """Whether it could have come from a KeptPrefix."""
        ends = [(0, 0), *self.marks, (len(self.text), len(self.ids))]
        return all(0 <= a <= c and 0 <= b <= d for (a, b), (c, d) in pairwise(ends))


@dataclass
class KeptPrefix:
    """Text and ids of the last request, with the places where both are known to agree."""

    ids: list[int] = field(default_factory=list)
    """Every id of the last rendered prompt and its reply, evaluated or not."""
    _text: str = ""
    _whole: bool = False
    """Whether `_text` reads all of `ids`, and not only what stands before the last mark."""
    _marks: list[tuple[int, int]] = field(default_factory=list)
    """(characters, ids) at which text and ids agree; growing."""

    def ids_for(
        self, rendered: str, tokenize: Tokenize, is_special: Callable[[int], bool]
    ) -> list[int]:
        """The ids of `rendered`, those of the longest usable agreement taken as they are."""
        for characters, count in reversed(self._marks):
            if not rendered.startswith(self._text[:characters]):
                continue
            added = rendered[characters:]
            tail = tokenize(added, False) if added else []
            if not tail or is_special(tail[0]):
                return self.ids[:count] + tail
        return tokenize(rendered, True)

    def reuse(self, state: State, ids: Sequence[int]) -> tuple[int, EngineNotice | None]:
        """Keep the state of the prefix that `ids` share; the last id is always evaluated again.

        Returns how many are kept, and why some of the last turn are not.
        """
        held = state.evaluated
        shared = min(common_prefix(self.ids, ids), held, len(ids) - 1)
        cached = state.rewind(shared)
        if held == 0 or cached == shared == min(held, len(ids) - 1):
            return cached, None
        if cached < shared:
            why = "this kind of model cannot go back there"
        else:
            why = f"this prompt is another one from token {shared} on"
        said = f"{held - cached} tokens of the last turn could not be reused: {why}"
        return cached, EngineNotice("cache_miss", said)

    def remember_prompt(self, ids: Sequence[int], rendered: str | None) -> None:
        """`rendered` is now `ids`; marks beyond what both share with before are gone.

        None for ids that no template wrote: their state may be reused, their text may not.
        """
        shared = common_prefix(self.ids, ids)
        self._marks = [
            (characters, count)
            for characters, count in self._marks
            if rendered is not None
            and count <= shared
            and rendered.startswith(self._text[:characters])
        ]
        self.ids, self._text, self._whole = list(ids), rendered or "", rendered is not None
        self._mark()

    def remember_reply(self, ids: Sequence[int], text: str | None) -> None:
        """The model went on with `ids`, which read `text`; None where that is not certain."""
        self.ids.extend(ids)
        self._whole = self._whole and text is not None
        self._text += text if text is not None and self._whole else ""
        if text:  # the same text as before stands for the prompt alone, without a silent reply
            self._mark()

    def as_text(self) -> KeptText:
        """A copy of all of it; text that is not valid UTF-8 cannot be stored, so it is left out."""
        if storable(self._text) != self._text:
            return KeptText(list(self.ids), "", False, [])
        return KeptText(list(self.ids), self._text, self._whole, list(self._marks))

    def take_up(self, kept: KeptText) -> None:
        """Become what `kept` was made from."""
        self.ids, self._text = list(kept.ids), kept.text
        self._whole, self._marks = kept.whole, list(kept.marks)

    def drop(self, state: State) -> None:
        """Nothing is held any more, in `state` neither."""
        self.forget()
        state.rewind(0)

    def forget(self) -> None:
        """Nothing is held any more."""
        self.ids, self._text, self._whole, self._marks = [], "", False, []

    def _mark(self) -> None:
        if self._whole:
            self._marks.append((len(self._text), len(self.ids)))


def common_prefix(left: Sequence[object], right: Sequence[object]) -> int:
    """How many ids, or characters, both begin with."""
    for at, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return at
    return min(len(left), len(right))
