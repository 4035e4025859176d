"""Get a model: know beforehand what it takes and whether it runs here, then fetch it whole.

plan    the files, the bytes and the room for them, the terms, the memory verdict
terms   accepted once per machine; without that nothing is fetched
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ondevice import fit
from ondevice.catalog import Catalog
from ondevice.domain.download import (
    Downloaded,
    DownloadEvent,
    DownloadNotice,
    HubForm,
    RemoteFile,
)
from ondevice.domain.fit import MemoryVerdict
from ondevice.domain.memory import MachineMemory
from ondevice.domain.model import FileSpec, ModelSpec
from ondevice.domain.text import clean_line
from ondevice.errors import (
    DownloadTrouble,
    HubUnreachable,
    ModelTrouble,
    NotOnHub,
    TermsNotAccepted,
    UnknownModel,
    UsageTrouble,
)
from ondevice.gguf.header import read_header
from ondevice.hub import listing, local, names
from ondevice.hub.cache import HubCache
from ondevice.hub.header import remote_header
from ondevice.hub.pull import bytes_here, free_bytes, pull, remember_main
from ondevice.hub.records import Records
from ondevice.hub.remote import Hub
from ondevice.hub.transfer import Patience

PREFERRED = ("Q4_K_M", "Q4_0", "Q4_K_S", "Q5_K_M", "Q8_0")
"""Of a repository without an entry in the catalogue, the first of these it has."""


@dataclass(frozen=True, slots=True)
class PullPlan:
    """What getting one form of a model means here, known before a byte of it is fetched."""

    spec: ModelSpec
    file: FileSpec
    remote: tuple[RemoteFile, ...]
    """Empty when `here` is set: nobody had to be asked."""
    here: Path | None
    """Where it lies already."""
    bytes_total: int | None
    bytes_here: int
    """Whole files and partials, with which a pull goes on."""
    free_disk_bytes: int | None
    terms: str | None
    """Address of terms still to be accepted; None when there are none, or they were."""
    gated: bool
    verdict: MemoryVerdict | None = None
    """Memory on this machine; None where neither the catalogue nor a header says enough."""
    problem: str | None = None
    """Why there is no verdict, where somebody was asked."""
    is_model: bool = True
    """False when its own header says that nothing here opens it."""

    @property
    def fits(self) -> bool | None:
        """Whether it would run here; None where that is not known."""
        if self.verdict is None:
            return None if self.is_model else False
        return self.verdict.kind != "no"

    @property
    def bytes_to_fetch(self) -> int | None:
        return None if self.bytes_total is None else max(0, self.bytes_total - self.bytes_here)


def choose(spec: ModelSpec, quantization: str | None = None, engine: str | None = None) -> FileSpec:
    """The form that was asked for, or the first that runs. Raises UsageTrouble for no such."""
    asked = [
        file
        for file in spec.files
        if (quantization is None or file.quantization.lower() == quantization.lower())
        and (engine is None or file.engine == engine)
    ]
    if not asked:
        has = ", ".join(f"{file.quantization} ({file.engine})" for file in spec.files)
        wanted = " ".join(clean_line(each, 40) for each in (quantization, engine) if each)
        raise UsageTrouble(f"{spec.name} has no {wanted}", hint=f"It has {has}.")
    runnable = [file for file in asked if file.engine in local.RUNNABLE]
    return (runnable or asked)[0]


def listed(catalog: Catalog, name: str) -> tuple[ModelSpec, FileSpec | None] | None:
    """The entry whose repository `owner/name[/file]` names, with the file where it is in it.

    What the catalogue knows, terms and hashes, holds by whatever name a model is asked for.
    """
    repository, path = names.split(name) or ("", "")
    found = [
        (spec, file)
        for spec in catalog.models
        for file in spec.files
        if file.repository.lower() == repository.lower()
    ]
    exact = next((pair for pair in found if pair[1].path == path), None)
    return exact or (found and (found[0][0], None)) or None


def on_hub(
    hub: Hub | None, name: str, quantization: str | None = None, engine: str | None = None
) -> tuple[ModelSpec, FileSpec]:
    """`owner/name` or `owner/name/file` of a hub, with no entry in the catalogue.

    Raises DownloadTrouble, and UnknownModel or UsageTrouble where there is no such form.
    """
    parts = names.split(name)
    if parts is None:
        raise UnknownModel(f"{clean_line(name, 80)!r} is no name on a hub", "Try: owner/name")
    repository, path = parts
    if hub is None:
        raise _offline()
    found = listing.describe(hub, repository)
    forms = [form for form in found.forms if path in ("", form.path)]
    if not forms:
        what = f"no {path}" if path else "no GGUF file and no ONNX folder"
        raise NotOnHub(f"{repository} has {what}", hint=f"See {hub.endpoint}/{repository}.")
    files = tuple(
        FileSpec(form.engine, form.quantization or "unknown", repository, form.path)
        for form in sorted(forms, key=_preference)
    )
    spec = listing.uncatalogued(name, files, found.licence or "unknown", found.terms, found.gated)
    return spec, choose(spec, quantization, engine)


def on_disk(name: str) -> tuple[ModelSpec, FileSpec] | None:
    """The same for what was fetched before; asks nobody. Raises ModelTrouble for a damaged file."""
    repository, path = names.split(name) or ("", "")
    for each in [path] if path else local.fetched_from(repository):
        file = FileSpec(local.engine_of(each), "unknown", repository, each)
        if found := local.find_file(file):
            header = read_header(found) if file.engine == "llama.cpp" else None
            if header is not None:
                file = replace(file, quantization=clean_line(header.quantization, 40))
            return listing.uncatalogued(name, (file,), "unknown", None, False, header), file
    return None


def plan(
    hub: Hub | None,
    spec: ModelSpec,
    file: FileSpec,
    cache: HubCache,
    records: Records,
    machine: MachineMemory,
    n_ctx: int | None = None,
) -> PullPlan:
    """What getting `file` means. Without `hub` only what is here or pinned can be told.

    Raises DownloadTrouble, such as HubUnreachable where the hub would have to be asked.
    """
    here = local.find_file(file)
    remote = () if here else _remote_files(hub, file, records)
    total = sum(each.size_bytes for each in remote) if here is None else local.size_of(here, file)
    judged = verdict(spec, replace(file, size_bytes=total), here, machine, n_ctx)
    problem, is_model = None, True
    if judged is None and hub is not None and remote and file.engine == "llama.cpp":
        try:
            judged, problem = _verdict_there(hub, remote, machine, n_ctx)
        except ModelTrouble as error:
            problem, is_model = error.message, False
    accepted = spec.terms is None or records.accepted(spec.terms) is not None
    return PullPlan(
        spec=spec,
        file=file,
        remote=remote,
        here=here,
        bytes_total=total,
        bytes_here=bytes_here(remote, cache) if here is None else total or 0,
        free_disk_bytes=free_bytes(cache.root),
        terms=None if here or accepted else spec.terms,
        gated=spec.gated,
        verdict=judged,
        problem=problem,
        is_model=is_model,
    )


def verdict(
    spec: ModelSpec,
    file: FileSpec,
    here: Path | None,
    machine: MachineMemory,
    n_ctx: int | None = None,
) -> MemoryVerdict | None:
    """Memory on this machine, by the header of the file that is here, or by the catalogue."""
    if file.engine != "llama.cpp":
        return None
    if here is not None and not names.parts(here.name):
        try:
            return fit.verdict_of(read_header(here), here.stat().st_size, machine, n_ctx)
        except (ModelTrouble, OSError):  # it was deleted or damaged meanwhile
            return None
    return fit.verdict_for(spec, file, machine, n_ctx) if spec.shape else None


def _verdict_there(
    hub: Hub, files: tuple[RemoteFile, ...], machine: MachineMemory, n_ctx: int | None
) -> tuple[MemoryVerdict | None, str | None]:
    """The same by the header of a file elsewhere, or why there is none. Raises ModelTrouble."""
    if len(files) > 1:
        return None, "the first of several parts does not tell of the others"
    try:
        header = remote_header(hub, files[0])
        return fit.verdict_of(header, files[0].size_bytes, machine, n_ctx), None
    except DownloadTrouble as error:  # it ends the fetching, too, and is told then
        return None, error.message


def accept(plan: PullPlan, records: Records) -> PullPlan:
    """Remember that the terms were accepted. Raises UsageTrouble where nothing can be kept."""
    if plan.terms:
        records.accept(plan.terms)
    return replace(plan, terms=None)


def get(
    hub: Hub | None,
    plan: PullPlan,
    cache: HubCache,
    records: Records,
    patience: Patience | None = None,
) -> Generator[DownloadEvent, None, None]:
    """Fetch what is missing; the last event is Downloaded. Closing the iterator cancels.

    Raises TermsNotAccepted before anything is fetched, and DownloadTrouble.
    """
    if plan.terms is not None:
        raise TermsNotAccepted(
            f"{plan.spec.name} is given under terms of its own: {plan.terms}",
            hint=f"Read them, then: ondevice pull {plan.spec.name} --accept-terms",
        )
    if plan.here is not None:
        yield Downloaded(plan.here, 0)
        return
    if hub is None:
        raise _offline()
    with closing(pull(hub, plan.remote, cache, patience)) as events:
        for event in events:
            if isinstance(event, Downloaded):
                yield from _kept(event, plan, cache, records)
            else:
                yield event


def _kept(
    event: Downloaded, plan: PullPlan, cache: HubCache, records: Records
) -> Generator[DownloadEvent, None, None]:
    """Remember what was fetched, where nobody knew it beforehand; then it is done."""
    file = plan.file
    if not listing.known_files(file) and records.pinned(file) is None:
        if file.revision is None:
            remember_main(plan.remote[0], cache)
        try:
            records.pin(file, plan.remote)
        except UsageTrouble as error:  # the model is whole all the same
            yield DownloadNotice("unrecorded", f"its hash is not kept: {error.message}")
    yield replace(event, path=local.find_file(file) or event.path)


def _remote_files(hub: Hub | None, file: FileSpec, records: Records) -> tuple[RemoteFile, ...]:
    known = records.pinned(file) or listing.known_files(file)
    if known:
        return known
    if hub is None:
        raise _offline()
    return listing.remote_files(hub, file)


def _offline() -> HubUnreachable:
    hint = "Unset it to download."
    return HubUnreachable("HF_HUB_OFFLINE forbids the network", hint)


def _preference(form: HubForm) -> int:
    wanted = form.quantization.upper()
    return PREFERRED.index(wanted) if wanted in PREFERRED else len(PREFERRED)
