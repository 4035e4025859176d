"""`ondevice run` on a real model: the answer, every number of it, and nothing else on stdout."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pexpect
import psutil
import pytest
from command import PATIENCE_S, SCRIPT, Cli, StartCli, assert_ctrl_c_ends, assert_ended, child_of
from echoing import echo

from ondevice.cli.exits import Exit
from ondevice.cli.run import _request, _show
from ondevice.domain.generation import GenerationRequest, Prompt
from ondevice.domain.model import ModelFile
from ondevice.measure import measure
from ondevice.settings import Settings

KEYS = {
    "text": str,
    "model": str,
    "engine": str,
    "backend": str,
    "devices": list,
    "finish_reason": str,
    "usage": {"prompt_tokens": int, "cached_tokens": int, "completion_tokens": int},
    "timings": {
        "load_s": float,
        "ttft_s": float,
        "prefill_s": float,
        "decode_s": float,
        "prefill_tok_per_s": float,
        "decode_tok_per_s": float,
    },
    "memory": {"peak_private_bytes": int, "model_pages_bytes": int},
    "cost_avoided": {
        "baseline": str,
        "usd": str,
        "price_date": str,
        "electricity_usd": type(None),
        "net_usd": str,
    },
    "threads": int,
    "n_ctx": int,
    "flash_attention": bool,
    "repacked": bool,
    "mapped": bool,
    "lora": list,
    "notices": list,
}
FRANCE = "The capital of France is"
ENDLESS = ("run", "--raw", "--ignore-eos", "-n", "100000", "-t", "0", FRANCE)


def kinds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    return type(value)


def answered(cli: Cli, *arguments: str | Path, **how: Any) -> dict[str, Any]:
    """The document of one run that went well."""
    outcome = cli("run", "--json", "-c", "512", *arguments, **how)
    assert (outcome.code, outcome.err) == (0, "")
    document: dict[str, Any] = json.loads(outcome.out)
    return document


def codes(document: dict[str, Any]) -> list[str]:
    return [notice["code"] for notice in document["notices"]]


def test_one_document_holds_every_number(cli: Cli, starter_path: Path) -> None:
    document = answered(cli, "-t", "0", "-n", "8", "--threads", "1", "Say hello.")
    assert list(document) == list(KEYS)
    assert kinds(document) == KEYS
    assert (document["engine"], document["backend"]) == ("llama.cpp", "cpu")
    assert (document["threads"], document["n_ctx"]) == (1, 512)
    chosen = [document[name] for name in ("flash_attention", "repacked", "mapped")]
    assert chosen == [False, False, True]  # Q4_1 has no faster form
    usage, timings = document["usage"], document["timings"]
    assert usage["completion_tokens"] <= 8
    assert usage["cached_tokens"] == 0
    decode, prefill = timings["decode_tok_per_s"], timings["prefill_tok_per_s"]
    assert decode * timings["decode_s"] == pytest.approx(usage["completion_tokens"] - 1)
    assert prefill * timings["prefill_s"] == pytest.approx(usage["prompt_tokens"])
    assert timings["ttft_s"] >= timings["prefill_s"]
    size = starter_path.stat().st_size
    assert 0.5 * size < document["memory"]["model_pages_bytes"] < 1.1 * size
    assert document["memory"]["peak_private_bytes"] > 10 << 20
    cost = document["cost_avoided"]
    assert Decimal(cost["usd"]) > 0
    assert set(cost["usd"]) <= set("0123456789.")  # also of less than a millionth
    assert cost["net_usd"] == cost["usd"]
    assert cost["price_date"].startswith("20")


def test_what_is_asked_of_attention_is_in_it(cli: Cli) -> None:
    document = answered(cli, "--raw", "--flash-attention", "on", "-n", "1", FRANCE)
    assert document["flash_attention"]


def test_what_was_not_done_as_asked_is_said_to_a_file_too(cli: Cli) -> None:
    """stderr is no terminal here; what is only good to know is not said."""
    asked = cli("run", "--raw", "-c", "256", "-n", "1", "--gpu-layers", "all", FRANCE)
    assert asked.err == "this build of llama.cpp has no GPU support: CPU only\n"
    assert cli("run", "--raw", "-c", "256", "-n", "1", "--kv-type", "q8_0", FRANCE).err == ""
    assert answered(cli, "-n", "1", "--gpu-layers", "all", FRANCE)["notices"]  # and nowhere else


def test_a_notice_waits_for_the_end_of_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal both are in one place, and it would be read as a part of the sentence."""
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    with echo(tmp_path, pieces=["one ", "two ", "three"], notice_at=1) as loaded:
        request = GenerationRequest(Prompt.chat("hi"))
        _show(measure(loaded.engine, loaded.info, request, None), loaded.info, False, True)
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["one two three", "something changed"]
    assert said[2].startswith("decode ")


