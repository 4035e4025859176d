"""What the app asks a hub before it fetches: the real doors, over real sockets."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import PATH, REPOSITORY, Loopback

from ondevice import catalog
from ondevice.acquire import PullPlan
from ondevice.chat import Chat
from ondevice.cli import app
from ondevice.domain.generation import LoadOptions
from ondevice.domain.memory import MachineMemory
from ondevice.domain.model import ModelFile
from ondevice.gguf.shapes import write_shape
from ondevice.hardware import probe, system
from ondevice.hardware.sampler import read_process
from ondevice.paths import Paths, user_paths

ENTRY = f"""
[[model]]
name = 'small-model'
family = 'mine'
title = 'Small Model'
use = 'chat'
parameters = 1_000_000
context = 512
licence = 'MIT'

[[model.files]]
engine = 'llama.cpp'
quantization = 'Q4_0'
repository = '{REPOSITORY}'
path = '{PATH}'
"""

MACHINE = MachineMemory(16 << 30, 11 << 30)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("ONDEVICE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Loopback()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    yield server
    server.close()


@pytest.fixture
def paths(hub: Loopback) -> Paths:
    found = user_paths()
    found.config.mkdir(parents=True)
    found.user_catalogue.write_text(ENTRY)
    return found


def row(paths: Paths) -> PullPlan:
    """The model as the table has it before anybody is asked."""
    rows = app._shelf(catalog.load(paths.user_catalogue), paths, LoadOptions(), MACHINE)
    return next(each for each in rows if each.spec.name == "small-model")


def judge(plan: PullPlan, paths: Paths, options: LoadOptions | None = None) -> PullPlan:
    return app._judge(plan, paths, lambda: options or LoadOptions(), lambda: MACHINE)


def test_a_model_without_a_shape_is_judged_by_the_header_of_its_file(
    hub: Loopback, paths: Paths, tmp_path: Path
) -> None:
    write_shape("tiny-llama", "Q4_0", tmp_path / "tiny.gguf")
    content = (tmp_path / "tiny.gguf").read_bytes()
    hub.offer(content)
    plan = row(paths)
    assert (plan.verdict, plan.bytes_total) == (None, None)
    judged = judge(plan, paths, LoadOptions(n_ctx=256, kv_type="q8_0"))
    assert judged.verdict is not None
    assert (judged.verdict.kind, judged.verdict.estimate.n_ctx) == ("well", 256)
    assert judged.verdict.estimate.kv_type == "q8_0"
    assert judged.bytes_total == len(content)


def test_why_it_cannot_be_judged_is_said(hub: Loopback, paths: Paths) -> None:
    assert "has no" in (judge(row(paths), paths).problem or "")
    hub.offer(b"no model at all")
    judged = judge(row(paths), paths)
    assert (judged.fits, judged.verdict) == (False, None)
    assert "not GGUF" in (judged.problem or "")


def test_a_bug_does_not_look_like_waiting(hub: Loopback, paths: Paths) -> None:
    plan = row(paths)

    def broken() -> MachineMemory:
        raise ZeroDivisionError("what people write")

    problem = app._judge(plan, paths, LoadOptions, broken).problem or ""
    assert problem.startswith("a bug of ondevice ended it: ZeroDivisionError in test_app_models.py")
    assert (paths.cache / "bug.txt").exists()


def test_a_proxy_of_socks_is_named(
    hub: Loopback, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("socksio"):
        pytest.skip("SOCKS works here")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    problem = judge(row(paths), paths).problem
    assert problem == "a SOCKS proxy takes a package that is not installed"


def test_offline_nobody_is_asked(
    hub: Loopback, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in (judge(row(paths), paths).problem or "")
    assert hub.requests == []


@pytest.mark.skipif(not system.is_linux(), reason="only Linux tells what a process holds alone")
def test_a_model_is_judged_as_if_the_one_of_now_were_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading another one ends its engine first."""
    monkeypatch.setattr(probe, "machine_memory", lambda: MACHINE)
    write_shape("tiny-llama", "Q4_0", tmp_path / "tiny.gguf")
    chat = Chat(None)
    assert app._memory_for_another(chat) == MACHINE
    info = chat.load(ModelFile(tmp_path / "tiny.gguf", "llama.cpp", "tiny"), LoadOptions(n_ctx=64))
    held = read_process(info.pid, ())
    there = app._memory_for_another(chat)
    chat.close()
    assert held is not None
    assert held.private_bytes
    assert there.available_bytes - MACHINE.available_bytes == pytest.approx(
        held.private_bytes, rel=0.1
    )
    assert app._memory_for_another(chat) == MACHINE
