"""What a folder says of chats, whatever stands where a template should."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import estimates
import pytest
from onnx_folder import write_tiny
from onnx_mutate import VALUES, mutations

from ondevice import acquire
from ondevice.errors import NotAModelFile, OnDeviceError
from ondevice.onnx import chat
from ondevice.onnx.folder import read_folder

DEFAULT = {"name": "default", "template": "{{ messages }}"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "model")


def settings(folder: Path, **said: Any) -> Path:
    """A folder whose template stands in the tokenizer's settings alone."""
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    return folder


def test_of_several_templates_the_default_is_taken(folder: Path) -> None:
    tools = {"name": "tool_use", "template": "{{ tools }}"}
    assert chat.template(settings(folder, chat_template=[tools, DEFAULT])) == "{{ messages }}"
    assert chat.template(settings(folder, chat_template=[tools])) is None


@pytest.mark.parametrize("odd", VALUES, ids=lambda value: repr(value)[:20])
def test_what_is_no_template_is_passed_over(folder: Path, odd: Any) -> None:
    others = [odd, {"name": odd, "template": odd}, {"template": odd}]
    assert chat.template(settings(folder, chat_template=[*others, DEFAULT])) == "{{ messages }}"
    assert chat.template(settings(folder, chat_template=others)) is None
    settings(folder, bos_token=odd, eos_token={"content": odd})
    text = odd if isinstance(odd, str) else ""
    assert chat.begin_and_end(folder) == (text, text)


@pytest.mark.parametrize("name", ["chat_template.jinja", "tokenizer_config.json"])
@pytest.mark.parametrize(
    ("target", "why"), [("x" * 300, "cannot be read: File name too long"), ("gone", "has no")]
)
def test_a_link_that_cannot_be_followed_is_named(
    folder: Path, name: str, target: str, why: str
) -> None:
    settings(folder)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)
    for read in (read_folder, chat.template):
        with pytest.raises(NotAModelFile, match=why):
            read(folder)


def refusal(folder: Path) -> OnDeviceError | None:
    """Why it was refused by what the app itself reads, before a child does; None when it was read.
    Any other exception is the test's failure."""
    try:
        estimates.hold(acquire.verdict_of(folder, estimates.MACHINE))
        chat.template(folder)
    except OnDeviceError as error:
        return error
    return None


def test_every_mutation_is_read_or_refused(folder: Path, tmp_path: Path) -> None:
    refusals = {}
    for name, mutation in itertools.islice(mutations(folder, seed=3), 300):
        copy = shutil.copytree(folder, tmp_path / "copy")
        mutation(copy)
        refusals[name] = refusal(copy)
        shutil.rmtree(copy)
    refused = {name: error for name, error in refusals.items() if error}
    assert 0 < len(refused) < len(refusals)
    assert [n for n, e in refused.items() if not (e.hint and e.message.isprintable())] == []
