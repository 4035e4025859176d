"""What is asked of the wheel is asked as somebody new would."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = Path(sysconfig.get_path("scripts")) / "ondevice"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the folders are those of Linux")


@pytest.fixture
def check_wheel() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_wheel", ROOT / "scripts/check_wheel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kept_in", ["ONDEVICE_HOME", "XDG_CONFIG_HOME", "HOME"])
def test_the_developers_own_settings_and_catalogue_are_not_used(
    kept_in: str, check_wheel: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    folder = {"ONDEVICE_HOME": "config", "XDG_CONFIG_HOME": "ondevice", "HOME": ".config/ondevice"}
    config = own / folder[kept_in]
    config.mkdir(parents=True)
    (config / "settings.toml").write_text("model = 'my-own'\n")
    (config / "models.toml").write_text("no catalogue")
    for name in ("ONDEVICE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(kept_in, str(own))

    def said(env: dict[str, str] | None) -> str:
        command = [SCRIPT, "settings", "get", "model"]
        return subprocess.run(command, env=env, capture_output=True, text=True).stdout.strip()

    assert said(None) == "my-own"
    new = check_wheel.of_somebody_new(tmp_path / "new")
    assert said(new) == "starter"
    listed = subprocess.run([SCRIPT, "list"], env=new, capture_output=True, text=True)
    assert (listed.returncode, listed.stderr) == (0, "")
