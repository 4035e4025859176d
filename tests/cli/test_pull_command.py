"""`ondevice pull` against a hub on this machine: what it says first, and what is here then."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pexpect
import pytest
from command import PATIENCE_S, SCRIPT, Cli, Outcome, StartCli
from loopback import (
    COMMIT,
    PATH,
    REPOSITORY,
    Loopback,
    answers,
    cut_after,
    flip,
    stop_after,
    web_page,
)
from onnx_folder import write_tiny
from splitting import split_gguf

from ondevice import catalog
from ondevice.cli.exits import Exit
from ondevice.domain.download import RemoteFile
from ondevice.gguf.shapes import write_shape

CONTENT = random.Random(1).randbytes(3_000_000)
MODEL = """
[[model]]
name = 'small-model'
family = 'mine'
title = 'Small Model'
use = 'chat'
parameters = 1_000_000
context = 512
licence = 'MIT'
shape = {{ n_layers = 2, n_embd = 64, vocab = 500, n_heads = 2, n_kv_heads = 2, n_ff = 128 }}
{more}

[[model.files]]
engine = '{engine}'
quantization = 'Q4_0'
repository = '{repository}'
path = '{path}'
{pin}
"""
TERMS = "https://example.org/terms"
VERDICT = ["verdict", "pages", "private", "machine", "speed"]


@pytest.fixture
def hub(environment: dict[str, str]) -> Iterator[Loopback]:
    server = Loopback()
    environment |= {"HF_ENDPOINT": server.address, "NO_PROXY": "127.0.0.1"}
    yield server
    server.close()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model that loads and writes noise."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    write_shape("tiny-llama", "Q4_0", path)
    return path.read_bytes()


def offer_model(
    home: Path,
    file: RemoteFile | None = None,
    more: str = "",
    path: str = PATH,
    engine: str = "llama.cpp",
) -> None:
    """Put it into this user's catalogue; pinned when `file` is given."""
    pin = ""
    if file is not None:
        path, pin = file.path, f"revision = '{COMMIT}'\nsize_bytes = {file.size_bytes}\n"
        pin += f"sha256 = '{file.content_hash}'"
    text = MODEL.format(more=more, pin=pin, path=path, engine=engine, repository=REPOSITORY)
    (home / "config").mkdir(parents=True, exist_ok=True)
    (home / "config" / "models.toml").write_text(text)


def doctor(cli: Cli) -> list[dict[str, str]]:
    """What it finds."""
    found: list[dict[str, str]] = json.loads(cli("doctor", "--json").out)
    return found


def parts_in(environment: dict[str, str]) -> list[Path]:
    return list((Path(environment["HF_HOME"]) / "hub").rglob("*.part"))


def published_in(environment: dict[str, str]) -> list[str]:
    folder = Path(environment["HF_HOME"]) / "hub"
    return sorted(path.name for path in folder.glob("*/snapshots/*/**/*") if path.is_file())


def assert_refused(outcome: Outcome, code: Exit, *said: str) -> None:
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert "Traceback" not in outcome.err
    for text in said:
        assert text in outcome.err


