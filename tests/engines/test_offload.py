"""Layers on a GPU where there is none: what llama.cpp did is what is told.

The library is real and built for the CPU; only the devices are made up, or its answers to a model
that is too large for them. `test_vulkan.py` has the same with a device.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from driving import done_of, say
from hypothesis import given
from hypothesis import strategies as st

from ondevice import fit
from ondevice.domain.device import Accelerators, Device, DeviceUse, GpuLayers, Offload
from ondevice.domain.generation import GREEDY, LoadOptions
from ondevice.domain.memory import MachineMemory
from ondevice.domain.model import ModelFile
from ondevice.engines.llamacpp import offload
from ondevice.engines.llamacpp.batches import Pace, batches
from ondevice.engines.llamacpp.log import Placement
from ondevice.engines.process import EngineProcess
from ondevice.gguf.header import read_header
from ondevice.hardware import probe

GB = 1 << 30
CARD = Device("Vulkan0", "A card", "vulkan", 8 * GB, 9 * GB)
WITH_CARD = Accelerators(("vulkan",), (CARD,))
LAYERS = 31
"""Of the starter: 30, and the output matrix."""


def starter(path: Path) -> ModelFile:
    return ModelFile(path, "llama.cpp", "starter")


# The real library, in a child


@pytest.mark.parametrize(
    ("asked", "codes"),
    [
        (None, []),
        (0, []),
        ("auto", ["gpu_missing"]),
        ("all", ["gpu_missing"]),
        (5, ["gpu_missing"]),
    ],
    ids=str,
)
def test_a_gpu_that_was_asked_for_and_is_not_there_is_told(
    asked: GpuLayers | None, codes: list[str], starter_path: Path
) -> None:
    engine = EngineProcess("llama.cpp")
    info = engine.load(starter(starter_path), LoadOptions(n_ctx=256, gpu_layers=asked))
    done_of(say(engine, "Hi", sampling=GREEDY, max_tokens=1))
    engine.close()
    assert [notice.code for notice in info.notices] == codes
    assert (info.backend, info.place, info.offload) == ("cpu", "CPU", Offload(LAYERS))


TRIES = """
import json, sys
from pathlib import Path
from ondevice.domain.device import Accelerators, Device
from ondevice.domain.generation import LoadOptions
from ondevice.domain.model import ModelFile
from ondevice.engines.llamacpp import binding, devices, engine
from ondevice.engines.llamacpp.log import ERROR

path, asked, room, where, free = sys.argv[1:]
asked = int(asked) if asked.isdecimal() else asked
card = Device("Vulkan0", "A card", "vulkan", int(free), 9 << 30)
devices.found = lambda: Accelerators(("vulkan",), (card,))
lib, tried, logs = binding.load(), [], []

class Small:
    '''llama.cpp with a device that has room for few layers.'''

    def __getattr__(self, name):
        return getattr(lib, name)

    def llama_log_callback(self, line):
        logs.append(line)
        return lib.llama_log_callback(line)

    def llama_model_load_from_file(self, path, params):
        tried.append(params.n_gpu_layers)
        model = lib.llama_model_load_from_file(path, params)
        if where == "weights" and params.n_gpu_layers > int(room):
            logs[-1](ERROR, b"llama_model_load: unable to allocate Vulkan0 buffer", None)
            lib.llama_model_free(model)
            return None
        return model

    def llama_init_from_model(self, model, params):
        if where == "context" and tried[-1] > int(room):
            logs[-1](ERROR, b"llama_init: failed to allocate buffer for kv cache", None)
            return None
        return lib.llama_init_from_model(model, params)

