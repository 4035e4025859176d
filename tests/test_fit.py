"""The memory verdict: against a real engine, against the file's own header, and its kinds."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondevice import catalog, fit
from ondevice.domain.fit import WORST_ERROR
from ondevice.domain.generation import GREEDY, GenerationRequest, LoadOptions, Prompt
from ondevice.domain.layout import Layout, kv_cache_bytes
from ondevice.domain.measured import Measured
from ondevice.domain.memory import KvType, MachineMemory, MemoryUse
from ondevice.domain.model import FileSpec, ModelFile, ModelSpec
from ondevice.engines import registry
from ondevice.gguf.header import Header, header_from, read_header
from ondevice.gguf.shapes import SHAPES, _metadata, planned_tensors
from ondevice.gguf.writer import header_bytes, weights_bytes
from ondevice.measure import measure

GB = 1 << 30


def layout_of(path: Path) -> Layout:
    layout = fit.from_header(read_header(path), path.stat().st_size)
    assert layout is not None
    return layout


def shape_header(name: str, quantization: str) -> tuple[Header, int]:
    """The header a file of that shape would have, and the size it would be; nothing is written."""
    tensors = planned_tensors(name, quantization)
    prefix = header_bytes(_metadata(SHAPES[name], quantization), tensors)
    size = len(prefix) + weights_bytes(tensors)
    return header_from(io.BytesIO(prefix), size), size


def shape_layout(name: str, quantization: str) -> Layout:
    layout = fit.from_header(*shape_header(name, quantization))
    assert layout is not None
    return layout


def entry(name: str, quantization: str) -> tuple[ModelSpec, FileSpec]:
    spec = catalog.load().find(name)
    return spec, next(file for file in spec.files if file.quantization == quantization)


# Against the engine


def seen(path: Path, n_ctx: int, kv_type: KvType) -> MemoryUse:
    """What the engine's process holds once its context is full."""
    engine = registry.in_child("llama.cpp")
    options = LoadOptions(n_ctx=n_ctx, threads=1, kv_type=kv_type, repack=False)
    info = engine.load(ModelFile(path, "llama.cpp", path.stem), options)
    assert info.kv_type == kv_type
    draw = random.Random(1)
    tokens = tuple(draw.randrange(1000, 30_000) for _ in range(n_ctx - 2))
    request = GenerationRequest(Prompt(tokens=tokens), GREEDY, 2, ignore_eos=True)
    use = next(e for e in measure(engine, info, request, None) if isinstance(e, Measured)).memory
    engine.close()
    return use


@pytest.mark.parametrize(("n_ctx", "kv_type"), [(512, "f16"), (1024, "q8_0"), (1024, "f16")])
def test_the_starter_takes_what_was_predicted(
    n_ctx: int, kv_type: KvType, starter_path: Path
) -> None:
    said = fit.estimate(layout_of(starter_path), n_ctx, kv_type=kv_type, repack=False)
    use = seen(starter_path, n_ctx, kv_type)
    assert said.private_bytes == pytest.approx(use.peak_private_bytes, rel=WORST_ERROR)
    assert said.pages_bytes == pytest.approx(use.model_pages_bytes, rel=0.02)


# The catalogue and the file say the same


def assert_agree(catalogued: Layout | None, read: Layout) -> None:
    """All that is exact is equal; sizes that follow from a quantization come close."""
    assert catalogued is not None
    assert catalogued.weights_bytes == pytest.approx(read.weights_bytes, rel=0.02)
    assert catalogued.merges == pytest.approx(read.merges, abs=1000)
    loosely = ("weights_bytes", "file_bytes", "repackable_bytes", "context", "merges")
    same = {name: getattr(read, name) for name in loosely}
    assert replace(catalogued, **same) == read
    assert catalogued.repackable_bytes == pytest.approx(read.repackable_bytes, rel=0.1)


def test_catalogue_and_header_of_the_starter_agree(starter_path: Path) -> None:
    catalogued = fit.from_catalogue(*entry(catalog.STARTER, "Q4_1"))
    assert_agree(catalogued, layout_of(starter_path))


def test_catalogue_and_header_of_a_model_with_windows_agree(gemma_path: Path) -> None:
    catalogued = fit.from_catalogue(*entry("gemma-3-270m-it", "Q4_K_M"))
    assert_agree(catalogued, layout_of(gemma_path))