class TestAModelOfTheCatalogue:
    def test_is_fetched_and_runs(self, hub: Loopback, cli: Cli, home: Path, tiny: bytes) -> None:
        offer_model(home, hub.offer(tiny))
        before = cli("run", "-m", "small-model", "hi")
        assert_refused(before, Exit.MODEL, "ondevice pull small-model")
        pulled = cli("pull", "small-model")
        assert pulled.code == 0, pulled.err
        path = Path(pulled.out.strip())
        assert path.read_bytes() == tiny
        for name in ("small-model", f"{REPOSITORY}/{PATH}", REPOSITORY):
            ran = cli("run", "-m", name, "-n", "2", "-c", "64", "hi")
            assert ran.code == 0, ran.err
        shown = cli("show", "--json", f"{REPOSITORY}/{PATH}")
        assert json.loads(shown.out)["name"] == "small-model"

    def test_says_first_what_it_takes(self, hub: Loopback, cli: Cli, home: Path) -> None:
        offer_model(home, hub.offer(CONTENT))
        said = cli("pull", "small-model", "--dry-run").out
        for text in ("Small Model", "2.9 MB", "free", "MIT", "pinned", "unknown until profiled"):
            assert text in said
        assert hub.requests == []

    def test_has_a_verdict_with_every_kind_of_memory(
        self, hub: Loopback, cli: Cli, home: Path
    ) -> None:
        offer_model(home, hub.offer(CONTENT))
        said = cli("pull", "small-model", "--dry-run").out
        labels = [line.split()[0] for line in said.splitlines()]
        assert labels == ["model", "fetch", "from", "licence", *VERDICT]
        assert "verdict   runs well: a context of 512 tokens takes" in said
        told = cli("pull", "small-model", "--dry-run", "--json", "--ctx", "256").out
        plan = json.loads(told)["plan"]
        assert (plan["memory"]["kind"], plan["memory"]["estimate"]["n_ctx"]) == ("well", 256)
        assert plan["memory"]["machine"]["total_bytes"] > 0
        (home / "config" / "settings.toml").write_text("context = 128\nkv_type = 'q8_0'\n")
        said = cli("pull", "small-model", "--dry-run").out
        assert "a context of 128 tokens takes" in said
        assert " KV cache q8_0, " in said
        parts = ("repacked", "kv", "recurrent", "compute", "runtime")
        estimate = plan["memory"]["estimate"]
        whole = sum(estimate[f"{part}_bytes"] for part in parts)
        assert estimate["private_bytes"] == whole > 0

    def test_that_does_not_fit_is_fetched_only_if_it_is_wanted_all_the_same(
        self, hub: Loopback, cli: Cli, home: Path
    ) -> None:
        file = hub.offer(CONTENT)
        offer_model(home, replace(file, size_bytes=1 << 42))
        refused = cli("pull", "small-model")
        assert_refused(refused, Exit.USAGE, "does not fit this machine", "--yes")
        assert "verdict   does not fit" in refused.err
        assert_refused(cli("pull", "small-model", "--yes"), Exit.DOWNLOAD, "needs 4.0 TB more")
        assert hub.requests == []

    def test_is_one_document_with_json(self, hub: Loopback, cli: Cli, home: Path) -> None:
        file = hub.offer(CONTENT)
        offer_model(home, file)
        outcome = cli("pull", "small-model", "--json")
        assert outcome.code == 0
        document = json.loads(outcome.out)
        assert set(document) == {"plan", "result"}
        plan, result = document["plan"], document["result"]
        assert result["fetched_bytes"] == len(CONTENT)
        assert Path(result["path"]).read_bytes() == CONTENT
        assert (plan["bytes_total"], plan["bytes_to_fetch"]) == (len(CONTENT), len(CONTENT))
        assert plan["files"] == [
            {"path": PATH, "size_bytes": len(CONTENT), "hash": file.content_hash}
        ]
        assert (plan["pin"], plan["revision"], plan["here"]) == ("pinned", COMMIT, None)
        assert (plan["licence"], plan["terms_accepted"], plan["gated"]) == ("MIT", True, False)

    def test_that_is_here_needs_no_hub(self, hub: Loopback, cli: Cli, home: Path) -> None:
        offer_model(home, hub.offer(CONTENT))
        first = cli("pull", "small-model")
        hub.requests.clear()
        again = cli("pull", "small-model", env={"HF_HUB_OFFLINE": "1"})
        assert (again.code, again.out) == (0, first.out)
        assert "It is here already." in again.err
        assert hub.requests == []

    def test_in_a_package_is_not_fetched(self, hub: Loopback, cli: Cli, starter_path: Path) -> None:
        outcome = cli("pull", catalog.STARTER)
        assert (outcome.code, outcome.out) == (0, f"{starter_path}\n")
        assert "It is here already." in outcome.err
        assert hub.requests == []

    def test_can_be_chosen_by_quantization(self, hub: Loopback, cli: Cli) -> None:
        outcome = cli("pull", catalog.STARTER, "--quant", "q8_0", "--dry-run", "--json")
        plan = json.loads(outcome.out)["plan"]
        assert (plan["quantization"], plan["here"]) == ("Q8_0", None)
        refused = cli("pull", catalog.STARTER, "--quant", "Q3_X")
        assert_refused(refused, Exit.USAGE, "has no Q3_X", "It has Q4_1 (llama.cpp), Q4_K_M")

    def test_can_be_chosen_by_engine(self, hub: Loopback, cli: Cli) -> None:
        hub.offer_small(b"{}", "genai_config.json")
        outcome = cli("pull", "smollm2-360m-instruct", "--engine", "onnx", "--dry-run")
        assert_refused(outcome, Exit.USAGE, "has no onnx", "It has Q4_K_M (llama.cpp)")

    def test_tells_another_program_by_lines(self, hub: Loopback, cli: Cli, home: Path) -> None:
        offer_model(home, hub.offer(CONTENT))
        hub.faults.extend([cut_after(1_000_000), flip(9)])
        outcome = cli("pull", "small-model", "--events")
        assert outcome.code == 0
        told = [json.loads(line) for line in outcome.out.splitlines()]
        assert {each["event"] for each in told} == {"progress", "notice", "done"}
        assert told[-1]["event"] == "done"
        assert Path(told[-1]["path"]).read_bytes() == CONTENT
        failed = cli("pull", "no-such-model", "--events")
        (error,) = [json.loads(line) for line in failed.out.splitlines()]
        assert (failed.code, error["event"], error["error"]) == (
            Exit.MODEL,
            "error",
            "UnknownModel",
        )

    def test_nobody_knows_is_named(self, cli: Cli) -> None:
        assert_refused(cli("pull", "no-such-model"), Exit.MODEL, "no model is called")


