"""What is told of an ONNX folder on a GPU, by the real library with a provider that is made up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from onnx_folder import write_tiny

ON_A_GPU = """
import json, sys
from pathlib import Path
from ondevice.domain.generation import LoadOptions
from ondevice.domain.model import ModelFile
from ondevice.engines.onnx import binding, loading
from ondevice.engines.onnx.engine import OnnxEngine

model = loading._model
loading._model = lambda *given: model(*given[:-1], "cpu")
loading._device = lambda lib, model: "cuda"
binding.package_name = lambda: "onnxruntime-genai-cuda"
folder, options = Path(sys.argv[1]), LoadOptions(n_ctx=256, **json.loads(sys.argv[2]))
engine = OnnxEngine()
info = engine.load(ModelFile(folder, "onnx", "the model"), options)
engine.close()
said = {name: getattr(info, name) for name in ("backend", "repacked", "loaded_as")}
said["notices"] = [[each.code, each.message, each.unmet] for each in info.notices]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one layer."""
    return write_tiny(tmp_path_factory.mktemp("gpu") / "model")


def loaded(folder: Path, **options: Any) -> dict[str, Any]:
    command = [sys.executable, "-c", ON_A_GPU, str(folder), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["backend"] == "cuda"
    return document


def test_a_part_of_the_layers_is_not_to_be_had_which_is_told(folder: Path) -> None:
    said = "1 of 2 layers were asked for, but an ONNX folder computes whole on: cuda"
    assert loaded(folder, gpu_layers=1)["notices"] == [["gpu_layers", said, True]]


@pytest.mark.parametrize("asked", [None, "auto", "all", 2, 99])
def test_all_of_them_are_what_was_asked_for(folder: Path, asked: int | str | None) -> None:
    assert loaded(folder, gpu_layers=asked)["notices"] == []


def test_what_becomes_of_the_weights_is_not_known(folder: Path) -> None:
    usual, forbidden = loaded(folder), loaded(folder, repack=False)
    assert (usual["repacked"], usual["loaded_as"]) == (None, "")
    assert (forbidden["repacked"], forbidden["loaded_as"]) == (False, "weights not repacked")
