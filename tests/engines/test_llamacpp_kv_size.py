"""The KV cache is as large as it was said to be: llama.cpp's own figure is the judge."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ondevice import errors, units
from ondevice.domain.generation import LoadOptions
from ondevice.domain.memory import KvType, MachineMemory
from ondevice.domain.model import ModelFile
from ondevice.engines.llamacpp import loading
from ondevice.engines.llamacpp.kv_size import KvSize
from ondevice.engines.process import EngineProcess
from ondevice.gguf.architectures import PlannedTensor
from ondevice.gguf.shapes import SHAPES, ShapeSpec, write_shape
from ondevice.gguf.vocabulary import vocabulary_of
from ondevice.gguf.writer import TypedTensor, header_bytes, write_weights
from ondevice.hardware import probe

SMALL = {"n_embd": 64, "n_ff": 64, "vocab": 320}
LLAMA = replace(SHAPES["tiny-llama"], n_layers=4)
# As in Qwen3-0.6B and Gemma, a head has more numbers than the width has for it.
WIDE_HEADS = replace(SHAPES["gemma-2b"], n_layers=4, n_heads=4, n_kv_heads=2, **SMALL)
WINDOWED = replace(SHAPES["gemma-3-270m"], n_layers=13, n_heads=4, n_kv_heads=2, **SMALL)
MAMBA = replace(SHAPES["mamba-130m"], n_layers=2, vocab=320)
HYBRID_HEADS = (0, 2, 0, 0, 1, 0)
"""KV heads of each layer of a hybrid; without them it keeps a recurrent state."""


def tensor(name: str, *dimensions: int) -> TypedTensor:
    return TypedTensor(PlannedTensor(f"{name}.weight", dimensions, -0.1, 0.1), "F32")


def write_hybrid(path: Path) -> None:
    """A tiny LFM2: the first of its layers, like most of them, has no KV heads."""
    width, head = 64, 16
    vocabulary = vocabulary_of(LLAMA)
    tensors = [tensor("token_embd", width, LLAMA.vocab), tensor("token_embd_norm", width)]
    for layer, heads in enumerate(HYBRID_HEADS):
        parts = {"attn_norm": (width,), "ffn_norm": (width,), "ffn_gate": (width, 64)}
        parts |= {"ffn_down": (64, width), "ffn_up": (width, 64)}
        if heads:
            parts |= {"attn_q_norm": (head,), "attn_k_norm": (head,), "attn_q": (width, width)}
            parts |= {"attn_k": (width, heads * head), "attn_v": (width, heads * head)}
            parts |= {"attn_output": (width, width)}
        else:
            parts |= {"shortconv.conv": (3, width), "shortconv.in_proj": (width, 3 * width)}
            parts |= {"shortconv.out_proj": (width, width)}
        tensors += [tensor(f"blk.{layer}.{name}", *shape) for name, shape in parts.items()]
    sizes = {"context_length": 4096, "embedding_length": width, "feed_forward_length": 64}
    sizes |= {"block_count": len(HYBRID_HEADS), "attention.head_count": 4, "vocab_size": 512}
    header = header_bytes(
        {"general.architecture": "lfm2"}
        | {f"lfm2.{key}": value for key, value in sizes.items()}
        | {"lfm2.attention.head_count_kv": list(HYBRID_HEADS), "lfm2.shortconv.l_cache": 3}
        | {"lfm2.attention.layer_norm_rms_epsilon": 1e-5}
        | {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2"}
        | {"tokenizer.ggml.tokens": vocabulary.tokens, "tokenizer.ggml.merges": vocabulary.merges}
        | {"tokenizer.ggml.token_type": vocabulary.types},
        tensors,
    )
    with path.open("wb") as file:
        file.write(header)
        write_weights(file, tensors, random.Random(1))


def write(what: ShapeSpec | Callable[[Path], None], path: Path) -> Path:
    if isinstance(what, ShapeSpec):
        write_shape(what, "F16", path)
    else:
        what(path)
    return path


BOTH = """
import re, sys
from pathlib import Path
from ondevice.engines.llamacpp import binding, loading
from ondevice.engines.llamacpp.kv_size import KvSize
path, n_ctx, flash = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True"
kv_type = sys.argv[4]
lib, said = binding.load(), []
log = lib.llama_log_callback(lambda level, text, _: said.append(text.decode()))
lib.llama_log_set(log, None)
lib.llama_backend_init()
params = lib.llama_model_default_params()
params.use_extra_bufts = False
model = lib.llama_model_load_from_file(str(path).encode(), params)
assert model, said
size = KvSize(lib, model, path, flash, kv_type)
choices = loading.Choices(1, True, flash, False, 0, (), kv_type)
context = lib.llama_init_from_model(model, loading._context_params(lib, n_ctx, choices))
assert context, said
found = re.findall(r"^llama_kv_cache: .*KV buffer size = *([0-9.]+) MiB", "".join(said), re.M)
print(sum(map(float, found)), size.of(n_ctx) / 2**20, size.most(n_ctx) / 2**20)
"""


def sizes(
    path: Path, n_ctx: int, flash_attention: bool = False, kv_type: KvType = "f16"
) -> tuple[float, float, float]:
    """In MiB: what llama.cpp took, what was said, and at most."""
    done = subprocess.run(
        [sys.executable, "-c", BOTH, str(path), str(n_ctx), str(flash_attention), kv_type],
        capture_output=True,
        text=True,
        check=True,
    )
    took, said, most = map(float, done.stdout.split())
    return took, said, most


@pytest.mark.parametrize("flash_attention", [False, True], ids=["", "flash"])
@pytest.mark.parametrize("n_ctx", [300, 4096])
@pytest.mark.parametrize(
    "what",
    [
        pytest.param(LLAMA, id="llama"),
        pytest.param(WIDE_HEADS, id="wide heads"),
        pytest.param(WINDOWED, id="windows"),
        pytest.param(write_hybrid, id="hybrid"),
        pytest.param(MAMBA, id="recurrent"),
    ],
)
def test_it_takes_what_was_said(
    what: ShapeSpec | Callable[[Path], None], n_ctx: int, flash_attention: bool, tmp_path: Path
) -> None:
    took, said, most = sizes(write(what, tmp_path / "model.gguf"), n_ctx, flash_attention)
    assert said == pytest.approx(took, abs=0.02)
    assert (took > 0) == (what is not MAMBA)
    assert most >= said
    if what is WINDOWED and n_ctx == 4096:
        assert most > 2 * said


@pytest.mark.parametrize(
    "what", [pytest.param(WIDE_HEADS, id="wide heads"), pytest.param(WINDOWED, id="windows")]
)
def test_a_quantized_cache_takes_what_was_said(what: ShapeSpec, tmp_path: Path) -> None:
    path = write(what, tmp_path / "model.gguf")
    took, said, _ = sizes(path, 4096, flash_attention=True, kv_type="q8_0")
    assert said == pytest.approx(took, abs=0.02)
    assert said < 0.54 * sizes(path, 4096, flash_attention=True)[1]


def test_a_quantized_cache_turns_flash_attention_on_and_says_so(starter_path: Path) -> None:
    engine = EngineProcess("llama.cpp")
    info = engine.load(
        ModelFile(starter_path, "llama.cpp", "starter"), LoadOptions(n_ctx=256, kv_type="q8_0")
    )
    engine.close()
    assert (info.kv_type, info.flash_attention) == ("q8_0", True)
    assert "flash_attention" in {notice.code for notice in info.notices}


def test_a_quantized_cache_without_flash_attention_is_refused(starter_path: Path) -> None:
    engine = EngineProcess("llama.cpp")
    options = LoadOptions(n_ctx=256, kv_type="q8_0", flash_attention=False)
    with pytest.raises(errors.ModelLoadFailed, match="a KV cache of q8_0 needs flash attention"):
        engine.load(ModelFile(starter_path, "llama.cpp", "starter"), options)
    engine.close()


def test_flash_attention_that_was_asked_for_needs_no_notice() -> None:
    file = ModelFile(Path("gone.gguf"), "llama.cpp", "gone")
    options = LoadOptions(kv_type="q8_0", flash_attention=True, repack=False)
    assert loading.choose(file, options).notices == ()
    assert loading.choose(file, LoadOptions(repack=False)).kv_type == "f16"


def test_a_real_model_with_windows_takes_what_was_said(gemma_path: Path) -> None:
    took, said, _ = sizes(gemma_path, 8192)
    assert said == pytest.approx(took, abs=0.02)


@pytest.mark.parametrize(
    ("what", "bytes_of_a_token"),
    [
        pytest.param(WIDE_HEADS, 4 * 2 * (256 + 256) * 2, id="wide heads"),
        pytest.param(write_hybrid, 2 * ((2 + 1) * 16 + 2 * 2 * 16), id="hybrid"),
    ],
)
def test_a_context_that_does_not_fit_is_refused_with_its_true_size(
    what: ShapeSpec | Callable[[Path], None], bytes_of_a_token: int, tmp_path: Path
) -> None:
    n_ctx = 2**31 - 256
    engine = EngineProcess("llama.cpp")
    file = ModelFile(write(what, tmp_path / "model.gguf"), "llama.cpp", "the model")
    with pytest.raises(errors.ModelLoadFailed) as caught:
        engine.load(file, LoadOptions(n_ctx=n_ctx))
    engine.close()
    assert f"tokens needs {units.size(n_ctx * bytes_of_a_token)}; " in caught.value.message


class FileThatSays:
    """llama.cpp's answers for a file of which nothing but its metadata matters."""

    def __init__(self, hybrid: bool = False, **metadata: int) -> None:
        self._hybrid = hybrid
        self._said = {f"x.{key.replace('__', '.')}": str(value) for key, value in metadata.items()}
        self._said["general.architecture"] = "x"

    def llama_model_meta_val_str(self, _model: None, key: bytes, buffer: Any, _room: int) -> int:
        said = self._said.get(key.decode())
        if said is None:
            return -1
        buffer.value = said.encode()
        return len(said)

    def llama_model_is_hybrid(self, _model: None) -> bool:
        return self._hybrid

    def __getattr__(self, name: str) -> Callable[[None], int]:
        facts = {"n_layer": 8, "n_head": 4, "n_head_kv": 2, "n_embd": 64}
        return lambda _: facts.get(name.removeprefix("llama_model_"), 0)


