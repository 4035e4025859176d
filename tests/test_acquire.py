"""A plan is known before a byte is fetched, and terms come before everything."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from loopback import COMMIT, PATH, REPOSITORY, Loopback, stop_after

from ondevice import acquire, catalog
from ondevice.domain.download import Downloaded, DownloadNotice
from ondevice.domain.memory import MachineMemory
from ondevice.domain.model import FileSpec, ModelSpec, Shape
from ondevice.errors import HubUnreachable, TermsNotAccepted
from ondevice.hub import local
from ondevice.hub.cache import HubCache
from ondevice.hub.patience import Patience
from ondevice.hub.records import Records
from ondevice.hub.remote import Hub

CONTENT = random.Random(3).randbytes(200_000)
MACHINE = MachineMemory(total_bytes=8 << 30, available_bytes=6 << 30)
TERMS = "https://example.org/terms"
SHAPE = Shape(n_layers=2, n_embd=64, vocab=500, n_heads=2, n_kv_heads=2, n_ff=128)
FILE = FileSpec("llama.cpp", "Q4_0", REPOSITORY, PATH)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubCache:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("ONDEVICE_HOME", str(tmp_path / "ondevice"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return HubCache(local.hub_cache())


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "ondevice" / "data" / "downloads.json")


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    server = Loopback()
    yield server
    server.close()


@pytest.fixture
def hub(loopback: Loopback, cache: HubCache) -> Iterator[Hub]:
    with Hub(loopback.address, read_s=2.0) as hub:
        yield hub


def spec(*files: FileSpec, terms: str | None = None) -> ModelSpec:
    return ModelSpec(
        "some-model", "f", "T", "chat", 1, 1, 512, "MIT", terms, False, SHAPE, files or (FILE,)
    )


class TestAPlan:
    def test_counts_what_an_earlier_run_left(
        self, loopback: Loopback, hub: Hub, cache: HubCache, records: Records
    ) -> None:
        remote = loopback.offer(CONTENT)
        cache.make_folders(remote)
        cache.part(remote).write_bytes(CONTENT[:70_000])
        plan = acquire.plan(hub, spec(), FILE, cache, records, MACHINE)
        assert (plan.bytes_total, plan.bytes_here) == (200_000, 70_000)
        assert plan.bytes_to_fetch == 130_000
        assert plan.remote == (remote,)
        assert plan.here is None
        assert plan.free_disk_bytes is not None
        assert plan.verdict is not None
        assert (plan.verdict.kind, plan.fits) == ("well", True)
        assert loopback.sent == 0

    def test_of_what_is_here_asks_nobody(
        self, loopback: Loopback, hub: Hub, cache: HubCache, records: Records
    ) -> None:
        loopback.offer(CONTENT)
        plan = acquire.plan(hub, spec(), FILE, cache, records, MACHINE)
        (*_, done) = acquire.get(hub, plan, cache, records)
        assert isinstance(done, Downloaded)
        asked = len(loopback.requests)
        plan = acquire.plan(None, spec(terms=TERMS), FILE, cache, records, MACHINE)
        assert (plan.here, plan.bytes_to_fetch, plan.terms) == (done.path, 0, None)
        assert list(acquire.get(None, plan, cache, records)) == [Downloaded(done.path, 0)]
        assert len(loopback.requests) == asked

    def test_done_is_seen_by_other_tools_as_main(
        self, loopback: Loopback, hub: Hub, cache: HubCache, records: Records
    ) -> None:
        from huggingface_hub import try_to_load_from_cache

        loopback.offer(CONTENT)
        plan = acquire.plan(hub, spec(), FILE, cache, records, MACHINE)
        (*_, done) = acquire.get(hub, plan, cache, records)
        assert isinstance(done, Downloaded)
        assert try_to_load_from_cache(REPOSITORY, PATH, cache_dir=cache.root) == str(done.path)

    def test_done_is_whole_also_where_nothing_can_be_remembered(
        self, loopback: Loopback, hub: Hub, cache: HubCache, tmp_path: Path
    ) -> None:
        loopback.offer(CONTENT)
        (tmp_path / "file").touch()
        nowhere = Records(tmp_path / "file" / "downloads.json")
        plan = acquire.plan(hub, spec(), FILE, cache, nowhere, MACHINE)
        (*_, notice, done) = acquire.get(hub, plan, cache, nowhere)
        assert isinstance(notice, DownloadNotice)
        assert notice.code == "unrecorded"
        assert isinstance(done, Downloaded)
        assert done.path.read_bytes() == CONTENT

    def test_without_a_hub_needs_a_pin(self, cache: HubCache, records: Records) -> None:
        with pytest.raises(HubUnreachable, match="forbids the network"):
            acquire.plan(None, spec(), FILE, cache, records, MACHINE)
        pinned = replace(FILE, revision=COMMIT, size_bytes=9, sha256="a" * 64)
        plan = acquire.plan(None, spec(pinned), pinned, cache, records, MACHINE)
        assert plan.bytes_to_fetch == 9
        with pytest.raises(HubUnreachable, match="forbids the network"):
            list(acquire.get(None, plan, cache, records))

    def test_stays_with_the_first_fetch_when_main_moves_on(
        self, loopback: Loopback, hub: Hub, cache: HubCache, records: Records
    ) -> None:
        first = loopback.offer(CONTENT)
        plan = acquire.plan(hub, spec(), FILE, cache, records, MACHINE)
        (*_, done) = acquire.get(hub, plan, cache, records)
        assert isinstance(done, Downloaded)
        assert records.state(FILE) == "pinned locally"
        cache.blob(first).unlink()
        loopback.said = {"X-Repo-Commit": "d" * 40}
        loopback.offer(CONTENT + b"more")
        assert acquire.plan(hub, spec(), FILE, cache, records, MACHINE).remote == (first,)

    def test_of_a_second_file_leaves_the_first_one_found(
        self, loopback: Loopback, hub: Hub, cache: HubCache, records: Records
    ) -> None:
        other = replace(FILE, path="other.gguf")
        for file, commit in ((FILE, COMMIT), (other, "d" * 40)):
            loopback.offer(CONTENT, file.path)
            loopback.said = {"X-Repo-Commit": commit}
            plan = acquire.plan(hub, spec(file), file, cache, records, MACHINE)
            assert list(acquire.get(hub, plan, cache, records))
        assert local.find_file(FILE) is not None
        assert local.find_file(other) is not None


class TestTerms:
    def test_come_before_every_byte(
        self, loopback: Loopback, hub: Hub, cache: HubCache, records: Records
    ) -> None:
        loopback.offer(CONTENT)
        wanted = spec(terms=TERMS)
        plan = acquire.plan(hub, wanted, FILE, cache, records, MACHINE)
        assert plan.terms == TERMS
        with pytest.raises(TermsNotAccepted, match=TERMS) as raised:
            list(acquire.get(hub, plan, cache, records))
        assert "--accept-terms" in raised.value.hint
        assert not cache.root.exists()
        accepted = acquire.accept(plan, records)
        assert list(acquire.get(hub, accepted, cache, records))

    def test_are_accepted_for_every_model_that_has_them(
        self, loopback: Loopback, hub: Hub, cache: HubCache, records: Records
    ) -> None:
        loopback.offer(CONTENT)
        plan = acquire.plan(hub, spec(terms=TERMS), FILE, cache, records, MACHINE)
        acquire.accept(plan, records)
        mirror = spec(replace(FILE, quantization="Q8_0"), terms=TERMS)
        assert acquire.plan(hub, mirror, FILE, cache, records, MACHINE).terms is None


def test_closing_keeps_what_has_come(
    loopback: Loopback, hub: Hub, cache: HubCache, records: Records
) -> None:
    remote = loopback.offer(CONTENT)
    loopback.faults.append(stop_after(60_000))
    plan = acquire.plan(hub, spec(), FILE, cache, records, MACHINE)
    running = acquire.get(hub, plan, cache, records, Patience(attempts=1))
    next(running)
    running.close()
    kept = cache.part(remote).stat().st_size
    assert 0 < kept <= 60_000
    assert records.state(FILE) == "unpinned"
    assert acquire.plan(hub, spec(), FILE, cache, records, MACHINE).bytes_here == kept


def test_every_model_of_the_catalogue_has_a_plan_or_needs_the_hub(
    cache: HubCache, records: Records
) -> None:
    for model in catalog.load().models:
        for file in model.files:
            try:
                plan = acquire.plan(None, model, file, cache, records, MACHINE)
            except HubUnreachable:
                assert None in (file.revision, file.sha256, file.size_bytes)
            else:
                assert plan.bytes_total
