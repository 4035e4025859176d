"""The steps in which a device scores, taken by the CPU: the same code, told that it is one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ondevice.engines.llamacpp.batches import LEAST_ON_DEVICE

SCORES = """
import json, sys
from pathlib import Path
from ondevice.domain.generation import LoadOptions, Prompt
from ondevice.domain.model import ModelFile
from ondevice.domain.scoring import ScoreRequest, ScoringDone
from ondevice.engines.llamacpp.engine import LlamaCppEngine
from ondevice.engines.llamacpp.scoring import Logits
from ondevice.engines.scoring import Scorer

engine = LlamaCppEngine()
engine.load(ModelFile(Path(sys.argv[1]), "llama.cpp", "m"), LoadOptions(n_ctx=256))
context, prompts, stop = engine._model().context, engine._model().prompts, engine._stop
ids = engine.tokenize(Prompt(text="Rivers run to the sea, and the sea is never full. " * 5)).ids

def scored(on_device):
    events = Scorer(context, prompts, Logits(context, stop, on_device)).score(ScoreRequest(ids, 20))
    return list(events)

def found(events):
    return [each for event in events[:-1] for each in event.log_probabilities]

small, again, large = scored(True), scored(True), scored(False)
stopped = Scorer(context, prompts, Logits(context, stop, True)).score(ScoreRequest(ids, 20))
next(stopped), next(stopped)
stop.set()
print(json.dumps({
    "ids": len(ids), "reads": [event.read for event in small[:-1]],
    "small": found(small), "again": found(again), "large": found(large),
    "stopped": next(stopped).cancelled,
}))
"""


def test_scoring_on_a_device_goes_in_small_steps_that_are_always_the_same(
    starter_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCORES, str(starter_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    seen = json.loads(done.stdout)
    unscored = [0, 8, 16, 19]
    scored = [*range(19 + LEAST_ON_DEVICE, seen["ids"] - 1, LEAST_ON_DEVICE), seen["ids"] - 1]
    assert seen["reads"] == unscored + scored
    assert seen["small"] == seen["again"]
    assert seen["small"] == pytest.approx(seen["large"], abs=0.3)
    assert seen["stopped"]
