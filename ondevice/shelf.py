"""Every form of every model, as it stands on this machine; never asks the network.

known   what the catalogue lists, here or not
found   other files that were fetched into the hub's cache, by us or by another tool
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ondevice import acquire
from ondevice.acquire import PullPlan
from ondevice.catalog import Catalog
from ondevice.domain.memory import MachineMemory
from ondevice.domain.model import FileSpec, ModelSpec
from ondevice.errors import ModelTrouble
from ondevice.hub import forms, local
from ondevice.hub.cache import HubCache
from ondevice.hub.pull import free_bytes
from ondevice.hub.records import Records


def read(
    catalog: Catalog, cache: HubCache, records: Records, machine: MachineMemory
) -> list[PullPlan]:
    """All of them, the catalogue's in its order before what else was found."""
    free = free_bytes(cache.root)
    rows = [
        _glance(spec, file, records, machine, free)
        for spec in catalog.models
        for file in spec.files
    ]
    known = {row.here.resolve() for row in rows if row.here}
    others = (_glance(*found, records, machine, free) for found in _found(cache, records))
    return rows + [row for row in others if row.here and row.here.resolve() not in known]


def _glance(
    spec: ModelSpec, file: FileSpec, records: Records, machine: MachineMemory, free: int | None
) -> PullPlan:
    """What can be told of one form without a hub."""
    here = local.find_file(file)
    total = file.size_bytes
    if here is not None and here.is_file() and total is None:
        total = here.stat().st_size
    accepted = here or spec.terms is None or records.accepted(spec.terms) is not None
    return PullPlan(
        spec=spec,
        file=file,
        remote=(),
        here=here,
        bytes_total=total,
        bytes_here=(total or 0) if here else local.partly_here(file),
        free_disk_bytes=free,
        terms=None if accepted else spec.terms,
        gated=spec.gated,
        verdict=acquire.verdict(spec, file, here, machine),
    )


def _found(cache: HubCache, records: Records) -> Iterator[tuple[ModelSpec, FileSpec]]:
    """What was fetched by its name on a hub, by whatever tool."""
    for folder in cache.folders():
        repository = folder.name.removeprefix("models--").replace("--", "/")
        for path in forms.fetched_from(repository, cache, records):
            with contextlib.suppress(ModelTrouble):  # what no engine opens is no model
                if found := acquire.on_disk(f"{repository}/{path}"):
                    yield found