@pytest.mark.parametrize(
    ("name", "quantization", "shape"),
    [
        ("phi-3-mini-4k-instruct", "Q4_K_M", "phi-3-mini"),
        ("gemma-2b-it", "Q8_0", "gemma-2b"),
        ("mamba-130m", "Q8_0", "mamba-130m"),
    ],
)
def test_catalogue_and_a_shape_agree(name: str, quantization: str, shape: str) -> None:
    spec, file = entry(name, quantization)
    header, size = shape_header(shape, quantization)
    read = fit.from_header(header, size)
    assert read is not None
    # A shape's vocabulary is made up: short, and without the model's merges.
    assert_agree(
        fit.from_catalogue(spec, replace(file, size_bytes=size)),
        replace(read, merges=spec.shape.merges or 0 if spec.shape else 0),
    )


# Counting


def test_layers_behind_a_window_hold_the_window_and_a_batch(gemma_path: Path) -> None:
    row = 2 * (256 + 256)
    said = fit.estimate(layout_of(gemma_path), 32_768).kv_bytes
    assert said == row * (15 * 1024 + 3 * 32_768)


def test_recurrent_layers_keep_a_state_that_does_not_grow() -> None:
    layout = shape_layout("mamba-130m", "Q4_0")
    short, long = (fit.estimate(layout, n_ctx, snapshots=1) for n_ctx in (512, 1 << 20))
    assert short.kv_bytes == long.kv_bytes == 0
    assert layout.recurrent_bytes == 4 * 24 * (1536 * 16 + 1536 * 3)
    assert short.private_bytes == long.private_bytes


def test_a_quantized_cache_takes_34_bytes_for_32_numbers(starter_path: Path) -> None:
    layout = layout_of(starter_path)
    half = fit.estimate(layout, 4096, kv_type="q8_0").kv_bytes
    assert half * 64 == fit.estimate(layout, 4096).kv_bytes * 34


def test_only_types_with_a_faster_form_are_repacked(
    starter_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "_is_arm", lambda: False)
    assert layout_of(starter_path).repackable_bytes == 0  # Q4_1
    assert shape_layout("phi-3-mini", "Q8_0").repackable_bytes == 0
    phi = shape_layout("phi-3-mini", "Q4_0")
    assert 0.8 * phi.weights_bytes < phi.repackable_bytes < phi.weights_bytes
    monkeypatch.setattr(fit, "_is_arm", lambda: True)
    assert shape_layout("phi-3-mini", "Q8_0").repackable_bytes > 0


@pytest.mark.parametrize("what", ["no shape", "no size", "half a hybrid", "no width"])
def test_what_is_not_known_gets_no_verdict(what: str) -> None:
    spec, file = entry("qwen2.5-0.5b-instruct", "Q4_K_M")
    shape = spec.shape
    assert shape is not None
    if what == "no shape":
        spec = replace(spec, shape=None)
    elif what == "no size":
        file = replace(file, size_bytes=None)
    elif what == "half a hybrid":
        spec = replace(spec, shape=replace(shape, n_attention_layers=4))
    else:
        spec = replace(spec, shape=replace(shape, n_ff=None))
    assert fit.verdict_for(spec, file, MachineMemory(8 * GB, 6 * GB)) is None


LAYOUTS = {
    name: shape_layout(name, "Q4_0")
    for name in ("phi-3-mini", "gemma-3-270m", "mamba-130m", "rwkv7-0.1b", "tiny-llama")
}


@given(
    name=st.sampled_from(sorted(LAYOUTS)),
    contexts=st.tuples(st.integers(1, 1 << 20), st.integers(1, 1 << 20)),
    kv_type=st.sampled_from(["f16", "q8_0"]),
    repack=st.booleans(),
    flash_attention=st.booleans(),
)
def test_more_context_never_takes_less(
    name: str,
    contexts: tuple[int, int],
    kv_type: KvType,
    repack: bool,
    flash_attention: bool,
) -> None:
    less, more = (
        fit.estimate(
            LAYOUTS[name], n_ctx, kv_type=kv_type, repack=repack, flash_attention=flash_attention
        )
        for n_ctx in sorted(contexts)
    )
    assert less.private_bytes <= more.private_bytes
    assert 0 < less.pages_bytes == more.pages_bytes


