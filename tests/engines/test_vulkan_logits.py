"""Logits that a device of Vulkan computes, beside those of the CPU: `make test-vulkan` runs this.

The CPU rounds to 8 bits what it multiplies with quantized weights, so its own logits are off. What
both are measured by is the CPU with the same weights in float32.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.vulkan

ROOT = Path(__file__).resolve().parents[2]
LAYERS = 31
"""Of the starter: 30, and the output matrix."""
EXACT = {"GGML_VK_DISABLE_F16": "1", "GGML_VK_DISABLE_INTEGER_DOT_PRODUCT": "1"}
"""Shaders compute in float32, and round nothing that they multiply."""
TOLERANCE = 0.05
"""Of a logit, with EXACT, from the same weights in float32 on the CPU: another order of sums. On
llvmpipe 0.020 was measured; the spread of all logits is about 40."""
LOGITS = """
import json, sys
from pathlib import Path
from ondevice.domain.generation import LoadOptions
from ondevice.domain.model import ModelFile
from ondevice.engines.llamacpp.engine import LlamaCppEngine

engine = LlamaCppEngine()
layers = int(sys.argv[2])
options = LoadOptions(n_ctx=256, gpu_layers=layers, repack=False)
info = engine.load(ModelFile(Path(sys.argv[1]), "llama.cpp", "m"), options)
assert info.offload.layers == layers, info
context = engine._loaded.context
ids, rows = context.tokenize("The capital of France is Paris, and the capital of", True), []
for part in (ids[:-2], ids[-2:-1], ids[-1:]):  # a prompt, then a token at a time
    assert context.evaluate(part) == 0
    context.wait()
    row = engine._lib.llama_get_logits_ith(context.handle, -1)
    rows.append(list(row[:context.vocabulary()]))
print(json.dumps(rows))
"""


Rows = list[list[float]]
"""Of each of three places, a logit of each token."""


def logits(path: Path, layers: int, **shaders: str) -> Rows:
    done = subprocess.run(
        [sys.executable, "-c", LOGITS, str(path), str(layers)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, **shaders},
    )
    rows: Rows = json.loads(done.stdout)
    return rows


def difference(ours: Rows, theirs: Rows) -> float:
    """The largest of a logit; each row's largest logit must be that of the same token."""
    for row, other in zip(ours, theirs, strict=True):
        assert row.index(max(row)) == other.index(max(other))
    return max(
        abs(a - b)
        for row, other in zip(ours, theirs, strict=True)
        for a, b in zip(row, other, strict=True)
    )


@pytest.fixture(scope="module")
def float_path(starter_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The starter's weights in float32, of which no engine rounds anything: 540 MB."""
    path = tmp_path_factory.mktemp("float") / "starter-F32.gguf"
    script = str(ROOT / "scripts" / "quantize.py")
    command = [sys.executable, script, "gguf", str(starter_path), str(path), "F32"]
    subprocess.run(command, check=True, capture_output=True)
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def float_logits(float_path: Path) -> Rows:
    """What is exact, but for the order of sums: the same weights in float32 on the CPU."""
    return logits(float_path, 0)


def test_logits_are_those_of_float32_on_the_cpu(
    starter_path: Path, float_path: Path, float_logits: Rows
) -> None:
    whole = difference(float_logits, logits(starter_path, LAYERS, **EXACT))
    split = difference(float_logits, logits(float_path, 7, **EXACT))
    print(f"\nthe largest difference of a logit: {whole:.4f}, and with 7 layers there {split:.4f}")
    assert max(whole, split) <= TOLERANCE


def test_as_it_computes_by_default_logits_are_as_near_as_those_of_the_cpu(
    starter_path: Path, float_logits: Rows
) -> None:
    """The CPU's own are off float32, as it rounds to 8 bits; the device may not be further off."""
    ours, theirs = logits(starter_path, 0), logits(starter_path, LAYERS)
    cpu, device = difference(float_logits, ours), difference(float_logits, theirs)
    print(f"\nthe largest difference of a logit from float32: {device:.4f}, of the CPU {cpu:.4f}")
    print(f"from the CPU: {difference(ours, theirs):.4f}")
    assert device <= cpu
