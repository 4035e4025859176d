"""`ondevice search` against a hub on this machine."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import pytest
from command import Cli
from loopback import REPOSITORY, Answering, Fault, Loopback, answers

from ondevice.cli.exits import Exit


@pytest.fixture
def hub(environment: dict[str, str]) -> Iterator[Loopback]:
    server = Loopback()
    environment |= {"HF_ENDPOINT": server.address, "NO_PROXY": "127.0.0.1"}
    yield server
    server.close()


def offer_all(hub: Loopback) -> None:
    hub.offer(b"x" * 3000, "m-Q4_K_M.gguf")
    hub.offer(b"x" * 1000, "big-Q8_0-00001-of-00002.gguf")
    hub.offer(b"x" * 500, "big-Q8_0-00002-of-00002.gguf")
    for name in ("mmproj-F16.gguf", "README.md", "run.py", "../../escaped.gguf"):
        hub.offer(b"x", name)
    hub.repositories["other/thing"] = {"siblings": [{"rfilename": "model.safetensors"}]}


def test_lists_what_can_be_used_with_sizes(hub: Loopback, cli: Cli) -> None:
    offer_all(hub)
    hub.repositories[REPOSITORY] = {"tags": ["gguf"]}
    outcome = cli("search", "small")
    assert outcome.code == 0, outcome.err
    heading, *forms = outcome.out.splitlines()
    assert heading.startswith(f"{REPOSITORY} · no licence named · 7 downloads · changed 2026-10-01")
    assert [line.split() for line in forms] == [
        ["Q4_K_M", "2.9", "KB", "m-Q4_K_M.gguf"],
        ["Q8_0", "1.5", "KB", "big-Q8_0-00001-of-00002.gguf"],
    ]
    assert "ondevice pull" in outcome.err


def test_is_one_document_with_json(hub: Loopback, cli: Cli) -> None:
    offer_all(hub)
    hub.repositories[REPOSITORY] = {"gated": "manual", "tags": ["gguf", "license:llama3.2"]}
    (found,) = json.loads(cli("search", "SMALL", "--json").out)
    assert (found["repository"], found["gated"]) == (REPOSITORY, True)
    assert (found["licence"], found["terms"]) == (
        "llama3.2",
        "https://www.llama.com/llama3_2/license/",
    )
    assert found["forms"][1]["size_bytes"] == 1500


def test_finds_onnx_folders(hub: Loopback, cli: Cli) -> None:
    for name in ("genai_config.json", "model.onnx", "model.onnx.data"):
        hub.offer(b"x" * 1000, f"cpu/int4-block-32/{name}")
    hub.repositories[REPOSITORY] = {"tags": ["onnx"]}
    (found,) = json.loads(cli("search", "small", "--json").out)
    assert found["forms"] == [
        {
            "engine": "onnx",
            "quantization": "int4",
            "path": "cpu/int4-block-32",
            "size_bytes": 3000,
        }
    ]


def test_without_a_hit_says_so(hub: Loopback, cli: Cli) -> None:
    outcome = cli("search", "nothing like it")
    assert (outcome.code, outcome.out) == (0, "")
    assert "Nothing that runs here" in outcome.err


def says(body: bytes, **headers: str) -> Fault:
    def answer(request: Answering) -> bool:
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        request.say(200, {"Content-Type": "application/json", **said}, body)
        return True

    return answer


def endless(request: Answering) -> bool:
    request.say(200, {"Content-Length": None}, b"[" + b" " * (17 << 20))
    return True


def elsewhere(request: Answering) -> bool:
    request.say(302, {"Location": f"{request.hub.bytes_address}/api/models"})
    return True


HOSTILE = {
    "packed": (says(gzip.compress(b"[" + b" " * (1 << 20)), Content_Encoding="gzip"), "packs"),
    "a bomb without end": (endless, "without end"),
    "no JSON": (says(b"\xff{"), "not what it should be"),
    "deep": (says(b"[" * 100_000), "not what it should be"),
    "of other types": (says(b'[{"id": 5}]'), "not what it should be"),
    "a web page": (says(b"<html>", Content_Type="text/html"), "web page"),
    "sent elsewhere": (elsewhere, "elsewhere"),
}


@pytest.mark.parametrize(("fault", "said"), HOSTILE.values(), ids=HOSTILE)
def test_an_answer_that_is_none_has_a_name(
    fault: Fault, said: str, hub: Loopback, cli: Cli
) -> None:
    hub.api_faults.append(fault)
    outcome = cli("search", "small", env={"HF_TOKEN": "hf_secret"})
    assert (outcome.code, outcome.out) == (Exit.DOWNLOAD, "")
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert not [path for path, token in hub.tokens() if token and path.startswith("/bytes")]
    assert len(hub.requests) == 1


def test_a_hub_that_stays_busy_is_asked_a_few_times_and_then_named(hub: Loopback, cli: Cli) -> None:
    hub.api_faults.extend([answers(429)] * 9)
    outcome = cli("search", "small")
    assert (outcome.code, outcome.out) == (Exit.DOWNLOAD, "")
    assert "the hub answers 429; trying again in" in outcome.err
    assert 1 < len(hub.requests) < 9


def test_a_hostile_repository_name_is_left_out(hub: Loopback, cli: Cli) -> None:
    hub.offer(b"x", "m.gguf")
    hub.repositories["small/../../etc"] = {}
    hub.repositories["small\x1b[31m/x"] = {}
    found = json.loads(cli("search", "small", "--json").out)
    assert [each["repository"] for each in found] == [REPOSITORY]


def test_offline_says_so(hub: Loopback, cli: Cli) -> None:
    outcome = cli("search", "small", env={"HF_HUB_OFFLINE": "1"})
    assert outcome.code == Exit.DOWNLOAD
    assert outcome.err == "ondevice: HF_HUB_OFFLINE forbids the network\n  Unset it to search.\n"
    assert hub.requests == []
    assert hub.requests == []