class TestAnUnpinnedFile:
    def test_is_pinned_by_the_first_fetch(
        self, hub: Loopback, cli: Cli, home: Path, environment: dict[str, str]
    ) -> None:
        file = hub.offer(CONTENT)
        offer_model(home)
        assert "unpinned" in cli("pull", "small-model", "--dry-run").out
        pulled = cli("pull", "small-model")
        assert pulled.code == 0, pulled.err
        ref = (
            Path(environment["HF_HOME"]) / f"hub/models--{REPOSITORY.replace('/', '--')}/refs/main"
        )
        assert ref.read_text() == COMMIT
        records = home / "data" / "downloads.json"
        assert records.stat().st_mode & 0o777 == 0o600
        assert file.content_hash in records.read_text()
        assert "pinned locally" in cli("pull", "small-model", "--dry-run").out

    def test_is_fetched_as_it_was_then(
        self, hub: Loopback, cli: Cli, home: Path, environment: dict[str, str]
    ) -> None:
        hub.offer(CONTENT)
        offer_model(home)
        path = Path(cli("pull", "small-model").out.strip())
        path.resolve().unlink()
        hub.files[PATH] = CONTENT + b"changed"
        again = cli("pull", "small-model")
        assert again.code == Exit.DOWNLOAD
        assert "bytes" in again.err
        assert f"ondevice rm --forget-pin {REPOSITORY}/{PATH}\n" in again.err
        hub.files[PATH] = CONTENT
        assert Path(cli("pull", "small-model").out.strip()).read_bytes() == CONTENT


class TestAModelOfTheCatalogueByItsNameOnTheHub:
    @pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "pinned locally"])
    @pytest.mark.parametrize(
        "name", [REPOSITORY, f"{REPOSITORY}/{PATH}", f"{REPOSITORY.upper()}/{PATH}"]
    )
    def test_runs_and_is_shown(
        self, name: str, pinned: bool, hub: Loopback, cli: Cli, home: Path, tiny: bytes
    ) -> None:
        file = hub.offer(tiny)
        offer_model(home, file if pinned else None)
        before = cli("run", "-m", name, "hi")
        assert_refused(before, Exit.MODEL, f"or: ondevice pull {name}")
        pulled = cli("pull", "small-model")
        assert pulled.code == 0, pulled.err
        ran = cli("run", "-m", name, "-n", "2", "-c", "64", "--json", "hi")
        assert ran.code == 0, ran.err
        shown = cli("show", name)
        assert (shown.code, shown.err) == (0, "")
        assert "llama" in shown.out
        again = cli("pull", f"{REPOSITORY}/{PATH}", env={"HF_HUB_OFFLINE": "1"})
        assert (again.code, again.out) == (0, pulled.out)
        assert "It is here already." in again.err


class TestTerms:
    def test_are_needed_before_a_byte_is_fetched(self, hub: Loopback, cli: Cli, home: Path) -> None:
        offer_model(home, hub.offer(CONTENT), more=f"terms = '{TERMS}'")
        outcome = cli("pull", "small-model")
        assert_refused(outcome, Exit.USAGE, TERMS, "--accept-terms")
        assert hub.requests == []

    @pytest.mark.parametrize("name", [REPOSITORY, f"{REPOSITORY}/{PATH}"])
    def test_hold_by_whatever_name_the_model_is_asked_for(
        self, name: str, hub: Loopback, cli: Cli, home: Path
    ) -> None:
        offer_model(home, hub.offer(CONTENT), more=f"terms = '{TERMS}'")
        assert_refused(cli("pull", name, "-y"), Exit.USAGE, TERMS, "--accept-terms")
        assert list(home.rglob(f"{PATH}*")) == []
        assert cli("pull", name, "-y", "--accept-terms").code == 0

    def test_are_accepted_once(
        self, hub: Loopback, cli: Cli, home: Path, environment: dict[str, str]
    ) -> None:
        offer_model(home, hub.offer(CONTENT), more=f"terms = '{TERMS}'")
        first = cli("pull", "small-model", "--accept-terms")
        assert first.code == 0, first.err
        assert TERMS in (home / "data" / "downloads.json").read_text()
        Path(first.out.strip()).resolve().unlink()
        assert cli("pull", "small-model").code == 0

    def test_are_asked_for_on_a_terminal(
        self, hub: Loopback, home: Path, environment: dict[str, str]
    ) -> None:
        offer_model(home, hub.offer(CONTENT), more=f"terms = '{TERMS}'")
        for answer, code, sent in (("n", Exit.USAGE, 0), ("y", Exit.OK, len(CONTENT))):
            with pexpect.spawn(
                str(SCRIPT), ["pull", "small-model"], env=environment, timeout=PATIENCE_S
            ) as command:
                command.expect_exact(f"Accept the terms at {TERMS}? [y/N]: ")
                assert hub.requests == []
                command.sendline(answer)
                command.expect(pexpect.EOF)
                said = command.before
            assert (command.exitstatus, hub.sent) == (code, sent), said
        assert b"\r2.9 MB of 2.9 MB" in said  # drawn over what stood there
        assert b"100 %" in said


