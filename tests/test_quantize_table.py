"""The table of scripts/quantize.sh on small real files, and the room it asks for beforehand."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from splitting import split_gguf
from tiny import TINY

from ondevice.gguf.header import read_header
from ondevice.gguf.shapes import write_shape

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
GB = 10**9
RATE = r"\d+\.\d \(\d+\.\d to \d+\.\d\)"
NUMBER = r"[\d.,e+-]+(?: ± [\d.,e+-]+)?"


def script(name: str, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / name), *map(str, arguments)]
    changed = os.environ | env
    return subprocess.run(command, capture_output=True, text=True, env=changed, check=False)


@dataclass(frozen=True)
class Told:
    """What the table's script said."""

    code: int
    rows: dict[str, str]
    """By the name of the file."""
    entries: list[dict[str, object]]
    err: str


def measured(home: Path, source: Path, *results: Path) -> Told:
    done = script("quantize_table.py", source, *results, ONDEVICE_HOME=str(home))
    table, _, entries = done.stdout.partition("\n\n")
    _, *rows = table.splitlines()
    return Told(
        done.returncode,
        {row.split()[0]: row for row in rows},
        tomllib.loads(entries)["model"]["files"],
        done.stderr,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source in two parts and a result of it; settings that would make it slow."""
    folder = tmp_path_factory.mktemp("table")
    for kind in ("Q8_0", "Q4_0"):
        write_shape(TINY, kind, folder / f"tiny-{kind}.gguf")
    split_gguf(folder / "tiny-Q8_0.gguf", folder, "split")
    settings = folder / "home" / "config" / "settings.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("threads = 3\nkv_type = 'q8_0'\ngpu_layers = 'all'\n")
    return folder


@pytest.fixture(scope="module")
def told(folder: Path) -> Told:
    source, result = folder / "split-00001-of-00002.gguf", folder / "tiny-Q4_0.gguf"
    return measured(folder / "home", source, result)


def test_a_row_has_size_quality_and_speed_with_their_spread(folder: Path, told: Told) -> None:
    source, result = told.rows
    assert (source, result) == ("split-00001-of-00002.gguf", "tiny-Q4_0.gguf")
    assert re.search(rf" {NUMBER} +source +{RATE} +{RATE}$", told.rows[source])
    assert re.search(rf" {NUMBER} +{NUMBER} +{RATE} +{RATE}$", told.rows[result])
    assert told.code == 0


def test_bits_are_those_of_all_parts_over_the_parameters_of_all(folder: Path, told: Told) -> None:
    parameters = read_header(folder / "tiny-Q8_0.gguf").tensors.parameters
    parts = sum(each.stat().st_size for each in folder.glob("split-*"))
    whole = (folder / "tiny-Q4_0.gguf").stat().st_size
    for row, size in zip(told.rows.values(), (parts, whole), strict=True):
        assert f" {size:,} {8 * size / parameters:>11.2f} " in row


def test_every_command_is_shown_and_no_setting_changes_it(told: Told) -> None:
    shown = [line.strip() for line in told.err.splitlines() if line.startswith("   ondevice ")]
    assert [line.split()[1] for line in shown] == ["perplexity", "run", "run"]
    for line in shown[1:]:
        assert "--kv-type f16 --flash-attention off --gpu-layers 0 --threads " in line
        assert line.endswith("# 4 times")


def test_the_entry_of_a_result_names_its_very_bytes(folder: Path, told: Told) -> None:
    data = (folder / "tiny-Q4_0.gguf").read_bytes()
    (entry,) = told.entries
    assert entry["quantization"] == "Q4_0"
    assert entry["size_bytes"] == len(data)
    assert entry["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_result_that_is_refused_costs_its_own_row_only(folder: Path) -> None:
    broken = folder / "broken-Q4_0.gguf"
    broken.write_bytes((folder / "tiny-Q4_0.gguf").read_bytes()[:20_000])
    told = measured(folder / "home", folder / "tiny-Q8_0.gguf", broken, folder / "tiny-Q4_0.gguf")
    assert told.code == 1
    assert told.err.splitlines()[-1] == "quantize: not all could be measured, see above"
    assert told.rows[broken.name].split()[-4:] == ["failed"] * 4
    assert re.search(rf" {NUMBER} +source +{RATE} +{RATE}$", told.rows["tiny-Q8_0.gguf"])
    assert re.search(rf" {NUMBER} +{NUMBER} +{RATE} +{RATE}$", told.rows["tiny-Q4_0.gguf"])
    assert [entry["path"] for entry in told.entries] == [broken.name, "tiny-Q4_0.gguf"]
    assert told.entries[0]["size_bytes"] == 20_000


# The room


def room(source: Path, *kinds: str) -> int:
    done = script("quantize.py", "room", source, *kinds)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.fixture
def seven_billion(tmp_path: Path) -> Path:
    """A Hugging Face folder in float16, by its headers: 14 GB."""
    shapes = {"model.embed_tokens.weight": [32_000, 4096], "rest": [1_677_000, 4096]}
    header = {"__metadata__": {"format": "pt"}}
    header |= {name: {"dtype": "F16", "shape": shape} for name, shape in shapes.items()}
    data = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(data)) + data)
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 32_000, "hidden_size": 4096}))
    return tmp_path


@pytest.mark.parametrize(
    ("kinds", "gigabytes"),
    [
        pytest.param([], 14, id="the table alone"),
        pytest.param(["Q4_0"], 14 + 7.7, id="one type"),
        pytest.param(["Q4_0", "Q8_0"], 14 + 15.4, id="two types"),
        pytest.param(["onnx-int4"], 14 + 7 + 0.5, id="ONNX needs no float32"),
    ],
)
def test_a_folder_takes_one_copy_in_float16_and_its_results(
    kinds: list[str], gigabytes: float, seven_billion: Path
) -> None:
    assert room(seven_billion, *kinds) == pytest.approx(gigabytes * GB, rel=0.02)


def test_a_gguf_file_takes_its_results_and_float32_only_for_onnx(tmp_path: Path) -> None:
    path = tmp_path / "tiny-F16.gguf"
    write_shape(TINY, "F16", path)
    parameters = read_header(path).tensors.parameters
    small = room(path, "Q4_0") - parameters * 11 // 10
    assert room(path) == 0
    assert room(path, "Q8_0") == small + parameters * 11 // 10
    embedding = TINY.vocab * TINY.n_embd
    assert room(path, "onnx-int4") == small + 5 * parameters + 4 * embedding
    first, *_ = split_gguf(path, tmp_path)
    assert room(first, "Q4_0") == room(path, "Q4_0")


def test_what_is_made_takes_no_more_than_was_asked_for(tmp_path: Path) -> None:
    source, made = tmp_path / "tiny-F16.gguf", tmp_path / "made.gguf"
    write_shape(TINY, "F16", source)
    assert script("quantize.py", "gguf", source, made, "Q8_0").returncode == 0
    assert made.stat().st_size <= room(source, "Q8_0")


@pytest.mark.parametrize("damage", ["model.safetensors", "config.json", "a GGUF file"])
def test_what_is_no_model_is_one_line(damage: str, seven_billion: Path) -> None:
    source = seven_billion
    if damage == "a GGUF file":
        source = seven_billion / "x.gguf"
        shutil.copy(__file__, source)
    else:
        (source / damage).write_text("{")
    done = script("quantize.py", "room", source, "Q4_0")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"quantize: {source}")
