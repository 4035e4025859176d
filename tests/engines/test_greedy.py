"""The most probable token: ggml finds the one that llama.cpp's sampler chooses, but for ties."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SEARCHED = """
import ctypes, json, random
from ondevice.engines.llamacpp import binding
from ondevice.engines.llamacpp.greedy import GreedySampler, functions
lib, draw, found = binding.load(), random.Random(1), []
for size in (1, 2, 33, 49_152, 262_144):
    sampler = GreedySampler(lib, functions(), size)
    for round in range(12):
        values = [draw.choice([-float("inf"), draw.gauss(0, 3)]) for _ in range(size)]
        values[draw.randrange(size)] = 1.0
        largest = max(range(size), key=lambda id: (values[id], id))
        found.append([largest, sampler.of((ctypes.c_float * size)(*values))])
    tied = (ctypes.c_float * size)(*[1.0] * size)
    found.append([size - 1, sampler.of(tied)])
    sampler.close()
    sampler.close()
print(json.dumps(found))
"""

MAPPED = """
import json
from ondevice.engines.llamacpp.greedy import functions
assert functions()
paths = {line.split()[-1] for line in open("/proc/self/maps") if "libggml-" in line}
print(json.dumps(sorted(path.rpartition("/")[2].partition(".")[0] for path in paths)))
"""

ANSWERED = """
import json, sys
from pathlib import Path
from ondevice.domain.generation import GREEDY, GenerationRequest, LoadOptions, Prompt
from ondevice.domain.model import ModelFile
from ondevice.engines.llamacpp import binding, engine, guided
from ondevice.engines.llamacpp.greedy import functions
from ondevice.errors import EngineMissing

made, used = guided._unguided, []
def noted(*how):
    used.append(made(*how))
    return used[-1]
guided._unguided = noted

def answer():
    *_, done = starter.generate(GenerationRequest(Prompt.chat("Name three rivers."), GREEDY, 48))
    return done.ids

starter = engine.LlamaCppEngine()
starter.load(ModelFile(Path(sys.argv[1]), "llama.cpp", "starter"), LoadOptions(threads=1))
answers = [answer()]

def missing(_named):
    raise EngineMissing("ggml does not load: it is another build")
binding.ggml = missing
functions.cache_clear()
answers.append(answer())
print(json.dumps({"answers": answers, "used": [type(each).__name__ for each in used]}))
"""


def printed(script: str, *arguments: str) -> Any:
    """What `script` prints in a process of its own, as it loads native code."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_the_largest_logit_is_found_and_of_equal_ones_the_last() -> None:
    found = printed(SEARCHED)
    assert len(found) == 65
    assert all(largest == said for largest, said in found)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_library_of_ggml_is_loaded_twice() -> None:
    names = printed(MAPPED)
    assert "libggml-cpu" in names
    assert len(names) == len(set(names))


def test_an_answer_is_the_same_where_ggml_has_no_such_functions(starter_path: Path) -> None:
    said = printed(ANSWERED, str(starter_path))
    assert said["used"] == ["GreedySampler", "Sampler"]
    ggmls, chains = said["answers"]
    assert ggmls == chains
    assert len(ggmls) > 20
