"""`ondevice doctor` about GPUs: those there are, and what mends that there is none."""

from __future__ import annotations

import json
import re
from pathlib import Path

from command import Cli

from ondevice.cli.doctor import BACKENDS, gpu_findings
from ondevice.domain.device import Accelerators, Device

ROOT = Path(__file__).resolve().parents[2]


def test_a_build_for_the_cpu_says_what_a_gpu_would_take(cli: Cli) -> None:
    findings = {each["name"]: each for each in json.loads(cli("doctor", "--json").out)}
    assert findings["gpu"]["ok"]
    assert findings["gpu"]["value"] == (
        "none: llama.cpp is built for the CPU alone. "
        "With a GPU: make run BACKEND=cuda|vulkan|metal|hip"
    )
    assert findings["onnx"]["value"].endswith(": cpu")


def test_what_it_names_make_can_build() -> None:
    (built,) = re.findall(r"^BACKENDS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert built.split() == ["cpu", *BACKENDS]


def test_a_build_for_a_gpu_without_one_is_a_fault() -> None:
    (finding,) = gpu_findings(Accelerators(("vulkan",)))
    assert not finding.ok
    assert finding.value == "none, though llama.cpp is built for vulkan"
    assert finding.mend.startswith("Install the driver")


def test_each_device_has_a_line_with_its_memory() -> None:
    devices = (
        Device("CUDA0", "A card\x1b[31m", "cuda", 6 << 30, 8 << 30),
        Device("CUDA1", "Another", "cuda", 1 << 30, 2 << 30),
    )
    first, second = gpu_findings(Accelerators(("cuda",), devices))
    assert first.ok
    assert second.ok
    assert first.value == ("CUDA0: A card[31m, 6.0 GB free of 8.0 GB; llama.cpp is built for cuda")
