"""What documents of `ondevice perplexity` and `ondevice compare` have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from command import Cli

ON_THE_CPU = {"backend": "cpu", "place": "CPU", "device_bytes": 0, "devices": [], "notices": []}
LOADED = {"flash_attention": False, "mapped": True, "kv_type": "f16"}


def codes(of: dict[str, Any]) -> list[str]:
    """Of the notices in a document."""
    return [notice["code"] for notice in of["notices"]]


def document(cli: Cli, *arguments: str | Path, **how: Any) -> dict[str, Any]:
    """The document of a command that went well."""
    outcome = cli(*arguments, "--json", **how)
    assert outcome.code == 0, outcome.err
    made: dict[str, Any] = json.loads(outcome.out)
    return made
