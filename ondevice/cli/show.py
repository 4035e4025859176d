"""`ondevice show`: what is known about one model, from the catalogue or from its file."""

from __future__ import annotations

from typing import Any

import click

from ondevice import acquire, catalog, units
from ondevice.cli.model_names import ANY_MODEL
from ondevice.cli.options import settings_for
from ondevice.domain.fit import MemoryVerdict
from ondevice.domain.generation import LoadOptions
from ondevice.domain.memory import MachineMemory
from ondevice.domain.model import FileSpec, ModelFile, ModelSpec
from ondevice.domain.text import clean_line
from ondevice.errors import ModelTrouble
from ondevice.gguf.header import read_model
from ondevice.hardware import probe
from ondevice.hub import local, records, wanted
from ondevice.onnx.folder import read_config
from ondevice.paths import user_paths
from ondevice.verdict import verdict_document, verdict_lines


@click.command()
@click.argument("model", type=ANY_MODEL)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(model: str, as_json: bool) -> None:
    """Show what is known about MODEL, a catalogue name, a GGUF file or an ONNX folder."""
    machine, paths = probe.machine_memory(), user_paths()
    options = settings_for("context", "kv_type").load_options
    known = catalog.load(paths.user_catalogue)
    if local.means_path(model, known):
        file = local.locate(model, known)
        facts = _file_facts(file) if file.engine == "llama.cpp" else _folder_facts(file)
        verdict, why_unknown = _file_verdict(file, machine, options)
    else:
        spec = known.find(model)
        form = wanted.in_use(spec)
        here = local.find_file(form)
        facts = _spec_facts(spec) | {"form": _form(form)}
        verdict = acquire.verdict(spec, form, here, machine, options)
        why_unknown = None if here else acquire.why_unknown(form, form.size_bytes)
    if as_json:
        import json  # deferred: only for this

        click.echo(json.dumps(facts | {"memory": verdict_document(verdict)}, indent=2))
        return
    for name, value in facts.items():
        lines = value if isinstance(value, list) else [value]
        for number, line in enumerate(lines):
            label = name if number == 0 else ""
            click.echo(f"{label:<16}{clean_line(_words(name, line), 300)}")
    for label, line in verdict_lines(verdict, why_unknown):
        click.echo(f"{label:<16}{clean_line(line, 300)}")


def _file_verdict(
    file: ModelFile, machine: MachineMemory, options: LoadOptions
) -> tuple[MemoryVerdict | None, str | None]:
    """Or why there is none."""
    try:
        return acquire.verdict_of(file.path, machine, options), None
    except ModelTrouble as error:  # a folder whose config is whole, and another file is not
        return None, error.message


def _words(name: str, value: Any) -> str:
    if value is None:
        return units.UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_bytes") or name == "size":
        return units.size(value)
    if isinstance(value, int):
        return units.count(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items() if item is not None)
    return str(value)


def _spec_facts(spec: ModelSpec) -> dict[str, Any]:
    found = local.find(spec)
    return {
        "name": spec.name,
        "title": spec.title,
        "family": spec.family,
        "use": spec.use,
        "parameters": spec.parameters,
        "active": spec.active_parameters,
        "context": "unbounded" if spec.context == 0 else spec.context,
        "licence": spec.licence,
        "terms": spec.terms or "none beyond the licence",
        "gated": spec.gated,
        "here": str(found.path) if found else "no",
        "files": [_file_line(file) for file in spec.files],
        "quality": [
            f"{figure.benchmark} {figure.score:g}, measured by {figure.measured_by} ({figure.how})"
            for figure in spec.quality
        ]
        or ["no figure with a known source"],
        "note": spec.note or "-",
    }


def _form(file: FileSpec) -> dict[str, str]:
    """The one that the verdict is about."""
    return {"engine": file.engine, "quantization": file.quantization, "path": file.path}


def _file_line(file: FileSpec) -> str:
    own = records.of_user()
    pin = f"pinned, sha256 {file.sha256[:12]}…" if file.sha256 else "unpinned"
    if own and own.state(file) == "pinned locally":
        pin = "pinned locally"
    where = f"{file.repository} {file.path}"
    size = "size unknown" if file.size_bytes is None else units.size(file.size_bytes)
    return f"{file.engine} {file.quantization}, {size}, {pin}, {where}"


def _folder_facts(file: ModelFile) -> dict[str, Any]:
    config = read_config(file.path)
    return {
        "name": file.name,
        "path": str(file.path),
        "engine": file.engine,
        "architecture": config.model_type,
        "quantization": file.quantization or None,
        "size_bytes": local.size_of(file.path, FileSpec("onnx", "", "", ".")),
        "context": config.context,
        "layers": config.n_layers,
        "kv_heads": config.n_kv_heads,
        "vocabulary": config.vocabulary,
        "chat_template": file.use == "chat",
        "made_for": list(config.providers) or ["cpu"],
    }


def _file_facts(file: ModelFile) -> dict[str, Any]:
    path, header = file.path, read_model(file.paths)
    return {
        "name": file.name,
        "path": str(file.path),
        "architecture": header.architecture,
        "quantization": file.quantization,
        "size_bytes": local.size_of(path, FileSpec("llama.cpp", "", "", path.name)),
        "parts": len(file.paths),
        "parameters": header.tensors.parameters,
        "context": header.context_length,
        "layers": header.n_layers,
        "width": header.n_embd,
        "heads": header.n_heads,
        "kv_heads": header.n_kv_heads,
        "vocabulary": header.vocab,
        "chat_template": header.has_chat_template,
        "random_weights": header.random_weights,
    }