# Verdicts

PHI = shape_layout("phi-3-mini", "Q4_0")
"""2.1 GB of weights; 1.5 GB of KV cache for 4,096 tokens."""


@pytest.mark.parametrize(
    ("free", "kind", "fits"),
    [
        pytest.param(16 * GB, "well", 4096, id="16 GB"),
        pytest.param(int(4.5 * GB), "tight", 4096, id="4.5 GB, not repacked"),
        pytest.param(3 * GB, "less_context", None, id="3 GB"),
        pytest.param(int(1.8 * GB), "tight", None, id="1.8 GB, pages dropped"),
        pytest.param(1 * GB, "no", None, id="1 GB"),
    ],
)
def test_a_verdict_follows_what_is_free(free: int, kind: str, fits: int | None) -> None:
    found = fit.verdict(PHI, MachineMemory(2 * free, free))
    assert (found.kind, found.estimate.n_ctx) == (kind, 4096)
    if fits is not None:
        assert found.n_ctx_that_fits == fits
    assert (found.n_ctx_that_fits is None) == (kind == "no")


def most_bytes(layout: Layout, n_ctx: int) -> int:
    """What it may take, as far off as the prediction may be."""
    said = fit.estimate(layout, n_ctx, repack=False)
    return said.most_private_bytes + said.pages_bytes


def test_less_context_is_the_most_that_fits() -> None:
    free = 3 * GB
    found = fit.verdict(PHI, MachineMemory(8 * GB, free))
    most = found.n_ctx_that_fits
    assert found.kind == "less_context"
    assert most is not None
    assert most % 256 == 0
    assert 512 <= most < 4096
    assert most_bytes(PHI, most) <= free < most_bytes(PHI, most + 256)
    assert f"{most:,} tokens fit with room to spare" in found.reason


@pytest.mark.parametrize("error", [0.0, 0.06, WORST_ERROR])
def test_what_runs_well_has_room_for_an_error_of_the_prediction(error: float) -> None:
    layout = replace(PHI, repackable_bytes=0)
    said = fit.estimate(layout, 4096)
    enough = most_bytes(layout, 4096)
    assert fit.verdict(layout, MachineMemory(8 * GB, enough)).kind == "well"
    assert round(said.private_bytes / (1 - error)) + said.pages_bytes <= enough
    for free in (said.total_bytes, enough - 1):
        found = fit.verdict(layout, MachineMemory(8 * GB, free))
        assert found.kind == "less_context"
        assert found.n_ctx_that_fits is not None
        assert most_bytes(layout, found.n_ctx_that_fits) <= free


def test_without_room_to_spare_and_no_context_to_give_up_it_is_tight() -> None:
    layout = replace(LAYOUTS["mamba-130m"], repackable_bytes=0)
    found = fit.verdict(layout, MachineMemory(8 * GB, fit.estimate(layout, 4096).total_bytes))
    assert (found.kind, found.n_ctx_that_fits) == ("tight", 4096)
    assert "no room to spare, so parts of the file may be read again" in found.reason


def test_a_file_that_has_nothing_to_repack_runs_well_where_it_fits() -> None:
    layout = replace(PHI, repackable_bytes=0)
    assert fit.verdict(layout, MachineMemory(8 * GB, int(4.5 * GB))).kind == "well"


def test_a_smaller_cache_lets_more_context_fit() -> None:
    machine = MachineMemory(8 * GB, 3 * GB)
    half, whole = (
        fit.verdict(PHI, machine, 4096, kv_type=kv_type).n_ctx_that_fits
        for kv_type in ("q8_0", "f16")
    )
    assert half is not None
    assert whole is not None
    assert half > 1.5 * whole


def test_the_default_context_is_the_engines() -> None:
    spec, file = entry("smollm2-135m-instruct", "Q4_1")
    found = fit.verdict_for(spec, file, MachineMemory(32 * GB, 24 * GB))
    assert found is not None
    assert (found.kind, found.estimate.n_ctx) == ("well", 4096)
    short = fit.verdict_for(replace(spec, context=1024), file, MachineMemory(32 * GB, 24 * GB))
    assert short is not None
    assert short.estimate.n_ctx == 1024


def test_a_cache_of_no_layers_takes_nothing() -> None:
    assert kv_cache_bytes((), 4096) == 0
