"""The memory verdict of ONNX models: against a real engine, a folder against the catalogue."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import helper
from onnx_folder import Shape, write_tiny

from ondevice import acquire, catalog, fit
from ondevice.domain import model
from ondevice.domain.fit import WORST_ERROR
from ondevice.domain.generation import GREEDY, GenerationRequest, LoadOptions, Prompt
from ondevice.domain.measured import Measured
from ondevice.domain.memory import MachineMemory, MemoryUse
from ondevice.domain.model import FileSpec, ModelFile, ModelSpec
from ondevice.engines import registry
from ondevice.measure import measure
from ondevice.onnx import memory
from ondevice.onnx.folder import read_folder
from ondevice.onnx.layout import FolderLayout, catalogue_layout, layout_of

GB = 1 << 30
ROOMY = MachineMemory(32 * GB, 24 * GB)
SHAPE = Shape(n_layers=4, width=512, n_ff=1536, n_heads=8, n_kv_heads=4, head_size=64, context=4096)


@pytest.fixture(scope="module")
def int4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("fit") / "model-int4", SHAPE, int4=True)


def layout_at(path: Path) -> FolderLayout:
    return layout_of(read_folder(path))


# Against the engine


def seen(path: Path, n_ctx: int) -> MemoryUse:
    """What the engine's process holds once its context is full."""
    engine = registry.in_child("onnx")
    file = ModelFile(path, "onnx", path.name)
    info = engine.load(file, LoadOptions(n_ctx=n_ctx, threads=1))
    draw = random.Random(1)
    tokens = tuple(draw.randrange(5, 250) for _ in range(n_ctx - 2))
    request = GenerationRequest(Prompt(tokens=tokens), GREEDY, 2, ignore_eos=True)
    use = next(e for e in measure(engine, info, request, None) if isinstance(e, Measured)).memory
    engine.close()
    return use


@pytest.mark.parametrize("what", ["float32", "int4"])
def test_a_folder_takes_what_was_predicted(what: str, onnx_path: Path, int4: Path) -> None:
    path = {"float32": onnx_path, "int4": int4}[what]
    said = memory.estimate(layout_at(path), 512)
    use = seen(path, 512)
    assert use.model_pages_bytes is not None
    assert said.private_bytes == pytest.approx(use.peak_private_bytes, rel=WORST_ERROR)
    assert said.pages_bytes == pytest.approx(use.model_pages_bytes, rel=0.12, abs=1 << 20)


# Counting


def test_the_cache_is_the_graphs_numbers_for_every_token(int4: Path) -> None:
    row = 2 * SHAPE.n_layers * SHAPE.n_kv_heads * SHAPE.head_size
    for n_ctx in (1, 512, 4096):
        said = memory.estimate(layout_at(int4), n_ctx)
        assert said.kv_bytes == row * 4 * n_ctx == read_folder(int4).cache_bytes(n_ctx)
        assert said.kv_type == "f32"


def numbers() -> int:
    """Of all matrices of SHAPE."""
    attends = 2 * SHAPE.n_heads * SHAPE.head_size + 2 * SHAPE.n_kv_heads * SHAPE.head_size
    return SHAPE.n_layers * SHAPE.width * (attends + 3 * SHAPE.n_ff)


def test_codes_are_given_back_and_their_scales_are_not(int4: Path) -> None:
    layout = layout_at(int4)
    every = numbers() + layout.vocab * SHAPE.width
    assert layout.given_back_bytes == every // 2
    assert layout.rewritten_bytes == every // 2 + 2 * (4 * every // 32)
    assert layout.copied_bytes < 10_000
    assert layout.n_ff == SHAPE.n_ff


def test_a_matrix_that_is_also_looked_up_in_keeps_its_pages(onnx_path: Path) -> None:
    layout = layout_at(onnx_path)
    table = 4 * layout.vocab * layout.n_embd
    assert layout.rewritten_bytes - layout.given_back_bytes == table
    assert layout.weights_bytes - layout.given_back_bytes > table


def test_weights_inside_the_graph_are_private(int4: Path, tmp_path: Path) -> None:
    whole = onnx.load_model(str(int4 / "model.onnx"))
    shutil.copytree(int4, tmp_path / "inside")
    (tmp_path / "inside" / "model.onnx.data").unlink()
    onnx.save_model(whole, str(tmp_path / "inside" / "model.onnx"))
    apart, inside = layout_at(int4), layout_at(tmp_path / "inside")
    assert (inside.weights_bytes, inside.given_back_bytes) == (0, 0)
    assert inside.rewritten_bytes == apart.rewritten_bytes
    kept = apart.weights_bytes - apart.given_back_bytes
    assert inside.copied_bytes == pytest.approx(kept, rel=0.02)


