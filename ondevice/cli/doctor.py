"""`ondevice doctor`: what is here, what is missing, and how to mend it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from ondevice import __version__, catalog, units
from ondevice.cli.exits import Exit
from ondevice.domain.device import Accelerators
from ondevice.domain.text import clean_line
from ondevice.engines import registry
from ondevice.errors import OnDeviceError
from ondevice.hardware import probe, system
from ondevice.hub import local, records, wanted
from ondevice.hub.cache import HubCache
from ondevice.paths import user_paths
from ondevice.settings import Reading, SettingsFile
from ondevice.settings.file import MEND

NOT_BUILT = "not built for Macs with Intel"
BACKENDS = ("cuda", "vulkan", "metal", "hip")
"""What `make run BACKEND=` can build llama.cpp for, beside the CPU."""
PATIENCE_S = 60
"""For a native library to load and answer."""
WITHOUT_GPU = (
    "Update the GPU's driver. Until then `--gpu-layers 0`, or the setting gpu_layers = 0, opens no "
    "device."
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    name: str
    value: str
    ok: bool = True
    mend: str = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def doctor(as_json: bool) -> None:
    """Check this machine and this installation."""
    findings = [*_machine(), *_packages(), *_engines(), *_models(), *_settings(), *_folders()]
    if as_json:
        import json  # deferred: only for this

        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(f"{'ok' if finding.ok else '!!':<4}{finding.name + ' ':<20}{finding.value}")
            if finding.mend:
                click.echo(f"{'':<24}{finding.mend}")
    if not all(finding.ok for finding in findings):
        raise click.exceptions.Exit(Exit.FAILED)


def _machine() -> list[Finding]:
    memory = probe.machine_memory()
    quota = system.cgroup_cpu_quota()
    cores = f"{probe.usable_cores()} usable of {os.cpu_count()}"
    from ondevice.hub.remote import is_offline  # deferred: 150 ms

    return [
        Finding("ondevice", __version__),
        Finding("python", f"{platform.python_version()} at {clean_line(sys.executable)}"),
        Finding("system", clean_line(platform.platform())),
        Finding("cpu", clean_line(probe.cpu_name())),
        Finding("cpu features", ", ".join(probe.cpu_features()) or units.UNKNOWN),
        Finding("cores", cores + (f", quota {quota:g}" if quota else "")),
        Finding(
            "memory",
            f"{units.size(memory.available_bytes)} free of {units.size(memory.total_bytes)}",
        ),
        Finding(
            "network", "never used in chat" + (", HF_HUB_OFFLINE is set" if is_offline() else "")
        ),
    ]


def _packages() -> list[Finding]:
    from ondevice.engines.onnx import binding  # deferred: only this command needs it

    names = (
        "llama-cpp-python",
        binding.package_name(),
        binding.runtime_name(),
        "textual",
        "huggingface-hub",
        "psutil",
    )
    return [_package(name) for name in names]


def _package(name: str) -> Finding:
    try:
        return Finding(name, version(name))
    except PackageNotFoundError:
        if name == "onnxruntime-genai" and probe.is_intel_mac():
            return Finding(name, NOT_BUILT)
        return Finding(name, "not installed", ok=False, mend=f"pip install {name}")


def _engines() -> list[Finding]:
    llama = _engine(
        "llama.cpp",
        "llamacpp",
        "pip install --force-reinstall --no-binary llama-cpp-python llama-cpp-python",
    )
    return [
        llama,
        *(_devices() if llama.ok else ()),
        Finding("onnx", NOT_BUILT)
        if probe.is_intel_mac()
        else _engine("onnx", "onnx", "pip install --force-reinstall onnxruntime-genai"),
    ]


def _engine(name: str, room: str, mend: str) -> Finding:
    """Whether the native library loads, and what it is built for."""
    answer = _asked(f"from ondevice.engines.{room} import binding; print(binding.features())")
    if answer is None:
        return Finding(name, "does not answer", ok=False, mend="Reinstall it.")
    if answer.returncode == 0:
        return Finding(name, clean_line(answer.stdout, 300))
    return Finding(name, f"does not load: {_last_said(answer)}", ok=False, mend=mend)


def _devices() -> list[Finding]:
    """The GPUs that llama.cpp can use. A driver that fails here fails when a model loads, too."""
    from ondevice.engines.llamacpp.devices import told  # deferred: only this command needs it

    answer = _asked("from ondevice.engines.llamacpp import devices; devices.tell()")
    if answer is not None and answer.returncode == 0 and (there := told(answer.stdout)):
        return gpu_findings(there)
    if answer is None:
        said = f"asking for devices gets no answer in {PATIENCE_S} s"
    else:
        said = f"asking for devices fails: {_last_said(answer)}"
    return [Finding("gpu", said, ok=False, mend=WITHOUT_GPU)]


def _last_said(answer: subprocess.CompletedProcess[str]) -> str:
    """The last line of what a child that failed said, or how it ended."""
    lines = answer.stderr.strip().splitlines()
    return clean_line(lines[-1]) if lines else f"no reason given (exit status {answer.returncode})"


def gpu_findings(there: Accelerators) -> list[Finding]:
    """A line for each device, or for there being none, with what mends that."""
    if not there.backends:
        said = "none: llama.cpp is built for the CPU alone. With a GPU: make run BACKEND="
        return [Finding("gpu", said + "|".join(BACKENDS))]
    built = ", ".join(there.backends)
    if not there.devices:
        said = f"none, though llama.cpp is built for {built}"
        mend = "Install the driver of the GPU. Without a GPU: make run BACKEND=cpu"
        return [Finding("gpu", said, ok=False, mend=mend)]
    return [
        Finding(
            "gpu",
            f"{each.name}: {clean_line(each.description, 60)}, {units.size(each.free_bytes)} free "
            f"of {units.size(each.total_bytes)}; llama.cpp is built for {built}",
        )
        for each in there.devices
    ]


def _asked(code: str) -> subprocess.CompletedProcess[str] | None:
    """What a child says to `code`: a native library may end its process. None for silence."""
    try:
        return subprocess.run(
            [sys.executable, "-P", "-c", code],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        return None


def _models() -> list[Finding]:
    paths = user_paths()
    known = catalog.load(paths.user_catalogue)
    here = [spec.name for spec in known.models if local.find(spec)]
    beside = wanted.beside(known, HubCache(local.hub_cache()), records.of(paths))
    here += [clean_line(spec.name) for spec, _ in beside]
    bad = [Finding("catalogue", clean_line(line), ok=False) for line in known.problems]
    starter = known.get(catalog.STARTER)
    mend = "" if here or starter is None else local.how_to_get(starter)
    return [
        Finding("catalogue", f"{len(known.models)} models, engines: {', '.join(registry.NAMES)}"),
        *bad,
        Finding("models here", ", ".join(here) or "none", ok=bool(here), mend=mend),
    ]


def _settings() -> list[Finding]:
    reading = SettingsFile(user_paths().settings).read()
    bad = [
        Finding("settings", clean_line(trouble.message, 300), ok=False, mend=trouble.hint)
        for trouble in reading.troubles
    ]
    bad += [
        Finding("settings", clean_line(said, 300), ok=False, mend=MEND)
        for said in _unknown_to_the_app(reading)
    ]
    return bad or [
        Finding("settings", f"{len(reading.given)} set" if reading.given else "defaults")
    ]


def _unknown_to_the_app(reading: Reading) -> list[str]:
    """Themes and keys that there are not."""
    if reading.given.isdisjoint(("theme", "keymap")):
        return []
    try:
        from ondevice.tui import setting_rows  # deferred: 370 ms, and few files have these
    except ImportError:  # what is not installed has a line of its own
        return []
    return setting_rows.unknown_to_the_app(reading.settings)


def _folders() -> list[Finding]:
    paths = user_paths()
    findings = []
    for name in ("config", "data", "cache"):
        folder = getattr(paths, name)
        try:
            usable = _writable(folder)
        except (OSError, OnDeviceError):
            usable = False
        mend = "" if usable else "Set ONDEVICE_HOME to a folder you may write."
        findings.append(Finding(f"{name} folder", clean_line(str(folder)), usable, mend))
    return findings


def _writable(folder: Path) -> bool:
    """Whether files could be made there; an absent folder counts by its nearest parent."""
    path = folder
    while not path.exists() and path != path.parent:
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK)