REFUSED = {
    "another host": (answers(401), ["127.0.0.1, where the hub sends us, refuses", "firewall"]),
    "gated, no access": (answers(403, X_Error_Code="GatedRepo"), [REPOSITORY, "HF_TOKEN"]),
    "not there": (answers(404), ["has no"]),
    "a web page": (web_page, ["web page", "login page"]),
}


@pytest.mark.parametrize(("fault", "said"), REFUSED.values(), ids=REFUSED)
def test_what_the_hub_refuses_is_explained(
    fault: object, said: list[str], hub: Loopback, cli: Cli, home: Path
) -> None:
    offer_model(home, hub.offer(CONTENT))
    hub.faults.extend([fault] * 9)  # type: ignore[list-item]
    assert_refused(cli("pull", "small-model"), Exit.DOWNLOAD, *said)


def test_offline_says_so_and_tells_what_is_known(hub: Loopback, cli: Cli, home: Path) -> None:
    offer_model(home, hub.offer(CONTENT))
    offline: dict[str, str | None] = {"HF_HUB_OFFLINE": "1"}
    assert cli("pull", "small-model", "--dry-run", env=offline).code == 0
    assert_refused(cli("pull", "small-model", env=offline), Exit.DOWNLOAD, "HF_HUB_OFFLINE")
    assert_refused(cli("pull", "a/b", env=offline), Exit.DOWNLOAD, "HF_HUB_OFFLINE")
    assert hub.requests == []


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("no-such-host.invalid", "cannot find the host no-such-host.invalid"),
        ("255.255.255.255", "cannot reach the host 255.255.255.255"),  # no connection goes there
    ],
    ids=["no such name", "no way"],
)
@pytest.mark.parametrize("model", ["small-model", REPOSITORY], ids=["pinned", "on the hub"])
def test_without_a_network_it_is_told_after_one_more_attempt(
    model: str, host: str, said: str, hub: Loopback, cli: Cli, home: Path,
    environment: dict[str, str],
) -> None:  # fmt: skip
    if model == "small-model":
        offer_model(home, hub.offer(CONTENT))
    outcome = cli("pull", model, env={"HF_ENDPOINT": f"http://{host}"})
    assert_refused(outcome, Exit.DOWNLOAD, f"ondevice: {said}\n  Is the network up?")
    assert outcome.err.count("trying again in") == 1
    assert "kept" not in outcome.err
    cache = Path(environment["HF_HOME"]) / "hub"
    assert [each.name for each in cache.rglob("*")] in ([], [".locks"])


