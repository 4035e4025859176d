"""Damaged and hostile ONNX folders: a named error, or an answer, and never a long wait."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
from driving import outcome_of
from onnx_folder import write_tiny
from onnx_mutate import Mutation, mutations

from ondevice.domain.generation import Prompt

LONGEST_WAIT_S = 15.0


def outcome(whole: Path, copy: Path, mutation: Mutation) -> str:
    """Of one mutant, which is gone afterwards."""
    shutil.copytree(whole, copy)
    mutation(copy)
    found = outcome_of(copy, LONGEST_WAIT_S, Prompt(text="ab"), Prompt.chat("ab"))
    shutil.rmtree(copy)
    return found


def outcomes(folder: Path, count: int, seed: int) -> dict[str, int]:
    """How often each outcome came in `count` mutations."""
    whole = write_tiny(folder / "whole")
    found: dict[str, int] = {}
    for number, (name, mutation) in enumerate(itertools.islice(mutations(whole, seed), count)):
        try:
            what = outcome(whole, folder / f"{number}", mutation)
        except Exception as error:
            raise AssertionError(f"mutation {number}, {name}") from error
        found[what] = found.get(what, 0) + 1
    return found


def test_a_mutated_folder_is_an_error_or_an_answer(tmp_path: Path) -> None:
    found = outcomes(tmp_path, 20, seed=1)
    assert sum(found.values()) == 20
    assert len(found) > 1  # the mutations do reach different ends


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_hundred_mutated_folders(tmp_path: Path) -> None:
    found = outcomes(tmp_path, 200, seed=2)
    print("\n200 mutated folders:", dict(sorted(found.items())))
    assert sum(found.values()) == 200
