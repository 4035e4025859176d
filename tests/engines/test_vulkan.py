"""Layers on a real device of Vulkan, be it a software one: `make test-vulkan` runs this.

llvmpipe makes about a token a second of the starter, so prompts are short.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driving import done_of, notices_of, text_of

from ondevice import fit
from ondevice.domain.device import GpuLayers
from ondevice.domain.generation import (
    GREEDY,
    EngineInfo,
    GenerationEvent,
    GenerationRequest,
    LoadOptions,
    Prompt,
)
from ondevice.domain.model import ModelFile
from ondevice.domain.scoring import ScoreRequest, TokenScores
from ondevice.engines.llamacpp.batches import LEAST_ON_DEVICE
from ondevice.engines.process import Deadlines, EngineProcess
from ondevice.gguf.header import read_header

pytestmark = pytest.mark.vulkan

LAYERS = 31
"""Of the starter: 30, and the output matrix."""
N_CTX = 256
FRANCE = "The capital of France is"
SLOW = Deadlines(load_s=120, prefill_s=600, token_s=300, stop_s=300)
SCORE_TOLERANCE = 0.25
"""Of the log-probability of a text's token, from the CPU's. The CPU rounds to 8 bits what it
multiplies with quantized weights, the device to float16. On llvmpipe 0.090 was measured."""


@pytest.fixture
def engine() -> Iterator[EngineProcess]:
    engine = EngineProcess("llama.cpp", SLOW)
    yield engine
    engine.close()


def load(engine: EngineProcess, path: Path, n_ctx: int = N_CTX, **options: Any) -> EngineInfo:
    return engine.load(ModelFile(path, "llama.cpp", "starter"), LoadOptions(n_ctx, **options))


def say(engine: EngineProcess, max_tokens: int = 2) -> list[GenerationEvent]:
    return list(engine.generate(GenerationRequest(Prompt(text=FRANCE), GREEDY, max_tokens)))


def codes(info: EngineInfo) -> list[str]:
    return [notice.code for notice in info.notices]


def test_every_layer_is_on_the_device_and_its_memory_is_told(
    engine: EngineProcess, starter_path: Path
) -> None:
    info = load(engine, starter_path, gpu_layers="all")
    assert (info.backend, info.place, codes(info)) == ("vulkan", "VULKAN", [])
    assert info.offload is not None
    (use,) = info.offload.devices
    assert (use.layers, info.offload.of, info.offload.whole) == (LAYERS, LAYERS, True)
    assert use.device.name == "Vulkan0"
    assert use.device.description
    assert 0 < use.device.free_bytes <= use.device.total_bytes
    sizes = fit.layer_sizes(read_header(starter_path), starter_path.stat().st_size, N_CTX)
    assert sizes is not None
    least = sizes.needed(LAYERS) - sizes.compute  # weights and cache
    assert least <= use.used_bytes <= sizes.needed(LAYERS)
    events = say(engine, 1)
    assert "Paris" in text_of(events)
    assert notices_of(events) == []
    done_of(events)


def test_scores_are_those_of_the_cpu_in_small_steps(
    engine: EngineProcess, starter_path: Path
) -> None:
    load(engine, starter_path, gpu_layers=0)
    ids = engine.tokenize(Prompt(text=FRANCE + " Paris, and the capital of")).ids
    _, *reference, _ = engine.score(ScoreRequest(ids))
    load(engine, starter_path, gpu_layers="all")
    _, *seen, done = engine.score(ScoreRequest(ids))
    assert not getattr(done, "cancelled", True)
    steps = [event for event in seen if isinstance(event, TokenScores)]
    assert [event.read for event in steps] == [LEAST_ON_DEVICE, len(ids) - 1]
    (whole,) = (event for event in reference if isinstance(event, TokenScores))
    found = [each for event in steps for each in event.log_probabilities]
    worst = max(abs(a - b) for a, b in zip(found, whole.log_probabilities, strict=True))
    print(f"\nthe largest difference of a log-probability is {worst:.4f}")
    assert worst <= SCORE_TOLERANCE


def test_without_being_asked_as_many_layers_as_fit_are_there_and_that_is_told(
    engine: EngineProcess, starter_path: Path
) -> None:
    info = load(engine, starter_path)
    assert codes(info) == ["gpu_layers"]
    assert info.notices[0].message.startswith("all 31 layers are on Vulkan0 (")


AUTO = """
import json, sys
from dataclasses import replace
from pathlib import Path
from ondevice.domain.generation import *
from ondevice.domain.model import ModelFile
from ondevice.engines.llamacpp import devices
from ondevice.engines.llamacpp.engine import LlamaCppEngine

found = devices.found
def little():
    there = found()
    few = tuple(replace(each, free_bytes=int(sys.argv[1])) for each in there.devices)
    return replace(there, devices=few)
