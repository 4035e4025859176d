"""`ondevice perplexity`, as a person or a script runs it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pexpect
import pytest
from command import PATIENCE_S, SCRIPT, Cli, StartCli, assert_ctrl_c_ends, assert_ended, child_of
from judging import LOADED, ON_THE_CPU, codes, document

QUICK = ("--window", "32", "-n", "40")


class TestPerplexity:
    def test_one_document_holds_every_number(
        self, cli: Cli, starter_path: Path, onnx_path: Path
    ) -> None:
        made = document(cli, "perplexity", onnx_path, "-r", starter_path, *QUICK)
        assert (made["window"], made["stride"], made["text"]["source"]) == (32, 16, "our own")
        assert len(made["text"]["sha256"]) == 64
        first, second = made["models"]
        assert (first["path"], second["path"]) == (str(starter_path), str(onnx_path))
        assert (first["engine"], second["engine"]) == ("llama.cpp", "onnx")
        assert first["quantization"] == "Q4_1"
        assert first | ON_THE_CPU | LOADED == first
        assert second | ON_THE_CPU == second
        assert second["kv_type"] is None  # the folder's own
        assert first["build"].startswith("llama-cpp-python ")
        assert (first["n_ctx"], first["threads"] > 0) == (256, True)
        assert first["tokens"] == second["tokens"] == 39
        assert first["divergence"] is None
        assert first["perplexity"]["standard_error"] > 0
        apart = second["divergence"]
        assert set(apart) == {"mean", "median", "largest", "agreement", "ratio"}
        assert 0 < apart["mean"]["value"] < 0.1

    def test_the_table_says_the_same(self, cli: Cli, starter_path: Path) -> None:
        outcome = cli("perplexity", starter_path, "-r", starter_path, *QUICK)
        assert outcome.code == 0
        head, first, second = outcome.out.splitlines()
        assert head.split() == [
            *("MODEL", "QUANT", "ENGINE", "PREDICTED", "PERPLEXITY", "KL", "SAME", "FIRST", "RATIO")
        ]
        assert "reference" in first
        assert "  llama.cpp CPU  " in first
        assert second.split()[-4:] == ["0", "100", "%", "1"]
        assert "7.3 MB of logits are kept on the disk until this ends" in outcome.err
        assert "39 of 39 tokens" in outcome.err

    @pytest.mark.usefixtures("all_on_a_gpu")
    @pytest.mark.parametrize(
        ("given", "told"), [((), ["gpu_missing"]), (("--gpu-layers", "0"), [])], ids=str
    )
    def test_the_layers_on_a_gpu_are_those_of_the_settings_or_the_option(
        self, cli: Cli, starter_path: Path, given: tuple[str, ...], told: list[str]
    ) -> None:
        made = document(cli, "perplexity", starter_path, *QUICK, *given)
        assert codes(made["models"][0]) == told

    def test_a_text_comes_from_a_file_or_a_pipe(
        self, cli: Cli, starter_path: Path, tmp_path: Path
    ) -> None:
        text = "Rivers run to the sea, and the sea is never full."
        (tmp_path / "text.txt").write_text(text)
        filed = document(cli, "perplexity", starter_path, "-f", tmp_path / "text.txt")
        piped = document(cli, "perplexity", starter_path, "-f", "-", piped=text.encode())
        assert filed["models"][0]["perplexity"] == piped["models"][0]["perplexity"]
        assert filed["text"]["sha256"] == piped["text"]["sha256"]
        assert piped["text"]["source"] == "-"

    def test_another_vocabulary_is_one_line(
        self, cli: Cli, starter_path: Path, gemma_path: Path
    ) -> None:
        outcome = cli("perplexity", gemma_path, "-r", starter_path, *QUICK)
        assert (outcome.code, outcome.out) == (3, "")
        message, hint = outcome.err.splitlines()[-2:]
        assert "different vocabularies" in message
        assert hint == "  Probabilities of tokens compare only between forms of one model."

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            pytest.param((), 2, "Missing argument", id="no model"),
            pytest.param(("nobody",), 3, "nobody", id="no such model"),
            pytest.param(
                ("smollm2-135m-instruct", "--stride", "512"), 2, "a stride of 512", id="stride"
            ),
            pytest.param(
                ("smollm2-135m-instruct", "-f", "/nowhere"), 2, "cannot be read", id="no text"
            ),
            pytest.param(
                ("smollm2-135m-instruct", "-f", "/dev/zero"), 2, "over 2 MB", id="too long"
            ),
            pytest.param(("smollm2-135m-instruct", "--window", "8"), 2, "--window", id="window"),
            pytest.param(("smollm2-135m-instruct", "-n", "1"), 2, "too short", id="one token"),
            pytest.param(
                ("smollm2-135m-instruct", "--gpu-layers", "some"), 2, "'some'", id="layers"
            ),
        ],
    )
    def test_bad_input_is_one_line(
        self, cli: Cli, arguments: tuple[str, ...], code: int, said: str
    ) -> None:
        outcome = cli("perplexity", *arguments)
        assert (outcome.code, outcome.out) == (code, "")
        assert said in outcome.err.splitlines()[0]
        assert len(outcome.err.splitlines()) == 2

    def test_a_text_that_is_none_is_refused(self, cli: Cli, starter_path: Path) -> None:
        outcome = cli("perplexity", starter_path, "-f", "-", piped=b"\xff\xfe\x00")
        assert outcome.code == 2
        assert "stdin is no text in UTF-8" in outcome.err

    def test_ctrl_c_in_a_terminal_ends_it(
        self, environment: dict[str, str], starter_path: Path
    ) -> None:
        arguments = ["perplexity", str(starter_path), "-r", str(starter_path)]
        command = pexpect.spawn(str(SCRIPT), arguments, env=environment, timeout=PATIENCE_S)
        command.expect(r"\d+ of [\d,]+ tokens")
        assert_ctrl_c_ends(command)

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next run removes it")
    @pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
    def test_a_kill_leaves_no_logits_and_no_engine(
        self, start_cli: StartCli, starter_path: Path, home: Path, name: str
    ) -> None:
        process = start_cli("perplexity", starter_path, "-r", starter_path)
        assert process.stderr is not None
        assert b"of logits are kept" in process.stderr.readline()
        child = child_of(process)
        process.send_signal(signal.Signals[name])
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == -signal.Signals[name]
        assert_ended(child)
        assert list((home / "cache" / "logits").iterdir()) == []
