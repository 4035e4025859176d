"""Every form of every model, as it stands on this machine; never asks the network.

known   what the catalogue lists, here or not
found   other files that were fetched into the hub's cache, by us or by another tool
"""

from __future__ import annotations

from dataclasses import replace

from ondevice import acquire
from ondevice.acquire import PullPlan
from ondevice.catalog import Catalog
from ondevice.domain.generation import LoadOptions
from ondevice.domain.memory import MachineMemory
from ondevice.domain.model import FileSpec, ModelSpec
from ondevice.fit import AS_USUAL
from ondevice.hub import local, wanted
from ondevice.hub.cache import HubCache
from ondevice.hub.pull import free_bytes
from ondevice.hub.records import Records


def read(
    catalog: Catalog,
    cache: HubCache,
    records: Records,
    machine: MachineMemory,
    options: LoadOptions = AS_USUAL,
) -> list[PullPlan]:
    """All of them, the catalogue's in its order before what else was found; judged as they would
    run if they were loaded with `options`."""
    free = free_bytes(cache.root)

    def glance(spec: ModelSpec, file: FileSpec) -> PullPlan:
        plan = _glance(spec, file, records, free)
        verdict = acquire.verdict(spec, file, plan.here, machine, options)
        problem = None if verdict or plan.here else acquire.why_unknown(file, plan.bytes_total)
        return replace(plan, verdict=verdict, problem=problem)

    rows = [glance(spec, file) for spec in catalog.models for file in spec.files]
    return rows + [glance(*found) for found in wanted.beside(catalog, cache, records)]


def _glance(spec: ModelSpec, file: FileSpec, records: Records, free: int | None) -> PullPlan:
    """What can be told of one form without a hub."""
    here = local.find_file(file)
    total = local.size_of(here, file) if here else file.size_bytes
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
        pin=records.state(file),
    )
