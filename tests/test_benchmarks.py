"""What the benchmarks' figures rest on: pairs in a known order, and no interval of one pair."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def common() -> Iterator[ModuleType]:
    yield module("common")
    del sys.modules["common"]


def test_one_or_two_pairs_have_no_interval(
    common: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    for count in (1, 2, 3):
        common.report("x", [(2.0, 1.0)] * count, None, "s")
    one, two, three = capsys.readouterr().out.splitlines()
    assert "[" not in one + two
    assert "ratio 2.000 [2.000, 2.000] n=3" in three


def test_pairs_change_their_order_unless_the_second_needs_the_first(common: ModuleType) -> None:
    order: list[str] = []

    def arm(name: str) -> float:
        order.append(name)
        return 1.0

    common.pairs(lambda: arm("a"), lambda: arm("b"), 2)
    assert "".join(order) == "ababba"
    order.clear()
    common.pairs(lambda: arm("a"), lambda: arm("b"), 2, warm_up=False, alternate=False)
    assert "".join(order) == "abab"


def test_run_makes_as_many_tokens_as_the_app_in_every_pair(
    common: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = module("app")
    lengths = iter([40, 50, 60, 70])
    made: list[int] = []
    asked: list[int] = []

    def answer_in_app(_home: Path) -> tuple[float, int]:
        made.append(next(lengths))
        return 10.0, made[-1]

    def ondevice_run(_model: Path, _prompt: str, *options: str) -> dict[str, dict[str, float]]:
        asked.append(int(options[options.index("-n") + 1]))
        return {"timings": {"decode_tok_per_s": 10.0}}

    monkeypatch.setattr(app, "answer_in_app", answer_in_app)
    monkeypatch.setattr(app, "ondevice_run", ondevice_run)
    monkeypatch.setattr(app, "starter", lambda: Path("starter.gguf"))
    app.decode_in_app(3)
    assert asked == made == [40, 50, 60, 70]
    assert "tokens of an answer: 40 to 70" in capsys.readouterr().out
    del sys.modules["app"]


def test_a_restored_conversation_says_what_it_would_have_said(
    common: ModuleType, starter_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    restore = module("restore")
    restore.LENGTH, restore.TURNS = 8, 2
    going_on, anew = restore.continuations(starter_path, False, 2)
    assert going_on.same == 2
    assert max(anew.gaps, default=0.0) < restore.GAP_BAR
    assert "as an engine that went on: 2 of 2: holds" in capsys.readouterr().out
    assert restore.first_token(starter_path, 1) > 0
    restored, bar, anew = capsys.readouterr().out.splitlines()[1:]
    assert "TTFT restored / warm" in restored
    assert "bar 1.3" in bar
    assert "TTFT read anew / warm" in anew
    del sys.modules["restore"]
