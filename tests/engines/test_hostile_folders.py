"""Damaged and hostile ONNX folders: a named error, or an answer, and never a long wait."""

from __future__ import annotations

import itertools
import shutil
import time
from pathlib import Path

import pytest
from onnx_folder import write_tiny
from onnx_mutate import Mutation, mutations

from ondevice.domain.generation import GREEDY, GenerationRequest, LoadOptions, Prompt
from ondevice.engines.process import EngineProcess
from ondevice.errors import OnDeviceError
from ondevice.hub import local

LONGEST_WAIT_S = 15.0


def try_folder(path: Path) -> str:
    """Read the config, load and generate; returns the name of the error, or "answered"."""
    engine = EngineProcess("onnx")
    failure: OnDeviceError
    try:
        file = local.from_path(path)
        engine.load(file, LoadOptions(n_ctx=64, threads=1))
        for prompt in (Prompt(text="ab"), Prompt.chat("ab")):
            list(engine.generate(GenerationRequest(prompt, GREEDY, max_tokens=3)))
        return "answered"
    except OnDeviceError as error:
        failure = error
    finally:
        engine.close()
    assert failure.message
    assert failure.message.isprintable()
    return type(failure).__name__


def outcome(whole: Path, copy: Path, mutation: Mutation) -> str:
    """Of one mutant, which is gone afterwards."""
    shutil.copytree(whole, copy)
    mutation(copy)
    start = time.monotonic()
    found = try_folder(copy)
    waited = time.monotonic() - start
    assert waited <= LONGEST_WAIT_S, f"{waited:.1f} s"
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
