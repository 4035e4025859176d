"""Files of random weights have real shapes, load in the engine, and leave nothing behind.

Longer than 300 lines for the three scripts that child processes run.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import pytest
from gguf.quants import dequantize
from test_header import real_model

from ondevice.errors import UsageTrouble
from ondevice.gguf.cursor import Cursor
from ondevice.gguf.header import read_header
from ondevice.gguf.metadata import read_metadata
from ondevice.gguf.recipes import MAIN_TYPES
from ondevice.gguf.shapes import (
    SHAPES,
    ShapeSpec,
    planned_tensors,
    shape_bytes,
    temporary_shape,
    write_shape,
)
from ondevice.gguf.tensors import read_tensors
from ondevice.hardware.locks import claim

TINY = SHAPES["tiny-llama"]
# Rows of 256, so that the K types are used and not what stands in for them.
WIDE = replace(TINY, name="wide-llama", n_embd=256, n_ff=512, n_heads=4, head_dim=64)

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals and limits")


def reduced(spec: ShapeSpec) -> ShapeSpec:
    """The same architecture and widths with two layers and few tokens."""
    return replace(spec, n_layers=2, vocab=320, n_ff=min(spec.n_ff, 1024))


REDUCED = [reduced(spec) for spec in SHAPES.values()]


def test_plan_equals_the_real_model_tensor_by_tensor() -> None:
    path = real_model()
    with path.open("rb") as file:
        cursor = Cursor(file, path.stat().st_size)
        cursor.skip(8)
        n_tensors, n_pairs = cursor.u64(), cursor.u64()
        read_metadata(cursor, n_pairs)
        real = {t.name: (t.kind, t.parameters) for t in read_tensors(cursor, n_tensors)}
    planned = planned_tensors("smollm2-135m", "Q4_1")
    assert {t.plan.name: (t.kind, t.plan.parameters) for t in planned} == real


@pytest.mark.parametrize(
    ("shape", "quantization", "published_bytes"),
    [
        ("phi-3-mini", "Q4_K_M", 2_393_231_072),
        ("gemma-2b", "Q8_0", 2_669_351_840),
        ("gemma-3-270m", "Q4_0", 241_410_624),
        ("gemma-3-270m", "Q4_K_M", 253_115_168),
        ("gemma-3-270m", "Q8_0", 291_545_600),
        ("smollm2-135m", "Q4_K_M", 105_454_432),
        ("smollm2-135m", "Q8_0", 144_811_552),
        ("mamba-130m", "Q8_0", 155_395_936),
    ],
)
def test_weights_are_as_large_as_those_of_the_published_file(
    shape: str, quantization: str, published_bytes: int
) -> None:
    # What is left is the published file's own header, mostly its vocabulary.
    per_token = (published_bytes - shape_bytes(shape, quantization)) / SHAPES[shape].vocab
    assert 20 < per_token < 40


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        ("phi-3-mini", 3_821_079_552),
        ("gemma-2b", 2_506_172_416),
        ("gemma-3-270m", 268_098_176),
        ("qwen2.5-0.5b", 494_032_768),
        ("smollm2-135m", 134_515_008),
        ("mamba-130m", 129_135_360),
    ],
)
def test_parameters_are_those_of_the_real_model(shape: str, parameters: int) -> None:
    assert sum(t.plan.parameters for t in planned_tensors(shape, "F16")) == parameters


def test_transformers_to_compare_with_mamba_have_as_many_parameters() -> None:
    def parameters(shape: str) -> int:
        return sum(t.plan.parameters for t in planned_tensors(shape, "F16"))

    mamba = parameters("mamba-130m")
    assert parameters("llama-130m-mha") == pytest.approx(mamba, rel=0.02)
    assert parameters("llama-130m-gqa") == pytest.approx(mamba, rel=0.02)


def test_written_file_says_that_its_weights_are_random(tmp_path: Path) -> None:
    size = write_shape("tiny-llama", "Q8_0", tmp_path / "tiny.gguf")
    assert size == (tmp_path / "tiny.gguf").stat().st_size < 10**6
    header = read_header(tmp_path / "tiny.gguf")
    assert header.random_weights
    assert header.name == "random weights in the shape of tiny-llama"
    assert header.quantization == "Q8_0"


@pytest.mark.parametrize("quantization", MAIN_TYPES)
def test_written_blocks_are_valid_and_spread_as_planned(tmp_path: Path, quantization: str) -> None:
    write_shape(WIDE, quantization, tmp_path / "wide.gguf")
    for tensor in gguf.GGUFReader(tmp_path / "wide.gguf").tensors:
        if tensor.name.endswith(("norm.weight", ".bias")):
            continue
        values = dequantize(tensor.data, tensor.tensor_type)
        expected = 1 / math.sqrt(int(tensor.shape[0]))
        assert bool((abs(values) < 10 * expected).all()), tensor.name
        assert float(values.std()) == pytest.approx(expected, rel=0.1), tensor.name
        assert float(values.mean()) == pytest.approx(0, abs=expected / 20), tensor.name


def test_type_whose_blocks_do_not_divide_a_row_gives_way() -> None:
    kinds = {t.plan.name: t.kind for t in planned_tensors("smollm2-135m", "Q4_K_M")}
    assert kinds["blk.9.attn_q.weight"] == "Q5_0"
    assert kinds["blk.0.attn_v.weight"] == "Q8_0"
    assert kinds["blk.9.attn_norm.weight"] == "F32"


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    files = [tmp_path / f"{index}.gguf" for index in range(3)]
    for file, seed in zip(files, (7, 7, 8), strict=True):
        write_shape("tiny-llama", "Q4_0", file, seed=seed)
    first, second, third = (file.read_bytes() for file in files)
    assert first == second != third


@pytest.mark.parametrize(
    ("shape", "quantization", "message"),
    [
        pytest.param("llama-9000", "Q4_0", "no shape is called", id="shape"),
        pytest.param("tiny-llama", "Q3_XXL", "cannot be written as", id="quantization"),
        pytest.param(replace(TINY, vocab=100), "Q4_0", "too small", id="vocabulary"),
    ],
)
def test_impossible_request_is_refused(
    tmp_path: Path, shape: str | ShapeSpec, quantization: str, message: str
) -> None:
    with pytest.raises(UsageTrouble, match=message) as raised:
        write_shape(shape, quantization, tmp_path / "never.gguf")
    assert raised.value.hint
    assert list(tmp_path.iterdir()) == []


def test_shortage_of_disk_space_is_refused_with_the_numbers(tmp_path: Path) -> None:
    with pytest.raises(UsageTrouble, match=r"\d TB are needed, .* are free"):
        write_shape(replace(TINY, n_layers=512, n_ff=2**31), "Q4_0", tmp_path / "never.gguf")
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_an_ordinary_error(tmp_path: Path) -> None:
    with pytest.raises(UsageTrouble, match="No such file"):
        write_shape("tiny-llama", "Q4_0", tmp_path / "nowhere" / "never.gguf")
    with (
        pytest.raises(UsageTrouble, match="No such file"),
        temporary_shape("tiny-llama", "Q4_0", folder=tmp_path / "nowhere"),
    ):
        pass


@posix
def test_second_writer_of_the_same_file_is_refused(tmp_path: Path) -> None:
    with claim(tmp_path / "tiny.gguf.part") as theirs:
        theirs.write(b"half a file")
        theirs.flush()
        with pytest.raises(UsageTrouble, match="another process"):
            write_shape("tiny-llama", "Q4_0", tmp_path / "tiny.gguf")
    assert (tmp_path / "tiny.gguf.part").read_bytes() == b"half a file"


LIMITED = """
import resource, signal, sys
from pathlib import Path
from ondevice.errors import UsageTrouble
from ondevice.gguf.shapes import write_shape
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
if sys.argv[2] == "killed":
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
try:
    write_shape("tiny-llama", "Q4_0", Path(sys.argv[1]))