@pytest.mark.parametrize(
    ("hybrid", "metadata", "numbers"),
    [
        pytest.param(False, {}, 8 * 2 * 32, id="nothing said: heads of the width"),
        pytest.param(True, {"full_attention_interval": 4}, 2 * 2 * 32, id="every fourth attends"),
        pytest.param(False, {"full_attention_interval": 4}, 8 * 2 * 32, id="not of a hybrid"),
        pytest.param(False, {"attention__shared_kv_layers": 3}, 5 * 2 * 32, id="shared caches"),
        pytest.param(
            False,
            {"attention__key_length": 96, "attention__value_length": 80},
            8 * 2 * (96 + 80),
            id="keys and values of their own lengths",
        ),
        pytest.param(
            False,
            {"attention__key_length": 96, "attention__key_length_mla": 24},
            8 * 2 * 96,
            id="values made from keys",
        ),
    ],
)
def test_what_the_metadata_says_counts(
    hybrid: bool, metadata: dict[str, int], numbers: int, tmp_path: Path
) -> None:
    lib = FileThatSays(hybrid, attention__head_count_kv=2, **metadata)
    size = KvSize(lib, None, tmp_path / "gone.gguf", flash_attention=False)
    assert size.of(512) == 2 * numbers * 512


def test_a_header_that_does_not_read_counts_every_layer_like_the_first(tmp_path: Path) -> None:
    size = KvSize(FileThatSays(), None, tmp_path / "gone.gguf", flash_attention=False)
    assert size.of(512) == 2 * 8 * 2 * 32 * 512


class Cache:
    """One that takes a gigabyte, or half of it behind windows."""

    @staticmethod
    def most(_n_ctx: int) -> int:
        return 1 << 30

    @staticmethod
    def of(_n_ctx: int) -> int:
        return 1 << 29


@pytest.mark.parametrize(
    ("free", "said"),
    [
        (500 << 20, "a context of 8,192 tokens needs 512 MB; 500 MB are free"),
        (600 << 20, "nothing"),
    ],
)
def test_windows_count_where_memory_is_short(
    free: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "machine_memory", lambda: MachineMemory(1 << 40, free))
    heard = "nothing"
    try:
        loading._refuse_what_cannot_fit(Cache, 8192)  # type: ignore[arg-type]
    except errors.ModelLoadFailed as error:
        heard = error.message
    assert heard == said
