"""What the commands say of a real device: `make test-vulkan` runs this."""

from __future__ import annotations

import json
import os

import pytest
from command import Cli

pytestmark = pytest.mark.vulkan

DEVICE = {"GGML_VK_VISIBLE_DEVICES": os.environ.get("GGML_VK_VISIBLE_DEVICES", "0")}
RUN = ("run", "--json", "--raw", "-c", "256", "-t", "0", "-n", "1", "The capital of France is")


def test_a_run_names_the_device_and_what_it_holds_there(cli: Cli) -> None:
    outcome = cli(*RUN, "--gpu-layers", "all", env=DEVICE)
    assert (outcome.code, outcome.err) == (0, "")
    document = json.loads(outcome.out)
    assert document["backend"] == "vulkan"
    (device,) = document["devices"]
    assert (device["name"], device["layers"], device["of_layers"]) == ("Vulkan0", 31, 31)
    assert 80 << 20 < device["used_bytes"] < device["total_bytes"]
    assert "Paris" in document["text"]


def test_the_cpu_and_a_device_are_compared_with_one_file(cli: Cli) -> None:
    name = "smollm2-135m-instruct"
    layers = ("--gpu-layers", "0", "--gpu-layers", "1")
    arguments = ("compare", name, name, "-", "--raw", "--json", "-n", "2", "-c", "256", *layers)
    outcome = cli(*arguments, env=DEVICE, piped=b"The capital of France is")
    assert outcome.code == 0
    cpu, device = json.loads(outcome.out)["sides"]
    assert (cpu["place"], cpu["device_bytes"], cpu["devices"]) == ("CPU", 0, [])
    assert device["place"] == "VULKAN 1/31"
    assert device["device_bytes"] == device["devices"][0]["used_bytes"] > 0


def test_doctor_names_the_device(cli: Cli) -> None:
    outcome = cli("doctor", "--json", env=DEVICE)
    (finding,) = [each for each in json.loads(outcome.out) if each["name"] == "gpu"]
    assert finding["ok"]
    assert finding["value"].startswith("Vulkan0: ")
    assert finding["value"].endswith("; llama.cpp is built for vulkan")


def test_doctor_counts_a_device_that_is_missing_as_a_fault(cli: Cli) -> None:
    outcome = cli("doctor", "--json", env={"VK_DRIVER_FILES": "/nowhere.json"})
    (finding,) = [each for each in json.loads(outcome.out) if each["name"] == "gpu"]
    assert outcome.code == 1
    assert not finding["ok"]
    assert finding["value"] == "none, though llama.cpp is built for vulkan"
