"""Build the wheel, install it into an empty environment, and get one real answer from it.

Also proves that the wheel carries no model weights and no vocabulary of somebody else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {".py", ".toml", ".tcss", ".typed", ".txt"}
LARGEST_FILE_BYTES = 200_000
MAGIC = (b"GGUF", b"\x08\x00\x00\x00TFL3")


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Run, and show the output only of what fails."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=env)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def of_somebody_new(folder: Path) -> dict[str, str]:
    """An environment without settings, a catalogue or models of whoever runs this."""
    own = ("ONDEVICE_", "HF_", "HUGGINGFACE_", "XDG_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return kept | {"HOME": str(folder), "ONDEVICE_HOME": str(folder / "ondevice")}


def check_contents(wheel: Path) -> None:
    """Only code, styles and tables; nothing large, nothing with a model's magic."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            path = Path(entry.filename)
            content = archive.read(entry)
            meta = path.parts[0].endswith(".dist-info")
            assert meta or path.suffix in ALLOWED, f"{path} has no business in the wheel"
            assert entry.file_size <= LARGEST_FILE_BYTES, f"{path} is {entry.file_size:,} bytes"
            assert not content.startswith(MAGIC), f"{path} is a model"
        names = set(archive.namelist())
    assert "ondevice/models.toml" in names, "the catalogue is missing"
    assert "ondevice/quality/text.txt" in names, "the text that models are judged by is missing"
    print(f"wheel: {wheel.name}, {wheel.stat().st_size:,} bytes, {len(names)} files")


def main() -> None:
    """Build, look inside, install, answer."""
    with tempfile.TemporaryDirectory(prefix="ondevice-wheel-") as work:
        folder = Path(work)
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT)
        (wheel,) = folder.glob("ondevice-*.whl")
        check_contents(wheel)
        venv.create(folder / "env", with_pip=True)
        python = folder / "env" / "bin" / "python"
        install = (python, "-m", "pip", "install", "--quiet", "--no-deps")
        run(*install, "--require-hashes", "-r", ROOT / "requirements.lock")
        run(*install, wheel)
        script = folder / "env" / "bin" / "ondevice"
        new = of_somebody_new(folder / "home")
        models = json.loads(run(script, "list", "--json", env=new))
        assert len(models) >= 30, f"only {len(models)} models in the catalogue"
        answer = json.loads(run(script, "run", "--json", "-n", "16", "Say hello.", env=new))
        assert answer["text"].strip(), "the starter did not answer"
        assert answer["usage"]["completion_tokens"] > 0
        print(f"wheel: {len(models)} models listed, the starter answered {answer['text']!r}")


if __name__ == "__main__":
    main()