def test_a_table_that_is_the_output_matrix_reshaped_is_a_private_copy(
    int4: Path, tmp_path: Path
) -> None:
    """As the builder of onnxruntime-genai ties them."""
    shutil.copytree(int4, tmp_path / "tied")
    path = tmp_path / "tied" / "model.onnx"
    model = onnx.load_model(str(path), load_external_data=False)
    model.graph.node.append(
        helper.make_node("Reshape", ["token_embd.int4", "flat"], ["table"], name="tied")
    )
    path.write_bytes(model.SerializeToString())
    apart, tied = layout_at(int4), layout_at(tmp_path / "tied")
    assert tied.copied_bytes - apart.copied_bytes == apart.vocab * SHAPE.width // 2
    assert tied.given_back_bytes == apart.given_back_bytes


def entry(path: Path) -> tuple[ModelSpec, FileSpec]:
    """What a catalogue would say of SHAPE."""
    shape = model.Shape(
        n_layers=SHAPE.n_layers,
        n_embd=SHAPE.width,
        vocab=layout_at(path).vocab,
        n_heads=SHAPE.n_heads,
        n_kv_heads=SHAPE.n_kv_heads,
        head_dim=SHAPE.head_size,
        n_ff=SHAPE.n_ff,
        merges=0,
    )
    file = FileSpec("onnx", "int4", "owner/name", ".", size_bytes=layout_at(path).weights_bytes)
    chat = ("some-model", "f", "T", "chat", 1, 1, SHAPE.context, "MIT", None, False)
    return ModelSpec(*chat, shape, (file,)), file


def test_the_catalogue_and_the_folder_say_the_same(int4: Path) -> None:
    catalogued, read = catalogue_layout(*entry(int4)), layout_at(int4)
    assert catalogued is not None
    assert replace(catalogued, copied_bytes=read.copied_bytes) == read


@pytest.mark.parametrize("block", [32, 128])
def test_the_path_tells_how_many_numbers_share_a_scale(block: int) -> None:
    spec = catalog.load().find("phi-3-mini-4k-instruct")
    file = FileSpec("onnx", "int4", "o/n", f"cpu-int4-rtn-block-{block}-acc-level-4", None, 3 * GB)
    layout = catalogue_layout(spec, file)
    assert layout is not None
    every = layout.given_back_bytes * 2
    assert layout.rewritten_bytes == every // 2 + 2 * (4 * every // block)


@pytest.mark.parametrize("what", ["no shape", "no size", "not int4", "recurrent"])
def test_what_is_not_known_gets_no_verdict(what: str, int4: Path) -> None:
    spec, file = entry(int4)
    assert spec.shape is not None
    if what == "no shape":
        spec = replace(spec, shape=None)
    elif what == "no size":
        file = replace(file, size_bytes=None)
    elif what == "not int4":
        file = replace(file, quantization="fp16")
    else:
        spec = replace(spec, shape=replace(spec.shape, n_recurrent_layers=2))
    assert fit.verdict_for(spec, file, ROOMY) is None


# Verdicts


def test_every_onnx_form_with_a_size_has_a_verdict_before_it_is_fetched() -> None:
    kinds = {
        spec.name: fit.verdict_for(spec, file, ROOMY)
        for spec in catalog.load().models
        for file in spec.files
        if file.engine == "onnx" and file.size_bytes is not None
    }
    assert kinds
    assert all(found is not None and found.kind == "well" for found in kinds.values()), kinds


def test_what_is_here_is_judged_by_itself(int4: Path) -> None:
    spec, file = entry(int4)
    without = replace(spec, shape=None)
    found = acquire.verdict(without, file, int4, ROOMY)
    assert found is not None
    assert found == fit.verdict_of_folder(read_folder(int4), ROOMY)
    (int4 / "model.onnx.data").rename(int4 / "away")
    assert acquire.verdict(without, file, int4, ROOMY) is None
    (int4 / "away").rename(int4 / "model.onnx.data")


def most_bytes(layout: FolderLayout, n_ctx: int) -> int:
    """What it may take, as far off as the prediction may be."""
    said = memory.estimate(layout, n_ctx)
    return said.most_private_bytes + said.pages_bytes


def test_less_context_is_the_most_that_fits(int4: Path) -> None:
    layout = layout_at(int4)
    free = most_bytes(layout, 2000)
    found = fit.verdict_of_folder(read_folder(int4), MachineMemory(8 * GB, free), 4096)
    assert (found.kind, found.n_ctx_that_fits) == ("less_context", 1792)
    assert most_bytes(layout, 2048) > free


def test_the_context_is_no_larger_than_the_folder_allows(int4: Path) -> None:
    assert fit.verdict_of_folder(read_folder(int4), ROOMY, 100_000).estimate.n_ctx == 4096


def test_no_room_is_no(int4: Path) -> None:
    found = fit.verdict_of_folder(read_folder(int4), MachineMemory(8 * GB, 10 << 20))
    assert (found.kind, found.n_ctx_that_fits) == ("no", None)