class TestWithoutAHub:
    """Forbidden, or no address: nobody is asked where nobody has to be."""

    @pytest.fixture(params=[{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://hub:port"}], ids=str)
    def without(self, request: pytest.FixtureRequest) -> dict[str, str | None]:
        return dict(request.param)

    def test_what_is_here_is_told(self, cli: Cli, without: dict[str, str | None]) -> None:
        outcome = cli("pull", "starter", env=without)
        assert outcome.code == 0
        assert "It is here already." in outcome.err

    def test_what_another_tool_fetched_is_found_by_its_repository(
        self, hub: Loopback, cli: Cli, environment: dict[str, str], tiny: bytes,
        without: dict[str, str | None],
    ) -> None:  # fmt: skip
        path = put_by_another_tool(environment, tiny)
        outcome = cli("pull", REPOSITORY, env=without)
        assert outcome.code == 0, outcome.err
        assert outcome.out == f"{path}\n"
        assert cli("pull", REPOSITORY, "--quant", "q4_0", env=without).code == 0
        assert hub.requests == []

    def test_what_is_not_here_is_refused_with_the_reason(
        self, hub: Loopback, cli: Cli, home: Path, environment: dict[str, str], tiny: bytes,
        without: dict[str, str | None],
    ) -> None:  # fmt: skip
        why = "HF_HUB_OFFLINE" if "HF_HUB_OFFLINE" in without else "Check HF_ENDPOINT"
        put_by_another_tool(environment, tiny)
        offer_model(home, hub.offer(CONTENT, "other.gguf"))
        code = Exit.DOWNLOAD
        assert_refused(cli("pull", "small-model", env=without), code, why)
        assert_refused(cli("pull", REPOSITORY, "--quant", "q8_0", env=without), code, why)
        assert_refused(cli("pull", "a/b", env=without), code, why)


def put_by_another_tool(environment: dict[str, str], content: bytes) -> Path:
    """A GGUF file in the cache of which no record of ours tells."""
    folder = Path(environment["HF_HOME"]) / "hub" / f"models--{REPOSITORY.replace('/', '--')}"
    path = folder / "snapshots" / COMMIT / PATH
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    return path


def test_retries_are_told_and_no_name_reaches_the_terminal_raw(
    hub: Loopback, cli: Cli, home: Path
) -> None:
    offer_model(home, hub.offer(CONTENT))
    hub.faults.extend([flip(9), cut_after(1_000_000)])
    outcome = cli("pull", "small-model")
    assert outcome.code == 0
    assert "arrived damaged" in outcome.err
    assert "trying again in" in outcome.err
    assert "\x1b" not in outcome.err
    assert "\r" not in outcome.err


def test_what_comes_again_is_told_as_that(
    hub: Loopback, cli: Cli, home: Path, environment: dict[str, str]
) -> None:
    offer_model(home, hub.offer(CONTENT))
    hub.faults.extend([flip(9), lambda _: False, flip(9)])
    slowly = ["pull", "small-model", "--limit-rate", "3M"]
    with pexpect.spawn(str(SCRIPT), slowly, env=environment, timeout=PATIENCE_S) as command:
        command.expect_exact("arrived damaged; fetching it again")
        command.expect(rb"again: [\d.]+ [KM]B of 2\.9 MB left")
        command.expect_exact("2.9 MB of 2.9 MB · 100 %".encode())
        command.expect(pexpect.EOF)
    assert cli("rm", "small-model", "-y").code == 0
    logged = cli(*slowly)
    assert logged.code == 0, logged.err
    whole = [line for line in logged.err.splitlines() if "2.9 MB of 2.9 MB" in line]
    assert len(whole) == 2  # each once, when its last byte was here


class TestStopped:
    @pytest.mark.parametrize(
        ("number", "code"),
        [(signal.SIGINT, Exit.CANCELLED), (signal.SIGTERM, Exit.TERMINATED)],
        ids=["Ctrl-C", "SIGTERM"],
    )
    def test_keeps_what_came_and_goes_on_from_there(
        self,
        number: signal.Signals,
        code: Exit,
        hub: Loopback,
        start_cli: StartCli,
        cli: Cli,
        home: Path,
        environment: dict[str, str],
    ) -> None:
        offer_model(home, hub.offer(CONTENT))
        hub.faults.append(stop_after(1_000_000))
        process = start_cli("pull", "small-model")
        said = lines_until(process, " of 2.9 MB")
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out) == (code, b"")
        assert b"are kept. Pull again to go on." in err, said
        assert b"Traceback" not in err
        (part,) = parts_in(environment)
        kept = part.stat().st_size
        assert 0 < kept <= 1_000_000
        assert part.read_bytes() == CONTENT[:kept]
        assert published_in(environment) == []
        state = {row["name"]: row for row in json.loads(cli("list", "--json").out)}
        assert state["small-model"]["partly_here_bytes"] == kept
        hub.sent = 0
        again = cli("pull", "small-model", "--json")
        assert again.code == 0
        assert json.loads(again.out)["plan"]["bytes_here"] == kept
        assert hub.sent == len(CONTENT) - kept
        assert published_in(environment) == [PATH]


def lines_until(process: subprocess.Popen[bytes], text: str) -> list[str]:
    """What the command says on stderr until a line holds `text`."""
    assert process.stderr is not None
    lines = []
    while text not in (line := process.stderr.readline().decode()):
        assert line, lines
        lines.append(line)
    return lines


class TestAnOnnxFolder:
    FILES = {
        "cpu/genai_config.json": b"{}",
        "cpu/tokenizer.json": b'{"model": 1}',
        "cpu/model.onnx": CONTENT[:50_000],
        "cpu/model.onnx.data": CONTENT[:500_000],
    }

    def offer(self, hub: Loopback, home: Path) -> None:
        for path, content in self.FILES.items():
            offer = hub.offer_small if path.endswith(".json") else hub.offer
            offer(content, path)
        for path in ("cpu/run.py", "gpu/model.onnx", "README.md", "cpu2/model.onnx"):
            hub.offer(b"not of it", path)
        offer_model(home, path="cpu", engine="onnx")

    def test_is_fetched_with_all_it_needs_and_nothing_else(
        self, hub: Loopback, cli: Cli, home: Path, environment: dict[str, str]
    ) -> None:
        self.offer(hub, home)
        outcome = cli("pull", "small-model", "--engine", "onnx")
        assert outcome.code == 0, outcome.err
        folder = Path(outcome.out.strip())
        assert folder.name == "cpu"
        found = {f"cpu/{path.name}": path.read_bytes() for path in folder.iterdir()}
        assert found == self.FILES
        assert len(published_in(environment)) == len(self.FILES)
        again = cli("pull", "small-model")
        assert "It is here already." in again.err

    def test_is_here_as_a_whole_or_not_at_all(
        self, hub: Loopback, cli: Cli, home: Path, environment: dict[str, str]
    ) -> None:
        self.offer(hub, home)
        hub.faults.extend([lambda _: False, lambda _: False, lambda _: False, answers(404)])
        outcome = cli("pull", "small-model")
        assert_refused(outcome, Exit.DOWNLOAD, "has no")
        assert published_in(environment) == []
        assert "It is here already." not in cli("pull", "small-model").err
        assert len(published_in(environment)) == len(self.FILES)


class TestAnOnnxFolderByItsNameOnTheHub:
    @pytest.fixture(autouse=True)
    def offer(self, hub: Loopback, tmp_path: Path) -> None:
        for path in write_tiny(tmp_path / "tiny", int4=True).iterdir():
            offer = hub.offer_small if path.suffix == ".json" else hub.offer
            offer(path.read_bytes(), f"cpu-int4/{path.name}")

    @pytest.fixture
    def pulled(self, cli: Cli) -> Path:
        outcome = cli("pull", REPOSITORY, "--file", "cpu-int4")
        assert outcome.code == 0, outcome.err
        return Path(outcome.out.strip())

    def test_says_why_its_memory_is_unknown_before_it_is_here(self, cli: Cli) -> None:
        why = "only its graph says what it takes, which is read once it is here"
        assert f"memory    unknown: {why}\n" in cli("pull", REPOSITORY, "--dry-run").out
        plan = json.loads(cli("pull", REPOSITORY, "--dry-run", "--json").out)["plan"]
        assert (plan["memory"], plan["memory_unknown_because"]) == (None, why)

    def test_is_in_every_list_and_runs_by_that_name(self, cli: Cli, pulled: Path) -> None:
        listed = json.loads(cli("list", "--here", "--json").out)
        (row,) = [each for each in listed if each["path"] == str(pulled)]
        assert (row["name"], row["quantization"]) == (REPOSITORY, "int4")
        assert (row["pin"], row["licence"]) == ("pinned locally", "mit")
        (here,) = [each for each in doctor(cli) if each["name"] == "models here"]
        assert here["value"].split(", ")[-1] == REPOSITORY
        ran = cli("run", "-m", row["name"], "-n", "2", "-c", "64", "hi")
        assert ran.code == 0, ran.err

    def test_is_found_without_the_hub(self, hub: Loopback, cli: Cli, pulled: Path) -> None:
        hub.requests.clear()
        for more in ([], ["--file", "cpu-int4"], ["--quant", "int4"]):
            again = cli("pull", REPOSITORY, *more, env={"HF_HUB_OFFLINE": "1"})
            assert (again.code, again.out) == (0, f"{pulled}\n"), again.err
        assert hub.requests == []


class TestASplitModel:
    NAMES = [f"big-Q8_0-0000{n}-of-00003.gguf" for n in (1, 2, 3)]

    @pytest.fixture
    def parts(self, tiny: bytes, tmp_path: Path) -> list[Path]:
        folder = tmp_path / "parts"
        folder.mkdir()
        (folder / "whole.gguf").write_bytes(tiny)
        return split_gguf(folder / "whole.gguf", folder, "big-Q8_0", count=3)

    def test_comes_with_all_its_parts(
        self, hub: Loopback, cli: Cli, home: Path, environment: dict[str, str], parts: list[Path]
    ) -> None:
        for part in parts:
            hub.offer(part.read_bytes(), part.name)
        offer_model(home, path=self.NAMES[0])
        outcome = cli("pull", "small-model")
        assert outcome.code == 0, outcome.err
        assert Path(outcome.out.strip()).name == self.NAMES[0]
        assert published_in(environment) == self.NAMES
        (listed,) = [
            row for row in json.loads(cli("list", "--json").out) if row["name"] == "small-model"
        ]
        size = sum(part.stat().st_size for part in parts)
        assert listed["size_bytes"] == size
        memory = json.loads(cli("show", "small-model", "--json").out)["memory"]
        assert memory["estimate"]["weights_bytes"] == pytest.approx(size, rel=0.15)

    def test_on_the_hub_is_judged_by_the_headers_of_all_its_parts(
        self, hub: Loopback, cli: Cli, parts: list[Path]
    ) -> None:
        files = {part.name: hub.offer(part.read_bytes(), part.name) for part in parts}
        plan = json.loads(cli("pull", REPOSITORY, "--dry-run", "--json").out)["plan"]
        here = json.loads(cli("show", parts[0], "--json").out)
        assert plan["memory"]["estimate"] == here["memory"]["estimate"]
        assert plan["memory_unknown_because"] is None
        asked = [path for _, path, _ in hub.requests if "/bytes/" in path]
        assert asked == [f"/bytes/{files[name].content_hash}" for name in self.NAMES]
        hub.offer(b"something else", self.NAMES[2])
        refused = cli("pull", REPOSITORY)
        assert_refused(refused, Exit.USAGE, "would not run here: the file is not GGUF", "--yes")

    def test_is_shown_by_its_path_with_what_all_parts_say(
        self, cli: Cli, parts: list[Path], tiny: bytes, tmp_path: Path
    ) -> None:
        whole = tmp_path / "whole.gguf"
        whole.write_bytes(tiny)
        shown = [json.loads(cli("show", path, "--json").out) for path in (whole, parts[0])]
        assert [facts["parts"] for facts in shown] == [1, 3]
        assert shown[1]["size_bytes"] == sum(part.stat().st_size for part in parts)
        assert shown[1]["parameters"] == shown[0]["parameters"] > 0
        estimates = [facts["memory"]["estimate"] for facts in shown]
        for name in ("kv_bytes", "compute_bytes", "repacked_bytes"):
            assert estimates[0][name] == estimates[1][name]
        assert "runs well" in cli("show", parts[0]).out

    def test_without_a_part_is_shown_by_that_name(self, cli: Cli, parts: list[Path]) -> None:
        parts[1].unlink()
        assert_refused(cli("show", parts[0]), Exit.MODEL, f"there is no file {parts[1].name!r}")

    def test_without_one_of_them_is_refused_by_its_name(
        self, hub: Loopback, cli: Cli, home: Path
    ) -> None:
        for name in (self.NAMES[0], self.NAMES[2]):
            hub.offer(CONTENT[:1000], name)
        offer_model(home, path=self.NAMES[0])
        outcome = cli("pull", "small-model")
        assert_refused(outcome, Exit.DOWNLOAD, f"lacks part 2 of 3: {self.NAMES[1]}")
        assert hub.sent < 10_000


class TestANameOnTheHub:
    @pytest.mark.parametrize("name", [REPOSITORY, f"{REPOSITORY}/{PATH}"], ids=["one", "a file"])
    def test_is_fetched_and_runs(self, name: str, hub: Loopback, cli: Cli, tiny: bytes) -> None:
        hub.offer(tiny)
        pulled = cli("pull", name)
        assert pulled.code == 0, pulled.err
        assert Path(pulled.out.strip()).read_bytes() == tiny
        ran = cli("run", "-m", name, "-n", "2", "-c", "64", "hi")
        assert ran.code == 0, ran.err
        (listed,) = [
            row
            for row in json.loads(cli("list", "--here", "--json").out)
            if row["path"] == pulled.out.strip()
        ]
        assert (listed["name"], listed["pin"]) == (f"{REPOSITORY}/{PATH}", "pinned locally")
        assert (listed["size_bytes"], listed["licence"]) == (len(tiny), "mit")
        (here,) = [each for each in doctor(cli) if each["name"] == "models here"]
        assert here["value"].split(", ")[-1] == f"{REPOSITORY}/{PATH}"
        offline = cli("pull", name, env={"HF_HUB_OFFLINE": "1"})
        assert (offline.code, offline.out) == (0, pulled.out)

    def test_is_judged_by_its_own_header(
        self, hub: Loopback, cli: Cli, tiny: bytes, environment: dict[str, str]
    ) -> None:
        hub.offer(tiny)
        plan = json.loads(cli("pull", REPOSITORY, "--dry-run", "--json").out)["plan"]
        assert plan["memory"]["kind"] == "well"
        asked = [said.get("Range") for _, path, said in hub.requests if "/bytes/" in path]
        assert asked == [f"bytes=0-{len(tiny) - 1}"]
        hub.offer(b"something else")
        plan = json.loads(cli("pull", REPOSITORY, "--dry-run", "--json").out)["plan"]
        assert plan["memory"] is None
        assert "not GGUF" in plan["memory_unknown_because"]
        refused = cli("pull", REPOSITORY)
        assert_refused(refused, Exit.USAGE, "would not run here: the file is not GGUF", "--yes")
        assert published_in(environment) == []
        assert cli("pull", REPOSITORY, "--yes").code == 0

    def test_comes_in_the_usual_quantization_unless_another_is_asked_for(
        self, hub: Loopback, cli: Cli
    ) -> None:
        for quantization in ("Q2_K", "Q8_0", "Q4_K_M"):
            hub.offer(CONTENT[:1000], f"m-{quantization}.gguf")
        plan = json.loads(cli("pull", REPOSITORY, "--dry-run", "--json").out)["plan"]
        assert plan["quantization"] == "Q4_K_M"
        plan = json.loads(cli("pull", REPOSITORY, "-q", "q2_k", "--dry-run", "--json").out)["plan"]
        assert plan["path"] == "m-Q2_K.gguf"

    def test_has_the_terms_of_its_licence(self, hub: Loopback, cli: Cli, tiny: bytes) -> None:
        hub.offer(tiny)
        hub.repositories[REPOSITORY] = {"cardData": {"license": "gemma"}}
        refused = cli("pull", REPOSITORY)
        assert_refused(refused, Exit.USAGE, "https://ai.google.dev/gemma/terms")
        assert cli("pull", REPOSITORY, "--accept-terms").code == 0

    def test_has_terms_that_are_accepted_once_for_all_mirrors(
        self, hub: Loopback, cli: Cli, tiny: bytes
    ) -> None:
        hub.offer(tiny)
        card = {"license": "other", "license_name": "lfm1.0", "license_link": "LICENSE"}
        hub.repositories = {REPOSITORY: {"cardData": card}, "mirror/small": {"cardData": card}}
        assert_refused(cli("pull", REPOSITORY), Exit.USAGE, "LiquidAI/LFM2-350M")
        assert cli("pull", REPOSITORY, "--accept-terms").code == 0
        assert cli("pull", "mirror/small").code == 0

    def test_without_a_licence_is_asked_about_once(
        self, hub: Loopback, cli: Cli, tiny: bytes, environment: dict[str, str]
    ) -> None:
        hub.offer(tiny)
        hub.repositories[REPOSITORY] = {"tags": ["gguf"]}
        page = f"{hub.address}/{REPOSITORY}"
        refused = cli("pull", REPOSITORY)
        assert_refused(refused, Exit.USAGE, f"names no licence: {page}", "--accept-terms")
        assert f"licence   none named · see {page}" in refused.err
        assert published_in(environment) == []
        with pexpect.spawn(
            str(SCRIPT), ["pull", REPOSITORY], env=environment, timeout=PATIENCE_S
        ) as command:
            command.expect_exact("Fetch it all the same? [y/N]: ")
            command.sendline("y")
            command.expect(pexpect.EOF)
        assert command.exitstatus == 0
        assert cli("rm", REPOSITORY, "-y").code == 0
        assert cli("pull", REPOSITORY).code == 0

    def test_has_the_licence_of_the_catalogue_where_the_hub_names_none(
        self, hub: Loopback, cli: Cli, home: Path, tiny: bytes
    ) -> None:
        hub.offer(tiny, "other.gguf")
        hub.repositories[REPOSITORY] = {"tags": ["gguf"]}
        offer_model(home)
        pulled = cli("pull", f"{REPOSITORY}/other.gguf")
        assert pulled.code == 0, pulled.err
        assert "licence   MIT" in pulled.err

    def test_that_is_not_there_is_named(self, hub: Loopback, cli: Cli) -> None:
        hub.offer(CONTENT)
        assert_refused(cli("pull", "nobody/nothing"), Exit.DOWNLOAD, "has no nobody/nothing")
        outcome = cli("pull", f"{REPOSITORY}/other.gguf")
        assert_refused(outcome, Exit.DOWNLOAD, "has no other.gguf")


@pytest.mark.parametrize(
    ("name", "value"), [("ALL_PROXY", "socks5://127.0.0.1:9"), ("SSL_CERT_FILE", "/nope")]
)
def test_an_environment_that_reaches_no_hub_is_told_where_one_is_asked(
    name: str, value: str, hub: Loopback, cli: Cli, home: Path, tiny: bytes
) -> None:
    offer_model(home, hub.offer(tiny))
    env = {name: value, "NO_PROXY": ""}
    for command in (["pull", REPOSITORY, "--file", "x"], ["pull", "small-model"], ["search", "x"]):
        outcome = cli(*command, env=env)
        assert_refused(outcome, Exit.DOWNLOAD, name)
        assert "bug" not in outcome.err
        assert "trying again" not in outcome.err
    told = cli("pull", "small-model", "--events", env=env).out.splitlines()
    assert json.loads(told[-1])["error"] == "EnvironmentUnusable"
    assert cli("pull", "small-model").code == 0
    here = cli("pull", "small-model", env=env)
    assert here.code == 0, here.err


@pytest.mark.parametrize(
    ("text", "code"), [("500K", 0), ("5M", 0), ("1.5G", 0), ("fast", 2), ("0", 2), ("-1", 2)]
)
def test_the_rate_is_given_in_bytes(text: str, code: int, cli: Cli, starter_path: Path) -> None:
    assert cli("pull", catalog.STARTER, f"--limit-rate={text}").code == code


def test_a_cache_that_may_not_be_written_is_named(
    hub: Loopback, cli: Cli, home: Path, tmp_path: Path
) -> None:
    offer_model(home, hub.offer(CONTENT))
    (tmp_path / "file").touch()
    outcome = cli("pull", "small-model", env={"HF_HOME": str(tmp_path / "file")})
    assert_refused(outcome, Exit.DOWNLOAD, "cannot be written")
