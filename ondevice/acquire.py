"""Get a model: know beforehand what it takes and whether it runs here, then fetch it whole.

plan    the files, the bytes and the room for them, the terms, the memory verdict
terms   accepted once per machine; without that nothing is fetched
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

from ondevice import fit
from ondevice.domain.download import (
    Downloaded,
    DownloadEvent,
    DownloadNotice,
    RemoteFile,
)
from ondevice.domain.fit import MemoryVerdict
from ondevice.domain.generation import LoadOptions
from ondevice.domain.memory import MachineMemory
from ondevice.domain.model import NO_LICENCE, FileSpec, ModelSpec, paths_of
from ondevice.errors import (
    DownloadTrouble,
    ModelTrouble,
    TermsNotAccepted,
    UsageTrouble,
)
from ondevice.gguf.header import read_model
from ondevice.hub import listing, local, remote
from ondevice.hub.cache import HubCache
from ondevice.hub.header import remote_header
from ondevice.hub.patience import Patience
from ondevice.hub.pull import bytes_here, free_bytes, pull, remember_main
from ondevice.hub.records import Pin, Records
from ondevice.hub.remote import Hub
from ondevice.onnx.folder import read_folder

SIZE_ON_HUB = "only the hub knows the size of its file"
HEADER_ON_HUB = "only the header of its file says what it takes, which pull reads first"
NOT_OPENED = "no engine here opens this form"
IN_ITS_GRAPH = "only its graph says what it takes, which is read once it is here"
NOT_SAID = "its header leaves out what memory depends on"


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
    """Address of terms still to be accepted; None when there are none, or they were. Of a model
    that names no licence it is the repository's."""
    gated: bool
    verdict: MemoryVerdict | None = None
    """Memory on this machine; None where neither the catalogue nor a header says enough."""
    problem: str | None = None
    """Why there is no verdict, of what is not here."""
    is_model: bool = True
    """False when its own header says that nothing here opens it."""
    pin: Pin = "unpinned"
    """Whether the very bytes are known beforehand, and by whom."""

    @property
    def fits(self) -> bool | None:
        """Whether it would run here; None where that is not known."""
        if self.verdict is None:
            return None if self.is_model else False
        return self.verdict.kind != "no"

    @property
    def bytes_to_fetch(self) -> int | None:
        return None if self.bytes_total is None else max(0, self.bytes_total - self.bytes_here)


def plan(
    hub: Hub | None,
    spec: ModelSpec,
    file: FileSpec,
    cache: HubCache,
    records: Records,
    machine: MachineMemory,
    options: LoadOptions = fit.AS_USUAL,
) -> PullPlan:
    """What getting `file` means, and how it would run if it were loaded with `options`. Without
    `hub` only what is here or pinned can be told.

    Raises DownloadTrouble, such as HubUnreachable where the hub would have to be asked.
    """
    here = local.find_file(file)
    remote = () if here else _remote_files(hub, file, records)
    total = sum(each.size_bytes for each in remote) if here is None else local.size_of(here, file)
    judged = verdict(spec, replace(file, size_bytes=total), here, machine, options)
    problem, is_model = None if judged or here else why_unknown(file, total), True
    if judged is None and hub is not None and remote and file.engine == "llama.cpp":
        try:
            judged, problem = _verdict_there(hub, remote, machine, options)
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
        pin=records.state(file),
    )


def verdict(
    spec: ModelSpec,
    file: FileSpec,
    here: Path | None,
    machine: MachineMemory,
    options: LoadOptions = fit.AS_USUAL,
) -> MemoryVerdict | None:
    """Memory on this machine, by the file or folder that is here, or by the catalogue."""
    if not local.is_opened(file):
        return None
    if here is not None:
        try:
            return verdict_of(here, machine, options)
        except (ModelTrouble, OSError):  # it was deleted or damaged meanwhile
            return None
    return fit.verdict_for(spec, file, machine, options) if spec.shape else None


def why_unknown(file: FileSpec, size_bytes: int | None) -> str:
    """Why there is no verdict on what is not here."""
    if not local.is_opened(file):
        return NOT_OPENED
    if size_bytes is None:
        return SIZE_ON_HUB
    return IN_ITS_GRAPH if file.engine == "onnx" else HEADER_ON_HUB


def verdict_of(
    path: Path, machine: MachineMemory, options: LoadOptions = fit.AS_USUAL
) -> MemoryVerdict | None:
    """The same by the headers of a GGUF file and its other parts, or by an ONNX folder.

    Raises ModelTrouble, OSError.
    """
    if path.is_dir():
        return fit.verdict_of_folder(read_folder(path), machine, options.n_ctx)
    parts = paths_of(path)
    size_bytes = sum(part.stat().st_size for part in parts)
    return fit.verdict_of(read_model(parts), size_bytes, machine, options)


def _verdict_there(
    hub: Hub, files: tuple[RemoteFile, ...], machine: MachineMemory, options: LoadOptions
) -> tuple[MemoryVerdict | None, str | None]:
    """The same by the headers of files elsewhere, or why there is none. Raises ModelTrouble."""
    try:
        size_bytes = sum(each.size_bytes for each in files)
        found = fit.verdict_of(remote_header(hub, *files), size_bytes, machine, options)
        return found, None if found else NOT_SAID
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
        raise _not_accepted(plan.spec)
    if plan.here is not None:
        yield Downloaded(plan.here, 0)
        return
    if hub is None:
        raise remote.offline()
    if _is_new(plan.file, records):
        with contextlib.suppress(UsageTrouble):  # told when it has come
            records.begin(plan.file, plan.remote)
    with contextlib.closing(pull(hub, plan.remote, cache, patience)) as events:
        for event in events:
            if isinstance(event, Downloaded):
                yield from _kept(event, plan, cache, records)
            else:
                yield event


def _not_accepted(spec: ModelSpec) -> TermsNotAccepted:
    read, what = "Read them", f"is given under terms of its own: {spec.terms}"
    if spec.licence == NO_LICENCE:
        read, what = "Look there", f"names no licence: {spec.terms}"
    return TermsNotAccepted(
        f"{spec.name} {what}", hint=f"{read}, then: ondevice pull {spec.name} --accept-terms"
    )


def _kept(
    event: Downloaded, plan: PullPlan, cache: HubCache, records: Records
) -> Generator[DownloadEvent, None, None]:
    """Remember what was fetched, where nobody knew it beforehand; then it is done."""
    file = plan.file
    if _is_new(file, records):
        if file.revision is None:
            remember_main(plan.remote[0], cache)
        try:
            records.pin(file, plan.remote, plan.spec.licence)
        except UsageTrouble as error:  # the model is whole all the same
            yield DownloadNotice("unrecorded", f"its hash is not kept: {error.message}")
    yield replace(event, path=local.find_file(file) or event.path)


def _is_new(file: FileSpec, records: Records) -> bool:
    """Whether nobody knew beforehand what `file` is."""
    return not listing.known_files(file) and records.pinned(file) is None


def _remote_files(hub: Hub | None, file: FileSpec, records: Records) -> tuple[RemoteFile, ...]:
    known = records.pinned(file) or listing.known_files(file)
    if known:
        return known
    if hub is None:
        raise remote.offline()
    return listing.remote_files(hub, file)