except UsageTrouble as error:
    print(error.message)
"""


def run_limited(path: Path, ending: str) -> subprocess.CompletedProcess[str]:
    """Write a file of 90 kB where only 50 kB may be written."""
    command = [sys.executable, "-c", LIMITED, str(path), ending]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@posix
def test_disk_that_fills_up_leaves_no_file(tmp_path: Path) -> None:
    done = run_limited(tmp_path / "tiny.gguf", "refused")
    assert "cannot be written" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


@posix
def test_killed_writer_leaves_no_half_file_under_the_name(tmp_path: Path) -> None:
    target = tmp_path / "tiny.gguf"
    done = run_limited(target, "killed")
    assert done.returncode == -signal.SIGXFSZ
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.gguf.part"]
    write_shape("tiny-llama", "Q4_0", target)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.gguf"]
    assert read_header(target).random_weights


KILLED_WHILE_USING = """
import os, signal, sys
from pathlib import Path
from ondevice.gguf.shapes import temporary_shape
with temporary_shape("tiny-llama", "Q4_0", folder=Path(sys.argv[1])) as path:
    print(path, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@posix
def test_temporary_file_of_a_killed_process_is_swept_by_the_next(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_USING, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    left = Path(done.stdout.strip())
    assert done.returncode == -signal.SIGKILL
    assert left.is_file()
    with temporary_shape("tiny-llama", "Q4_0", folder=tmp_path) as mine:
        assert not left.exists()
        assert mine.is_file()
    assert list(tmp_path.iterdir()) == []


def test_temporary_file_in_use_is_not_swept(tmp_path: Path) -> None:
    with temporary_shape("tiny-llama", "Q4_0", folder=tmp_path) as first:
        with temporary_shape("tiny-llama", "Q4_0", folder=tmp_path):
            assert first.is_file()
        assert first.is_file()


# Loads each file named on the command line, puts a text through its tokenizer and back, and
# decodes eight tokens. One process for all: an abort shows as the files without a line.
GENERATE = r"""
import json, math, sys
import llama_cpp

TEXT = "Hello, wörld!  日本語 \U0001f600\n\tC:\\back"

@llama_cpp.llama_log_callback
def quiet(level, text, data):
    pass

llama_cpp.llama_log_set(quiet, None)
for path in sys.argv[1:]:
    model = llama_cpp.Llama(path, n_ctx=128, n_threads=1, n_batch=64, verbose=False)
    ids = model.tokenize(TEXT.encode(), add_bos=True, special=True)
    same = model.detokenize(ids).decode() == TEXT
    finite, tokens = True, []
    model.eval(ids)
    for _ in range(8):
        logits = llama_cpp.llama_get_logits_ith(model.ctx, -1)[: model.n_vocab()]
        finite = finite and all(map(math.isfinite, logits))
        tokens.append(max(range(len(logits)), key=logits.__getitem__))
        model.eval(tokens[-1:])
    print(json.dumps({"path": path, "same": same, "finite": finite, "tokens": tokens}), flush=True)
"""


@pytest.fixture(scope="module")
def generations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the engine made of each reduced shape, by file name without its ending."""
    pytest.importorskip("llama_cpp")
    folder = tmp_path_factory.mktemp("generations")
    for spec in REDUCED:
        write_shape(spec, "Q4_0", folder / f"{spec.name}-Q4_0.gguf")
    for quantization in MAIN_TYPES:
        write_shape(WIDE, quantization, folder / f"{WIDE.name}-{quantization}.gguf")
    command = [sys.executable, "-c", GENERATE, *map(str, sorted(folder.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr[-2000:]
    return {Path(result["path"]).stem: result for result in results}


@pytest.mark.parametrize(
    "name",
    [f"{spec.name}-Q4_0" for spec in REDUCED] + [f"{WIDE.name}-{kind}" for kind in MAIN_TYPES],
)
def test_shape_loads_and_generates(generations: dict[str, dict[str, Any]], name: str) -> None:
    result = generations[name]
    assert result["same"], "the text did not survive the tokenizer"
    assert result["finite"]
    assert len(result["tokens"]) == 8