def test_an_onnx_folder_gives_the_same_document(cli: Cli, onnx_path: Path) -> None:
    document = answered(cli, "-m", onnx_path, "-t", "0", "-n", "8", "--threads", "1", "Say hello.")
    unsaid = {"flash_attention": type(None), "mapped": type(None)}
    assert kinds(document) == KEYS | unsaid
    assert (document["engine"], document["backend"]) == ("onnx", "cpu")
    assert (document["threads"], document["n_ctx"]) == (1, 512)
    assert document["memory"]["model_pages_bytes"] > 10 << 20
    assert document["memory"]["peak_private_bytes"] > 10 << 20
    starter = answered(cli, "-t", "0", "-n", "8", "Say hello.")
    assert document["usage"]["prompt_tokens"] == starter["usage"]["prompt_tokens"]


def test_a_terminal_is_told_of_the_loading_until_the_answer_comes(
    environment: dict[str, str],
) -> None:
    arguments = ["run", "--raw", "-t", "0", "-n", "4", FRANCE]
    with pexpect.spawn(str(SCRIPT), arguments, env=environment, timeout=PATIENCE_S) as command:
        command.expect(r"loading smollm2-135m-instruct Q4_1 \.\.\.\r +\r")  # written over
        command.expect_exact("Paris")
        assert b"loading" not in command.before
        command.expect(pexpect.EOF)


def test_the_answer_alone_is_on_stdout(cli: Cli) -> None:
    outcome = cli("run", "--raw", "-t", "0", "-n", "4", FRANCE)
    assert (outcome.code, outcome.err) == (0, "")
    assert "Paris" in outcome.out
    assert outcome.out.endswith("\n")
    assert "\x1b" not in outcome.out


class TestThePrompt:
    def test_may_come_through_a_pipe(self, cli: Cli) -> None:
        outcome = cli("run", "--raw", "-t", "0", "-n", "4", piped=FRANCE.encode())
        assert (outcome.code, outcome.err) == (0, "")
        assert "Paris" in outcome.out

    def test_from_a_pipe_follows_the_one_in_the_arguments(self, cli: Cli) -> None:
        both = answered(cli, "--raw", "-t", "0", "-n", "2", "One", "two", piped=b"three")
        whole = answered(cli, "--raw", "-t", "0", "-n", "2", "One two\n\nthree")
        assert both["usage"] == whole["usage"]
        assert both["text"] == whole["text"]

    def test_from_a_pipe_that_does_not_end_is_waited_for_and_that_is_said(
        self, start_cli: StartCli
    ) -> None:
        """What comes late is of the prompt, too."""
        process = start_cli("run", "--raw", "-t", "0", "-n", "4", "Think.", stdin=subprocess.PIPE)
        assert process.stderr is not None
        assert select.select([process.stderr], [], [], PATIENCE_S)[0]
        assert b"waiting for the end of stdin" in process.stderr.readline()
        out, err = process.communicate(FRANCE.encode(), PATIENCE_S)
        assert (process.returncode, err) == (0, b"")
        assert b"Paris" in out

    def test_that_names_a_file_says_how_to_send_what_is_in_it(
        self, cli: Cli, tmp_path: Path
    ) -> None:
        notes = tmp_path / "notes.txt"
        notes.write_text("Lisbon in March.")
        outcome = cli("run", "--raw", "-n", "1", f"Read @{notes}, please; not @none or a@b.c")
        (told,) = outcome.err.splitlines()
        assert told.startswith(f"@{notes}"[:60])
        assert told.endswith("is sent as text; a pipe sends what is in it: ondevice run ... < FILE")

    def test_that_is_no_text_is_still_read(self, cli: Cli) -> None:
        document = answered(cli, "--raw", "-n", "1", piped=b"caf\xe9 \xff\xfe")
        assert document["usage"]["prompt_tokens"] > 0

    def test_gets_the_template_of_the_model_unless_it_is_raw(self, cli: Cli) -> None:
        raw = answered(cli, "--raw", "-n", "1", "Hello")
        assert raw["usage"]["prompt_tokens"] <= 2
        chat = answered(cli, "-n", "1", "--system", "Be brief.", "Hello")
        assert chat["usage"]["prompt_tokens"] > 10


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "shown"])
def test_text_is_asked_for_at_once_only_where_it_is_shown(as_json: bool) -> None:
    options: dict[str, Any] = defaultdict(lambda: None, as_json=as_json)
    request = _request("Hi", ModelFile(Path("x"), "llama.cpp", "x"), options, Settings())
    assert request.text_shown is not as_json


