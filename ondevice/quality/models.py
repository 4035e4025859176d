"""Models that are opened to be judged, and whether they read the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ondevice.domain.generation import EngineInfo, LoadOptions, Prompt
from ondevice.domain.model import ModelFile
from ondevice.domain.scoring import PromptIds
from ondevice.engines.base import Engine, Scores
from ondevice.errors import EngineTrouble, OtherVocabulary

Start = Callable[[str], Engine]
"""Makes the engine of a name, as `registry.in_child` does."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A model that is ready."""

    file: ModelFile
    info: EngineInfo
    engine: Engine
    scores: Scores
    """The same engine."""


@contextmanager
def opened(file: ModelFile, options: LoadOptions, start: Start) -> Iterator[Opened]:
    """`file` in an engine of its own, which is closed at the end. Raises EngineTrouble."""
    engine = start(file.engine)
    try:
        info = engine.load(file, options)
        if "scores" not in info.capabilities or not isinstance(engine, Scores):
            raise EngineTrouble(f"the engine of {file.name} cannot score tokens")
        yield Opened(file, info, engine, engine)
    finally:
        engine.close()


def check_same_vocabulary(one: Opened, ids: PromptIds, other: Opened) -> None:
    """Both have as many ids, and those of `ids`, which are `one`'s, read the same in both.

    Raises OtherVocabulary.
    """
    sizes = one.info.vocabulary, other.info.vocabulary
    if sizes[0] != sizes[1]:
        raise _other(one, other, f"they have {sizes[0]:,} and {sizes[1]:,} token ids")
    if other.scores.tokenize(Prompt(tokens=ids.ids)).reads != ids.reads:
        raise _other(one, other, "the same ids stand for other text")


def _other(one: Opened, other: Opened, why: str) -> OtherVocabulary:
    return OtherVocabulary(
        f"{one.file.name} and {other.file.name} have different vocabularies: {why}",
        hint="Probabilities of tokens compare only between forms of one model.",
    )
