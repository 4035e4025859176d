"""`ondevice doctor` about GPUs: those there are, and what mends that there is none."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command import Cli

from ondevice.cli import doctor
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
    assert findings["onnx"]["value"].endswith(": built for cpu")


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


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param(
            "raise RuntimeError('the driver is too old')",
            "asking for devices fails: RuntimeError: the driver is too old",
            id="raises",
        ),
        pytest.param(
            "os.write(2, b'GPU hang\\n'); os._exit(139)",
            "asking for devices fails: GPU hang",
            id="dies",
        ),
        pytest.param(
            "os._exit(9)",
            "asking for devices fails: no reason given (exit status 9)",
            id="dies silently",
        ),
        pytest.param(
            "os.write(1, b'a driver\\n'); os._exit(0)",
            "asking for devices fails: no reason given (exit status 0)",
            id="says something else",
        ),
    ],
)
def test_a_driver_that_fails_is_a_fault_with_its_reason(
    fault: str, said: str, cli: Cli, tmp_path: Path
) -> None:
    """Each model would be opened by the same question."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nfrom ondevice.engines.llamacpp import devices\n"
        f"def found():\n    {fault}\ndevices.found = found\n"
    )
    outcome = cli("doctor", "--json", env={"PYTHONPATH": str(tmp_path)})
    assert outcome.code == 1
    findings = {each["name"]: each for each in json.loads(outcome.out)}
    gpu = findings["gpu"]
    assert not gpu["ok"]
    assert gpu["value"] == said
    assert "`--gpu-layers 0`" in gpu["mend"]
    assert findings["llama.cpp"]["ok"]


def test_a_driver_that_hangs_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PATIENCE_S", 0.001)
    (gpu,) = doctor._devices()
    assert not gpu.ok
    assert gpu.value == "asking for devices gets no answer in 0.001 s"


def test_what_a_driver_prints_last_does_not_end_it(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit\natexit.register(print, 'driver: [0] goodbye', '', sep='\\n')\n"
    )
    outcome = cli("doctor", "--json", env={"PYTHONPATH": str(tmp_path)})
    text, _, _ = outcome.out.rpartition("driver:")
    findings = {each["name"]: each for each in json.loads(text)}
    assert findings["gpu"]["value"].startswith("none: llama.cpp is built for the CPU alone")


def test_onnx_runtime_is_said_to_be_built_for_what_it_was_not_to_compute_there(
    cli: Cli, tmp_path: Path
) -> None:
    """A build for CUDA without a driver computes on the CPU."""
    distribution = tmp_path / "onnxruntime_genai_cuda-0.18.0.dist-info"
    distribution.mkdir()
    text = "Metadata-Version: 2.1\nName: onnxruntime-genai-cuda\nVersion: 0.18.0\n"
    (distribution / "METADATA").write_text(text)
    outcome = cli("doctor", "--json", env={"PYTHONPATH": str(tmp_path)})
    findings = {each["name"]: each for each in json.loads(outcome.out)}
    assert ": built for cuda; " in findings["onnx"]["value"]