class TestTheAnswer:
    def test_that_is_cut_under_a_schema_is_told_as_no_json(self, cli: Cli, tmp_path: Path) -> None:
        schema = tmp_path / "schema.json"
        schema.write_text('{"type": "object", "properties": {"name": {"type": "string"}}}')
        outcome = cli("run", "--schema", schema, "-t", "0", "-n", "2", "Name a river.")
        assert outcome.code == Exit.ENGINE
        assert "the answer is not whole JSON: cut at the token limit" in outcome.err
        assert outcome.out.startswith("{")

    def test_is_no_longer_than_asked(self, cli: Cli) -> None:
        document = answered(cli, "--raw", "-t", "0", "-n", "3", "--ignore-eos", FRANCE)
        assert document["usage"]["completion_tokens"] == 3
        assert document["finish_reason"] == "length"

    def test_ends_at_a_stop_text_which_is_no_part_of_it(self, cli: Cli) -> None:
        whole = answered(cli, "--raw", "-t", "0", "-n", "8", "1, 2, 3, 4,")
        assert "6" in whole["text"]
        cut = answered(cli, "--raw", "-t", "0", "-n", "8", "--stop", "6", "1, 2, 3, 4,")
        assert cut["text"] == whole["text"].partition("6")[0]
        assert cut["finish_reason"] == "stop"

    def test_is_repeated_by_its_seed(self, cli: Cli) -> None:
        def text(seed: int) -> str:
            arguments = ("--raw", "-t", "2", "-n", "8", "--threads", "1", "--seed", str(seed))
            return str(answered(cli, *arguments, "Once")["text"])

        assert text(7) == text(7) != text(8)

    def test_of_one_token_has_no_rate(self, cli: Cli) -> None:
        document = answered(cli, "--raw", "-n", "1", FRANCE)
        assert document["timings"]["decode_tok_per_s"] is None


class TestWithElectricity:
    """So dear that it costs more than any cloud."""

    @pytest.fixture(autouse=True)
    def dear(self, home: Path) -> None:
        (home / "config").mkdir(parents=True)
        settings = "watts = 100000\ntariff_usd_per_kwh = 900\n"
        (home / "config" / "settings.toml").write_text(settings)

    def test_it_is_taken_off_what_was_avoided(self, cli: Cli) -> None:
        document = answered(cli, "--raw", "-t", "0", "-n", "4", FRANCE)
        cost, timings = document["cost_avoided"], document["timings"]
        electricity = Decimal(cost["electricity_usd"])
        assert float(electricity) == pytest.approx(
            (timings["ttft_s"] + timings["decode_s"]) * 100_000 * 900 / 3_600_000
        )
        assert Decimal(cost["net_usd"]) == Decimal(cost["usd"]) - electricity < 0

    def test_a_negative_saving_is_shown_as_negative(self, environment: dict[str, str]) -> None:
        arguments = ["run", "--raw", "-t", "0", "-n", "4", FRANCE]
        command = pexpect.spawn(str(SCRIPT), arguments, env=environment, timeout=PATIENCE_S)
        command.expect("net avoided -\\$[0-9.,]+ vs ")
        command.expect(pexpect.EOF)
        command.close()
        assert command.exitstatus == 0


class TestASchema:
    def test_is_kept_to(self, cli: Cli, tmp_path: Path) -> None:
        schema = tmp_path / "schema.json"
        schema.write_text(
            '{"type": "object", "properties": {"n": {"enum": [1, 2]}}, '
            '"required": ["n"], "additionalProperties": false}'
        )
        document = answered(cli, "--schema", schema, "-n", "40", "Name a number.")
        assert json.loads(document["text"])["n"] in (1, 2)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            pytest.param(None, "cannot be read: No such file", id="no file"),
            pytest.param(b"\xff", "cannot be read: it is no text", id="no text"),
            pytest.param(b"{", "the schema is no JSON", id="no JSON"),
            pytest.param(b'{"type": "thing"}', "is not understood", id="no schema"),
        ],
    )
    def test_that_cannot_be_used_is_one_line(
        self, cli: Cli, tmp_path: Path, content: bytes | None, said: str
    ) -> None:
        schema = tmp_path / "schema.json"
        if content is not None:
            schema.write_bytes(content)
        outcome = cli("run", "--schema", schema, "-n", "4", "Hi")
        assert outcome.code == 2
        assert said in outcome.err.splitlines()[0]
        assert len(outcome.err.splitlines()) == 2


@pytest.mark.parametrize("command", ["run", "chat"])
def test_an_embedding_model_is_refused_in_one_line(command: str, cli: Cli) -> None:
    outcome = cli(command, "-m", "nomic-embed-text-v1.5", *(["Hi"] if command == "run" else []))
    assert (outcome.code, outcome.out) == (3, "")
    what = "is an embedding model: it turns text into vectors and does not chat"
    assert outcome.err.splitlines() == [
        f"ondevice: nomic-embed-text-v1.5 {what}",
        "  Choose another one: ondevice list",
    ]


