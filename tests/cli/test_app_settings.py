"""The app opens whatever its settings say, and says what of them does not hold."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pexpect
import pytest
from command import PATIENCE_S


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("thread = 2\n", "Did you mean"),
        ("threads = 'two'\n", "default holds. Mend"),
        ("[sampling]\ntemperature = 99\n", "must be a number"),
        ("threads = [", "is not TOML"),
        ("theme = 'nrod'\n", "Did you mean"),
        ("[keymap]\n'app.hlp' = 'f12'\n", "did you mean"),
    ],
    ids=["name", "kind", "range", "syntax", "theme", "key"],
)
def test_a_fault_in_the_settings_does_not_keep_the_app_from_opening(
    content: str, said: str, home: Path, environment: dict[str, str]
) -> None:
    (home / "config").mkdir(parents=True)
    (home / "config" / "settings.toml").write_text(content)
    window = pexpect.spawn(
        sys.executable,
        ["-m", "ondevice.cli.main"],
        env=environment,
        dimensions=(40, 120),
        timeout=PATIENCE_S,
    )
    # where the sentence is wrapped depends on how long the file's path is
    window.expect(".{0,400}?".join(map(re.escape, said.split())))
    window.send("\x1b[21~")  # F10
    window.expect(pexpect.EOF)
    window.close()
    assert window.exitstatus == 0
    assert (home / "config" / "settings.toml").read_text() == content
