"""What stands on this machine's shelf, whatever else lies in the cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from onnx_folder import write_tiny

from ondevice import acquire, catalog, shelf
from ondevice.domain.download import RemoteFile
from ondevice.domain.generation import LoadOptions
from ondevice.domain.memory import MachineMemory
from ondevice.domain.model import FileSpec
from ondevice.gguf.shapes import write_shape
from ondevice.hub.cache import HubCache
from ondevice.hub.records import Records, of
from ondevice.paths import user_paths

MACHINE = MachineMemory(16 << 30, 11 << 30)
COMMIT = "c" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubCache:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("ONDEVICE_HOME", str(tmp_path / "ondevice"))
    return HubCache(tmp_path / "hub")


def put(cache: HubCache, folder: str, name: str = "tiny.gguf") -> Path:
    """A model there, as another tool leaves it."""
    blob = cache.root / folder / "blobs" / ("a" * 64)
    link = cache.root / folder / "snapshots" / COMMIT / name
    for each in (blob, link):
        each.parent.mkdir(parents=True)
    write_shape("tiny-llama", "Q4_0", blob)
    link.symlink_to(os.path.relpath(blob, link.parent))
    ref = cache.root / folder / "refs" / "main"
    ref.parent.mkdir()
    ref.write_text(COMMIT)
    return link


def test_what_other_tools_fetched_is_on_it_and_what_has_no_owner_spoils_nothing(
    cache: HubCache, tmp_path: Path
) -> None:
    put(cache, "models--gpt2")
    put(cache, "models--someone--tiny")
    rows = shelf.read(catalog.load(), cache, Records(tmp_path / "downloads.json"), MACHINE)
    (found,) = [row for row in rows if row.file.repository == "someone/tiny"]
    assert found.spec.name == "someone/tiny/tiny.gguf"
    assert found.here is not None
    assert found.verdict is not None
    assert found.bytes_total == found.here.stat().st_size
    assert not [row for row in rows if "gpt2" in row.spec.name]


def test_an_onnx_folder_that_was_fetched_by_its_name_is_on_it(
    cache: HubCache, tmp_path: Path
) -> None:
    folder = write_tiny(cache.root / "models--someone--tiny-onnx" / "snapshots" / COMMIT / "int4")
    files = [each for each in folder.rglob("*") if each.is_file()]
    records = of(user_paths())
    file = FileSpec("onnx", "", "someone/tiny-onnx", "int4")
    came = [
        RemoteFile(file.repository, f"int4/{each.name}", COMMIT, each.stat().st_size, "a" * 64)
        for each in files
    ]
    records.pin(file, tuple(came))
    rows = shelf.read(catalog.load(), cache, records, MACHINE)
    (found,) = [row for row in rows if row.file.repository == file.repository]
    assert (found.spec.name, found.file.quantization) == (file.repository, "int4")
    assert (found.here, found.pin) == (folder, "pinned locally")
    assert found.verdict is not None


def test_a_verdict_that_is_missing_has_its_reason(cache: HubCache, tmp_path: Path) -> None:
    rows = shelf.read(catalog.load(), cache, Records(tmp_path / "downloads.json"), MACHINE)
    unsized = [row for row in rows if row.file.engine == "llama.cpp" and row.bytes_total is None]
    assert {row.spec.family for row in unsized} >= {"mamba", "rwkv"}
    assert all(row.problem == acquire.SIZE_ON_HUB and row.fits is None for row in unsized)
    without = [row for row in rows if row.verdict is None]
    assert {row.problem for row in without} == {acquire.SIZE_ON_HUB, acquire.HEADER_ON_HUB}
    assert all(row.problem is None for row in rows if row.verdict)


def test_a_graph_alone_is_no_model() -> None:
    graph = FileSpec("onnx", "int4", "someone/model", "model.onnx")
    assert acquire.why_unknown(graph, 100) == acquire.NOT_OPENED


def test_a_longer_context_takes_more_and_q8_0_less(cache: HubCache, tmp_path: Path) -> None:
    records = Records(tmp_path / "downloads.json")

    def needs(options: LoadOptions) -> int:
        rows = shelf.read(catalog.load(), cache, records, MACHINE, options)
        verdict = next(row.verdict for row in rows if row.spec.name == "smollm2-135m-instruct")
        assert verdict is not None
        return verdict.estimate.kv_bytes

    usual = needs(LoadOptions(n_ctx=2048))
    assert needs(LoadOptions(n_ctx=8192)) == 4 * usual
    assert needs(LoadOptions(n_ctx=2048, kv_type="q8_0")) == usual * 34 // 64
