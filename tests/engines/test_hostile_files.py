"""Damaged and hostile model files: a named error, or an answer, and never a long wait."""

from __future__ import annotations

import itertools
import random
import time
from pathlib import Path

import pytest
from mutate import mutations

from ondevice.domain.generation import GREEDY, GenerationRequest, LoadOptions, Prompt
from ondevice.engines.process import EngineProcess
from ondevice.errors import OnDeviceError
from ondevice.gguf.shapes import write_shape
from ondevice.hub import local

LONGEST_WAIT_S = 10.0


def try_file(path: Path) -> str:
    """Read the header, load and generate; returns the name of the error, or "answered"."""
    engine = EngineProcess("llama.cpp")
    failure: OnDeviceError
    try:
        file = local.from_path(path)
        engine.load(file, LoadOptions(n_ctx=64, threads=1))
        request = GenerationRequest(Prompt(text="ab"), GREEDY, max_tokens=3)
        list(engine.generate(request))
        return "answered"
    except OnDeviceError as error:
        failure = error
    finally:
        engine.close()
    assert failure.message
    assert "\n" not in failure.message
    return type(failure).__name__


def outcomes(folder: Path, count: int, seed: int) -> dict[str, str]:
    """Name of the mutation -> outcome, for `count` mutations; every wait is checked."""
    whole = folder / "tiny.gguf"
    write_shape("tiny-llama", "Q8_0", whole)
    data = whole.read_bytes()
    every = itertools.chain.from_iterable(mutations(data, seed + n) for n in range(8))
    chosen = list(itertools.islice(every, 8 * 531))
    random.Random(seed).shuffle(chosen)
    found = {}
    for number, (name, mutant) in enumerate(chosen[:count]):
        path = folder / f"{number}.gguf"
        path.write_bytes(mutant)
        start = time.monotonic()
        found[f"{number} {name}"] = try_file(path)
        waited = time.monotonic() - start
        assert waited <= LONGEST_WAIT_S, f"{name}: {waited:.1f} s"
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
