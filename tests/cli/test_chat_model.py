"""The model of a line-mode chat: what another one is loaded with, and what costs are against."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from adapters import write_adapter
from command import Cli
from tiny import TINY

from ondevice.cli.exits import Exit
from ondevice.gguf.shapes import write_shape

GREEDY = ("chat", "-t", "0", "-n", "6", "-c", "512")
STORY = "Once there was a river that ran to the sea. "


@pytest.fixture
def style(tmp_path: Path) -> Path:
    """An adapter for the starter, strong enough to be heard."""
    draw = np.random.default_rng(5)
    down, up = draw.normal(0, 0.2, (4, 576)), draw.normal(0, 0.2, (576, 4))
    return write_adapter(tmp_path / "style.gguf", down, up, tensor="blk.3.attn_q.weight")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    write_shape(TINY, "F16", path)
    return path


def ready(err: str) -> list[str]:
    """What was said of each model that answers."""
    return [line for line in err.splitlines() if "answers on this machine" in line]


class TestAnAdapter:
    def test_is_of_the_model_it_was_named_for_also_where_it_would_fit_another(
        self, cli: Cli, starter_path: Path, style: Path, tmp_path: Path
    ) -> None:
        twin = Path(shutil.copy(starter_path, tmp_path / "twin.gguf"))
        plain = cli(*GREEDY, "-m", twin, piped=b"Tell me about rivers.\n").out
        lines = (
            f"Tell me about rivers.\n/model\n/new\n/model {twin}\n/model\nTell me about rivers.\n"
        )
        outcome = cli(*GREEDY, "-m", starter_path, "--lora", f"{style}:4", piped=lines.encode())
        styled, after = outcome.out.splitlines()
        assert f"{after}\n" == plain
        assert styled != after
        first, second = ready(outcome.err)
        assert " + style answers on this machine" in first
        assert " + " not in second
        told = [line for line in outcome.err.splitlines() if line.startswith("Model: ")]
        assert [line.endswith(" + style") for line in told] == [True, False]

    def test_keeps_nobody_from_a_model_that_it_does_not_fit(
        self, cli: Cli, starter_path: Path, style: Path, tiny: Path
    ) -> None:
        lines = f"/model {tiny}\nHello\n".encode()
        outcome = cli(*GREEDY, "-m", starter_path, "--lora", style, piped=lines)
        assert (outcome.code, "Error: " in outcome.err) == (0, False)
        assert len(ready(outcome.err)) == 2

    def test_stays_with_its_model_when_that_is_loaded_again(
        self, cli: Cli, starter_path: Path, style: Path
    ) -> None:
        lines = f"/model {starter_path}\n".encode()
        outcome = cli(*GREEDY, "-m", starter_path, "--lora", style, piped=lines)
        assert [" + style " in line for line in ready(outcome.err)] == [True, True]


def test_a_context_that_was_raised_is_of_the_model_it_was_raised_for(cli: Cli, tiny: Path) -> None:
    lines = f"{STORY * 40}\n/room raise\n/model {tiny}\n".encode()
    outcome = cli("chat", "-n", "4", "-c", "256", piped=lines)
    sizes = [int(line.split()[-2]) for line in ready(outcome.err)]
    assert sizes[1] > sizes[0] == sizes[2] == 256


class TestTheBaseline:
    def test_holds_from_the_next_answer_on_also_for_another_model(
        self, cli: Cli, starter_path: Path, tmp_path: Path
    ) -> None:
        twin = Path(shutil.copy(starter_path, tmp_path / "twin.gguf"))
        lines = f"Hello\n/baseline gpt-4-turbo\nHello\n/model {twin}\nHello\n/baseline\n"
        outcome = cli(*GREEDY, piped=lines.encode())
        assert outcome.code == 0
        told = outcome.err.splitlines()
        compared = [line.rpartition(" vs ")[2] for line in told if line.startswith("Numbers: ")]
        assert compared == ["Ministral 3 3B", "GPT-4 Turbo (2024)", "GPT-4 Turbo (2024)"]
        assert sum("are compared with GPT-4 Turbo (2024), at" in line for line in told) == 2
        assert "gpt-4-turbo: GPT-4 Turbo, historical, 2024" in told
        baselines = {row["baseline"] for row in json.loads(cli("costs", "--json").out)["baselines"]}
        assert baselines == {"ministral-3b", "gpt-4-turbo"}

    def test_that_nobody_knows_leaves_the_one_before(self, cli: Cli) -> None:
        outcome = cli(*GREEDY, piped=b"/baseline gpt-4-trubo\nHello\n")
        assert outcome.code == Exit.USAGE
        assert "Error: No baseline is called 'gpt-4-trubo'" in outcome.err
        assert "gpt-4-turbo" in outcome.err
        assert " vs Ministral 3 3B" in outcome.err

    def test_is_none_where_no_model_answers(self, cli: Cli, tiny: Path) -> None:
        outcome = cli(*GREEDY, "-m", tiny, piped=b"/baseline\n")
        assert outcome.code == 0
        assert "Nothing is compared" in outcome.err
