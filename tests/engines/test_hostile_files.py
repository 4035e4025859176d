"""Damaged and hostile model files: a named error, or an answer, and never a long wait."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from driving import outcome_of
from mutate import mutations

from ondevice.domain.generation import Prompt
from ondevice.gguf.shapes import write_shape

LONGEST_WAIT_S = 10.0


def outcomes(folder: Path, count: int, seed: int) -> dict[str, str]:
    """Name of the mutation -> outcome, for `count` mutations; every wait is checked."""
    whole = folder / "tiny.gguf"
    write_shape("tiny-llama", "Q8_0", whole)
    data = whole.read_bytes()
    chosen = [each for n in range(8) for each in mutations(data, seed + n)]
    random.Random(seed).shuffle(chosen)
    found = {}
    for number, (name, mutant) in enumerate(chosen[:count]):
        path = folder / f"{number}.gguf"
        path.write_bytes(mutant)
        try:
            found[f"{number} {name}"] = outcome_of(path, LONGEST_WAIT_S, Prompt(text="ab"))
        except Exception as error:
            raise AssertionError(f"mutation {number}, {name}") from error
        path.unlink()
    return found


def test_a_mutated_header_is_an_error_or_an_answer(tmp_path: Path) -> None:
    found = outcomes(tmp_path, 30, seed=1)
    assert len(found) == 30
    assert len(set(found.values())) > 1  # the mutations do reach different ends


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_thousand_mutated_headers(tmp_path: Path) -> None:
    found = outcomes(tmp_path, 1000, seed=2)
    counts = {outcome: list(found.values()).count(outcome) for outcome in set(found.values())}
    print("\n1,000 mutated headers:", dict(sorted(counts.items())))
    assert sum(counts.values()) == 1000
