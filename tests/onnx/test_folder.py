"""What the library would open beside the config is checked before it does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from onnx_folder import move_weights, write_tiny

from ondevice.errors import NotAModelFile, UnsupportedModel
from ondevice.onnx.folder import read_folder

SMALL = """
import os, resource, sys
from pathlib import Path
from ondevice.errors import NotAModelFile
from ondevice.onnx.folder import read_folder
folder = Path(sys.argv[1])
os.truncate(folder / "model.onnx", 2 << 30)
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
try:
    read_folder(folder)
except NotAModelFile as error:
    print(error.message)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "model")


def move_down(folder: Path, location: str) -> None:
    """The graph into a folder below, with its weights in `location`."""
    (folder / "sub").mkdir()
    move_weights((folder / "model.onnx").rename(folder / "sub" / "model.onnx"), location)
    config = (folder / "genai_config.json").read_text()
    (folder / "genai_config.json").write_text(config.replace("model.onnx", "sub/model.onnx"))


def test_weights_stand_beside_a_graph_below(folder: Path) -> None:
    move_down(folder, "weights")
    data = (folder / "model.onnx.data").rename(folder / "sub" / "weights")
    found = read_folder(folder)
    assert (found.graph, found.weights) == (folder / "sub" / "model.onnx", (data,))


def test_an_absolute_name_is_refused_for_a_graph_below_too(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    decoy = folder / "sub" / elsewhere.relative_to("/")
    move_down(folder, str(elsewhere))
    decoy.parent.mkdir(parents=True)
    (folder / "model.onnx.data").rename(decoy)
    with pytest.raises(NotAModelFile, match="names a file outside its folder: /"):
        read_folder(folder)


@pytest.mark.parametrize("name", ["tokenizer_module.json", "chat_template.json"])
def test_every_file_that_the_library_looks_for_is_inside(folder: Path, name: str) -> None:
    (folder / name).symlink_to("/etc/passwd")
    with pytest.raises(NotAModelFile, match=f"{name} is a link that leads out"):
        read_folder(folder)


@pytest.mark.parametrize("name", ["tokenizer_module.json", "tokenizer_config.json"])
def test_a_tokenizer_that_names_another_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text(json.dumps({"tiktoken_file": "../../secret"}))
    with pytest.raises(UnsupportedModel, match=f"^{name}: tiktoken_file is not supported"):
        read_folder(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="only there a limit of memory holds for maps")
def test_a_graph_that_memory_has_no_room_for_is_named(folder: Path) -> None:
    command = [sys.executable, "-c", SMALL, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "model.onnx cannot be read: Cannot allocate memory\n"
