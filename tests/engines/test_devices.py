"""What is known of a device, and whose memory it has: ggml's answers are made up here."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from ondevice.domain.device import Accelerators, Device
from ondevice.domain.memory import MachineMemory
from ondevice.engines.llamacpp import devices
from ondevice.hardware import probe

GB = 1 << 30
CPU, GPU, INTEGRATED, HELPER = range(4)
"""GGML_BACKEND_DEVICE_TYPE_CPU and so on."""


class Answers(NamedTuple):
    """What ggml says of one device."""

    kind: int
    name: str
    backend: str
    free_bytes: int = 6 * GB
    total_bytes: int = 8 * GB


def chosen(*there: Answers) -> tuple[Device, ...]:
    def memory(number: int, free: Any, total: Any) -> None:
        free._obj.value, total._obj.value = there[number].free_bytes, there[number].total_bytes

    return devices._chosen(
        {
            "ggml_backend_dev_count": lambda: len(there),
            "ggml_backend_dev_get": lambda number: number,
            "ggml_backend_dev_type": lambda number: there[number].kind,
            "ggml_backend_dev_memory": memory,
            "ggml_backend_dev_backend_reg": lambda number: number,
            "ggml_backend_reg_name": lambda number: there[number].backend.encode(),
            "ggml_backend_dev_name": lambda number: there[number].name.encode(),
            "ggml_backend_dev_description": lambda number: b"A chip",
        }
    )


@pytest.fixture(autouse=True)
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 GB, of which other programs leave one."""
    monkeypatch.setattr(probe, "machine_memory", lambda: MachineMemory(8 * GB, GB))


@pytest.mark.parametrize(
    ("there", "free_bytes", "integrated"),
    [
        pytest.param(Answers(GPU, "CUDA0", "CUDA"), 6 * GB, False, id="a card"),
        pytest.param(Answers(INTEGRATED, "Vulkan0", "Vulkan"), GB, True, id="in the processor"),
        pytest.param(Answers(GPU, "MTL0", "MTL"), GB, True, id="a Mac's, which calls it a card"),
        pytest.param(Answers(GPU, "MTL0", "MTL", GB // 2), GB // 2, True, id="less than is free"),
    ],
)
def test_a_device_has_no_more_free_than_whose_memory_it_is(
    there: Answers, free_bytes: int, integrated: bool
) -> None:
    (device,) = chosen(Answers(CPU, "CPU", "CPU"), there, Answers(HELPER, "BLAS", "BLAS"))
    assert device.name == there.name
    assert (device.free_bytes, device.integrated) == (free_bytes, integrated)
    assert device.total_bytes == 8 * GB


def test_they_are_those_that_llama_cpp_takes() -> None:
    """An integrated one only where there is no card, and a Mac's is a card to it."""
    card, chip = Answers(GPU, "CUDA0", "CUDA"), Answers(INTEGRATED, "Vulkan0", "Vulkan")
    mac = Answers(GPU, "MTL0", "MTL")
    assert [each.name for each in chosen(chip, card)] == ["CUDA0"]
    assert [each.name for each in chosen(chip)] == ["Vulkan0"]
    assert [each.name for each in chosen(mac, card)] == ["MTL0", "CUDA0"]
    assert [each.backend for each in chosen(mac, Answers(GPU, "ROCm0", "ROCm"))] == ["metal", "hip"]


def test_what_a_driver_prints_around_it_does_not_hide_what_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Device("CUDA0", "A card", "cuda", 1, 2)
    monkeypatch.setattr(devices, "found", lambda: Accelerators(("cuda",), (card,)))
    print("driver: begin", end="")
    devices.tell()
    print("driver: [3] leaks\n\nnull\n12")
    assert devices.told(capsys.readouterr().out) == Accelerators(("cuda",), (card,))
    assert devices.told("driver: out of luck\n") is None
    assert devices.told("") is None
