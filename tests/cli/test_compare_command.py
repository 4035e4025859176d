"""`ondevice compare`, as a person or a script runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import Cli
from judging import LOADED, ON_THE_CPU, codes, document
from known_logits import IM_END, Logits, token, write_known

from ondevice.cli.compare import _print
from ondevice.domain.device import Device, DeviceUse, Offload
from ondevice.domain.generation import EngineInfo
from ondevice.domain.parity import Comparison, Side

KNOWN: dict[str, Logits] = {
    "one": {
        token("a"): {token("b"): 5},
        token("b"): {token("c"): 4, token("d"): 3},
        token("c"): {IM_END: 5},
        token("x"): {IM_END: 5, token("y"): 3},
    },
    "other": {
        token("a"): {token("b"): 5},
        token("q"): {token("b"): 5},
        token("b"): {token("c"): 3.5, token("d"): 4},
        token("d"): {token("e"): 5},
        token("e"): {IM_END: 5},
        token("x"): {IM_END: 2, token("y"): 4},
        token("y"): {IM_END: 5},
    },
}


class TestCompare:
    def test_one_document_holds_every_number(
        self, cli: Cli, starter_path: Path, onnx_path: Path, tmp_path: Path, home: Path
    ) -> None:
        prompts = tmp_path / "prompts.txt"
        prompts.write_text("Name a colour.\n\nWhat is the capital of France?\n")
        how = ("-n", "8", "-c", "512", "--threads", "2")  # that no change of them is told
        made = document(cli, "compare", starter_path, onnx_path, prompts, *how)
        assert (made["prompts"], made["max_tokens"], made["raw"]) == (2, 8, False)
        assert made["same"] == 2 - len(made["differences"])
        assert made["agreement"] == made["agreed_tokens"] / made["longer_tokens"]
        for side, engine in zip(made["sides"], ("llama.cpp", "onnx"), strict=True):
            assert (side["engine"], side["n_ctx"]) == (engine, 512)
            assert side | ON_THE_CPU == side
            assert side["threads"] == 2
            assert side["decode_tok_per_s"]["median"] > 0
            assert side["prefill_tok_per_s"]["iqr"] >= 0
            assert side["peak_private_bytes"] > 10 << 20
            assert side["model_pages_bytes"] > 10 << 20
        assert made["sides"][0] | LOADED == made["sides"][0]
        assert not (home / "data").exists()  # nothing of it is stored

    def test_the_report_says_the_same(self, cli: Cli, starter_path: Path, tmp_path: Path) -> None:
        prompts = tmp_path / "prompts.jsonl"
        prompts.write_text('{"prompt": "Name a\\ncolour."}\n')
        outcome = cli("compare", starter_path, starter_path, prompts, "-n", "4", "-c", "512")
        assert outcome.code == 0
        assert "agreement 100 %: " in outcome.out
        assert "the same answer to 1 of 1 prompts" in outcome.out
        assert [line.split()[0] for line in outcome.out.splitlines()[1:5]] == [
            *("model", "engine", "prefill", "decode")
        ]
        assert "2 of 2 answers" in outcome.err

    def test_prompts_come_through_a_pipe(
        self, cli: Cli, starter_path: Path, gemma_path: Path
    ) -> None:
        """A base model has no template, so both continue the text."""
        made = document(
            cli, "compare", starter_path, gemma_path, "-", "-n", "4", "-c", "512", piped=b"One, two"
        )
        assert made["raw"] is True
        assert made["agreement"] is None
        assert [each["gaps"] for each in made["differences"]] in ([], [[None, None]])

    def test_differences_are_told_with_their_places_and_gaps(
        self, cli: Cli, tmp_path: Path
    ) -> None:
        one, other = (write_known(tmp_path / name, KNOWN[name]) for name in KNOWN)
        outcome = cli("compare", one, other, "-", "--raw", "--threads", "1", piped=b"a\nx\n")
        assert outcome.code == 0
        report = outcome.out.splitlines()
        assert ["engine", "onnx", "CPU", "onnx", "CPU"] in [line.split() for line in report]
        assert not any(line.startswith("device memory") for line in report)
        assert report[report.index("") + 1 :] == [
            "agreement 16.7 %: 1 of 6 tokens before the first difference",
            "the same answer to 0 of 2 prompts",
            *("", "prompt 1, token 2: … b", "  A  gap 1.0000  c", "  B  gap 0.5000  de"),
            *("", "prompt 2, token 1: … ", "  A  gap 2.0000  (ends)", "  B  gap 2.0000  y"),
        ]

    def test_no_place_among_tokens_is_told_where_the_vocabularies_differ(
        self, cli: Cli, tmp_path: Path
    ) -> None:
        one, other = (write_known(tmp_path / name, KNOWN[name]) for name in KNOWN)
        tokenizer = json.loads((other / "tokenizer.json").read_text())
        vocabulary = tokenizer["model"]["vocab"]
        vocabulary["a"], vocabulary["q"] = vocabulary["q"], vocabulary["a"]
        (other / "tokenizer.json").write_text(json.dumps(tokenizer))
        outcome = cli("compare", one, other, "-", "--raw", piped=b"a")
        report = outcome.out.splitlines()
        assert report[report.index("") + 1 :] == [
            "0 of 1 prompts have the same text; the vocabularies differ, so tokens do not compare",
            *("", "prompt 1: … b", "  A  c", "  B  de"),
        ]

    @pytest.mark.usefixtures("all_on_a_gpu")
    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ((), [["gpu_missing"], ["gpu_missing"]]),
            (("0",), [[], []]),
            (("0", "all"), [[], ["gpu_missing"]]),
        ],
        ids=str,
    )
    def test_layers_on_a_gpu_are_for_both_or_for_each(
        self, cli: Cli, tmp_path: Path, given: tuple[str, ...], told: list[list[str]]
    ) -> None:
        one, other = (write_known(tmp_path / name, KNOWN[name]) for name in KNOWN)
        options = [part for layers in given for part in ("--gpu-layers", layers)]
        made = document(cli, "compare", one, other, "-", "--raw", *options, piped=b"a")
        assert [codes(side) for side in made["sides"]] == told

    def test_three_numbers_of_layers_are_one_line(self, cli: Cli, tmp_path: Path) -> None:
        folder = write_known(tmp_path / "one", KNOWN["one"])
        outcome = cli("compare", folder, folder, "-", *["--gpu-layers", "0"] * 3, piped=b"a")
        assert (outcome.code, outcome.out) == (2, "")
        assert len(outcome.err.splitlines()) == 2

    def test_objects_may_come_through_a_pipe(self, cli: Cli, tmp_path: Path) -> None:
        folder = write_known(tmp_path / "one", KNOWN["one"])
        piped = b'\n{"prompt": "a"}\r\n{"prompt": "x"}\n'
        made = document(cli, "compare", folder, folder, "-", "--raw", piped=piped)
        assert (made["prompts"], made["longer_tokens"]) == (2, 4)  # "bc." and "."
        outcome = cli("compare", folder, folder, "-", "--raw", piped=b"{a}\nx")
        assert outcome.code == 2
        assert "prompt 1 is no JSON object" in outcome.err

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("prompts.txt", " \n\n", "there is no prompt"),
            ("prompts.jsonl", '{"prompt": "a"}\n{"text": "b"}', "prompt 2 is no JSON object"),
            ("prompts.jsonl", "[" * 10_000, "prompt 1 is no JSON object"),
            ("prompts.jsonl", '{"prompt": " "}', "prompt 1 is no JSON object"),
        ],
        ids=["blank", "another-key", "deep", "blank-prompt"],
    )
    def test_prompts_that_are_none_are_one_line(
        self, cli: Cli, starter_path: Path, tmp_path: Path, name: str, content: str, said: str
    ) -> None:
        (tmp_path / name).write_text(content)
        outcome = cli("compare", starter_path, starter_path, tmp_path / name)
        assert (outcome.code, outcome.out) == (2, "")
        assert said in outcome.err.splitlines()[0]
        assert len(outcome.err.splitlines()) == 2

    def test_a_prompt_over_the_context_is_one_line(self, cli: Cli, starter_path: Path) -> None:
        outcome = cli("compare", starter_path, starter_path, "-", "-c", "256", piped=b"word " * 300)
        assert (outcome.code, outcome.out) == (4, "")
        assert "the context holds 256" in outcome.err


def loaded(offload: Offload, backend: str) -> Side:
    """One side of a comparison."""
    info = EngineInfo(
        engine="llama.cpp",
        backend=backend,
        build="",
        model_paths=(),
        n_ctx=512,
        n_ctx_train=512,
        threads=2,
        threads_fixed=True,
        flash_attention=False,
        repacked=False,
        has_template=True,
        pid=1,
        offload=offload,
    )
    return Side("starter", "Q4_1", info, None, None, 1 << 20, 1 << 20, 1)


def test_layers_on_a_device_are_told_with_its_memory(capsys: pytest.CaptureFixture[str]) -> None:
    card = Device("Vulkan0", "A card", "vulkan", 1 << 30, 1 << 30)
    some = loaded(Offload(31, (DeviceUse(card, 1, 5 << 20),)), "vulkan")
    _print(Comparison((loaded(Offload(31), "cpu"), some), 1, 1, 1, 1, 0, ()))
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "engine llama.cpp CPU llama.cpp VULKAN 1/31" in rows
    assert "device memory 5.0 MB" in rows
