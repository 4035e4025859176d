"""How long a parent waits: longer for what takes longer on a machine that works."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from driving import echo_file, say

from ondevice import errors
from ondevice.domain.generation import LoadOptions, Prompt
from ondevice.engines.process import Deadlines, EngineProcess

GB = 1 << 30


def test_a_long_prompt_gets_more_time_than_a_short_one() -> None:
    deadlines = Deadlines(prompt_s=1.0)
    assert deadlines.for_prompt(Prompt.chat("hello")) == pytest.approx(1.0, abs=0.01)
    assert deadlines.for_prompt(Prompt(text="x" * 2_000_000)) == pytest.approx(11.0)


@pytest.mark.parametrize(
    ("size_bytes", "seconds"), [(0, 120), (GB, 120), (int(2.5 * GB), 300), (8 * GB, 960)]
)
def test_a_large_model_gets_more_time_for_a_batch(size_bytes: int, seconds: float) -> None:
    assert Deadlines().for_batch(size_bytes) == pytest.approx(seconds)


def test_a_model_is_as_large_as_all_of_its_parts(tmp_path: Path) -> None:
    file = echo_file(tmp_path / "x-00001-of-00002.gguf", prefill_delay_s=600.0)
    with (tmp_path / "x-00002-of-00002.gguf").open("wb") as part:
        part.truncate(3 * GB)  # of which the disk keeps nothing
    with closing(EngineProcess("echo", Deadlines(prefill_s=0.1))) as engine:
        engine.load(file, LoadOptions(n_ctx=256))
        with pytest.raises(errors.EngineTimedOut, match=r"did not read the prompt within 0\.3 s"):
            say(engine)