engine.binding.load = lambda: Small()
made = engine.LlamaCppEngine()
info = made.load(ModelFile(Path(path), "llama.cpp", "m"), LoadOptions(n_ctx=256, gpu_layers=asked))
print(json.dumps({
    "tried": tried, "backend": info.backend, "layers": info.offload.layers,
    "repacked": info.repacked, "notices": [[n.code, n.message] for n in info.notices],
}))
"""


def tries(path: Path, asked: GpuLayers, room: int, where: str, free: int = 8 * GB) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", TRIES, str(path), str(asked), str(room), where, str(free)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("where", ["weights", "context"])
def test_what_finds_no_room_is_tried_with_fewer_layers_down_to_none(
    where: str, starter_path: Path
) -> None:
    seen = tries(starter_path, "all", room=9, where=where)
    assert seen["tried"] == [offload.ALL, 23, 17, 12, 9]
    assert tries(starter_path, 4, room=0, where=where)["tried"] == [4, 3, 2, 1, 0]


def test_layers_that_the_library_put_nowhere_are_told(starter_path: Path) -> None:
    """This build has no such device, so whatever it is asked for it keeps on the CPU."""
    seen = tries(starter_path, 4, room=99, where="weights")
    assert (seen["tried"], seen["backend"], seen["layers"]) == ([4], "cpu", 0)
    ((code, said),) = seen["notices"]
    assert code == "gpu_fallback"
    assert said == "no layer found room on Vulkan0 (A card), 8.0 GB free: it computes on the CPU"


def test_little_device_memory_takes_fewer_layers(starter_path: Path) -> None:
    def first(free: int) -> int:
        layers: int = tries(starter_path, "auto", 99, "weights", free)["tried"][0]
        return layers

    assert first(8 * GB) == LAYERS
    assert first(620 << 20) < first(650 << 20) < LAYERS
    assert first(100 << 20) == 0


def test_a_damaged_file_is_not_tried_again(tmp_path: Path, starter_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(starter_path.read_bytes()[: 40 << 20])
    with pytest.raises(subprocess.CalledProcessError) as caught:
        tries(damaged, "all", room=99, where="weights")
    assert (
        caught.value.stderr.strip()
        .splitlines()[-1]
        .startswith("ondevice.errors.ModelLoadFailed: llama.cpp refused m")
    )


def test_what_is_reckoned_covers_what_llama_cpp_takes(starter_path: Path) -> None:
    """A device would hold what the CPU holds here, but for the embedding, which stays."""
    code = (
        "import sys, json; from pathlib import Path\n"
        "from ondevice.domain.generation import LoadOptions\n"
        "from ondevice.domain.model import ModelFile\n"
        "from ondevice.engines.llamacpp.engine import LlamaCppEngine\n"
        "engine = LlamaCppEngine()\n"
        "options = LoadOptions(n_ctx=2048, repack=False)\n"
        "engine.load(ModelFile(Path(sys.argv[1]), 'llama.cpp', 'm'), options)\n"
        "placement = engine._callbacks[0].placement\n"
        "print(json.dumps([[*key, size] for key, size in placement._buffers.items()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(starter_path)], capture_output=True, text=True, check=True
    )
    took = {kind: size for _, kind, size in json.loads(done.stdout)}
    sizes = fit.layer_sizes(read_header(starter_path), starter_path.stat().st_size, 2048)
    assert sizes is not None
    assert sizes.most == LAYERS
    weights_and_cache = sizes.needed(LAYERS) - sizes.compute
    assert weights_and_cache == pytest.approx(took["model"] + took["KV"], rel=0.01)  # it is tied
    assert took["compute"] <= sizes.compute <= 2 * took["compute"]


# The steps


@given(st.integers(1, offload.ALL), st.integers(0, 200))
def test_every_step_is_smaller_and_the_last_is_none(tried: int, layers: int) -> None:
    placement = Placement(dict.fromkeys(range(layers), "CPU"))
    steps = 0
    while tried:
        smaller = offload.fewer(tried, placement)
        assert 0 <= smaller < tried
        tried, steps = smaller, steps + 1
    assert steps <= 40


def test_an_integrated_gpu_has_no_more_than_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "machine_memory", lambda: MachineMemory(GB * 8, GB))
    shared = Device("Vulkan0", "In the chip", "vulkan", 4 * GB, 8 * GB, integrated=True)
    assert (offload._free(shared), offload._free(CARD)) == (GB, 8 * GB)


# What llama.cpp says

SAID = """\
load_tensors: layer   0 assigned to device CPU, is_swa = 0
load_tensors: layer   1 assigned to device CUDA0, is_swa = 0
load_tensors: layer   2 assigned to device CUDA1, is_swa = 0
load_tensors:   CPU_Mapped model buffer size =    10.00 MiB
load_tensors:        CUDA0 model buffer size =     3.50 MiB
load_tensors:        CUDA1 model buffer size =     4.00 MiB
load_tensors:        CUDA1 model buffer size =     1.00 MiB
llama_context:  CUDA_Host  output buffer size =     0.19 MiB
llama_kv_cache:        CPU KV buffer size =     1.00 MiB
llama_kv_cache:      CUDA0 KV buffer size =     1.00 MiB
llama_kv_cache:      CUDA1 KV buffer size =     2.00 MiB
sched_reserve:      CUDA0 compute buffer size =    20.00 MiB
sched_reserve:      CUDA0 compute buffer size =    30.00 MiB
load_tensors:  MTL0_Mapped model buffer size =     7.00 MiB
"""


def test_the_log_says_where_layers_and_buffers_are() -> None:
    placement = Placement()
    for line in SAID.splitlines():
        placement.read(line)
    assert [placement.on(name) for name in ("CPU", "CUDA0", "CUDA1", "CUDA")] == [1, 1, 1, 0]
    assert placement.bytes_on("CUDA0") == int(34.5 * 2**20)  # what is reserved again counts once
    assert placement.bytes_on("CUDA1") == 7 << 20
    assert placement.bytes_on("MTL0") == 7 << 20
    assert placement.cpu_share == 0.5
    assert Placement().cpu_share == 1.0


# What is told


def on_card(layers: int) -> Offload:
    return Offload(LAYERS, (DeviceUse(CARD, layers, 1 << 20),) if layers else ())


@pytest.mark.parametrize(
    ("asked", "tried", "on", "said"),
    [
        ("auto", LAYERS, 31, "gpu_layers: all 31 layers are on Vulkan0 (A card)"),
        (None, 12, 12, "gpu_layers: 12 of 31 layers are on Vulkan0 (A card), the CPU has the rest"),
        ("all", offload.ALL, 31, ""),
        (12, 12, 12, ""),
        (99, 99, 31, ""),
        (0, 0, 0, ""),
        (
            "all",
            offload.ALL,
            23,
            "gpu_fallback: 31 layers found no room on Vulkan0 (A card): 23 of 31 are there, "
            "the CPU has the rest",
        ),
        (
            "auto",
            31,
            23,
            "gpu_fallback: 31 layers found no room on Vulkan0 (A card): 23 of 31 are there, "
            "the CPU has the rest",
        ),
        (
            None,
            0,
            0,
            "gpu_fallback: no layer found room on Vulkan0 (A card), 8.0 GB free: "
            "it computes on the CPU",
        ),
    ],
)
def test_what_became_of_the_layers_is_told(
    asked: GpuLayers | None, tried: int, on: int, said: str
) -> None:
    notices = offload.told(asked, tried, on_card(on), WITH_CARD)
    assert [f"{notice.code}: {notice.message}" for notice in notices] == ([said] if said else [])


def test_a_version_that_does_not_say_where_layers_are_is_not_taken_for_the_cpu() -> None:
    nothing = offload.seen(Placement(), (CARD,))
    (notice,) = offload.told("all", offload.ALL, nothing, WITH_CARD)
    assert notice.code == "gpu_unknown"
    assert [offload.backend_of(nothing, asked) for asked in (31, 0)] == ["unknown", "cpu"]


@pytest.mark.parametrize("asked", [None, "auto", "all", 3], ids=str)
def test_a_build_for_a_gpu_that_finds_none_is_told_whoever_asked(asked: GpuLayers | None) -> None:
    (notice,) = offload.told(asked, 0, Offload(LAYERS), Accelerators(("vulkan",)))
    assert notice.code == "gpu_missing"
    assert notice.message == (
        "llama.cpp was built for vulkan, but no such device is there: CPU only"
    )
    assert offload.told(0, 0, Offload(LAYERS), Accelerators(("vulkan",))) == ()


# A prompt on a device


def test_a_device_gets_batches_of_about_a_second() -> None:
    pace = Pace(512, on_device=True)
    sizes = []
    for batch in batches(list(range(1000)), pace, probe=0, last_alone=True):
        sizes.append(len(batch))
        pace.observe(len(batch), len(batch) / 100)  # 100 tokens a second
    assert sizes == [32, *[100] * 9, 67, 1]
    pace.observe(100, 50.0)
    assert pace.size == 8
    pace.observe(8, 0.0)
    assert pace.size == 512


def test_the_cpu_gets_as_many_as_it_takes() -> None:
    pace = Pace(512, on_device=False)
    assert [len(b) for b in batches(list(range(1100)), pace, 32, False)] == [32, 512, 512, 44]