class TestAnAdapter:
    @pytest.mark.parametrize(
        ("name", "code", "said"),
        [
            pytest.param("STARTER:0.5", 3, "is no LoRA adapter", id="a model"),
            pytest.param("gone.gguf:2", 3, "gone.gguf is no LoRA adapter: there is no", id="none"),
            pytest.param("x.gguf:inf", 2, "the scale of a LoRA adapter is inf", id="no number"),
            pytest.param("x" * 5000 + ":1", 3, "File name too long", id="a long name"),
        ],
    )
    def test_that_cannot_be_used_is_one_line(
        self, cli: Cli, starter_path: Path, name: str, code: int, said: str
    ) -> None:
        outcome = cli("run", "--lora", name.replace("STARTER", str(starter_path)), "-n", "4", "Hi")
        assert outcome.code == code
        assert said in outcome.err.splitlines()[0]
        assert len(outcome.err.splitlines()) == 2


class TestABaseModel:
    def test_continues_the_text_as_it_stands(self, cli: Cli, gemma_path: Path) -> None:
        document = answered(cli, "-m", gemma_path, "-t", "0", "-n", "3", FRANCE)
        assert document["text"].strip()
        assert document["usage"]["prompt_tokens"] == 6  # five words and the beginning
        assert codes(document).count("completion_mode") == 1

    def test_says_so_unless_it_was_asked_for(
        self, cli: Cli, gemma_path: Path, environment: dict[str, str]
    ) -> None:
        arguments = ["run", "-m", str(gemma_path), "-c", "64", "-n", "1", FRANCE]
        with pexpect.spawn(str(SCRIPT), arguments, env=environment, timeout=PATIENCE_S) as command:
            command.expect_exact("a base model: it continues the text, without a template")
            command.expect(pexpect.EOF)
        document = answered(cli, "-m", gemma_path, "--raw", "-n", "1", FRANCE)
        assert "completion_mode" not in codes(document)

    def test_says_so_when_a_chat_was_asked(self, cli: Cli, gemma_path: Path) -> None:
        document = answered(cli, "-m", gemma_path, "-n", "1", "--system", "Be brief.", FRANCE)
        assert "completion_mode" in codes(document)


@pytest.fixture
def endless(start_cli: StartCli) -> subprocess.Popen[bytes]:
    """An answer that has begun and would not end."""
    process = start_cli(*ENDLESS)
    assert process.stdout is not None
    assert process.stdout.read(1)
    return process


class TestAnEndBeforeTheEnd:
    def test_by_ctrl_c_is_clean(self, endless: subprocess.Popen[bytes]) -> None:
        child = child_of(endless)
        endless.send_signal(signal.SIGINT)
        _, err = endless.communicate(timeout=PATIENCE_S)
        assert endless.returncode == 130
        assert err.strip() == b""
        assert_ended(child)

    def test_by_ctrl_c_in_a_terminal_stops_only_the_command(
        self, environment: dict[str, str]
    ) -> None:
        """The terminal sends it to a whole group of processes."""
        command = pexpect.spawn(str(SCRIPT), list(ENDLESS), env=environment, timeout=PATIENCE_S)
        command.expect("Paris")
        child = psutil.Process(command.pid).children()[0]
        assert_ctrl_c_ends(command)
        assert_ended(child)

    def test_by_ctrl_c_while_loading_is_clean(self, start_cli: StartCli) -> None:
        process = start_cli(*ENDLESS)
        parent = psutil.Process(process.pid)
        while not (children := parent.children()):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130
        assert err.strip() == b""
        assert_ended(children[0])

    @pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
    def test_by_another_signal_leaves_no_engine(
        self, name: str, endless: subprocess.Popen[bytes]
    ) -> None:
        child = child_of(endless)
        endless.send_signal(signal.Signals[name])
        endless.communicate(timeout=PATIENCE_S)
        assert endless.returncode == -signal.Signals[name]
        assert_ended(child)

    def test_of_the_reader_is_quiet(self, endless: subprocess.Popen[bytes]) -> None:
        child = child_of(endless)
        assert endless.stdout is not None
        assert endless.stderr is not None
        endless.stdout.close()
        said = endless.stderr.read()
        assert endless.wait(PATIENCE_S) == 1
        assert said == b""
        assert_ended(child)

    def test_of_the_engine_is_one_line(self, endless: subprocess.Popen[bytes]) -> None:
        child_of(endless).kill()
        _, err = endless.communicate(timeout=PATIENCE_S)
        assert endless.returncode == 4
        assert err.decode().splitlines() == [
            "ondevice: the engine stopped: signal SIGKILL",
            "  Load the model again to go on.",
        ]
