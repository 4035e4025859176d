"""What the library does in the child: silent, stopped where it is, going back, and read rightly."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from driving import done_of
from known_logits import ENDOFTEXT, IM_END, token, write_known
from onnx_folder import Shape, write_tiny

from ondevice.domain.generation import GREEDY, GenerationRequest, LoadOptions, Prompt
from ondevice.domain.model import ModelFile
from ondevice.engines.child import mark_of
from ondevice.engines.process import EngineProcess
from ondevice.hardware import system
from ondevice.hardware.sampler import read_process

LOADS = """
import os
os.environ["ORT_DISABLE_TELEMETRY"] = "0"
from ondevice.engines.onnx import binding
binding.load()
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""


def test_telemetry_is_off_whatever_the_surroundings_say() -> None:
    done = subprocess.run([sys.executable, "-c", LOADS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_a_folder_changes_with_any_of_its_files(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model")
    before = mark_of(folder)
    assert before[2] == sum(each.stat().st_size for each in folder.iterdir())
    data = folder / "model.onnx.data"
    data.write_bytes(data.read_bytes()[:-1])
    assert mark_of(folder) != before
    before = mark_of(folder)
    below = folder / "sub" / "weights"
    below.parent.mkdir()
    below.write_bytes(b"1234")
    assert mark_of(folder)[2] == before[2] + 4
    before = mark_of(folder)
    (folder / "link").symlink_to("nowhere")
    assert mark_of(folder)[2:] == before[2:]
    assert mark_of(folder / "gone")[1:] == (0, 0, 0)


STEPS = """
import json, sys
from pathlib import Path
from ondevice.domain.generation import LoadOptions
from ondevice.domain.model import ModelFile
from ondevice.engines.onnx import binding, loading
file = ModelFile(Path(sys.argv[1]), "onnx", "model")
context = loading.open_folder(binding.load(), file, LoadOptions(n_ctx=256)).context
ids = [number % 200 + 5 for number in range(100)]

def row():
    return [round(float(each), 4) for each in context.logits()]

found = {}
assert context.evaluate(ids)
found["whole"] = row()
assert context.rewind(40) == 40 == context.evaluated
assert context.evaluate(ids[40:])
found["cut back"] = row()
context.stop()
found["stopped"] = context.evaluate([5])
context.let_go()
found["held"] = context.evaluated
assert context.rewind(99) == 99
assert context.evaluate(ids[99:])
found["after a stop"] = row()
context.close()
print(json.dumps(found), flush=True)
import os; os._exit(0)
"""


def test_going_back_and_stopping_leave_the_state_right(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", Shape(n_layers=2))
    done = subprocess.run(
        [sys.executable, "-c", STEPS, str(folder)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["cut back"] == found["whole"] == found["after a stop"]
    assert (found["stopped"], found["held"]) == (False, 100)
    assert len(found["whole"]) == 259


def test_a_prompt_that_ends_with_the_pad_token_is_read_to_its_end(tmp_path: Path) -> None:
    """Which is the end token, in the configs that the library's builder writes."""
    rows = {token("z"): {token("a"): 5}, IM_END: {token("b"): 5}}
    engine = EngineProcess("onnx")
    folder = write_known(tmp_path / "model", rows, (IM_END,))
    engine.load(ModelFile(folder, "onnx", "known"), LoadOptions(n_ctx=512))
    prompt = Prompt(tokens=(token("z"), IM_END))
    events = list(engine.generate(GenerationRequest(prompt, GREEDY, max_tokens=1)))
    assert done_of(events).ids == (token("b"),)
    engine.close()


def test_of_several_end_tokens_the_one_that_was_taken_is_told(tmp_path: Path) -> None:
    first, second = ENDOFTEXT, IM_END
    folder = write_known(tmp_path / "model", {token("z"): {first: 2, second: 5}}, (first, second))
    engine = EngineProcess("onnx")
    engine.load(ModelFile(folder, "onnx", "known"), LoadOptions(n_ctx=512))
    events = list(engine.generate(GenerationRequest(Prompt(text="z"), GREEDY)))
    assert (done_of(events).ids, done_of(events).finish_reason) == ((second,), "stop")
    engine.close()


def private_bytes(folder: Path, repack: bool | None = None) -> int:
    """Of the process that has loaded it."""
    with closing(EngineProcess("onnx")) as engine:
        options = LoadOptions(n_ctx=64, threads=1, repack=repack)
        info = engine.load(ModelFile(folder, "onnx", "the model"), options)
        assert info.repacked == (repack is not False)
        memory = read_process(info.pid, info.model_paths)
    assert memory is not None
    assert memory.private_bytes is not None
    return memory.private_bytes


@pytest.mark.skipif(not system.is_linux(), reason="only Linux tells the two kinds apart")
def test_a_folder_has_no_say_in_repacking(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", Shape(width=1024, n_ff=4096))  # 50 MB of matrices
    path = folder / "genai_config.json"
    document = json.loads(path.read_text())
    usual, forbidden = private_bytes(folder), private_bytes(folder, repack=False)
    document["model"]["decoder"]["session_options"]["session.disable_prepacking"] = "1"
    path.write_text(json.dumps(document))
    assert usual - forbidden > 40 << 20
    assert private_bytes(folder) - forbidden > 40 << 20