devices.found = little

engine = LlamaCppEngine()
options = LoadOptions(n_ctx=256, gpu_layers="auto")
info = engine.load(ModelFile(Path(sys.argv[2]), "llama.cpp", "m"), options)
request = GenerationRequest(Prompt(text="The capital of France is"), GREEDY, 1)
text = "".join(e.text for e in engine.generate(request) if isinstance(e, TextDelta))
print(json.dumps([info.offload.layers, info.place, text, [n.message for n in info.notices]]))
"""


def auto(path: Path, free_bytes: int) -> tuple[int, str, str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", AUTO, str(free_bytes), str(path)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    layers, place, text, notices = json.loads(done.stdout)
    return layers, place, text, notices


def test_little_device_memory_takes_fewer_layers(starter_path: Path) -> None:
    few, place, text, notices = auto(starter_path, 620 << 20)
    assert 0 < few < LAYERS
    assert place == f"VULKAN {few}/{LAYERS}"
    assert "Paris" in text
    assert notices[0].startswith(f"{few} of {LAYERS} layers are on Vulkan0 (")
    none, place, text, notices = auto(starter_path, 100 << 20)
    assert (none, place) == (0, "CPU")
    assert "Paris" in text
    assert notices[0].startswith("no layer found room on Vulkan0 (")


@pytest.mark.parametrize("limit", [60 << 20, 1 << 20], ids=["some fit", "none fits"])
def test_an_allocation_that_fails_leaves_fewer_layers_there(
    limit: int, engine: EngineProcess, starter_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver refuses buffers larger than the limit, as one of a full device does."""
    monkeypatch.setenv("GGML_VK_FORCE_MAX_BUFFER_SIZE", str(limit))
    info = load(engine, starter_path, n_ctx=64, gpu_layers="all")  # of few logits
    assert info.offload is not None
    assert set(codes(info)) == {"gpu_fallback"}
    first, *others = (notice.message for notice in info.notices)
    if limit == 1 << 20:
        assert (info.offload.layers, info.backend, others) == (0, "cpu", [])
        assert first.endswith("it computes on the CPU")
    else:
        assert 0 < info.offload.layers < LAYERS
        assert info.backend == "vulkan"
        assert first.endswith(f"{info.offload.layers} of {LAYERS} are there, the CPU has the rest")
        # llama.cpp asks for 512 rows of logits in one buffer, which would take 100 MB
        assert others == ["Vulkan0 cannot compute with token_embd.weight (q8_0): the CPU has it"]
    assert "Paris" in text_of(say(engine, 1))


def test_a_tensor_that_is_too_large_for_the_device_is_told_and_its_layer_is_the_cpus(
    engine: EngineProcess, starter_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output matrix has 30 MB; all the rest comes in buffers of 16 MB."""
    monkeypatch.setenv("GGML_VK_FORCE_MAX_BUFFER_SIZE", str(20 << 20))
    monkeypatch.setenv("GGML_VK_SUBALLOCATION_BLOCK_SIZE", str(16 << 20))
    info = load(engine, starter_path, n_ctx=64, gpu_layers="all")
    assert info.place == f"VULKAN {LAYERS - 1}/{LAYERS}"
    assert [(notice.code, notice.message) for notice in info.notices] == [
        ("gpu_fallback", "Vulkan0 cannot compute with token_embd.weight (q8_0): the CPU has it")
    ]
    assert "Paris" in text_of(say(engine, 1))


def test_none_on_the_device_is_the_cpu_alone(engine: EngineProcess, starter_path: Path) -> None:
    info = load(engine, starter_path, gpu_layers=0)
    assert (info.backend, codes(info)) == ("cpu", [])
    assert info.offload is not None
    assert info.offload.devices == ()
    assert not info.threads_fixed


@pytest.mark.parametrize("asked", [None, "auto", "all", 3], ids=str)
@pytest.mark.parametrize("driver", [True, False], ids=["device left out", "no driver"])
def test_a_run_that_fell_back_to_the_cpu_is_reported_as_such(
    driver: bool,
    asked: GpuLayers | None,
    engine: EngineProcess,
    starter_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the variable llama.cpp leaves a software device out, and says nothing of it."""
    monkeypatch.delenv("GGML_VK_VISIBLE_DEVICES", raising=False)
    if not driver:
        monkeypatch.setenv("VK_DRIVER_FILES", "/nowhere.json")
    info = load(engine, starter_path, gpu_layers=asked)
    if driver and info.backend == "vulkan":
        pytest.skip("there is a GPU, which needs no variable to be seen")
    assert (info.backend, info.place, codes(info)) == ("cpu", "CPU", ["gpu_missing"])
    assert info.notices[0].message == (
        "llama.cpp was built for vulkan, but no such device is there: CPU only"
    )
    assert "Paris" in text_of(say(engine, 1))
