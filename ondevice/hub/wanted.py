"""Which model and which form of it is meant: of the catalogue, of a hub, or of what is here.

entry          `owner/name` may be a repository of the catalogue: then what that knows holds
uncatalogued   a model of a hub that the catalogue does not have
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ondevice.catalog import Catalog
from ondevice.domain.download import HubForm
from ondevice.domain.model import NO_LICENCE, FileSpec, ModelSpec, told_apart
from ondevice.domain.text import clean_line
from ondevice.errors import ModelTrouble, NotOnHub, UnknownModel, UsageTrouble
from ondevice.gguf.header import Header, read_header
from ondevice.hub import forms, local, names, records
from ondevice.hub.cache import HubCache
from ondevice.hub.records import Records

if TYPE_CHECKING:
    from ondevice.hub.remote import Hub

PREFERRED = ("Q4_K_M", "Q4_0", "Q4_K_S", "Q5_K_M", "Q8_0")
"""Of a repository without an entry in the catalogue, the first of these it has."""


def choose(
    spec: ModelSpec,
    quantization: str | None = None,
    engine: str | None = None,
    path: str | None = None,
) -> FileSpec:
    """The form that was asked for, or the first that an engine opens. Raises UsageTrouble."""
    asked = [
        file
        for file in spec.files
        if (quantization is None or file.quantization.lower() == quantization.lower())
        and engine in (None, file.engine)
        and path in (None, file.path)
    ]
    if not asked:
        has = ", ".join(told_apart(file, spec.files) for file in spec.files)
        wanted = " ".join(clean_line(each, 40) for each in (quantization, engine, path) if each)
        raise UsageTrouble(f"{spec.name} has no {wanted}", hint=f"It has {has}.")
    opened = [file for file in asked if local.is_opened(file)]
    return (opened or asked)[0]


def in_use(spec: ModelSpec) -> FileSpec:
    """The form that runs by the model's name, as `local.find` has it, or would be fetched."""
    opened = (file for file in spec.files if local.is_opened(file))
    return next((file for file in opened if local.find_file(file)), None) or choose(spec)


def listed(catalog: Catalog, name: str) -> tuple[ModelSpec, FileSpec | None] | None:
    """The entry whose repository `owner/name[/file]` names, with the file where it is in it."""
    repository, path = names.split(name) or ("", "")
    found = catalog.in_repository(repository)
    exact = next((pair for pair in found if pair[1].path == path), None)
    return exact or (found and (found[0][0], None)) or None


def on_hub(
    hub: Hub | None,
    name: str,
    quantization: str | None = None,
    engine: str | None = None,
    inside: str | None = None,
) -> tuple[ModelSpec, FileSpec]:
    """`owner/name` or `owner/name/file` of a hub, with no entry in the catalogue.

    Raises DownloadTrouble, and UnknownModel or UsageTrouble where there is no such form.
    """
    parts = names.split(name)
    if parts is None:
        raise UnknownModel(f"{clean_line(name, 80)!r} is no name on a hub", "Try: owner/name")
    repository, path = parts
    from ondevice.hub import listing, remote  # deferred: 150 ms, and what is here needs neither

    if hub is None:
        raise remote.offline()
    found = listing.describe(hub, repository)
    offered = [form for form in found.forms if path in ("", form.path)]
    if not offered:
        what = f"no {path}" if path else "no GGUF file and no ONNX folder"
        raise NotOnHub(f"{repository} has {what}", hint=f"See {hub.endpoint}/{repository}.")
    files = tuple(
        FileSpec(form.engine, form.quantization or "unknown", repository, form.path)
        for form in sorted(offered, key=_rank)
    )
    spec = uncatalogued(name, files, found.licence or NO_LICENCE, found.terms, found.gated)
    return spec, choose(spec, quantization, engine, inside)


def as_listed(spec: ModelSpec, entry: ModelSpec) -> ModelSpec:
    """A model of the repository of `entry`, whose licence holds where the hub names none."""
    if spec.licence == NO_LICENCE:
        return replace(spec, licence=entry.licence, terms=entry.terms)
    return replace(spec, terms=spec.terms or entry.terms)


def on_disk(repository: str, path: str = "") -> tuple[ModelSpec, FileSpec] | None:
    """The same for what was fetched before: `path`, a file or an ONNX folder, or whatever is here.

    Asks nobody. Raises ModelTrouble for a damaged file.
    """
    # Of an ONNX folder the repository is the name: what could be any folder is taken for a path.
    name = f"{repository}/{path}" if names.is_usable(path) else repository
    for each in [path] if path else local.fetched_from(repository):
        said = names.quantization(each) or "unknown"
        file = FileSpec(local.engine_of(each), said, repository, each)
        if found := local.find_file(file):
            header = read_header(found) if file.engine == "llama.cpp" else None
            if header is not None:
                file = replace(file, quantization=clean_line(header.quantization, 40))
            own = records.of_user()
            licence = (own and own.licence(file)) or "unknown"
            return uncatalogued(name, (file,), clean_line(licence, 60), None, False, header), file
    return None


def here_of(
    name: str, cache: HubCache, own: Records, *asked: str | None
) -> tuple[ModelSpec, FileSpec] | None:
    """The same for `owner/name`, by whatever tool it was fetched; `asked` is as for `choose`."""
    repository, path = names.split(name) or ("", "")
    if not repository or path:
        return None
    found = []
    for each in forms.fetched_from(repository, cache, own):
        with contextlib.suppress(ModelTrouble):
            found += [on_disk(repository, each)]
    specs = sorted((spec for spec, _ in filter(None, found)), key=lambda spec: _rank(spec.files[0]))
    for spec in specs:
        with contextlib.suppress(UsageTrouble):
            return replace(spec, name=name, title=name), choose(spec, *asked)
    return None


def beside(catalog: Catalog, cache: HubCache, own: Records) -> Iterator[tuple[ModelSpec, FileSpec]]:
    """What is here and in no entry: fetched by its name on a hub, by whatever tool."""
    files = [file for spec in catalog.models for file in spec.files]
    known = {lies.resolve() for file in files if (lies := local.find_file(file))}
    for repository in forms.repositories(cache):
        for path in forms.fetched_from(repository, cache, own):
            with contextlib.suppress(ModelTrouble):  # what no engine opens is no model
                found = on_disk(repository, path)
                here = local.find_file(found[1]) if found else None
                if found and here and here.resolve() not in known:
                    yield found


def uncatalogued(
    name: str,
    files: tuple[FileSpec, ...],
    licence: str,
    terms: str | None,
    gated: bool,
    header: Header | None = None,
) -> ModelSpec:
    """A model of a hub that has no entry in the catalogue."""
    parameters = header.tensors.parameters if header else 0  # 0: not known before it is read
    return ModelSpec(
        name=name,
        family="",
        title=name,
        use=header.use if header else "chat",
        parameters=parameters,
        active_parameters=parameters,
        context=(header.context_length or 0) if header else 0,
        licence=licence,
        terms=terms,
        gated=gated,
        shape=None,
        files=files,
    )


def _rank(form: HubForm | FileSpec) -> int:
    wanted = form.quantization.upper()
    return PREFERRED.index(wanted) if wanted in PREFERRED else len(PREFERRED)
